"""A list of traces shows its roots: what was asked first below a span and answered last, its kind, and whether that went well."""

from __future__ import annotations

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context, traced_generation
from llm_otel_broadcast.delivery.excerpts import Exchanges, answer_in, question_in
from llm_otel_broadcast.delivery.trace_totals import add_to_totals
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.record.content import Content
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan, Opener
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.totals import Totals
from llm_otel_broadcast.stand_in.answers import completion, error, message, stream
from tests.support.app import App
from tests.support.client_calls import KINDS, chat
from tests.support.lanes import record, root
from tests.tracing.trees import by_name

QUESTION = "Where is the canary?"
ANSWER = "In the coal mine."
NAMES = {"trace": {"trace_name": "Root", "span_name": "Step"}}
EXCERPTS = ("input.value", "output.value")


def ask(stand_in, question=QUESTION, answer=ANSWER, **request):
    stand_in.script(completion(message(answer)))
    return chat("sync", stand_in.base_url, messages=[{"role": "user", "content": question}], **request)


def excerpts(span):
    return tuple(span.attributes.get(key) for key in EXCERPTS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_root_and_a_step_made_for_a_call_say_what_it_was_about(stand_in, instrumented, arrived, kind, streamed):
    instrumented()
    stand_in.script(stream(message(ANSWER)) if streamed else completion(message(ANSWER)))
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    chat(kind, stand_in.base_url, messages=messages, stream=streamed, extra_body=NAMES)
    spans = by_name(arrived(3))
    for name in ("Root", "Step"):
        assert excerpts(spans[name]) == (QUESTION, ANSWER)
        assert spans[name].attributes["openinference.span.kind"] == "CHAIN"
        assert spans[name].attributes["input.mime_type"] == spans[name].attributes["output.mime_type"] == "text/plain"
    assert not [key for key in spans["Root"].attributes if key.startswith("gen_ai.")]


def test_a_generation_keeps_its_messages_to_itself(stand_in, instrumented, arrived):
    """In Langfuse and MLflow a text would stand in place of its messages."""
    instrumented()
    ask(stand_in)
    (call,) = arrived(1)
    assert excerpts(call) == (None, None)
    assert "openinference.span.kind" not in call.attributes


def test_a_block_shows_the_first_question_and_the_last_answer(stand_in, instrumented, arrived):
    instrumented()

    @traced_generation(span_name="function")
    def answer() -> None:
        ask(stand_in, "second?", "Second.")

    with trace_context(trace_name="Request"):
        ask(stand_in, "first?", "First.")
        with trace_context(span_name="inner"):
            answer()
        ask(stand_in, "third?", "Third.")
    spans = by_name([span for span in arrived(6) if not span.name.startswith("chat")])
    assert excerpts(spans["Request"]) == ("first?", "Third.")
    assert excerpts(spans["inner"]) == excerpts(spans["function"]) == ("second?", "Second.")


def test_a_question_is_the_users_newest_and_an_answer_without_words_the_tools_it_calls():
    text = {"type": "text", "content": "first"}
    call = {"type": "tool_call", "name": "weather", "arguments": {"city": "Rome"}}
    inputs = [
        {"role": "user", "parts": [text]},
        {"role": "user", "parts": [{"type": "text", "content": "newest"}, {"type": "uri", "uri": "https://x"}]},
        {"role": "assistant", "parts": [call]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "response": "sunny"}]},
    ]
    assert question_in(inputs) == "newest"
    assert question_in([{"role": "system", "parts": [text]}]) == ""
    assert answer_in([{"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, call]}]) == (
        'weather({"city":"Rome"})'
    )
    assert answer_in([{"role": "assistant", "parts": [text, call]}]) == "first"


PLAIN = st.none() | st.booleans() | st.text(max_size=3) | st.lists(st.just("text"), max_size=1) | st.just({"type": 1})
PARTS = st.dictionaries(st.sampled_from(["type", "content", "name", "arguments"]), PLAIN | st.just("text"))
STRANGE_MESSAGES = st.lists(
    st.fixed_dictionaries({}, optional={"role": PLAIN, "parts": PLAIN | st.lists(PARTS | PLAIN, max_size=3)}),
    max_size=3,
)


@settings(deadline=None)
@given(STRANGE_MESSAGES)
def test_whatever_messages_are_excerpts_are_texts(messages):
    assert isinstance(question_in(messages), str)
    assert isinstance(answer_in(messages), str)


@settings(deadline=None)
@given(st.permutations(range(4)), st.lists(st.integers(1, 9), min_size=8, max_size=8, unique=True))
def test_calls_side_by_side_are_told_apart_by_their_times(order, times):
    """They arrive as they end, or out of order."""
    exchanges, enclosing_span = Exchanges(), EnclosingSpan("Root", 1, 2, 0, 0)
    starts, ends = times[:4], times[4:]
    for number in order:
        call = Generation("chat")
        call.enclosing_spans, call.start_ns, call.end_ns = (enclosing_span,), starts[number], ends[number]
        parts = [{"type": "text", "content": str(number)}]
        exchanges.note(call, Content(inputs=[{"role": "user", "parts": parts}], outputs=[{"parts": parts}]), 100)
    content = exchanges.content_of(enclosing_span)
    assert content.input.text == str(starts.index(min(starts)))
    assert content.output.text == str(ends.index(max(ends)))


def test_long_texts_are_cut_short(stand_in, instrumented, arrived):
    instrumented()
    ask(stand_in, "q" * 5_000, "a" * 5_000, extra_body=NAMES)
    for text in excerpts(by_name(arrived(3))["Root"]):
        assert len(text) == 1_000
        assert text.endswith("…")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"privacy_mode": True}, (None, None)),
        ({"hide": {"inputs"}}, (None, ANSWER)),
        ({"hide": {"outputs"}}, (QUESTION, None)),
        ({"redact": lambda text: text.replace("canary", "bird")}, ("Where is the bird?", ANSWER)),
        ({"redact": lambda text: 1 / 0}, (None, None)),
    ],
)
def test_each_destination_is_shown_what_it_may_have(stand_in, receiver, settings, expected, monkeypatch):
    monkeypatch.setattr(llm_otel_broadcast.host.guard, "raise_again", False)
    with OtlpReceiver() as narrow:
        handle = llm_otel_broadcast.instrument(
            destinations=[
                Destination(name="wide", endpoint=receiver.endpoint),
                Destination(name="narrow", endpoint=narrow.endpoint, **settings),
            ]
        )
        ask(stand_in, extra_body=NAMES)
        with trace_context(trace_name="Block"):
            ask(stand_in)
        assert handle.flush()
        for sent_to, texts in ((receiver, (QUESTION, ANSWER)), (narrow, expected)):
            above = [span for span in sent_to.store.spans() if not span.name.startswith("chat")]
            assert {span.name: excerpts(span) for span in above} == dict.fromkeys(("Root", "Step", "Block"), texts)


