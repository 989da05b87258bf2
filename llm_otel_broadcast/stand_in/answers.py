"""What the stand-in answers, in the shapes of the two APIs: OpenAI's, and OpenRouter's for models with a `/` in the name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final, TypeAlias

# One moment for all answers, so that two runs get the same bytes.
CREATED: Final = 1_790_000_000
# Counted and not random, so that two runs get the same ids.
_numbers = count(1)
_AUDIO_CHUNK_CHARACTERS: Final = 64
_INPUT_USD_PER_TOKEN: Final = 2.5e-6
_OUTPUT_USD_PER_TOKEN: Final = 1e-5

Json: TypeAlias = dict[str, Any]
"""A JSON object, in the shapes of the APIs."""
Usage: TypeAlias = Json


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: a `body`, or `events` that are sent one by one as server-sent events.

    Attributes:
        delay: seconds before the answer begins.
        pause: seconds between events.
        cut: the connection breaks where the answer should end.
    """

    status: int = 200
    body: bytes = b""
    events: tuple[bytes, ...] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pause: float = 0.0
    cut: bool = False

    def slower(self, *, delay: float = 0.0, pause: float = 0.0) -> Answer:
        """Return the same answer, taking its time."""
        return replace(self, delay=delay, pause=pause)


def usage_of(input_tokens: int, output_tokens: int, *, model: str = "", **details: int) -> Usage:
    """Return a usage; OpenRouter's with cost. `details`: cached_tokens, cache_write_tokens, reasoning_tokens, audio_tokens."""
    counts: Usage = {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }
    prompt_details = ("cached_tokens", "cache_write_tokens", "audio_tokens")
    counts["prompt_tokens_details"] = {
        "cached_tokens": 0,
        **{name: details[name] for name in prompt_details if name in details},
    }
    counts["completion_tokens_details"] = {"reasoning_tokens": details.get("reasoning_tokens", 0)}
    # OpenRouter states cost in every answer, OpenAI in none.
    if "/" in model:
        prompt, answer = round(input_tokens * _INPUT_USD_PER_TOKEN, 9), round(output_tokens * _OUTPUT_USD_PER_TOKEN, 9)
        counts |= {
            "cost": round(prompt + answer, 9),
            "is_byok": False,
            "cost_details": {
                "upstream_inference_cost": None,
                "upstream_inference_prompt_cost": prompt,
                "upstream_inference_completions_cost": answer,
            },
        }
    return counts


def message(
    content: str | None = None,
    *,
    tool_calls: Sequence[tuple[str, str, str]] = (),
    reasoning: str | None = None,
    refusal: str | None = None,
    **members: object,
) -> Json:
    """Return an assistant's message; `tool_calls` are (id, name, arguments as JSON text), `members` are added as they are."""
    document: Json = {"role": "assistant", "content": content, "refusal": refusal}
    if reasoning is not None:
        document["reasoning"] = reasoning
    if tool_calls:
        document["tool_calls"] = [
            {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}
            for identity, name, arguments in tool_calls
        ]
    return {**document, **members}


def completion(*messages: Json, model: str = "gpt-4o-mini", usage: Usage | None = None, **members: object) -> Answer:
    """Return a whole chat completion with one choice for each message; `members` are added at its top level."""
    choices = [
        # With the members that the APIs send although nothing is in them: readers must bear null.
        {"index": index, "message": message, "finish_reason": _finish_reason(message), "logprobs": None}
        for index, message in enumerate(messages)
    ]
    document = {**_head("chat.completion", model), "choices": choices, **members}
    if usage is not None:
        document["usage"] = usage
    return Answer(body=to_json(document))


