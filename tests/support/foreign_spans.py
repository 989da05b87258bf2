"""Spans as other instrumentations make them, with a canary in each of their contents. Hand-made after their real ones."""

from __future__ import annotations

import json
from typing import Any

CANARY = "canary-tweet"


def said(text: str = "Hi") -> str:
    return f"{CANARY} {text}"


def messages(role: str, **more: Any) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": said()}], **more}])


SEMCONV: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "resp-1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.request.temperature": 0.5,
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.output.type": "text",
    "server.address": "api.openai.com",
}
SEMCONV_CONTENT = {
    "gen_ai.input.messages": json.dumps(
        [
            {"role": "system", "parts": [{"type": "text", "content": said("system")}]},
            {"role": "user", "parts": [{"type": "text", "content": said("question")}]},
        ]
    ),
    "gen_ai.output.messages": json.dumps(
        [
            {
                "role": "assistant",
                "finish_reason": "stop",
                "parts": [
                    {"type": "reasoning", "content": said("reasoning")},
                    {"type": "text", "content": said("answer")},
                    {"type": "tool_call", "id": "1", "name": "f", "arguments": {"x": said("argument")}},
                ],
            }
        ]
    ),
    "gen_ai.system_instructions": json.dumps([{"type": "text", "content": said("instructions")}]),
    "gen_ai.tool.definitions": json.dumps([{"type": "function", "name": "f", "description": said("definition")}]),
}
OPENINFERENCE: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o",
    "llm.provider": "openai",
    "llm.system": "openai",
    "llm.token_count.prompt": 10,
    "llm.token_count.completion": 5,
    "llm.token_count.total": 15,
    "llm.input_messages.0.message.role": "system",
    "llm.input_messages.1.message.role": "user",
    "llm.output_messages.0.message.role": "assistant",
    "input.mime_type": "application/json",
    "output.mime_type": "application/json",
    "session.id": "s-1",
    "user.id": "ann",
    "metadata": '{"team": "search", "email": "ann@x"}',
}
OPENINFERENCE_CONTENT = {
    "input.value": json.dumps({"messages": [{"role": "user", "content": said()}]}),
    "output.value": json.dumps({"choices": [{"message": {"content": said()}}]}),
    "llm.input_messages.0.message.content": said("system"),
    "llm.input_messages.1.message.content": said("question"),
    "llm.input_messages.1.message.contents.0.message_content.text": said(),
    "llm.input_messages.1.message.contents.1.message_content.image.image.url": f"https://x/{CANARY}.png",
    "llm.output_messages.0.message.content": said("answer"),
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": json.dumps({"x": said("argument")}),
    "llm.invocation_parameters": json.dumps({"model": "gpt-4o", "stop": [said()]}),
    "llm.tools.0.tool.json_schema": json.dumps({"description": said("definition")}),
    "llm.prompt_template.template": said(),
    "llm.prompt_template.variables": json.dumps({"x": said()}),
    "retrieval.documents.0.document.content": said(),
    "embedding.embeddings.0.embedding.text": said(),
    "reranker.query": said(),
}
TRACELOOP: dict[str, Any] = {
    "gen_ai.system": "openai",
    "llm.request.type": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.usage.prompt_tokens": 10,
    "gen_ai.usage.completion_tokens": 5,
    "llm.usage.total_tokens": 15,
    "llm.is_streaming": False,
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.finish_reason": "stop",
    "traceloop.workflow.name": "work",
    "traceloop.association.properties.user_id": "ann",
    "traceloop.association.properties.email": "ann@x",
}
TRACELOOP_CONTENT = {
    "gen_ai.prompt.0.content": said("system"),
    "gen_ai.prompt.1.content": said("question"),
    "gen_ai.completion.0.content": said("answer"),
    "gen_ai.completion.0.tool_calls.0.arguments": json.dumps({"x": said("argument")}),
    "llm.request.functions.0.description": said("definition"),
    "llm.request.functions.0.parameters": json.dumps({"description": said()}),
    "traceloop.entity.input": json.dumps({"args": [said()]}),
    "traceloop.entity.output": json.dumps(said()),
    "traceloop.prompt.template": said(),
}
OTHERS_CONTENT = {
    "gen_ai.prompt": said(),
    "gen_ai.completion": said(),
    "gen_ai.tool.call.arguments": json.dumps({"x": said()}),
    "gen_ai.tool.call.result": said(),
    "gen_ai.retrieval.query.text": said(),
    "all_messages_events": json.dumps([{"content": said()}]),
    "pydantic_ai.all_messages": json.dumps([{"content": said()}]),
    "events": json.dumps([{"content": said()}]),
    "final_result": said(),
    "tool_arguments": json.dumps({"x": said()}),
    "tool_response": said(),
    "model_request_parameters": json.dumps({"function_tools": [{"description": said()}]}),
    "logfire.msg": said(),
    "request_data": json.dumps({"messages": [said()]}),
    "response_data": json.dumps({"message": said()}),
    "langfuse.observation.input": said(),
    "langfuse.trace.output": said(),
    "mlflow.spanInputs": said(),
    "span.input": said(),
    "trace.output": said(),
    "ai.prompt.messages": json.dumps([said()]),
    "ai.response.text": said(),
    "ai.toolCall.args": json.dumps({"x": said()}),
    "gcp.vertex.agent.llm_request": json.dumps({"contents": [said()]}),
    "braintrust.input_json": json.dumps([said()]),
    "lmnr.span.output": said(),
    "haystack.component.input": said(),
    "crewai.task.goal": said(),
    "some.framework.userPrompt": said(),
    "their.own.query_text": said(),
    "list.of.messages": [said(), said()],
}
CONVENTIONS = {
    "semconv": (SEMCONV, SEMCONV_CONTENT),
    "openinference": (OPENINFERENCE, OPENINFERENCE_CONTENT),
    "traceloop": (TRACELOOP, TRACELOOP_CONTENT),
    "others": (SEMCONV, OTHERS_CONTENT),
}
EVENTS = {
    "gen_ai.user.message": {"content": said(), "gen_ai.system": "openai"},
    "gen_ai.system.message": {"content": said()},
    "gen_ai.choice": {"message": json.dumps({"content": said()}), "index": 0, "finish_reason": "stop"},
    "gen_ai.content.prompt": {"gen_ai.prompt": said()},
    "gen_ai.content.completion": {"gen_ai.completion": said()},
    "gen_ai.client.inference.operation.details": {"gen_ai.input.messages": messages("user")},
}
