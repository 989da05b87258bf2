"""The conventions of GenAI instrumentations: which spans are theirs, and which of their attributes and events are content.

OpenTelemetry's GenAI conventions old and new, OpenInference, OpenLLMetry (traceloop), and what frameworks and SDKs add. A text
under a name that neither this file nor the allow-list has may be content of any kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from llm_otel_broadcast.other_spans.allow_list import is_fact_name

# What content is: the parts that `hide` knows, either of what was asked and answered, or an error's text.
INPUTS, OUTPUTS, SYSTEM, TOOLS, ARGUMENTS, EITHER, ERROR = (
    "inputs",
    "outputs",
    "system",
    "tools",
    "tool_arguments",
    "either",
    "error",
)

_PREFIXES: Final = (
    "gen_ai.",
    "llm.",
    "openinference.",
    "langfuse.observation.",
    "langsmith.",
    "mlflow.span",
    "pydantic_ai.",
    "ai.operationId",
    "lmnr.span.",
)
# Other attributes of theirs are on every span of a workflow, whatever it does (database, HTTP).
_SIGNATURES: Final = frozenset({"traceloop.span.kind", "traceloop.entity.name", "traceloop.entity.input"})
# Attributes that processors copy from the baggage to any span.
_CARRIED: Final = frozenset({"gen_ai.conversation.id"})


def is_genai(keys: Iterable[str]) -> bool:
    """Return whether a span with these attributes is about a model, an agent or a tool. On the host's thread."""
    for key in keys:  # noqa: SIM110  # twice as fast as `any`
        if (key.startswith(_PREFIXES) and key not in _CARRIED) or key in _SIGNATURES:
            return True
    return False


