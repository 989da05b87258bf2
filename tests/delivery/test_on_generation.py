"""The program's own look at each finished generation, before anything is sent; and what is not kept because nobody wants it."""

from __future__ import annotations

import asyncio
import threading

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination, current_generation, trace_context, traced_generation
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.record.generation import Generation, GenerationFacts
from llm_otel_broadcast.record.packed_list import PackedList
from llm_otel_broadcast.settings.privacy import PARTS
from llm_otel_broadcast.stand_in.answers import completion, error, message, stream, usage_of
from tests.support.client_calls import KINDS, chat, needs_responses, respond
from tests.support.deadlines import until

ASKED = {
    "messages": [{"role": "system", "content": "canary-system"}, {"role": "user", "content": "canary-prompt"}],
    "tools": [{"type": "function", "function": {"name": "f", "description": "canary-definition"}}],
}


def test_it_is_shown_each_generation_once_and_adds_to_its_span_everywhere(client, stand_in, receiver):
    shown = []

    def look(generation):
        shown.append(generation)
        generation.attributes["team"] = "search"
        generation.attributes.update(price_class=2, tags=["a", "b"], nested={"x": 1}, nothing=None)

    stand_in.script(completion(message("Hi"), usage=usage_of(10, 5, model="openai/gpt-4o"), model="openai/gpt-4o"))
    with OtlpReceiver() as other:
        handle = llm_otel_broadcast.instrument(
            destinations=[
                Destination(name="one", endpoint=receiver.endpoint),
                Destination(name="two", endpoint=other.endpoint, privacy_mode=True),
            ],
            on_generation=look,
        )
        client.chat.completions.create(
            model="openai/gpt-4o",
            messages=[],
            user="ann",
            extra_body={"session_id": "s", "trace": {"generation_name": "Answer", "environment": "test"}},
        )
        assert handle.flush()
        (one,), (two,) = receiver.store.spans(), other.store.spans()
    for span in (one, two):
        added = {name: span.attributes[name] for name in ("team", "price_class", "tags", "nested")}
        assert added == {"team": "search", "price_class": 2, "tags": '["a","b"]', "nested": '{"x":1}'}
        assert "nothing" not in span.attributes
    (generation,) = shown
    assert (generation.name, generation.operation, generation.model) == ("Answer", "chat", "openai/gpt-4o")
    assert (generation.input_tokens, generation.output_tokens, generation.total_tokens) == (10, 5, 15)
    assert (generation.user, generation.session_id, generation.metadata) == ("ann", "s", {"environment": "test"})
    assert (generation.trace_id, generation.span_id) == (one.trace_id, one.span_id)
    assert generation.cost == one.attributes["gen_ai.usage.total_cost"]
    assert generation.response_model == "openai/gpt-4o"
    assert generation.response_id == one.attributes["gen_ai.response.id"]
    assert generation.finish_reasons == ["stop"]
    assert (generation.error, generation.provider) == (None, one.attributes["gen_ai.provider.name"])
    assert 0 < generation.seconds < 60
    assert one.span_id in repr(generation)


def test_it_sees_failures(client, stand_in, instrumented, arrived):
    seen = []
    instrumented(on_generation=lambda generation: seen.append(generation.error))
    stand_in.script(error(500, "no"))
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="gpt-4o-mini", messages=[])
    arrived(1)
    assert seen == ["InternalServerError"]


def test_it_runs_in_the_background(client, instrumented, arrived):
    threads = []
    instrumented(on_generation=lambda _: threads.append(threading.current_thread()))
    client.chat.completions.create(model="gpt-4o-mini", messages=[])
    arrived(1)
    assert threads != [threading.current_thread()]


def test_a_slow_one_holds_up_neither_the_call_nor_a_fork(client, instrumented, receiver):
    """A fork waits for our imports; the program's own functions run apart from those."""
    go, inside = threading.Event(), threading.Event()

    def look(_):
        inside.set()
        assert go.wait(20)

    instrumented(on_generation=look)
    client.chat.completions.create(model="gpt-4o-mini", messages=[])
    assert inside.wait(5)
    from llm_otel_broadcast.host.import_lock import importing

    with importing:  # what a fork takes too
        go.set()
    until(receiver.store.spans)


def test_one_that_fails_is_counted_and_the_span_is_sent(client, instrumented, arrived, caplog):
    def look(generation):
        generation.attributes["half"] = "done"
        raise KeyError(secret)

    secret = "canary"
    instrumented(on_generation=look)
    for _ in range(2):
        client.chat.completions.create(model="gpt-4o-mini", messages=[])
    assert all("half" not in span.attributes for span in arrived(2))
    assert llm_otel_broadcast.status().internal_errors == {"on_generation": 2}
    (said,) = [record for record in caplog.records if record.name == "llm_otel_broadcast"]
    assert "your on_generation failed (KeyError): what it added is left out" in said.getMessage()
    assert "canary" not in caplog.text


