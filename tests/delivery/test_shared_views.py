"""Destinations that may have the same are sent the same, made once; any other gets its own."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import fields, replace

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.delivery import pipeline, shared_views
from llm_otel_broadcast.delivery.shared_views import SharedViews, shared_views_of
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.record.span_data import Scope
from llm_otel_broadcast.wire import otlp_json, otlp_protobuf
from tests.support.client_calls import chat
from tests.support.lanes import record
from tests.support.spans import generation_span

FIELDS = {"trace": {"trace_id": "t", "trace_name": "Root"}}
ENDPOINT = "http://127.0.0.1:1/v1/traces"


def sharing(**mine):
    return shared_views_of(
        [Destination(name="a", endpoint=ENDPOINT), Destination(name="b", endpoint=f"{ENDPOINT}/b", **mine)]
    )


@pytest.fixture
def receivers():
    with ExitStack() as stack:
        yield [stack.enter_context(OtlpReceiver()) for _ in range(3)]


def spans_at(receiver):
    return {
        (span.name, span.trace_id, span.span_id, span.parent_span_id): span.attributes
        for span in receiver.store.spans()
    }


def test_destinations_that_are_alike_are_sent_the_same_whatever_a_third_hides(stand_in, receivers):
    """In both encodings, the span above included."""
    handle = llm_otel_broadcast.instrument(
        destinations=[
            Destination(name="a", endpoint=receivers[0].endpoint),
            Destination(name="b", endpoint=receivers[1].endpoint, encoding="protobuf", compression="gzip"),
            Destination(name="c", endpoint=receivers[2].endpoint, hide=("inputs",)),
        ]
    )
    for _ in range(3):
        chat("sync", stand_in.base_url, extra_body=FIELDS)
    assert handle.flush()
    first, second, third = map(spans_at, receivers)
    assert len(first) == 4
    assert first == second
    assert third.keys() == first.keys()
    assert not any("gen_ai.input.messages" in attributes for attributes in third.values())
    assert sum("gen_ai.input.messages" in attributes for attributes in first.values()) == 3


def test_what_is_sent_alike_is_made_once(stand_in, receivers, monkeypatch):
    made = []
    content_for = pipeline.content_for
    monkeypatch.setattr(pipeline, "content_for", lambda *args, **more: made.append(0) or content_for(*args, **more))
    handle = llm_otel_broadcast.instrument(
        destinations=[Destination(name=each.endpoint, endpoint=each.endpoint) for each in receivers]
    )
    # One lane after the other, as two that come to a record at once both make it.
    for _ in range(4):
        chat("sync", stand_in.base_url)
        assert handle.flush()
    assert all(len(spans_at(each)) == 4 for each in receivers)
    assert 4 <= len(made) < 12


@pytest.mark.parametrize(
    "mine",
    [
        {"privacy_mode": True},
        {"hide": ("tools",)},
        {"dialect": "openinference"},
        {"metadata_deny": ("a",)},
        {"hash_user": True},
        {"redact": str.upper},
        {"max_content_chars": 1_000},
        {"aliases": {"a": "model"}},
    ],
    ids=lambda mine: next(iter(mine)),
)
def test_a_destination_with_another_view_shares_nothing(mine):
    assert sharing(**mine) == {}


def test_how_and_which_records_a_destination_is_sent_does_not_matter():
    shared = sharing(encoding="protobuf", sampling_rate=0.5, headers={"a": "b"}, timeout=3)
    assert shared["a"] is shared["b"]


def test_two_functions_that_redact_are_never_taken_for_one():
    """Each destination counts for itself whether its function blocks."""
    destination = Destination(name="a", endpoint=ENDPOINT, redact=str.upper)
    assert shared_views_of([destination, replace(destination, name="b")]) == {}


def test_every_setting_that_does_not_matter_is_one():
    assert {setting.name for setting in fields(Destination)} > shared_views._NOT_OF_VIEW


def test_a_view_is_forgotten_once_all_have_taken_it():
    views, made = SharedViews(3), record()
    views.add(made, None, [generation_span(made, None, content=False)])
    assert views.take(made).record is made
    assert views.take(made).record is made
    assert views.take(made) is None


def test_what_nobody_takes_is_bounded():
    views = SharedViews(2)
    records = [record() for _ in range(2_000)]
    for made in records:
        views.add(made, None, [generation_span(made, None, content=False)])
    assert sum(views.take(made) is not None for made in records) <= shared_views._MAX_VIEWS
    large = record(size=1_000_000)
    views.add(large, None, [generation_span(large, None, content=False)])
    assert views.take(large) is None


@pytest.mark.parametrize("encode", [otlp_json.encode, otlp_protobuf.encode], ids=["json", "protobuf"])
def test_a_changed_copy_of_a_shared_span_has_a_text_of_its_own(encode):
    alone = generation_span(record(), None, content=False)
    span = alone.shared()
    first = encode({}, Scope("1"), [span])
    changed = replace(span, attributes={"a": "b"})
    assert encode({}, Scope("1"), [span]) == first == encode({}, Scope("1"), [alone])
    assert encode({}, Scope("1"), [changed]) != first


@pytest.mark.parametrize("encode", [otlp_json.encode, otlp_protobuf.encode], ids=["json", "protobuf"])
def test_a_shared_span_is_encoded_once(encode):
    """What nobody else could tell: the first lane's text is the one that the second sends."""
    span = generation_span(record(), None, content=False).shared()
    first = encode({}, Scope("1"), [span])
    span.attributes["further"] = "value"
    assert encode({}, Scope("1"), [span]) == first
