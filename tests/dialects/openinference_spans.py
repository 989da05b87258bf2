"""Spans of OpenInference's dialect, each of whose names is checked against OpenInference's own package."""

from __future__ import annotations

import re
from functools import cache

import openinference.semconv.trace as conventions

from llm_otel_broadcast.clients.openai.messages import content_of
from llm_otel_broadcast.delivery.facts import content_for, facts_of
from llm_otel_broadcast.dialects.openinference import OPENINFERENCE
from llm_otel_broadcast.dialects.openinference_content import content_attributes
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.server import Server

OPENROUTER = Server("openrouter", "openrouter.ai", 443, is_openrouter=True)
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
NAMES = {
    value
    for name, group in vars(conventions).items()
    if name.endswith("Attributes") and isinstance(group, type)
    for constant, value in vars(group).items()
    if constant.isupper()
}
"""Each is the whole of a name, or what stands before, between or behind the numbers in it."""
OTHER_CONVENTIONS = {"error.type", "http.response.status_code", "server.address", "server.port"}
OWN_NAMES = {"input.truncated", "output.truncated", "output.omitted_characters"}


@cache
def is_name(piece):
    """Some stand in others without a number between: `message_content.image` and `image.url`."""
    return piece in NAMES or any(piece.startswith(f"{name}.") and is_name(piece[len(name) + 1 :]) for name in NAMES)


def strange_keys(attributes):
    known = OTHER_CONVENTIONS | OWN_NAMES
    return [key for key in attributes if key not in known and not all(map(is_name, re.split(r"\.\d+\.", key)))]


def record_of(operation="chat", **facts):
    record = Generation(operation)
    record.server = OPENROUTER
    record.request_model = record.response_model = "openai/gpt-4o"
    for name, value in facts.items():
        setattr(record, name, value)
    record.end()
    return record


def span_of(record, cost=None, *, content=True):
    sent_content = content_for(record, content_of(record)) if content else None
    span = OPENINFERENCE.generation_span(facts_of(record, record.fields), sent_content, cost)
    assert not strange_keys(span.attributes)
    return span


def attributes_of(record, cost=None, *, content=True):
    return dict(span_of(record, cost, content=content).attributes)


def below(attributes, prefix):
    """Return what is below a name, by the rest of each name."""
    return {key.removeprefix(f"{prefix}."): value for key, value in attributes.items() if key.startswith(f"{prefix}.")}


def message_of(*parts, role="user"):
    return below(
        content_attributes("chat", Content(inputs=[{"role": role, "parts": list(parts)}])), "llm.input_messages"
    )