STRUCTURED: Final = {
    "gen_ai.input.messages": INPUTS,
    "gen_ai.output.messages": OUTPUTS,
    "gen_ai.system_instructions": SYSTEM,
    "gen_ai.tool.definitions": TOOLS,
}
"""Attributes that are JSON in the form of the GenAI conventions' schemas."""
INDEXED: Final = re.compile(
    r"(?P<family>llm\.input_messages|llm\.output_messages|gen_ai\.prompt|gen_ai\.completion)\.(?P<index>\d+)\.(?P<rest>.+)"
)
"""Messages spread over attributes, each with its number."""
_EXACT: Final = {
    **STRUCTURED,
    "agent_instructions": SYSTEM,
    "ai.prompt.tools": TOOLS,
    "ai.toolCall.args": ARGUMENTS,
    "ai.toolCall.result": EITHER,
    "all_messages_events": EITHER,
    "events": EITHER,
    "exception.message": ERROR,
    "exception.stacktrace": ERROR,
    "final_result": OUTPUTS,
    "gcp.vertex.agent.data": EITHER,
    "gcp.vertex.agent.llm_request": INPUTS,
    "gcp.vertex.agent.llm_response": OUTPUTS,
    "gcp.vertex.agent.tool_call_args": ARGUMENTS,
    "gcp.vertex.agent.tool_response": EITHER,
    "gen_ai.tool.call.arguments": ARGUMENTS,
    "gen_ai.tool.call.result": EITHER,
    "gen_ai.tool.description": TOOLS,
    "gen_ai.agent.description": SYSTEM,
    "input.value": INPUTS,
    "llm.invocation_parameters": EITHER,
    "logfire.msg": EITHER,
    "logfire.pending_span": EITHER,
    "model_request_parameters": TOOLS,
    "otel.status_description": ERROR,
    "output.value": OUTPUTS,
    "request_data": INPUTS,
    "response_data": OUTPUTS,
    "span.status_message": ERROR,
    "tool.description": TOOLS,
    "tool.json_schema": TOOLS,
    "tool.parameters": ARGUMENTS,
    "tool_arguments": ARGUMENTS,
    "tool_response": EITHER,
    "traceloop.entity.input": INPUTS,
    "traceloop.entity.output": OUTPUTS,
}
# By their beginnings, as an instrumentation adds names to its own: what comes next is withheld as well.
_FAMILIES: Final = (
    ("ai.prompt", INPUTS),
    ("ai.response.", OUTPUTS),
    ("ai.result.", OUTPUTS),
    ("ai.value", INPUTS),
    ("ai.embedding", OUTPUTS),
    ("braintrust.input", INPUTS),
    ("braintrust.output", OUTPUTS),
    ("document.", OUTPUTS),
    ("embedding.", INPUTS),
    ("gen_ai.completion", OUTPUTS),
    ("gen_ai.content.completion", OUTPUTS),
    ("gen_ai.content.prompt", INPUTS),
    ("gen_ai.prompt", INPUTS),
    ("gen_ai.retrieval.", EITHER),
    ("gen_ai.memory.", EITHER),
    ("haystack.component.input", INPUTS),
    ("haystack.component.output", OUTPUTS),
    ("langfuse.observation.input", INPUTS),
    ("langfuse.observation.output", OUTPUTS),
    ("langfuse.trace.input", INPUTS),
    ("langfuse.trace.output", OUTPUTS),
    ("llm.choices", OUTPUTS),
    ("llm.completions", OUTPUTS),
    ("llm.function_call", ARGUMENTS),
    ("llm.input_messages", INPUTS),
    ("llm.output_messages", OUTPUTS),
    ("llm.prompt", INPUTS),
    ("llm.request.functions", TOOLS),
    ("llm.tools", TOOLS),
    ("lmnr.span.input", INPUTS),
    ("lmnr.span.output", OUTPUTS),
    ("message.", EITHER),
    ("message_content.", EITHER),
    ("mlflow.chat.messages", EITHER),
    ("mlflow.chat.tools", TOOLS),
    ("mlflow.spanInputs", INPUTS),
    ("mlflow.spanOutputs", OUTPUTS),
    ("pydantic_ai.all_messages", EITHER),
    ("reranker.", EITHER),
    ("retrieval.documents", OUTPUTS),
    ("span.input", INPUTS),
    ("span.output", OUTPUTS),
    ("tool_call.", ARGUMENTS),
    ("trace.input", INPUTS),
    ("trace.output", OUTPUTS),
    ("traceloop.prompt", INPUTS),
)
_MAX_NAME_CHARACTERS: Final = 256
_EVENTS: Final = {
    "gen_ai.assistant.message": INPUTS,
    "gen_ai.choice": OUTPUTS,
    "gen_ai.client.inference.operation.details": EITHER,
    "gen_ai.content.completion": OUTPUTS,
    "gen_ai.content.prompt": INPUTS,
    "gen_ai.evaluation.result": EITHER,
    "gen_ai.system.message": SYSTEM,
    "gen_ai.tool.message": INPUTS,
    "gen_ai.user.message": INPUTS,
}


def content_of(key: str) -> str | None:
    """Return what an attribute's text is, None when it is known to be no content; what nobody knows may be any."""
    # A name may be as long as an instrumentation likes, and the cache holds thousands of them.
    return _content_of(key if len(key) <= _MAX_NAME_CHARACTERS else key[:_MAX_NAME_CHARACTERS])


@lru_cache(maxsize=4096)
def _content_of(key: str) -> str | None:
    exact = _EXACT.get(key)
    if exact is not None:
        return exact
    if is_fact_name(key) or key in METADATA_AS_JSON or METADATA.match(key):
        return None
    # What nobody knows may be content of any kind.
    return next((part for start, part in _FAMILIES if key.startswith(start)), EITHER)


def content_of_event(name: str) -> str | None:
    """Return what an event is all about, None when its attributes have to be looked at one by one."""
    return _EVENTS.get(name)


USERS: Final = frozenset(
    {
        "user.id",
        "enduser.id",
        "langfuse.user.id",
        "llm.user",
        "gen_ai.user.id",
        "gen_ai.request.user",
        "traceloop.association.properties.user_id",
    }
)
SESSIONS: Final = (
    "session.id",
    "gen_ai.conversation.id",
    "langfuse.session.id",
    "traceloop.association.properties.session_id",
)
METADATA: Final = re.compile(
    r"(?:trace\.metadata|metadata|traceloop\.association\.properties|langfuse\.(?:observation|trace)\.metadata)\.(?P<key>.+)"
)
METADATA_AS_JSON: Final = frozenset({"metadata", "langfuse.observation.metadata", "langfuse.trace.metadata"})