def test_what_a_destination_is_not_sent_is_not_shown_there_either(stand_in, instrumented, arrived):
    rule = {"field": "model", "operator": "equals", "value": "wanted"}
    instrumented(filter_rules={"groups": [{"logic": "and", "rules": [rule]}]})
    with trace_context(trace_name="Request"):
        ask(stand_in, "secret?", "Secret.", model="other")
        ask(stand_in, model="wanted")
        ask(stand_in, "secret?", "Secret.", model="other")
    spans = by_name(arrived(2))
    assert excerpts(spans["Request"]) == (QUESTION, ANSWER)


def test_a_private_call_is_not_shown_and_a_private_block_shows_none(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="open"):
        ask(stand_in)
        ask(stand_in, "secret?", "Secret.", extra_body={"trace": {"privacy": True}})
    with trace_context(trace_name="closed") as handle:
        ask(stand_in)
        handle.set(privacy=True)
    ask(stand_in, extra_body={"trace": {"trace_name": "private", "privacy": True}})
    spans = by_name([span for span in arrived(7) if not span.name.startswith("chat")])
    assert excerpts(spans["open"]) == (QUESTION, ANSWER)
    assert excerpts(spans["closed"]) == excerpts(spans["private"]) == (None, None)


def test_without_content_there_are_no_texts_but_a_kind(stand_in, instrumented, arrived):
    instrumented(capture_content=False)
    ask(stand_in, extra_body=NAMES)
    above = by_name(arrived(3))["Root"]
    assert excerpts(above) == (None, None)
    assert above.attributes["openinference.span.kind"] == "CHAIN"


def test_the_spans_made_for_a_call_take_over_its_error(stand_in, instrumented, arrived):
    """A failed trace looked fine in lists."""
    instrumented()
    stand_in.script(error(400, "no such canary"))
    with pytest.raises(openai.BadRequestError):
        chat("sync", stand_in.base_url, extra_body=NAMES)
    spans = by_name(arrived(3))
    for name in ("Root", "Step"):
        assert (spans[name].status_code, spans[name].attributes["error.type"]) == (2, "BadRequestError")
        assert "no such canary" in spans[name].status_message


@pytest.mark.parametrize("settings", [{"privacy_mode": True}, {"hide": {"inputs"}}, {"capture_content": False}])
def test_but_not_its_text_where_that_may_not_go(stand_in, instrumented, arrived, settings):
    instrumented(**settings)
    stand_in.script(error(400, "no such canary"))
    with pytest.raises(openai.BadRequestError):
        chat("sync", stand_in.base_url, extra_body=NAMES)
    spans = arrived(3)
    assert {span.status_code for span in spans} == {2}
    assert "canary" not in repr(spans)


def test_the_spans_of_a_context_say_how_many_calls_below_failed(stand_in, instrumented, arrived):
    app = App()
    instrumented(tracer_provider=app.provider)
    with trace_context(trace_name="Request", span_name="Step"):
        for _ in range(2):
            stand_in.script(error(400, "no"))
            with pytest.raises(openai.BadRequestError):
                chat("sync", stand_in.base_url)
        with trace_context(span_name="fine"):
            ask(stand_in)
    spans = {span.name: span for span in arrived(6)}
    assert [spans[name].attributes.get("trace.failed_calls") for name in ("Request", "Step", "fine")] == [2, 2, None]
    # it went on all the same
    assert spans["Request"].status_code == 0
    assert app.spans["Request"].attributes["trace.failed_calls"] == 2
    app.provider.shutdown()


def test_a_failure_is_counted_once_whoever_reads_of_it_first():
    above = root()
    above.opener, above.totals = Opener.CONTEXT, (Totals(), Totals())
    call = record(root=above)
    # a body that is read in the background may say so only then
    call.failure = Failure("error")
    for _ in range(2):
        add_to_totals(call, None)
    assert above.failed_calls == 1
