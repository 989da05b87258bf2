"""The names whose texts are known to be no content, in every convention; a text under any other name may be content.

Exact names: a prefix would allow what an instrumentation adds next. A number between dots stands as `N`. Numbers and truth
values need no name.
"""

from __future__ import annotations

import re
from typing import Final

# A longer text is no id, name or reason, whatever it is called.
_MAX_FACT_CHARACTERS: Final = 256
_MAX_FACT_ITEMS: Final = 128
# Longer lists of numbers are vectors or token ids, from which the text can be had back.
_MAX_NUMBERS: Final = 8
_NUMBER: Final = re.compile(r"\.\d+(?=\.)")

# opentelemetry/semantic-conventions-genai at commit 024a4f9, and the names that it has replaced
_SEMCONV: Final = """
gen_ai.agent.id gen_ai.agent.name gen_ai.agent.version gen_ai.conversation.id gen_ai.data_source.id
gen_ai.evaluation.name gen_ai.evaluation.score.label
gen_ai.operation.name gen_ai.output.type gen_ai.prompt.name gen_ai.prompt.version gen_ai.provider.name
gen_ai.request.encoding_formats gen_ai.request.model gen_ai.request.reasoning.level
gen_ai.request.service_tier gen_ai.request.type gen_ai.request.user
gen_ai.response.finish_reason gen_ai.response.finish_reasons gen_ai.response.id gen_ai.response.model
gen_ai.response.service_tier gen_ai.response.status gen_ai.response.system_fingerprint
gen_ai.openai.api_base gen_ai.openai.request.response_format gen_ai.openai.request.service_tier
gen_ai.openai.response.service_tier gen_ai.openai.response.system_fingerprint
gen_ai.system gen_ai.token.type gen_ai.tool.call.id gen_ai.tool.name gen_ai.tool.type
gen_ai.usage.cost.source gen_ai.user.id gen_ai.workflow.name
openai.api.type openai.request.service_tier openai.response.service_tier openai.response.system_fingerprint
aws.bedrock.guardrail.id aws.bedrock.knowledge_base.id azure.resource_provider.namespace
mcp.method.name mcp.protocol.version mcp.session.id
"""
_OPENTELEMETRY: Final = """
client.address client.port cloud.provider cloud.region code.filepath code.function code.function.name code.lineno
code.namespace code.line.number code.file.path
db.name db.namespace db.operation db.operation.name db.collection.name db.system db.system.name
enduser.id error.type exception.escaped exception.type
http.flavor http.method http.request.method http.response.status_code http.route http.scheme http.status_code
messaging.operation.name messaging.operation.type messaging.system
net.peer.name net.peer.port network.peer.address network.peer.port network.protocol.name network.protocol.version
network.transport network.type otel.scope.name otel.scope.version otel.status_code
peer.service rpc.grpc.status_code rpc.method rpc.service rpc.system rpc.system.name
server.address server.port service.name service.namespace service.version session.id
telemetry.sdk.language telemetry.sdk.name telemetry.sdk.version thread.id thread.name
url.scheme url.template user.id
"""
_OPENINFERENCE: Final = """
agent.name embedding.model_name graph.node.id graph.node.name graph.node.parent_id input.mime_type
llm.finish_reason llm.input_messages.N.message.role llm.model_name llm.output_messages.N.message.finish_reason
llm.output_messages.N.message.role llm.provider llm.system
llm.input_messages.N.message.tool_call_id
llm.input_messages.N.message.tool_calls.N.tool_call.function.name
llm.input_messages.N.message.tool_calls.N.tool_call.id
llm.output_messages.N.message.tool_calls.N.tool_call.function.name
llm.output_messages.N.message.tool_calls.N.tool_call.id
openinference.project.name openinference.span.kind output.mime_type reranker.model_name tool.id tool.name
"""
_OPENLLMETRY: Final = """
gen_ai.completion.N.finish_reason gen_ai.completion.N.role gen_ai.completion.N.tool_calls.N.id
gen_ai.completion.N.tool_calls.N.name gen_ai.prompt.N.role gen_ai.prompt.N.tool_call_id
gen_ai.prompt.N.tool_calls.N.id gen_ai.prompt.N.tool_calls.N.name
llm.request.type llm.response.finish_reason llm.response.id llm.response.stop_reason llm.user
traceloop.association.properties.session_id traceloop.association.properties.user_id
traceloop.entity.name traceloop.entity.path traceloop.entity.version traceloop.prompt.key traceloop.prompt.version
traceloop.prompt.version_name traceloop.span.kind traceloop.workflow.name
"""
_FRAMEWORKS: Final = """
agent_name ai.model.id ai.model.provider ai.operationId ai.response.finishReason ai.response.id ai.response.model
ai.response.timestamp ai.toolCall.id ai.toolCall.name
langfuse.environment langfuse.observation.level langfuse.observation.model.name langfuse.observation.type
langfuse.release langfuse.session.id langfuse.trace.name langfuse.user.id langfuse.version
langsmith.span.kind litellm.call_id litellm.provider.model llm.is_streaming lmnr.span.type logfire.span_type mlflow.spanType model_name operation.name
trace.id trace.name
"""
FACTS: Final = frozenset(
    name
    for convention in (_SEMCONV, _OPENTELEMETRY, _OPENINFERENCE, _OPENLLMETRY, _FRAMEWORKS)
    for name in convention.split()
)

_WORDS: Final = """
Agent Chat ChatCompletion Completion Completions CreateEmbedding CreateResponse Embedding Embeddings
LLM Response Responses agent agents call chain chat client completion completions create_agent create_memory
create_memory_store delete_memory delete_memory_store embedding embeddings execute_tool generate_content
generation graph handoff invoke_agent invoke_workflow inference mcp model node openai plan request response
responses rerank retrieval run running search_memory span step task text_completion tool tools
transcription update_memory workflow
DELETE GET HEAD OPTIONS PATCH POST PUT
"""
SPAN_NAME_WORDS: Final = frozenset(_WORDS.split())
"""Words of the names that instrumentations give spans, besides models, agents and tools."""
# A name without a space is a function's, a class's or an operation's.
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][\w.:/<>\[\]()'-]{0,99}\Z", re.ASCII)


def is_fact_name(key: str) -> bool:
    """Return whether a text under this name is known to be no content."""
    return key in FACTS or (len(key) <= _MAX_FACT_CHARACTERS and "." in key and _NUMBER.sub(".N", key) in FACTS)


def is_harmless(key: str, value: object) -> bool:
    """Return whether an attribute is known to be no content: a number, a truth value, an empty text, a fact."""
    # A single number has no text in it, whatever its name.
    if isinstance(value, bool | int | float):
        return True
    if isinstance(value, str):
        return not value or (len(value) <= _MAX_FACT_CHARACTERS and is_fact_name(key))
    if not isinstance(value, list | tuple):
        return False
    if all(isinstance(item, bool | int | float) for item in value):
        return len(value) <= _MAX_NUMBERS
    return len(value) <= _MAX_FACT_ITEMS and all(is_harmless(key, item) for item in value)


def is_identifier(name: str) -> bool:
    """Return whether a name of a span or an event is one of a program's own: a single word, as in code."""
    return _IDENTIFIER.match(name) is not None
