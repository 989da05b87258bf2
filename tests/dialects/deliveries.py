"""Real deliveries of Broadcast, and for each the call that it tells of: arguments for the client, answer of the server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_otel_broadcast.stand_in.answers import Answer, event, pieces, to_json
from tests.support.stand_in import responses

DATA = Path(__file__).parent / "data"
Json = dict[str, Any]
_COSTS = {
    "cost": "gen_ai.usage.total_cost",
    "upstream_inference_prompt_cost": "gen_ai.usage.input_cost",
    "upstream_inference_completions_cost": "gen_ai.usage.output_cost",
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery in the form of an excerpt's file; `spans` are its spans, the generation first."""

    name: str
    document: Json

    @property
    def spans(self) -> list[Json]:
        return [resource["scopeSpans"][0]["spans"][0] for resource in self.document["resourceSpans"]]

    @property
    def root(self) -> Json:
        return values_of(self.spans[0]["attributes"])

    @property
    def resource(self) -> Json:
        return values_of(self.document["resourceSpans"][0]["resource"]["attributes"])

    @property
    def is_partial(self) -> bool:
        return "_partial" in self.document

    @property
    def is_streamed(self) -> bool:
        return self.is_broken_off or "trace.metadata.openrouter.provider_body_end_ms" in self.root

    @property
    def is_broken_off(self) -> bool:
        return "span.status_message" in self.root

    @property
    def is_of_responses(self) -> bool:
        return "codex" in self.name

    @property
    def has_content(self) -> bool:
        return "gen_ai.completion" in self.root

    @property
    def completion(self) -> Json:
        return json.loads(self.root.get("gen_ai.completion", "{}"))


def delivery(name: str) -> Delivery:
    return Delivery(name, json.loads((DATA / f"{name}.json").read_text(encoding="utf-8")))


def values_of(attributes: list[Json]) -> Json:
    """Return attributes in their order; every `doubleValue` as a float, as the wire does not tell 4 from 4.0."""
    return {
        each["key"]: float(value) if kind == "doubleValue" else value
        for each in attributes
        for kind, value in each["value"].items()
    }


def arguments_of(delivery: Delivery) -> Json:
    """Return what the client has to be called with."""
    root = delivery.root
    own = {
        key.removeprefix("trace.metadata."): value
        for key, value in root.items()
        if key.startswith("trace.metadata.")
        and not key.startswith(("trace.metadata.openrouter.", "trace.metadata.prov"))
    }
    extra: Json = {"trace": own} if own else {}
    if "session.id" in root:
        extra["session_id"] = root["session.id"]
    arguments: Json = {"model": root["gen_ai.request.model"], "stream": delivery.is_streamed, "extra_body": extra}
    if "user.id" in root:
        arguments["user"] = root["user.id"]
    messages = json.loads(root.get("gen_ai.prompt", '{"messages": [{"role": "user", "content": "Hi"}]}'))["messages"]
    tool: Json = {"name": "exec_command", "parameters": {"type": "object", "properties": {}}}
    if delivery.is_of_responses:
        instructions, *items = messages
        text = instructions["content"]
        arguments["instructions"] = text if isinstance(text, str) else text[0]["text"]
        arguments["input"] = [item for message in items for item in _items_of(message)]
        return arguments | {"tools": [{"type": "function", **tool}]}
    arguments["messages"] = messages
    if "toolCalls" in delivery.completion:
        arguments["tools"] = [{"type": "function", "function": tool}]
    return arguments


def _items_of(message: Json) -> list[Json]:
    if message["role"] == "tool":
        return [{"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}]
    content = [{"type": "input_text", "text": part["text"]} for part in message["content"]]
    items: list[Json] = [{"type": "message", "role": message["role"], "content": content}] if content else []
    for call in message.get("tool_calls", ()):
        items.append({"type": "function_call", "call_id": call["id"], **call["function"]})
    return items


def answer_of(delivery: Delivery) -> Answer:
    """Return what OpenRouter answered, as far as the delivery tells."""
    root = delivery.root
    identity = root["gen_ai.response.id"]
    head = {
        "id": identity,
        "model": root["gen_ai.response.model"],
        "provider": root["trace.metadata.openrouter.provider_name"],
    }
    headers = {"X-Generation-Id": identity}
    attempts = json.loads(root.get("trace.metadata.provider_responses", "[]"))
    routing: Json = {}
    if attempts:
        tried = [{"provider": each["provider_name"], "status": each["status"]} for each in attempts]
        routing = {"openrouter_metadata": {"strategy": "direct", "attempts": tried}}
    completion, usage = delivery.completion, _usage_of(delivery)
    calls = completion.get("toolCalls") or []
    if delivery.is_of_responses:
        items = [responses.function_call(call["id"], **call["function"]) for call in calls]
        members = {**head, "id": "resp_1", "usage": usage, **routing}
        answer = responses.streamed(*items, **members)
        events = answer.events[:1] if delivery.is_broken_off else answer.events
        return Answer(events=events, headers=headers)
    reason = root["gen_ai.response.finish_reason"]
    end = {"finish_reason": reason, "native_finish_reason": root["trace.metadata.openrouter.finish_reason"]}
    if not delivery.is_streamed:
        message = {"role": "assistant", "content": "Ho"}
        document = {**head, "object": "chat.completion", "created": 1, "usage": usage}
        return Answer(body=to_json({**document, "choices": [{"index": 0, "message": message, **end}]}), headers=headers)
    deltas: list[Json] = [{"reasoning": piece} for piece in pieces(completion["reasoning"] or "")]
    deltas += [{"content": piece} for piece in pieces(completion["completion"])]
    deltas += [{"tool_calls": [call]} for call in calls]
    chunk = {**head, "object": "chat.completion.chunk", "created": 1}
    events = [event({**chunk, "choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    events.append(event({**chunk, "choices": [{"index": 0, "delta": {}, **end}], "usage": usage, **routing}))
    return Answer(events=(*events, b"data: [DONE]\n\n"), headers=headers)


def _usage_of(delivery: Delivery) -> Json:
    root = delivery.root

    def counts(prefix: str, **names: str) -> Json:
        return {name: root[f"{prefix}{key}"] for key, name in names.items() if f"{prefix}{key}" in root}

    prefix = "gen_ai.usage."
    read = counts(
        f"{prefix}input_tokens.",
        cached="cached_tokens",
        cache_write="cache_write_tokens",
        audio="audio_tokens",
        video="video_tokens",
    )
    written = counts(f"{prefix}output_tokens.", reasoning="reasoning_tokens", image="image_tokens")
    costs = {name: root[key] for name, key in _COSTS.items() if key in root}
    total = {"cost": costs.pop("cost")} if costs else {}
    names = ("input", "output") if delivery.is_of_responses else ("prompt", "completion")
    if delivery.is_of_responses:
        costs = {name.replace("prompt", "input").replace("completions", "output"): cost for name, cost in costs.items()}
    output_tokens = root.get(f"{prefix}output_tokens")
    if delivery.is_partial:
        # Not in the excerpt, and yet known.
        service = "trace.metadata.openrouter."
        length = root[f"{service}provider_body_end_ms"] - root[f"{service}first_token_ms"]
        output_tokens = 1 + round(length / root[f"{service}inter_token_latency_ms"])
    return {
        f"{names[0]}_tokens": root.get(f"{prefix}input_tokens"),
        f"{names[1]}_tokens": output_tokens,
        "total_tokens": root.get(f"{prefix}total_tokens"),
        f"{names[0]}_tokens_details": read,
        f"{names[1]}_tokens_details": written,
        "cost_details": costs,
        **total,
    }
