"""Answers of the operations that take texts: legacy completions, embeddings, moderations."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llm_otel_broadcast.stand_in.answers import CREATED, Answer, Usage, event, pieces, to_json

_CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


def text_completion(*texts: str, model: str = "gpt-3.5-turbo-instruct", usage: Usage | None = None) -> Answer:
    """Return a whole legacy completion, one choice for each text."""
    choices = [_choice(index, text, "stop") for index, text in enumerate(texts)]
    return Answer(body=to_json({**_head(model), "choices": choices, "usage": usage}))


def text_stream(*texts: str, model: str = "gpt-3.5-turbo-instruct", usage: Usage | None = None) -> Answer:
    """Return the same as a stream, each word a chunk."""
    head = _head(model)
    made = [_choice(index, piece, None) for index, text in enumerate(texts) for piece in pieces(text)]
    made += [_choice(index, "", "stop") for index in range(len(texts))]
    events = [event({**head, "choices": [choice]}) for choice in made]
    events += [event({**head, "choices": [], "usage": usage})] if usage is not None else []
    return Answer(events=(*events, b"data: [DONE]\n\n"))


def embeddings(
    *vectors: Sequence[float], model: str = "text-embedding-3-small", tokens: int = 5, encoded: bool = False
) -> Answer:
    """Return embeddings, as lists of numbers or `encoded` as 32-bit floats in base64."""
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(vector) if encoded else list(vector)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Answer(body=to_json({"object": "list", "data": data, "model": model, "usage": usage}))


def moderation(*flagged: Sequence[str], model: str = "omni-moderation-latest") -> Answer:
    """Return a moderation, one result for each input with the categories it is flagged for."""
    results = [
        {
            "flagged": bool(found),
            "categories": {name: name in found for name in _CATEGORIES},
            "category_scores": {name: 0.9 if name in found else 0.01 for name in _CATEGORIES},
            "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
        }
        for found in flagged
    ]
    return Answer(body=to_json({"id": "modr-1", "model": model, "results": results}))


def decision(questions: Sequence[Mapping[str, Any]], *, model: str, tokens: int) -> Answer:
    """Return a decision: the first choice, the lowest level, and for everything else a probability of 0.9."""
    answers = [_decided(question) for question in questions]
    usage = {
        "input_tokens": tokens,
        "output_tokens": len(answers),
        "total_tokens": tokens + len(answers),
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return Answer(body=to_json({"model": model, "answers": answers, "usage": usage}))


def _decided(question: Mapping[str, Any]) -> dict[str, Any]:
    kind, name = question.get("type"), question.get("name")
    if kind == "choice":
        value = next(iter(question.get("choices") or [{}])).get("value")
        answer: dict[str, Any] = {"choice": value, "confidence": 0.9, "probabilities": []}
    elif kind == "score":
        answer = {"score": 0.0, "confidence": 0.9, "probabilities": []}
    else:
        kind, answer = "predicate", {"probability": 0.9}
    return {"type": kind, "name": name, **answer}


def inputs_of(asked: Mapping[str, Any], name: str) -> list[Any]:
    """Return the inputs of a request as a list: a text or a list of token ids is one."""
    value = asked.get(name)
    if isinstance(value, list) and value and not isinstance(value[0], int):
        return value
    return [value]


def length_of(one: Any) -> int:
    """Return the number of tokens of an input: its ids, or a fourth of its characters."""
    return len(one) if isinstance(one, list) else -(-len(json.dumps(one)) // 4)


def _head(model: str) -> dict[str, Any]:
    return {"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": model}


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "finish_reason": reason, "logprobs": None}


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
