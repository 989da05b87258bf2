"""What filter rules and sampling ask of a foreign span, answered from the attributes of every convention. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from llm_otel_broadcast.fields.json_text import plain
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.other_spans.conventions import INPUTS, OUTPUTS, SESSIONS, SYSTEM, content_of

_NAMES: Final = {
    "model": (
        "gen_ai.request.model",
        "gen_ai.response.model",
        "llm.model_name",
        "embedding.model_name",
        "langfuse.observation.model.name",
    ),
    "provider": ("gen_ai.provider.name", "llm.provider", "gen_ai.system", "llm.system"),
    "session_id": SESSIONS,
    "user_id": ("user.id", "enduser.id", "langfuse.user.id", "traceloop.association.properties.user_id"),
    "api_key_name": ("trace.metadata.api_key_name",),
    "finish_reason": (
        "gen_ai.response.finish_reasons",
        "llm.finish_reason",
        "gen_ai.completion.0.finish_reason",
        "llm.output_messages.0.message.finish_reason",
    ),
    "total_cost": ("gen_ai.usage.total_cost", "gen_ai.usage.cost", "operation.cost", "llm.cost.total"),
    "prompt_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "completion_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
    ),
}
_TOTALS: Final = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total")
_COUNTS: Final = ("prompt_tokens", "completion_tokens")


def session_of(attributes: Mapping[str, object]) -> str | None:
    """Return the session that a span belongs to."""
    return next((value for key in SESSIONS if isinstance(value := attributes.get(key), str) and value), None)


def facts_of(attributes: Mapping[str, object]) -> Callable[[str], Sequence[object]]:
    """Return what answers for each field of filter rules, in every convention."""

    def values_of(field: str) -> Sequence[object]:
        if field == "input":
            return [_content_text(attributes, INPUTS, SYSTEM)]
        if field == "output":
            return [_content_text(attributes, OUTPUTS)]
        if field == "total_tokens":
            stated = next((attributes[key] for key in _TOTALS if key in attributes), None)
            counts = [facts[0] for name in _COUNTS if (facts := values_of(name))]
            numbers = [count for count in counts if isinstance(count, int)]
            # A total is computed only from both counts: half of it would be wrong.
            total = sum(numbers) if len(numbers) == len(_COUNTS) else None
            return [total if stated is None else stated]
        values = [attributes[key] for key in _NAMES[field] if key in attributes]
        if field == "finish_reason":
            return [reason for value in values for reason in (value if isinstance(value, list | tuple) else [value])]
        # A rule may mean the model that was asked for, or the one that answered.
        return values if field == "model" else values[:1]

    return values_of


def _content_text(attributes: Mapping[str, object], *parts: str) -> str:
    texts = [value for key, value in attributes.items() if isinstance(value, str) and content_of(key) in parts]
    return "\n".join(text for value in texts for text in leaves(value))


def leaves(text: str) -> list[str]:
    """Return the texts in a text that is JSON, else the text itself: rules look for words, not for quotes and escapes."""
    value = parsed(text)
    if value is None:
        return [text]
    texts: list[str] = []
    pending: list[object] = [value]
    while pending:
        item = pending.pop(0)
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, dict):
            pending = [*item.values(), *pending]
        elif isinstance(item, list):
            pending = [*item, *pending]
    return texts


def parsed(text: str) -> dict[str, object] | list[object] | None:
    """Return the object or list that a text is the JSON of, None when it is anything else."""
    # Most texts are plain: the first character spares them the parser.
    if text[:1] not in ("{", "["):
        return None
    value = or_else(lambda: json.loads(text), None)
    return plain(value) if isinstance(value, dict | list) else None
