"""Phoenix takes protobuf only: a destination that was told nothing finds out and stays with it, and loses nothing on the way."""

from __future__ import annotations

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from tests.backends.broadcasts import hashed, reference_call
from tests.backends.relay import relay
from tests.backends.stored_spans import read_phoenix

pytestmark = pytest.mark.backend

JSON, PROTOBUF = "application/json", "application/x-protobuf"


def test_after_one_415_everything_goes_as_protobuf_and_nothing_is_lost(phoenix, stand_in):
    names = [f"switch {number}" for number in range(3)]
    with (
        relay(phoenix) as (address, seen),
        openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url, max_retries=0) as client,
        llm_otel_broadcast.instrument(destinations=[Destination(endpoint=address)]) as handle,
    ):
        for name in names:
            reference_call(client, name)
            assert handle.flush(60.0)
        (books,) = handle.status().destinations
    assert seen == [(JSON, 415), (PROTOBUF, 200), (PROTOBUF, 200), (PROTOBUF, 200)]
    assert (books.produced, books.delivered, books.retried) == (3, 3, 0)
    assert not books.dropped
    assert books.last_error is None
    for name in names:
        assert {span.name for span in read_phoenix(phoenix, hashed(name))} == {"Chat Handler", "Generate Response"}


def test_json_alone_is_counted_as_lost_and_the_reason_says_what_to_do(phoenix, stand_in):
    with (
        relay(phoenix) as (address, seen),
        openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url, max_retries=0) as client,
        llm_otel_broadcast.instrument(destinations=[Destination(endpoint=address, encoding="json")]) as handle,
    ):
        reference_call(client, "refused")
        assert not handle.flush(60.0)
        (books,) = handle.status().destinations
    assert seen == [(JSON, 415)]
    assert books.dropped == {"unsupported_media": 1}
    assert 'try encoding="protobuf"' in books.last_error
