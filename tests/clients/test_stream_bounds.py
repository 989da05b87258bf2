"""A stream may be longer than anything that can be sent: both ends are kept, the middle is counted, the call is delivered."""

from __future__ import annotations

import gc
import json
import time

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llm_otel_broadcast
from llm_otel_broadcast.clients.answer_texts import CUT, Allowance
from llm_otel_broadcast.clients.openai.chat import ChatFold
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.stand_in.answers import completion, message, stream
from tests.support.client_calls import chat, needs_responses, respond
from tests.support.operations import call
from tests.support.stand_in.responses import streamed
from tests.support.stand_in.responses import text as said
from tests.support.stand_in.texts import text_stream

LIMIT = 2_000
WORDS = [f"word{number}" for number in range(3_000)]
STORY = " ".join(WORDS)


def kept_text(span):
    assert span.attributes["gen_ai.output.messages.truncated"] is True
    (answer,) = json.loads(span.attributes["gen_ai.output.messages"])
    (part,) = answer["parts"]
    return part.get("content") or part["arguments"]


def assert_both_ends(text, whole=STORY):
    assert len(text) <= LIMIT
    head, _, tail = text.partition(CUT)
    assert len(head) > LIMIT / 3
    assert len(tail) > LIMIT / 3
    assert whole.startswith(head)
    assert whole.endswith(tail)


def assert_delivered():
    (books,) = llm_otel_broadcast.status().destinations
    assert (books.delivered, books.dropped) == (1, {})


WAYS = {
    "content": (lambda url: chat("sync", url, stream=True), stream(message(STORY))),
    "reasoning": (lambda url: chat("sync", url, stream=True), stream(message(reasoning=STORY))),
    "refusal": (lambda url: chat("async", url, stream=True), stream(message(refusal=STORY))),
    "arguments": (lambda url: chat("sync", url, stream=True), stream(message(tool_calls=[("1", "f", STORY)]))),
    "completion": (lambda url: call("sync", url, "completions.create", stream=True), text_stream(STORY)),
    "response": (lambda url: respond("sync", url, stream=True), streamed(said(STORY), finished=False)),
    "whole response": (lambda url: respond("sync", url, stream=True), streamed(said(STORY))),
    "whole answer": (lambda url: chat("sync", url), completion(message(STORY))),
}


@pytest.mark.parametrize("way", [pytest.param(way, marks=needs_responses if "response" in way else ()) for way in WAYS])
def test_a_long_answer_is_delivered_with_both_its_ends(way, stand_in, instrumented, arrived):
    make, answer = WAYS[way]
    stand_in.script(answer)
    instrumented(max_content_chars=LIMIT)
    make(stand_in.base_url)
    (span,) = arrived(1)
    assert_both_ends(kept_text(span))
    assert span.attributes["gen_ai.output.messages.omitted_characters"] >= len(STORY) - LIMIT
    assert_delivered()


def test_an_answer_larger_than_a_small_queue_is_delivered(stand_in, instrumented, arrived):
    story = "y" * 3_000_000
    stand_in.script(stream(message(story)))
    instrumented(max_content_chars=10_000_000, max_queue_bytes=1024 * 1024)
    chat("sync", stand_in.base_url, stream=True)
    (span,) = arrived(1)
    assert len(kept_text(span)) == 131_072 + len(CUT)
    assert_delivered()


PIECES = st.lists(st.tuples(st.integers(0, 3), st.text(max_size=40)), max_size=200)


@settings(deadline=None)
@given(PIECES, st.integers(1_024, 4_096))
def test_no_more_than_twice_the_limit_is_held_and_what_is_left_out_is_counted(pieces, limit):
    allowance = Allowance(limit)
    texts = [allowance.new_text() for _ in range(4)]
    for which, piece in pieces * 5:
        texts[which].append(piece)
        allowance.count(piece)
        assert sum(text.size for text in texts) <= 2 * limit
    record = Generation("chat")
    allowance.note_omitted(record)
    wholes = ["".join(piece for which, piece in pieces * 5 if which == number) for number in range(4)]
    for text, whole in zip(texts, wholes, strict=True):
        kept = text.joined() or ""
        if not text.omitted:
            assert kept == whole
            continue
        head, tail = kept[: text._head_length], kept[text._head_length + len(CUT) :]
        assert whole.startswith(head)
        assert whole.endswith(tail)
        assert len(head) + len(tail) + text.omitted == len(whole)
    assert record.omitted_characters == sum(text.omitted for text in texts)


def test_a_stream_with_ever_new_choices_does_not_fill_the_memory():
    record = Generation("chat")
    record.wants_content = True
    fold = ChatFold(record)
    for index in range(5_000):
        fold.add({"choices": [{"index": index, "delta": {"content": "x"}}]})
    fold.finish()
    assert len(record.choices) == 1_024


def test_thousands_of_tool_calls_take_time_in_proportion(stand_in, instrumented):
    """Twice the calls took four times as long: 15,000 of them stopped the program for seconds."""
    record = Generation("chat")
    record.wants_content = True

    def seconds(count):
        fold = ChatFold(record)
        calls = [{"index": at, "id": f"id{at}", "function": {"name": "f", "arguments": "{}"}} for at in range(count)]
        # A collection would go through all objects of the tests' process.
        gc.disable()
        try:
            begun = time.process_time()
            fold.add({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]})
            fold.finish()
            taken = time.process_time() - begun
        finally:
            gc.enable()
        assert len(record.choices[0].tool_calls) == count
        return taken

    seconds(1_000)
    assert seconds(16_000) < 48 * max(min(seconds(2_000) for _ in range(3)), 0.002)


@pytest.mark.parametrize("odd", [["a"], {"b": 1}, 7, True])
def test_odd_ids_and_indexes_are_no_error(odd):
    record = Generation("chat")
    record.wants_content = True
    fold = ChatFold(record)
    for _ in range(2):
        fold.add({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": odd, "id": odd}]}}]})
    fold.finish()
    assert len(record.choices[0].tool_calls) == 1


def test_the_caller_gets_the_whole_stream(stand_in, instrumented):
    stand_in.script(stream(message(STORY)))
    instrumented(max_content_chars=LIMIT)
    with openai.OpenAI(api_key="k", base_url=stand_in.base_url) as client:
        chunks = client.chat.completions.create(model="m", messages=[], stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == STORY
