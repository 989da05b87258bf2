"""Answers whose content is no plain text: text and reasoning are told apart, and nothing reads as Python writes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_otel_broadcast.clients.openai.chat import ChatReader
from llm_otel_broadcast.record.generation import Choice, Generation
from llm_otel_broadcast.stand_in.answers import Answer, completion, event
from tests.clients.test_tool_calls import chunks
from tests.support.client_calls import MESSAGES, chat
from tests.support.messages import all_parts_of


def thinking(text: str) -> dict[str, Any]:
    """Return a part as Mistral's reasoning models send it."""
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def answers(content: Any) -> tuple[Any, Any]:
    """Return a whole answer and a stream with that content."""
    return completion({"role": "assistant", "content": content}), chunks({"content": content}, reason="stop")


SUM = [{"type": "reasoning", "content": "A sum."}, {"type": "text", "content": "It is 4."}]


def test_thinking_and_text_are_told_apart_whole_streamed_and_raw(kind, client, stand_in, instrumented, arrived):
    whole = completion({"role": "assistant", "content": [thinking("A sum."), {"type": "text", "text": "It is 4."}]})
    pieces = ("", [thinking("A ")], [thinking("sum.")], "It is ", [{"type": "text", "text": "4."}])
    stand_in.script(whole, chunks(*({"content": piece} for piece in pieces), reason="stop"), whole)
    instrumented()
    chat(kind, stand_in.base_url)
    chat(kind, stand_in.base_url, stream=True)
    client.chat.completions.with_raw_response.create(model="m1", messages=MESSAGES)
    spans = arrived(3)
    assert [all_parts_of(span) for span in spans] == [SUM, SUM, SUM]
    assert "gen_ai.response.time_to_first_chunk" in spans[1].attributes


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (
            [
                {"type": "text", "text": "See "},
                {"type": "reference", "reference_ids": [1]},
                {"type": "text", "text": "there."},
            ],
            [{"type": "text", "content": "See there."}, {"type": "reference", "reference_ids": [1]}],
        ),
        (["It is ", {"text": "4."}], [{"type": "text", "content": "It is 4."}]),
        ({"type": "text", "text": "It is 4."}, [{"type": "text", "content": "It is 4."}]),
        ({"sum": 4}, [{"type": "text", "content": '{"sum": 4}'}]),
        (4, [{"type": "text", "content": "4"}]),
        ([{"type": "thinking", "thinking": "A sum."}], [{"type": "reasoning", "content": "A sum."}]),
        (
            [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "4"}],
            [{"type": "text", "content": "4"}],
        ),
        ([{"type": "refusal", "refusal": "No."}], [{"type": "refusal", "content": "No."}]),
        (
            [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
            [{"type": "uri", "modality": "image", "uri": "https://example.com/a.png"}],
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_content_of_any_shape_is_recorded_whole_and_streamed(stand_in, instrumented, arrived, content, parts):
    stand_in.script(*answers(content))
    instrumented()
    chat("sync", stand_in.base_url)
    chat("sync", stand_in.base_url, stream=True)
    assert [all_parts_of(span) for span in arrived(2)] == [parts, parts]


@pytest.mark.parametrize(
    "members",
    [
        {"content": [thinking("A sum."), {"type": "text", "text": "It is 4."}]},
        {"content": "It is 4.", "reasoning_content": "A sum."},
        {"content": "It is 4.", "reasoning": "A sum.", "reasoning_content": "A sum."},
        {"content": "It is 4.", "reasoning_details": [{"type": "reasoning.text", "text": "A "}, {"summary": "sum."}]},
        {"content": [{"type": "thinking", "thinking": "A sum."}, {"type": "redacted_thinking"}, "It is 4."]},
    ],
    ids=["parts", "reasoning_content", "both names", "details", "Anthropic"],
)
def test_reasoning_that_is_sent_back_is_reasoning_once(stand_in, instrumented, arrived, members):
    instrumented()
    chat("sync", stand_in.base_url, messages=[{"role": "assistant", **members}])
    assert all_parts_of(arrived(1)[0], "gen_ai.input.messages") == SUM


@pytest.mark.parametrize(
    "members", [{"message": "It is 4."}, {"text": "It is 4."}, {"message": {"content": "It is 4."}}]
)
def test_an_answer_without_a_message_keeps_its_text(client, stand_in, instrumented, arrived, members):
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m1"}
    choice = {"index": 0, "finish_reason": "stop", **members}
    stand_in.script(Answer(body=json.dumps({**body, "choices": [choice]}).encode()))
    instrumented()
    client.chat.completions.with_raw_response.create(model="m1", messages=MESSAGES)
    assert all_parts_of(arrived(1)[0]) == [{"type": "text", "content": "It is 4."}]


def test_a_stream_of_the_completions_api_in_chat_keeps_its_text(stand_in, instrumented, arrived):
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m1"}
    texts = [event({**head, "choices": [{"index": 0, "text": text}]}) for text in ("It is ", "4.")]
    stand_in.script(Answer(events=(*texts, b"data: [DONE]\n\n")))
    instrumented()
    chat("sync", stand_in.base_url, stream=True)
    assert all_parts_of(arrived(1)[0]) == [{"type": "text", "content": "It is 4."}]


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["it's", "text", "thinking"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "thinking", "reference_ids"]), inner, max_size=3)
    ),
    max_leaves=8,
)
PYTHONS = ("None", "True", "False", "{'", "['", "': ")
"""What only Python's own text of a value has in it."""


@settings(max_examples=200, deadline=None)
@given(values)
def test_no_content_reads_as_python_writes_it(content):
    texts = []
    for choice in (_read(content), _streamed(content)):
        texts.append((choice.content, choice.reasoning))
        for text in texts[-1]:
            assert text is None or isinstance(text, str)
            assert not any(mark in (text or "") for mark in PYTHONS)
    # a stream's zero and false are no piece of text
    assert texts[0] == texts[1] or not content


def _read(content: Any) -> Choice:
    record = Generation("chat")
    record.wants_content = True
    ChatReader().read_response(record, {"choices": [{"message": {"content": content}}]})
    return record.choices[0]


def _streamed(content: Any) -> Choice:
    record = Generation("chat")
    record.wants_content = True
    fold = ChatReader().fold(record)
    fold.add({"choices": [{"index": 0, "delta": {"content": content}}]})
    fold.finish()
    return record.choices[0]
