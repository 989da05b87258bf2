"""Content in other instrumentations' spans, in every convention: found, and kept back where it has to be."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode

from llm_otel_broadcast import BroadcastSpanProcessor, Destination
from llm_otel_broadcast.delivery.privacy import Privacy
from llm_otel_broadcast.other_spans import allow_list
from llm_otel_broadcast.other_spans.conventions import METADATA as METADATA_NAME
from llm_otel_broadcast.other_spans.conventions import content_of
from llm_otel_broadcast.other_spans.privacy import SpanPrivacy
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.record.span_data import KIND_CLIENT, STATUS_ERROR, Event, Link, SpanData
from llm_otel_broadcast.settings.privacy import PARTS
from tests.support.any_spans import SPANS
from tests.support.foreign_spans import CANARY, CONVENTIONS, EVENTS, OPENINFERENCE, SEMCONV, TRACELOOP, said

ALL = {key: value for _, content in CONVENTIONS.values() for key, value in content.items()}
METADATA = ("metadata", "traceloop.association.properties.email")
FACTS = {key: value for key, value in {**SEMCONV, **OPENINFERENCE, **TRACELOOP}.items() if key not in METADATA}


def kept(span, *, content=True, operation="", max_chars=1_000_000, **settings):
    privacy = Privacy(Destination(endpoint="http://backend.example", **settings))
    return SpanPrivacy(privacy, max_chars).narrow(span, content=content, operation=operation)


def span_of(attributes, events=(), **more):
    return SpanData("chat gpt-4o", 1, 2, 0, KIND_CLIENT, 1, 2, attributes, events=events, **more)


@pytest.mark.parametrize("key", ALL)
def test_content_is_recognised_and_its_text_is_in_no_private_span(key):
    made = kept(span_of({key: ALL[key]}), content=False)
    assert made.attributes == {}


@pytest.mark.parametrize("key", FACTS)
def test_what_is_no_content_stays_in_a_private_span(key):
    made = kept(span_of({key: FACTS[key]}), content=False)
    assert made.attributes == {key: FACTS[key]}


@pytest.mark.parametrize("key", METADATA)
def test_metadata_of_others_is_in_a_private_span_only_if_the_settings_name_it(key):
    whole = span_of({key: {**OPENINFERENCE, **TRACELOOP}[key], "trace.metadata.team": "search"})
    assert kept(whole, content=False).attributes == {}
    made = kept(whole, content=False, metadata_allow=["team"]).attributes
    assert made.pop("metadata", '{"team":"search"}') == '{"team":"search"}'
    assert made == {"trace.metadata.team": "search"}


def test_what_the_program_gave_to_us_is_in_a_private_span_and_the_others_are_not_taken_for_it():
    whole = span_of({"trace.metadata.team": said()})
    privacy = Privacy(Destination(endpoint="http://backend.example"))
    made = SpanPrivacy(privacy, 1_000).narrow(whole, content=False, operation="", own={"trace.metadata.team": "search"})
    assert made.attributes == {"trace.metadata.team": "search"}


NAMES = st.builds(
    "".join,
    st.lists(
        st.sampled_from(
            sorted({*allow_list.FACTS, "gen_ai.", "llm.", "user.", "request.", "N.", ".0.", "messages", "text"})
        )
        | st.text(max_size=8),
        min_size=1,
        max_size=4,
    ),
).filter(lambda name: name not in allow_list.FACTS)
TEXTS = st.text(max_size=10).map(lambda text: f"{CANARY} {text}")
VALUES = TEXTS | st.lists(TEXTS, min_size=1, max_size=3) | TEXTS.map(lambda text: json.dumps({"team": [text]}))
ATTRIBUTES = st.dictionaries(NAMES, VALUES, max_size=4)


@given(NAMES | TEXTS, ATTRIBUTES, ATTRIBUTES, TEXTS)
def test_no_text_under_an_invented_name_is_in_a_private_span_and_each_is_counted(name, attributes, more, status):
    events = (Event("retry", 1, more), Event(status, 1, more))
    whole = span_of(attributes, events, links=(Link(1, 2, more),), status_message=status)
    span_privacy = SpanPrivacy(Privacy(Destination(endpoint="http://backend.example")), 1_000_000)
    made = span_privacy.narrow(replace(whole, name=status), content=False, operation="")
    assert CANARY not in repr(made)
    assert span_privacy.withheld == len(attributes) + 2 * len(more) + 3
    # what a program names as metadata is its own to keep back: `hide` is about content
    unnamed = {key: value for key, value in attributes.items() if METADATA_NAME.match(key) is None}
    assert CANARY not in repr(kept(replace(whole, name="x", attributes=unnamed), hide=PARTS).attributes)


@given(st.text(max_size=40))
def test_a_spans_name_that_may_quote_a_prompt_is_replaced_by_the_conventions_name(text):
    whole = replace(span_of(SEMCONV), name=f"{CANARY}: {text}")
    assert kept(whole, content=False).name == "chat gpt-4o"
    assert kept(whole).name == whole.name


@pytest.mark.parametrize(
    "name",
    ["chat gpt-4o", "execute_tool look", "agent run", "running 2 tools", "RunnableSequence", "raw_gen_ai_request"],
)
def test_names_that_instrumentations_give_spans_stay(name):
    whole = replace(span_of({**SEMCONV, "gen_ai.tool.name": "look"}), name=name)
    assert kept(whole, content=False).name == name


@pytest.mark.parametrize(
    "value", ["x" * 300, [0.5] * 1_536, ["stop", "y" * 300], {"role": CANARY}.__repr__() * 20], ids=type
)
def test_what_is_no_short_fact_is_withheld_under_a_known_name_too(value):
    assert kept(span_of({"gen_ai.response.id": value}), content=False).attributes == {}


COUNTS = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False))


@given(st.dictionaries(st.sampled_from(sorted(ALL)) | st.text(max_size=30), COUNTS))
def test_counts_and_truth_values_stay_whatever_they_are_called(attributes):
    assert kept(span_of(attributes), content=False).attributes == attributes


@pytest.mark.parametrize("name", EVENTS)
def test_events_that_are_all_content_are_gone(name):
    assert kept(span_of({}, (Event(name, 1, EVENTS[name]),)), content=False).events == ()


def test_an_errors_text_is_content_wherever_it_stands():
    event = Event("exception", 1, {"exception.type": "E", "exception.message": said(), "exception.stacktrace": said()})
    link = Link(1, 2, {"their.query": said(), "why": "retry", "error.type": "E"})
    whole = span_of({}, (event,), status_code=STATUS_ERROR, status_message=said(), links=(link,))
    made = kept(whole, content=False)
    assert CANARY not in repr(made)
    assert made.events == (Event("exception", 1, {"exception.type": "E"}),)
    assert made.links == (Link(1, 2, {"error.type": "E"}),)
    assert made.status_code == STATUS_ERROR


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_no_byte_of_content_reaches_a_private_destination(receiver, convention, encoding):
    facts, content = CONVENTIONS[convention]
    private = {
        "privacy_mode": {"privacy_mode": True},
        "hide": {"hide": PARTS},
        "redact": {"redact": lambda _: "..."},
        "broken": {"redact": lambda _: 1 / 0},
    }
    receivers = {name: OtlpReceiver() for name in private}
    for each in receivers.values():
        each.start()
    destinations = [
        Destination(name=name, endpoint=receivers[name].endpoint, encoding=encoding, **given)
        for name, given in private.items()
    ]
    processor = BroadcastSpanProcessor(
        destinations=[Destination(name="open", endpoint=receiver.endpoint, encoding=encoding), *destinations]
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("theirs")
    with pytest.raises(ValueError, match=CANARY), tracer.start_as_current_span("x", attributes=facts) as span:
        span.set_attributes(content)
        for name, attributes in EVENTS.items():
            span.add_event(name, attributes)
        raise ValueError(said())
    span = tracer.start_span("y", attributes={**facts, **content})
    span.set_status(Status(StatusCode.ERROR, said()))
    span.end()
    assert provider.force_flush(5_000)
    (whole, _) = receiver.store.spans()
    assert {key for key in content if CANARY in str(whole.attributes[key])} == set(content)
    for name, each in receivers.items():
        assert len(each.store.spans()) == 2, name
    withheld = {books.name: books.withheld for books in processor.status()}
    assert withheld.pop("privacy_mode") >= 2 * len(content)
    assert withheld.pop("broken") >= 2 * len(content)
    assert set(withheld.values()) == {0}
    for name, each in receivers.items():
        assert CANARY.encode() not in b"".join(request.body for request in each.requests), name
        each.stop()
    provider.shutdown()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("convention", ["semconv", "openinference", "traceloop"])
def test_a_hidden_part_is_gone_in_every_convention(part, convention):
    facts, content = CONVENTIONS[convention]
    words = {
        "inputs": ("system", "question"),
        "outputs": ("answer",),
        "system": ("system", "instructions"),
        "tools": ("definition",),
        "tool_arguments": ("argument",),
        "reasoning": ("reasoning",),
        "images": (".png",),
        "urls": ("https://",),
    }.get(part, ())
    made = repr(kept(span_of({**facts, **content}), hide={part}).attributes)
    assert [
        word for word in words if f"{CANARY} {word}" in made or (word in made and word in (".png", "https://"))
    ] == []


@pytest.mark.parametrize(
    ("convention", "hide", "left"),
    [
        ("semconv", {"system"}, {"question", "answer", "argument", "reasoning", "definition"}),
        ("semconv", {"tool_arguments"}, {"system", "question", "answer", "reasoning", "instructions", "definition"}),
        ("semconv", {"outputs"}, {"system", "question", "instructions", "definition"}),
        ("openinference", {"system"}, {"question", "answer", "argument", "definition"}),
        ("openinference", {"outputs"}, {"system", "question", "definition"}),
        ("openinference", {"tool_arguments"}, {"system", "question", "answer", "definition"}),
        ("traceloop", {"system"}, {"question", "answer", "argument", "definition"}),
        ("traceloop", {"inputs"}, {"answer", "argument", "definition"}),
        ("traceloop", {"tools"}, {"system", "question", "answer", "argument"}),
    ],
)
def test_the_rest_stays_where_it_can_be_told_apart(convention, hide, left):
    facts, content = CONVENTIONS[convention]
    words = ("system", "question", "answer", "argument", "reasoning", "instructions", "definition")
    made = kept(span_of({**facts, **content}), hide=hide).attributes
    assert {word for word in words if f"{CANARY} {word}" in str(made)} == left
    assert {key: made[key] for key in facts} == facts


def test_what_was_embedded_is_hidden_by_its_own_word():
    attributes = {"embedding.embeddings.0.embedding.text": said(), "input.value": said(), "embedding.model_name": "e3"}
    made = kept(span_of(attributes), operation="embeddings", hide={"embeddings"})
    assert made.attributes == {"embedding.model_name": "e3"}


def test_texts_are_redacted_one_by_one_and_json_stays_json():
    facts, content = CONVENTIONS["semconv"]
    made = kept(
        span_of({**facts, **content, "input.value": content["gen_ai.input.messages"]}),
        redact=lambda text: text.replace(CANARY, "***"),
    ).attributes
    assert json.loads(made["gen_ai.input.messages"])[1] == {
        "role": "user",
        "parts": [{"type": "text", "content": "*** question"}],
    }
    assert json.loads(made["input.value"])[1]["parts"][0]["content"] == "*** question"
    assert {key: made[key] for key in facts} == facts


def test_users_are_hashed_and_metadata_let_through_in_every_convention():
    attributes = {**OPENINFERENCE, **TRACELOOP, "langfuse.user.id": "ann", "trace.metadata.email": "ann@x"}
    made = kept(span_of(attributes), hash_user=True, metadata_deny=["email"]).attributes
    hashed = hashlib.sha256(b"ann").hexdigest()
    assert [made[key] for key in ("user.id", "langfuse.user.id", "traceloop.association.properties.user_id")] == 3 * [
        hashed
    ]
    assert json.loads(made["metadata"]) == {"team": "search"}
    assert "ann@x" not in repr(made)


def test_what_is_too_long_is_cut_and_says_so():
    attributes = {
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "x" * 2000}]}]),
        "input.value": "y" * 2000,
    }
    made = kept(span_of(attributes), max_chars=500).attributes
    assert json.loads(made["gen_ai.input.messages"])
    assert len(made["gen_ai.input.messages"]) <= 500
    assert made["input.value"].strip("y") == "[truncated]"
    assert made["input.value"][0] == made["input.value"][-1] == "y"
    assert len(made["input.value"]) == 500
    assert made["gen_ai.input.messages.truncated"] is made["input.value.truncated"] is True


@pytest.mark.parametrize(
    "odd", ["[", '{"role": 5}', "[1, 2]", '[{"parts": 7}]', '[{"parts": [7, null, "x"]}]', "null", "[[]]"]
)
def test_odd_content_makes_no_error(odd):
    made = kept(span_of({"gen_ai.input.messages": odd, "metadata": odd}), hide={"images"}, metadata_deny=["x"])
    assert set(made.attributes) <= {"gen_ai.input.messages", "metadata"}


@given(SPANS, st.sets(st.sampled_from(PARTS)), st.booleans())
def test_any_span_can_be_looked_through(span, hide, content):
    made = kept(span, content=content, hide=hide)
    assert (made.trace_id, made.span_id, made.start_ns) == (span.trace_id, span.span_id, span.start_ns)
    if content and not hide:
        assert made.attributes == span.attributes


@given(st.text())
def test_any_name_is_content_or_not(key):
    assert content_of(key) in {None, "inputs", "outputs", "system", "tools", "tool_arguments", "either", "error"}