def stream(
    *messages: Json,
    model: str = "gpt-4o-mini",
    usage: Usage | None = None,
    azure: bool = False,
    finished: bool = True,
) -> Answer:
    """Return the same as a stream, each word a chunk; the choices take turns.

    Args:
        messages: one choice each.
        model: with a `/`: OpenRouter's way, where the last chunk repeats the terminal choice with the usage.
        usage: sent with the last chunk; None: none.
        azure: begins with Azure's chunk without choices.
        finished: False: no finish reason and no `[DONE]`.
    """
    head = _head("chat.completion.chunk", model)
    events = [event({**head, "id": "", "model": "", "choices": [], "prompt_filter_results": []})] if azure else []
    # Choices come mixed: a reader must keep them apart by their index.
    pending = [(index, _deltas(message)) for index, message in enumerate(messages)]
    while pending:
        for index, deltas in list(pending):
            delta = next(deltas, None)
            if delta is None:
                pending.remove((index, deltas))
                continue
            events.append(event({**head, "choices": [_chunk_choice(index, delta, None)]}))
    if not finished:
        return Answer(events=tuple(events))
    ends = [_chunk_choice(index, {}, _finish_reason(message)) for index, message in enumerate(messages)]
    events += [event({**head, "choices": [end]}) for end in ends]
    # OpenAI's chunk with the usage has no choices, OpenRouter's repeats the last ones.
    if usage is not None:
        events.append(event({**head, "choices": ends if "/" in model else [], "usage": usage}))
    return Answer(events=(*events, b"data: [DONE]\n\n"))


def mid_stream_error(text: str, problem: str, *, model: str = "openai/gpt-4o", code: int = 502) -> Answer:
    """Return a stream that breaks off the way OpenRouter reports it."""
    head = _head("chat.completion.chunk", model)
    events = [event({**head, "choices": [_chunk_choice(0, delta, None)]}) for delta in _deltas(message(text))]
    failure = {
        **head,
        "error": {"code": code, "message": problem},
        "choices": [_chunk_choice(0, {"content": ""}, "error")],
    }
    return Answer(events=(*events, event(failure)))


def error(status: int, text: str, *, code: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error in OpenAI's shape."""
    body = {"error": {"message": text, "type": "invalid_request_error", "param": None, "code": code}}
    return Answer(status, to_json(body), headers=headers or {})


def _head(kind: str, model: str) -> Json:
    number = next(_numbers)
    head: Json = {"object": kind, "created": CREATED, "model": model}
    if "/" in model:
        # OpenRouter's ids and the provider that it chose; OpenAI's tier and fingerprint.
        return {"id": f"gen-{CREATED}-{number:020d}", "provider": "OpenAI", **head}
    return {"id": f"chatcmpl-{number:012d}", "service_tier": "default", "system_fingerprint": "fp_stand_in", **head}


def _finish_reason(message: Mapping[str, object]) -> str:
    return "tool_calls" if message.get("tool_calls") else "stop"


def _chunk_choice(index: int, delta: Mapping[str, object], reason: str | None) -> Json:
    return {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}


def _deltas(message: Json) -> Iterator[Json]:
    # As OpenAI has it: the role comes first, with an empty text.
    yield {"role": "assistant", "content": ""}
    for name in ("reasoning", "content", "refusal"):
        for piece in pieces(message.get(name) or ""):
            yield {name: piece}
    if audio := message.get("audio"):
        # The way it streams: the id, the words, the data in pieces, the time until which the API keeps it.
        yield {"audio": {"id": audio["id"]}}
        for piece in pieces(audio["transcript"]):
            yield {"audio": {"transcript": piece}}
        data = audio["data"]
        for start in range(0, len(data), _AUDIO_CHUNK_CHARACTERS):
            yield {"audio": {"data": data[start : start + _AUDIO_CHUNK_CHARACTERS]}}
        yield {"audio": {"expires_at": CREATED}}
    if message.get("images"):
        yield {"images": message["images"]}
    for index, call in enumerate(message.get("tool_calls") or ()):
        # Id and name come once, then the arguments in pieces that name the call by its index alone.
        function = call["function"]
        yield {"tool_calls": [{**call, "index": index, "function": {"name": function["name"], "arguments": ""}}]}
        for piece in pieces(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def pieces(text: str) -> list[str]:
    """Return a text word by word."""
    words = text.split(" ")
    return [word if position == 0 else f" {word}" for position, word in enumerate(words)] if text else []


def event(document: Mapping[str, object], *, with_type: bool = False) -> bytes:
    """Return a server-sent event; `with_type` names it after its type, as the newer APIs do."""
    name = f"event: {document['type']}\n".encode() if with_type else b""
    return name + b"data: " + to_json(document) + b"\n\n"


def to_json(document: Mapping[str, object]) -> bytes:
    """Return a document as JSON."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
