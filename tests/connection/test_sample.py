"""The test trace: what a program would send, marked."""

from __future__ import annotations

import pytest

from llm_otel_broadcast import Destination, send_test_trace
from tests.connection.test_hostile import Exporter
from tests.support.scripted_backends import Backend, serving


def test_a_test_trace_is_a_root_a_span_and_a_generation_all_marked(receiver):
    sent = send_test_trace(Destination(endpoint=receiver.endpoint))
    assert sent.ok
    root, span, generation = receiver.store.trace(sent.trace_id)
    assert (root.parent_span_id, span.parent_span_id, generation.parent_span_id) == ("", root.span_id, span.span_id)
    assert all(one.attributes["test"] is True for one in (root, span, generation))
    assert all(one.attributes["trace.metadata.test"] is True for one in (root, span, generation))
    assert root.start_ns < span.start_ns < generation.start_ns < generation.end_ns <= root.end_ns


def test_its_generation_has_what_a_real_one_has(receiver):
    send_test_trace(Destination(endpoint=receiver.endpoint))
    said = receiver.store.spans()[-1].attributes
    assert said["gen_ai.request.model"] == "openai/gpt-4o"
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (50, 100)
    assert said["gen_ai.usage.total_cost"] == 0.02
    assert "capital of France" in said["gen_ai.input.messages"]
    assert "Paris" in said["gen_ai.output.messages"]


def test_a_private_destination_gets_no_content(receiver):
    assert send_test_trace(Destination(endpoint=receiver.endpoint, privacy_mode=True)).ok
    sent = b"".join(request.body for request in receiver.requests)
    assert b"France" not in sent
    assert b"geography" not in sent
    assert b"gen_ai.usage.total_cost" in sent


def test_each_is_a_trace_and_session_of_its_own(receiver):
    first, second = (send_test_trace(Destination(endpoint=receiver.endpoint)) for _ in range(2))
    assert first.trace_id != second.trace_id
    assert len({span.span_id for span in receiver.store.spans()}) == 6


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        (Backend(json=415), None),
        (Backend(wants={"x": "y"}), "answered 401"),
        (
            Backend(answers='{"partialSuccess":{"rejectedSpans":2,"errorMessage":"too old"}}'),
            "2 span(s) rejected: too old",
        ),
    ],
)
def test_what_became_of_it_is_said(backend, said):
    with serving(backend) as server:
        sent = send_test_trace(Destination(endpoint=server.endpoint))
    assert sent.ok == (said is None)
    assert (said or "sent") in sent.message


@pytest.mark.parametrize("destination", ["http://localhost", None])
def test_it_never_raises(destination):
    assert not send_test_trace(destination).ok


def test_an_exporter_that_raises_is_told():
    sent = send_test_trace(Destination(exporter=Exporter(error=RuntimeError("canary"))))
    assert (sent.ok, sent.message) == (False, "sending failed (RuntimeError)")


def test_where_to_look_is_said_where_the_backend_is_known():
    with serving() as server:
        named = Destination(endpoint=server.endpoint, name="jaeger")
        assert send_test_trace(named).look is None  # another port than Jaeger's: nobody knows where its pages are
