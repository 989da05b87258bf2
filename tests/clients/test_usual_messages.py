"""A message that is a role and a text takes a way of its own, which leads to the same place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.clients.openai.messages import input_messages, is_usual

ROLES = (
    st.sampled_from(["user", "assistant", "system", "developer", "tool", "function", "", "Person"])
    | st.none()
    | st.integers()
)
CONTENTS = (
    st.text() | st.none() | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}), max_size=2)
)
MESSAGES = (
    st.fixed_dictionaries({"role": ROLES, "content": CONTENTS})
    | st.fixed_dictionaries({"content": st.text(), "role": ROLES})
    | st.fixed_dictionaries({"role": ROLES, "content": st.text(), "name": st.text()})
    | st.text()
)


class Unusual(dict):
    """Read in the general way: it might do anything."""


@given(st.lists(MESSAGES, max_size=4), st.booleans())
def test_any_message_is_read_as_in_the_general_way(messages, with_form):
    general = [Unusual(message) if isinstance(message, dict) else message for message in messages]
    assert input_messages(messages, with_form=with_form) == input_messages(general, with_form=with_form)


def test_the_way_is_taken_by_what_most_messages_are():
    assert is_usual({"role": "user", "content": "Hi"})
    assert not is_usual(Unusual(role="user", content="Hi"))
    assert not is_usual({"role": "tool", "content": "42"})
