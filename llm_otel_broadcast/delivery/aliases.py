"""Further names of facts for one destination, as its settings or its preset ask for them. Pure; runs on a lane's thread.

Made of what a dialect is given, so that what a destination may not have is in no alias either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeAlias

from llm_otel_broadcast.delivery.excerpts import excerpts_of
from llm_otel_broadcast.delivery.rule_values import provider_of
from llm_otel_broadcast.fields.metadata import (
    MAX_VALUE_CHARACTERS,
    attribute_of,
    metadata_attributes,
    metadata_json,
    plain_of,
)
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.enclosing_facts import EnclosingContent
from llm_otel_broadcast.record.generation import GenerationFacts
from llm_otel_broadcast.record.span_data import Attributes, AttributeValue, SpanData
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Cost, stated_cost
from llm_otel_broadcast.settings.aliases import ALL_METADATA, METADATA, facts_in

_TRACE_METADATA: Final = "trace.metadata."
_GENAI: Final = "gen_ai."
_TAGS: Final = "tags"


class _Source(NamedTuple):
    """What the facts of one span are read from; `facts` and `cost` of a generation only."""

    fields: Fields
    trace_id: int
    parent_span_id: int
    facts: GenerationFacts | None = None
    cost: Cost | None = None
    question: str = ""
    answer: str = ""


_Read: TypeAlias = Callable[[_Source], AttributeValue | None]


def _tags_of(source: _Source) -> list[str]:
    tags = source.fields.metadata.get(_TAGS)
    # Most are texts already; anything else is read where it cannot block (three quarters of the time that tags take).
    if type(tags) is not list or not all(type(tag) is str for tag in tags):
        tags = plain_of(tags)
    listed = [tags] if isinstance(tags, str) else tags if isinstance(tags, list) else []
    return [
        tag if isinstance(tag, str) else json.dumps(tag, ensure_ascii=False) for tag in listed if tag not in (None, "")
    ]


def _costs_of(source: _Source) -> str | None:
    if source.cost is None:
        return None
    parts = {"input_cost": source.cost.input, "output_cost": source.cost.output, "total_cost": source.cost.total}
    return json.dumps({name: usd for name, usd in parts.items() if usd is not None})


def _first_chunk_of(source: _Source) -> str | None:
    """Return when the first chunk came, as ISO 8601 has it."""
    facts = source.facts
    if facts is None or facts.first_chunk_ns is None:
        return None
    moment = datetime.fromtimestamp((facts.start_ns + facts.first_chunk_ns) / 1e9, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _of_call(read: Callable[[GenerationFacts], AttributeValue | None]) -> _Read:
    return lambda source: None if source.facts is None else read(source.facts)


def _of_usage(name: str) -> _Read:
    return lambda source: None if source.facts is None else getattr(source.facts.usage, name, None)


def _of_metadata(key: str) -> _Read:
    return lambda source: attribute_of(source.fields.metadata.get(key))


def _of_cost(name: str) -> _Read:
    return lambda source: None if (usd := getattr(source.cost, name, None)) is None else float(usd)


READERS: Final[Mapping[str, _Read]] = {
    "model": _of_call(lambda facts: facts.request_model),
    "provider": _of_call(provider_of),
    "session_id": lambda source: source.fields.session_id,
    "user_id": lambda source: source.fields.user,
    "finish_reason": _of_call(
        lambda facts: next((choice.finish_reason for choice in facts.choices if choice.finish_reason), None)
    ),
    "total_cost": _of_cost("total"),
    "total_tokens": _of_usage("total_tokens"),
    "prompt_tokens": _of_usage("input_tokens"),
    "completion_tokens": _of_usage("output_tokens"),
    "response_model": _of_call(lambda facts: facts.response_model),
    "operation": _of_call(lambda facts: facts.operation),
    "input_cost": _of_cost("input"),
    "output_cost": _of_cost("output"),
    "costs": _costs_of,
    "cache_read_tokens": _of_usage("cache_read_tokens"),
    "cache_write_tokens": _of_usage("cache_write_tokens"),
    "reasoning_tokens": _of_usage("reasoning_tokens"),
    "time_to_first_chunk": _of_call(lambda facts: None if facts.first_chunk_ns is None else facts.first_chunk_ns / 1e9),
    "first_chunk_time": _first_chunk_of,
    "tags": lambda source: _tags_of(source) or None,
    "tags_text": lambda source: ",".join(_tags_of(source)) or None,
    "metadata": lambda source: metadata_json(source.fields.metadata) if source.fields.metadata else None,
    "trace_name": lambda source: source.fields.trace_name,
    "trace_id": lambda source: f"{source.trace_id:032x}",
    "is_root": lambda source: True if source.parent_span_id == 0 else None,
    "question": lambda source: source.question or None,
    "answer": lambda source: source.answer or None,
}
"""How each fact is read that is one value; `metadata.KEY` and `metadata.*` beside them."""


class Aliases:
    """The further names of one destination.

    Args:
        aliases: facts by the names of attributes, checked.
    """

    def __init__(self, aliases: Mapping[str, str]) -> None:
        self._names = {
            name: [READERS.get(fact) or _of_metadata(fact.removeprefix(METADATA)) for fact in facts_in(alias)]
            for name, alias in aliases.items()
            if alias != ALL_METADATA
        }
        # Nothing else on spans that are no generations: any of these would make one of them.
        self._other_names = {name: readers for name, readers in self._names.items() if not name.startswith(_GENAI)}
        self._prefixes = [name.removesuffix("*") for name, alias in aliases.items() if alias == ALL_METADATA]
        self._has_texts = any({"question", "answer"} & {*facts_in(alias)} for alias in aliases.values())
        self._has_tags = any(_TAGS in facts_in(alias) or "tags_text" in facts_in(alias) for alias in aliases.values())

    def name_generation(
        self, span: SpanData, facts: GenerationFacts, cost: Cost | None, content: Content | None = None
    ) -> SpanData:
        """Return a generation's span with them.

        Args:
            span: as its dialect made it; what that has is left alone.
            facts: as the destination may have them.
            cost: stated or estimated, None if it is not known.
            content: as the destination may have it; None: it may have none.
        """
        if not (self._names or self._prefixes):
            return span
        cost = stated_cost(facts.usage) or cost
        texts = excerpts_of(content) if content is not None and self._has_texts else ("", "")
        source = _Source(facts.fields, span.trace_id, span.parent_span_id, facts, cost, *texts)
        return self._added(span, source, self._names)

    def name_other(self, span: SpanData, fields: Fields, content: EnclosingContent | None = None) -> SpanData:
        """Return any other span of a trace with what is known of its caller: nothing that would make it a generation.

        Args:
            span: as it is sent; what it has is left alone.
            fields: as the destination may have them.
            content: of an enclosing span, as the destination may have it.
        """
        if not (self._names or self._prefixes):
            return span
        texts = (content.input.text, content.output.text) if content is not None else ("", "")
        source = _Source(fields, span.trace_id, span.parent_span_id, None, None, *texts)
        return self._added(span, source, self._other_names)

    def _added(self, span: SpanData, source: _Source, names: Mapping[str, list[_Read]]) -> SpanData:
        attributes = dict(span.attributes)
        for name, readers in names.items():
            value = next((value for read in readers if (value := read(source)) is not None), None)
            if value is not None:
                # Names and ids come from servers, too, which may send megabytes of them.
                attributes.setdefault(name, value[:MAX_VALUE_CHARACTERS] if isinstance(value, str) else value)
        if self._prefixes and source.fields.metadata:
            # Most dialects have made them already, which takes as long as all the rest.
            metadata = _metadata_in(span.attributes) or _metadata_in(metadata_attributes(source.fields.metadata))
            if self._has_tags and _tags_of(source):
                # What has a name of its own is no metadata.
                metadata.pop(_TAGS, None)
            for key, value in metadata.items():
                for prefix in self._prefixes:
                    attributes.setdefault(prefix + key, value)
        return replace(span, attributes=attributes)


def _metadata_in(attributes: Attributes) -> dict[str, AttributeValue]:
    return {
        key.removeprefix(_TRACE_METADATA): value for key, value in attributes.items() if key.startswith(_TRACE_METADATA)
    }
