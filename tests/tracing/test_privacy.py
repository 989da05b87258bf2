"""Content goes only where everybody round it allows: a context's privacy is never loosened from inside."""

from __future__ import annotations

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination, current_generation, trace_context, traced_generation
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.stand_in.answers import error
from tests.support.client_calls import MESSAGES, chat

SECRET = "the launch code"


def leaks(spans):
    return [span.name for span in spans if SECRET in repr(span)]


@traced_generation(span_name="local")
def local(question: str) -> str:
    current_generation().record(model="llama", input=f"asked: {question}", output=SECRET)
    return question


@pytest.mark.parametrize("loosen", [False, None, "false", 0])
def test_nothing_inside_takes_it_back(stand_in, instrumented, arrived, loosen):
    instrumented()
    with trace_context(trace_name="Outer", privacy=True):
        with trace_context(trace_name="Inner", privacy=loosen) as handle:
            handle.set(privacy=loosen)
            local(SECRET)
            handle.record(model="llama", input=SECRET, output=SECRET)
            messages = [{"role": "user", "content": SECRET}]
            chat("sync", stand_in.base_url, messages=messages, extra_body={"trace": {"privacy": loosen}})
        traced_generation(span_name="own", privacy=loosen)(lambda question: question)(SECRET)
    assert leaks(arrived(6)) == []


def test_an_inner_block_may_be_stricter_and_the_outer_one_stays_open(instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Outer"):
        with trace_context(privacy=True):
            local(SECRET)
        traced_generation(span_name="open")(lambda question: question)("an open question")
    spans = arrived(3)
    assert leaks(spans) == []
    assert [span.name for span in spans if "an open question" in repr(span)] == ["open"]


def test_privacy_for_all_calls_holds_in_blocks(instrumented, arrived):
    instrumented(trace_defaults={"privacy": True})
    with trace_context(trace_name="Block", privacy=False):
        local(SECRET)
    assert leaks(arrived(2)) == []


def test_privacy_known_only_later_holds_for_the_block_and_for_errors_that_leave_it(instrumented, arrived):
    instrumented()
    with pytest.raises(KeyError), trace_context(trace_name="Outer"), trace_context(trace_name="Block") as handle:
        handle.set(privacy=True)
        raise KeyError(SECRET)
    assert leaks(arrived(2)) == []


def test_the_text_of_an_exception_from_something_private_is_not_in_the_blocks_round_it(stand_in, instrumented, arrived):
    """The API's error text can quote the prompt."""
    instrumented()
    stand_in.script(error(400, SECRET))
    with pytest.raises(openai.BadRequestError, match=SECRET), trace_context(trace_name="Outer", span_name="Step"):
        with trace_context(trace_id="a" * 32, trace_name="Elsewhere"):
            chat("sync", stand_in.base_url, extra_body={"trace": {"privacy": True}})
    spans = arrived(4)
    assert leaks(spans) == []
    assert {span.attributes["error.type"] for span in spans} == {"BadRequestError"}


def test_nor_is_the_text_of_one_that_leaves_a_private_block(instrumented, arrived):
    instrumented()
    with pytest.raises(KeyError), trace_context(trace_name="Outer"), trace_context(trace_name="Inner", privacy=True):
        raise KeyError(SECRET)
    assert leaks(arrived(2)) == []


def test_nor_of_a_private_decorated_function(instrumented, arrived):
    instrumented()

    @traced_generation(privacy=True)
    def fail(question: str) -> None:
        raise KeyError(question)

    with pytest.raises(KeyError), trace_context(trace_name="Outer"):
        fail(SECRET)
    assert leaks(arrived(2)) == []


def test_each_destination_gets_what_it_may(receiver):
    with OtlpReceiver() as private:
        llm_otel_broadcast.instrument(
            destinations=[
                Destination(name="open", endpoint=receiver.endpoint),
                Destination(name="private", endpoint=private.endpoint, privacy_mode=True),
            ]
        )
        with trace_context(trace_name="Block"):
            local("why?")
        assert llm_otel_broadcast.flush(5.0)
        assert leaks(receiver.store.spans()) == ["local", "Block"]
        assert len(private.store.spans()) == 2
        assert leaks(private.store.spans()) == []


@pytest.mark.parametrize("settings", [{"capture_content": False}, {"privacy_mode": True}])
def test_arguments_and_results_are_not_even_kept_where_nobody_may_have_them(instrumented, settings):
    instrumented(**settings)
    kept = []

    @traced_generation
    def answer(question: str):
        yield question
        call = current_generation()._call
        kept.extend((call.content.inputs, call.content.pieces))

    assert list(answer(SECRET)) == [SECRET]
    assert kept == [None, []]


def test_only_the_captured_arguments_are_content(instrumented, arrived):
    instrumented()

    class Bot:
        @traced_generation(span_name="bot", capture=("question",))
        def answer(self, question: str, *, key: str = SECRET) -> str:
            return question

    Bot().answer("why?", key=SECRET)
    (span,) = arrived(1)
    assert leaks([span]) == []
    assert span.attributes["input.value"] == "why?"


def test_the_message_list_a_function_goes_on_changing_is_kept_as_it_was(instrumented, arrived):
    instrumented()

    @traced_generation
    def answer(messages: list[dict[str, str]]) -> list[str]:
        messages.append({"role": "assistant", "content": "later"})
        return ["result"]

    given = list(MESSAGES)
    result = answer(given)
    result.append("later")
    assert "later" not in repr(arrived(1))
    assert given[-1]["content"] == "later"
