"""A single record that is too large for its destination: its content is cut, then left out, and only then it is lost."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.trace import TracerProvider

import llm_otel_broadcast
from llm_otel_broadcast import BroadcastSpanProcessor, Destination, traced
from llm_otel_broadcast.receiver.decoding import decode_json, decode_protobuf
from llm_otel_broadcast.record.span_data import SpanData
from tests.support.foreign_spans import SEMCONV
from tests.support.limited_backend import limited, taken

MARK = "llm_otel_broadcast.content.too_large"


def ask(client, text, **more):
    return client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}], **more)


@pytest.mark.parametrize("size", [150_000, 900_000])
def test_its_content_is_cut_until_it_fits_and_the_span_says_so(client, size):
    with limited(100_000) as (running, handle):
        ask(client, "x" * size, user="u-1")
        assert handle.flush(5.0)
        books = handle.status().destinations[0]
        assert (books.delivered, books.dropped) == (1, {})
    (attributes,) = taken(running, 100_000).values()
    assert attributes[MARK] == "cut"
    assert attributes["user.id"] == "u-1"
    assert attributes["gen_ai.input.messages.truncated"] is True
    assert 20_000 < len(attributes["gen_ai.input.messages"]) < 100_000
    assert json.loads(attributes["gen_ai.input.messages"])
    assert json.loads(attributes["gen_ai.output.messages"])


def test_where_no_content_fits_the_span_goes_without(client):
    with limited(3_000) as (running, handle):
        ask(client, "x" * 50_000, user="u-1")
        assert handle.flush(5.0)
        assert handle.status().destinations[0].delivered == 1
    (attributes,) = taken(running, 3_000).values()
    assert attributes[MARK] == "left_out"
    assert attributes["user.id"] == "u-1"
    assert "gen_ai.usage.input_tokens" in attributes
    assert "gen_ai.input.messages" not in attributes


def test_what_does_not_even_fit_without_is_counted_and_its_neighbours_arrive(client):
    with limited(20_000, batch_delay=0.3) as (_, handle):
        ask(client, "before")
        ask(client, "large", extra_body={"trace": {f"k{number}": "y" * 200 for number in range(200)}})
        ask(client, "after")
        handle.flush(5.0)
        books = handle.status().destinations[0]
        assert (books.delivered, books.dropped) == (2, {"too_large": 1})


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_of_a_batch_of_all_sizes_each_span_arrives_once_and_is_whole_where_it_fits(client, encoding):
    """Halving goes down to single spans, and only those that are too large by themselves are cut."""
    limit = 60_000
    sizes = [100, 200_000, 3_000, 90_000, 100, 20_000, 400_000, 100]
    with limited(limit, encoding=encoding, batch_delay=1.0) as (running, handle):
        for number, size in enumerate(sizes):
            client.chat.completions.create(model=f"m-{number}", messages=[{"role": "user", "content": "x" * size}])
        assert handle.flush(20.0)
        books = handle.status().destinations[0]
        assert (books.delivered, books.dropped) == (len(sizes), {})
    decode = decode_json if encoding == "json" else decode_protobuf
    spans = [span for request in running.requests if len(request.body) <= limit for span in decode(request.body)]
    assert sorted(span.name for span in spans) == [f"chat m-{number}" for number in range(len(sizes))]
    marks = {span.name: span.attributes.get(MARK) for span in spans}
    assert marks == {f"chat m-{number}": "cut" if size > limit else None for number, size in enumerate(sizes)}


def test_in_privacy_mode_nothing_is_tried_that_makes_it_no_smaller(client):
    with limited(100, privacy_mode=True) as (running, handle):
        ask(client, "x" * 50_000)
        handle.flush(5.0)
        assert handle.status().destinations[0].dropped == {"too_large": 1}
    assert len(running.requests) == 1
    assert b"xxx" not in running.requests[0].body


def test_a_redacted_text_stays_redacted_when_it_is_cut(client):
    with limited(50_000, redact=lambda text: text.replace("secret", "***")) as (running, handle):
        ask(client, "secret " * 20_000)
        assert handle.flush(5.0)
    assert all(b"secret" not in request.body for request in running.requests)
    assert next(iter(taken(running, 50_000).values()))[MARK] == "cut"


@pytest.mark.parametrize(("limit", "mark"), [(100_000, "cut"), (3_000, "left_out")])
def test_a_tools_result_is_cut_likewise(limit, mark):
    with limited(limit) as (running, handle):
        traced(kind="tool", name="read", user="u-1")(lambda: "x" * 150_000)()
        assert handle.flush(5.0)
        assert handle.status().destinations[0].delivered == 1
    (attributes,) = taken(running, limit).values()
    assert attributes[MARK] == mark
    assert (attributes["gen_ai.tool.name"], attributes["user.id"]) == ("read", "u-1")
    assert ("gen_ai.tool.call.result" in attributes) == (mark == "cut")


def test_a_span_of_another_instrumentation_is_cut_likewise():
    with limited(100_000) as (running, handle):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BroadcastSpanProcessor())
        content = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "x" * 300_000}]}])
        attributes = {**SEMCONV, "gen_ai.input.messages": content}
        provider.get_tracer("theirs").start_span("theirs", attributes=attributes).end()
        assert handle.flush(5.0)
        assert handle.status().destinations[0].delivered == 1
        provider.shutdown()
    attributes = taken(running, 100_000)["theirs"]
    assert attributes[MARK] == "cut"
    assert attributes["gen_ai.request.model"] == SEMCONV["gen_ai.request.model"]
    assert 20_000 < len(attributes["gen_ai.input.messages"]) < 100_000


def test_an_exporter_of_the_programs_own_decides_itself(client):
    class Failing:
        calls = 0

        def export(self, spans):
            self.calls += 1
            assert not any(isinstance(span, SpanData) for span in spans)

        def shutdown(self):
            pass

    exporter = Failing()
    handle = llm_otel_broadcast.instrument(destinations=[Destination(exporter=exporter)])
    ask(client, "x" * 50_000)
    handle.flush(5.0)
    assert (exporter.calls, handle.status().destinations[0].dropped) == (1, {"refused": 1})
