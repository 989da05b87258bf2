"""Content beyond `max_content_chars` is cut, stays JSON and says so (the markers of OpenRouter's Broadcast, spec 5.1)."""

from __future__ import annotations

import json

import pytest

from llm_otel_broadcast.stand_in.answers import completion, message
from tests.support.client_calls import chat
from tests.support.operations import call

LIMIT = 2_000
MESSAGES = [{"role": "user", "content": f"Question {number}"} for number in range(200)]
TOOLS = [
    {"type": "function", "function": {"name": f"tool_{number}", "description": "d" * 50, "parameters": {}}}
    for number in range(100)
]


def cut(span, key):
    """Return an attribute's value, which is valid JSON, in its bounds, and marked as cut."""
    text = span.attributes[key]
    assert len(text) <= LIMIT
    assert span.attributes[f"{key}.truncated"] is True
    return json.loads(text)


def test_a_long_conversation_keeps_its_first_message_and_the_newest(stand_in, instrumented, arrived):
    instrumented(max_content_chars=LIMIT)
    chat("sync", stand_in.base_url, messages=MESSAGES)
    (span,) = arrived(1)
    first, mark, *newest = cut(span, "gen_ai.input.messages")
    assert first == {"role": "user", "parts": [{"type": "text", "content": "Question 0"}]}
    assert len(newest) > 15
    for number, message_ in enumerate(newest, start=200 - len(newest)):
        assert message_ == {"role": "user", "parts": [{"type": "text", "content": f"Question {number}"}]}
    (part,) = mark["parts"]
    omitted = 199 - len(newest)
    assert part == {
        "type": "text",
        "content": f"[truncated: {omitted} messages left out here]",
        "truncated": {"omitted_items": omitted},
    }
    assert "gen_ai.output.messages.truncated" not in span.attributes


def test_one_long_message_is_cut_within(stand_in, instrumented, arrived):
    instrumented(max_content_chars=LIMIT)
    chat("sync", stand_in.base_url, messages=[{"role": "user", "content": 'a "word" ' * 1_000 + "end"}])
    (said,) = cut(arrived(1)[0], "gen_ai.input.messages")
    (part,) = said["parts"]
    assert part["content"].startswith('a "word" a')
    assert "[truncated]" in part["content"]
    assert part["content"].endswith('"word" end')
    assert len(part["content"]) > LIMIT / 2


@pytest.mark.parametrize("long", [{0}, {1}, {2}, {0, 2}, {0, 1, 2}], ids=["first", "middle", "newest", "ends", "all"])
def test_of_a_conversation_with_long_messages_the_first_and_the_newest_are_cut_within(
    long, stand_in, instrumented, arrived
):
    instrumented(max_content_chars=LIMIT)
    texts = [f"begin {number}{' word' * (5_000 if number in long else 2)} end {number}" for number in range(3)]
    roles = ("system", "assistant", "user")
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    chat("sync", stand_in.base_url, messages=messages)
    said = cut(arrived(1)[0], "gen_ai.input.messages")
    for message_, text in ((said[0], texts[0]), (said[-1], texts[2])):
        head, mark, tail = message_["parts"][0]["content"].partition("[truncated]")
        assert len(head) > 0
        assert text.startswith(head)
        assert not mark or len(head) + len(tail) > LIMIT / 4
        assert text.endswith(tail)
    assert [message_["role"] for message_ in (said[0], said[-1])] == ["system", "user"]
    assert len(said) == 3


def test_a_long_answer_is_cut_too(stand_in, instrumented, arrived):
    stand_in.script(completion(message("blah " * 1_000)))
    instrumented(max_content_chars=LIMIT)
    made = chat("sync", stand_in.base_url)
    assert len(made.choices[0].message.content) == 5_000
    (span,) = arrived(1)
    (said,) = cut(span, "gen_ai.output.messages")
    assert said["parts"][0]["content"].count("[truncated]") == 1
    assert said["parts"][0]["content"].endswith("blah ")
    assert "gen_ai.input.messages.truncated" not in span.attributes


@pytest.mark.parametrize("given", ["word " * 2_000, [f"text {number}" for number in range(500)]], ids=["one", "many"])
def test_a_long_input_of_an_embedding_is_cut(given, stand_in, instrumented, arrived):
    instrumented(max_content_chars=LIMIT)
    call("sync", stand_in.base_url, "embeddings.create", input=given)
    assert stand_in.requests[0].json["input"] == given
    (said,) = cut(arrived(1)[0], "gen_ai.input.messages")
    last = said["parts"][-1]
    omitted = 500 - len(said["parts"]) + 1
    assert "[truncated]" in last["content"] or last == {
        "type": "text",
        "content": f"[truncated: {omitted} left out here]",
        "truncated": {"omitted_items": omitted},
    }


def test_tool_definitions_are_cut_and_their_names_stay(stand_in, instrumented, arrived):
    instrumented(max_content_chars=LIMIT)
    chat("sync", stand_in.base_url, tools=TOOLS)
    (span,) = arrived(1)
    *kept, mark = cut(span, "gen_ai.tool.definitions")
    assert kept[0]["name"] == "tool_0"
    omitted = 100 - len(kept)
    # With a type and a name, as each definition has to have them: Phoenix drops all for one that has not.
    assert mark == {
        "type": "function",
        "name": f"[truncated: {omitted} left out here]",
        "truncated": {"omitted_items": omitted},
    }
    assert span.attributes["gen_ai.request.tools.count"] == 100


def test_without_a_setting_a_million_characters_are_the_limit(stand_in, instrumented, arrived):
    instrumented()
    chat("sync", stand_in.base_url, messages=[{"role": "user", "content": "a" * 1_100_000}])
    (span,) = arrived(1)
    assert 990_000 < len(span.attributes["gen_ai.input.messages"]) <= 1_000_000
    assert span.attributes["gen_ai.input.messages.truncated"] is True
    json.loads(span.attributes["gen_ai.input.messages"])
