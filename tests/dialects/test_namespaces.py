"""A name that is also the beginning of another one has no place in a tree of names: Weave refuses such a span."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.record.dialect_names import DIALECT_NAMES
from tests.backends.generations import GENERATIONS, MAX_CONTENT_CHARS, make
from tests.support.client_calls import needs_responses
from tests.support.stand_in.server import StandIn

OURS = {"gen_ai.usage.cost", "gen_ai.input.messages"}
"""Of `gen_ai.usage.cost.source` and `gen_ai.input.messages.truncated`: the names that our documents have."""
OF_BROADCAST = {
    "gen_ai.prompt",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "span.input",
}
"""OpenRouter's own names are that way."""


@pytest.fixture(scope="module")
def spans():
    """Return all spans of the sixteen generations, by dialect."""
    with ExitStack() as running:
        api = running.enter_context(StandIn())
        receivers = {name: running.enter_context(OtlpReceiver()) for name in DIALECT_NAMES}
        destinations = [
            Destination(name=name, endpoint=receiver.endpoint, dialect=name) for name, receiver in receivers.items()
        ]
        with llm_otel_broadcast.instrument(destinations=destinations, max_content_chars=MAX_CONTENT_CHARS) as handle:
            for generation in GENERATIONS:
                make(generation, api, trace_id=generation.title, session="session")
            assert handle.flush(30.0)
        yield {name: receiver.store.spans() for name, receiver in receivers.items()}


@needs_responses
@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_no_name_is_the_beginning_of_another(spans, dialect):
    known = {"openinference": set(), "openrouter": OF_BROADCAST}.get(dialect, OURS)
    assert len(spans[dialect]) >= len(GENERATIONS)
    found = {name for span in spans[dialect] for name in span.attributes if _has_names_below(name, span.attributes)}
    assert found == known


def _has_names_below(name, attributes):
    return any(other.startswith(f"{name}.") for other in attributes)