class Odd:
    def __init__(self, error):
        self.error = error

    def __repr__(self):
        raise self.error


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, KeyboardInterrupt])
def test_what_the_programs_functions_raise_on_our_threads_stops_there(error, client, instrumented, arrived):
    """None of these is meant for our threads: a batch was lost with it, neighbours included."""

    def fail(_):
        raise error

    handle = instrumented(on_generation=fail, redact=fail)
    for metadata in (1, Odd(error), 2):
        with trace_context(value=metadata):
            client.chat.completions.create(model="gpt-4o-mini", messages=ASKED["messages"])
    spans = arrived(3)
    assert [span.attributes["trace.metadata.value"] for span in spans] == [1, "<Odd>", 2]
    assert "canary" not in repr(spans)
    assert handle.status().destinations[0].dropped == {}


def test_calls_of_its_own_are_not_recorded(client, instrumented, arrived):
    instrumented(on_generation=lambda _: client.chat.completions.create(model="gpt-4o-mini", messages=[]))
    client.chat.completions.create(model="gpt-4o-mini", messages=[])
    arrived(1)


# -- what nobody wants ------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(receiver):
    """Instrument, and return what records hold of content once they have been read in the background."""
    seen = []
    with OtlpReceiver() as other:

        def start(*asked, **options):
            mine = [
                Destination(name=str(number), endpoint=each.endpoint, **given)
                for number, (each, given) in enumerate(zip((receiver, other), asked, strict=False))
            ]
            handle = llm_otel_broadcast.instrument(
                destinations=mine, on_generation=lambda one: seen.append(one._record), **options
            )

            def held():
                assert handle.flush()
                (record,) = seen
                values = (getattr(record, name) for name in (*GenerationFacts.__slots__, *Generation.__slots__))
                return repr([list(value) if isinstance(value, PackedList) else value for value in values])

            return held

        yield start


CASES = [
    ([{"hide": {"inputs"}}], {"answer", "definition"}),
    ([{"hide": {"outputs"}}], {"system", "prompt", "definition"}),
    ([{"hide": {"system"}}], {"prompt", "answer", "definition"}),
    ([{"hide": {"tools"}}], {"system", "prompt", "answer"}),
    ([{"hide": {"inputs", "outputs", "tools"}}], set()),
    ([{"hide": PARTS}, {"privacy_mode": True}], set()),
    ([{"hide": {"inputs"}}, {"privacy_mode": True}], {"answer", "definition"}),
    ([{"hide": {"inputs"}}, {"hide": {"outputs"}}], {"system", "prompt", "answer", "definition"}),
    ([{"hide": {"inputs", "outputs"}}, {"hide": {"outputs", "tools"}}], {"system", "prompt", "definition"}),
]


@pytest.mark.parametrize(("asked", "left"), CASES)
@pytest.mark.parametrize("form", ["plain", "stream", "raw"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_no_destination_may_have_is_not_even_referenced(stand_in, kept, kind, form, asked, left):
    held = kept(*asked)
    stand_in.script((stream if form == "stream" else completion)(message("canary-answer")))
    if form == "raw":
        http = openai.DefaultHttpxClient(verify=False)
        with openai.OpenAI(api_key="k", base_url=stand_in.base_url, http_client=http) as client:
            client.chat.completions.with_raw_response.create(model="gpt-4o-mini", **ASKED)
    else:
        chat(kind, stand_in.base_url, stream=form == "stream", **ASKED)
    text = held()
    assert {word for word in ("system", "prompt", "answer", "definition") if f"canary-{word}" in text} == left


@needs_responses
@pytest.mark.parametrize(
    ("hide", "left"),
    [({"inputs"}, set()), ({"system"}, {"prompt"}), ({"outputs"}, {"prompt", "system"})],
)
def test_nor_are_the_responses_apis_instructions(stand_in, kept, hide, left):
    held = kept({"hide": hide})
    respond("sync", stand_in.base_url, input="canary-prompt", instructions="canary-system")
    text = held()
    assert {word for word in ("system", "prompt") if f"canary-{word}" in text} == left


def test_a_rule_that_looks_at_content_keeps_it_for_as_long_as_it_takes(stand_in, kept):
    looks = {"groups": [{"rules": [{"field": "input", "operator": "exists"}]}]}
    held = kept({"privacy_mode": True, "filter_rules": looks}, {"privacy_mode": True})
    stand_in.script(completion(message("canary-answer")))
    chat("sync", stand_in.base_url, **ASKED)
    text = held()
    assert "canary-prompt" in text
    assert "canary-answer" not in text


def test_apps_own_spans_may_want_what_destinations_do_not(stand_in, kept):
    held = kept({"hide": PARTS}, capture_content_in_app_spans=True)
    chat("sync", stand_in.base_url, **ASKED)
    assert "canary-prompt" in held()


def test_nor_is_what_a_decorated_function_takes_and_returns(kept):
    held = kept({"hide": {"inputs"}})

    @traced_generation
    def work(text):
        current_generation().record(model="llama")
        return "canary-answer"

    with trace_context():
        work("canary-prompt")
    text = held()
    assert "canary-prompt" not in text
    assert "canary-answer" in text
