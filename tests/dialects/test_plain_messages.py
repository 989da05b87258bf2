"""Messages that are a role and a text take a short way through the dialects: it leads to the same as the long one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.dialects.openinference import OPENINFERENCE
from llm_otel_broadcast.dialects.openrouter import OPENROUTER
from llm_otel_broadcast.dialects.semconv import SEMCONV
from llm_otel_broadcast.record.content import Content, plain_text_of
from llm_otel_broadcast.record.generation import Generation

ROLES = st.sampled_from(["system", "developer", "user", "assistant", "", "tool"])
TEXTS = st.text(max_size=20)
# What no dialect reads of a text, which makes it one that is not plain.
UNREAD = {"unread": None}


def conversation(texts, further_members):
    return [{"role": role, "parts": [{"type": "text", "content": text, **further_members}]} for role, text in texts]


@pytest.mark.parametrize("dialect", [SEMCONV, OPENINFERENCE, OPENROUTER], ids=lambda dialect: type(dialect).__name__)
@pytest.mark.parametrize("operation", ["chat", "text_completion"])
@pytest.mark.parametrize("api", ["chat_completions", "responses"])
@given(texts=st.lists(st.tuples(ROLES, TEXTS), min_size=1, max_size=3))
def test_a_plain_message_is_written_like_any_other(dialect, operation, api, texts):
    record = Generation(operation, api)
    record.end()
    plain, other = (
        dialect.generation_span(record, Content(inputs=conversation(texts, members)), None).attributes
        for members in ({}, UNREAD)
    )
    values = {"gen_ai.input.messages", "input.value"}
    assert {key: value for key, value in plain.items() if key not in values} == {
        key: value for key, value in other.items() if key not in values
    }


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "parts": []},
        {"role": "user", "parts": [{"type": "text", "content": None}]},
        {"role": "user", "parts": [{"type": "reasoning", "content": "a"}]},
        {"role": "user", "parts": [{"type": "text", "content": "a"}, {"type": "text", "content": "b"}]},
        {"role": "user", "parts": [{"type": "text", "content": "a"}], "name": "ann"},
        {"role": "user", "parts": [{"type": "text", "content": "a", "truncated": {"omitted_items": 1}}]},
        {"role": "user", "content": "a"},
        {"type": "text", "parts": [{"type": "text", "content": "a"}]},
    ],
)
def test_a_message_that_says_more_than_a_text_is_not_plain(message):
    assert plain_text_of(message) is None
    assert plain_text_of({"role": "user", "parts": [{"type": "text", "content": "a"}]}) == "a"
