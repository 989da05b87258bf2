"""Of each recorded exchange, in each way of calling: the caller notices nothing, and one span says what the JSON says."""

from __future__ import annotations

import pytest

from tests.replay.conftest import EXCHANGES
from tests.replay.exchanges import WAYS
from tests.replay.expected import expected_of
from tests.replay.observed import instructions, messages, tool_names

pytestmark = pytest.mark.parametrize("exchange", EXCHANGES, ids=str)


@pytest.fixture
def results(replay, exchange):
    if (exchange.id, "") not in replay:
        pytest.skip("this version of the client has no such method")
    return {way: replay[exchange.id, way] for way in WAYS}


@pytest.fixture(params=["broadcast", "app_spans"])
def spans(request, results):
    """The span of each way, of those that are broadcast or of those in the app's own traces."""
    found = {way: getattr(result, request.param) for way, result in results.items()}
    assert {way: len(spans) for way, spans in found.items()} == dict.fromkeys(WAYS, 1)
    return {way: spans[0] for way, spans in found.items()}


def test_the_caller_sees_and_sends_the_same_as_without_us(replay, exchange, results):
    plain = replay[exchange.id, ""]
    for way, result in results.items():
        if "bytes" not in exchange.response:
            assert result.seen == plain.seen, way
        # The boundary of a form is made anew each time.
        if b"form-data" not in plain.request[1][:200]:
            assert result.request == plain.request, way


def test_attributes_say_what_the_exchange_says(exchange, spans):
    expected = expected_of(exchange).attributes
    for way, span in spans.items():
        assert {name: span.attributes.get(name) for name in expected} == expected, way


def test_nothing_is_made_up(exchange, spans):
    expected = expected_of(exchange)
    for way, span in spans.items():
        assert not {name: span.attributes[name] for name in expected.absent if name in span.attributes}, way
        assert (span.status.status_code.name == "ERROR") == expected.failed, way


def test_content_is_what_was_asked_and_answered(exchange, spans):
    expected = expected_of(exchange)
    for way, span in spans.items():
        if expected.input is not None:
            assert messages(span.attributes, "gen_ai.input.messages") == expected.input, way
        if expected.output is not None:
            parts = [part for _, parts in messages(span.attributes, "gen_ai.output.messages") for part in parts]
            assert parts == expected.output, way
        assert instructions(span.attributes) == expected.instructions, way
        assert tool_names(span.attributes) == expected.tools, way
