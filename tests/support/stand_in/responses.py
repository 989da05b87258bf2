"""What the stand-in answers on the responses API, whole or as OpenAI's sequence of events; models with a `/`: OpenRouter's way."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Final

from llm_otel_broadcast.stand_in.answers import CREATED, Answer

Item = dict[str, Any]
_PRICE_IN, _PRICE_OUT = 2.5e-6, 1e-5  # USD a token
_numbers = count(1)
_ENDS: Final = frozenset({"completed", "incomplete", "failed"})
_DELTAS: Final = {
    "output_text": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
    "summary_text": ("response.reasoning_summary_text", "text"),
    "reasoning_text": ("response.reasoning_text", "text"),
}
"""Kinds of parts: what their events are called, and which member comes in pieces."""
_ARGUMENTS: Final = {
    "function_call": ("response.function_call_arguments", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input", "input"),
}


def spent(asked: int, answered: int, *, model: str = "", **details: int) -> dict[str, Any]:
    """Return a usage; OpenRouter's with cost. `details`: cached_tokens, cache_write_tokens, reasoning_tokens."""
    read = {name: details[name] for name in ("cached_tokens", "cache_write_tokens") if name in details}
    usage: dict[str, Any] = {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0, **read},
        "output_tokens": answered,
        "output_tokens_details": {"reasoning_tokens": details.get("reasoning_tokens", 0)},
        "total_tokens": asked + answered,
    }
    if "/" in model:
        prompt, answer = round(asked * _PRICE_IN, 9), round(answered * _PRICE_OUT, 9)
        usage |= {
            "cost": round(prompt + answer, 9),
            "is_byok": False,
            "cost_details": {
                "upstream_inference_cost": None,
                "upstream_inference_input_cost": prompt,
                "upstream_inference_output_cost": answer,
            },
        }
    return usage


def text(content: str | None = None, *, refusal: str | None = None) -> Item:
    """Return a message of the model."""
    parts: list[Item] = []
    if content is not None:
        parts.append({"type": "output_text", "text": content, "annotations": [], "logprobs": []})
    if refusal is not None:
        parts.append({"type": "refusal", "refusal": refusal})
    return item("message", role="assistant", content=parts)


def reasoning(*summaries: str, encrypted: str | None = None) -> Item:
    """Return reasoning, told in summaries."""
    parts = [{"type": "summary_text", "text": summary} for summary in summaries]
    return item("reasoning", summary=parts, encrypted_content=encrypted)


def function_call(call_id: str, name: str, arguments: str) -> Item:
    """Return the call of a function; `arguments` is JSON text."""
    return item("function_call", call_id=call_id, name=name, arguments=arguments)


def item(kind: str, **members: Any) -> Item:
    """Return an item of any type, for instance a call of a built-in tool."""
    return {"id": f"{kind}_{next(_numbers):06d}", "type": kind, "status": "completed", **members}


def response(*items: Item, status: str = "completed", **members: Any) -> dict[str, Any]:
    """Return a whole response; `members` are added at its top level (`model`, `usage`, `error`, `incomplete_details`)."""
    model = str(members.get("model") or "gpt-4o-mini")
    number = next(_numbers)
    return {
        "id": f"gen-{CREATED}-{number:020d}" if "/" in model else f"resp_{number:012d}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": model,
        "output": list(items),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "service_tier": "default",
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
        **({"provider": "OpenAI"} if "/" in model else {}),
        **members,
    }


def whole(*items: Item, **members: Any) -> Answer:
    """Return the answer to `responses.create` or `responses.retrieve`; arguments as in `response`."""
    return Answer(body=_json(response(*items, **members)))


def streamed(*items: Item, finished: bool = True, **members: Any) -> Answer:
    """Return the same as a stream, each word an event; `finished=False`: it ends before the response does."""
    document = response(*items, **members)
    made = [_event(event) for event in events(document)]
    done = (b"data: [DONE]\n\n",) if "/" in document["model"] else ()
    return Answer(events=(*made, *done) if finished else tuple(made[:-1]))


def events(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a response in OpenAI's order; the last carries the whole of it."""
    numbers = count()
    begun = {
        **document,
        "status": "in_progress",
        "output": [],
        "usage": None,
        "error": None,
        "incomplete_details": None,
    }
    yield {"type": "response.created", "sequence_number": next(numbers), "response": begun}
    yield {"type": "response.in_progress", "sequence_number": next(numbers), "response": begun}
    for index, made in enumerate(document["output"]):
        for event in _item_events(made, {"item_id": made["id"], "output_index": index}):
            yield {**event, "sequence_number": next(numbers)}
    ending = document["status"] if document["status"] in _ENDS else "completed"
    yield {"type": f"response.{ending}", "sequence_number": next(numbers), "response": document}


def _item_events(made: Item, place: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    empty: Item = {"content": [], "summary": [], "arguments": "", "input": "", "result": None, "status": "in_progress"}
    begun = {**made, **{name: value for name, value in empty.items() if name in made}}
    yield {"type": "response.output_item.added", "output_index": place["output_index"], "item": begun}
    for name, kind in (("summary", "response.reasoning_summary_part"), ("content", "response.content_part")):
        for number, part in enumerate(made.get(name) or ()):
            yield from _part_events(part, {**place, f"{name}_index": number}, kind)
    if made["type"] in _ARGUMENTS:
        event, member = _ARGUMENTS[made["type"]]
        for piece in _pieces(made[member]):
            yield {"type": f"{event}.delta", **place, "delta": piece}
        yield {"type": f"{event}.done", **place, member: made[member]}
    elif made["type"].endswith("_call"):
        yield {"type": f"response.{made['type']}.completed", **place}
    yield {"type": "response.output_item.done", "output_index": place["output_index"], "item": made}


def _part_events(part: Item, place: Mapping[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    event, member = _DELTAS[part["type"]]
    yield {"type": f"{kind}.added", **place, "part": {**part, member: ""}}
    for piece in _pieces(part[member]):
        yield {"type": f"{event}.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": f"{event}.done", **place, member: part[member], "logprobs": []}
    yield {"type": f"{kind}.done", **place, "part": part}


def _pieces(said: str) -> Iterable[str]:
    words = said.split(" ")
    return [word if position == 0 else f" {word}" for position, word in enumerate(words)] if said else []


def _event(document: Mapping[str, Any]) -> bytes:
    return f"event: {document['type']}\ndata: ".encode() + _json(document) + b"\n\n"


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
