"""A message that is a role and a text takes a way of its own, which leads to the same place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.clients.openai.messages import input_messages

ROLES = (
    st.sampled_from(["user", "assistant", "system", "developer", "tool", "function", "", "Person"])
    | st.none()
    | st.integers()
)
CONTENTS = (
    st.text() | st.none() | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}), max_size=2)
)
USUAL = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.text(min_size=1)})
MESSAGES = (
    st.fixed_dictionaries({"role": ROLES, "content": CONTENTS})
    | st.fixed_dictionaries({"content": st.text(), "role": ROLES})
    | st.fixed_dictionaries({"role": ROLES, "content": st.text(), "name": st.text()})
    | st.text()
)


class Unusual(dict):
    """Read in the general way: it might do anything."""


@given(st.lists(MESSAGES | USUAL, max_size=4) | st.lists(USUAL, max_size=4), st.booleans())
def test_any_message_is_read_as_in_the_general_way(messages, with_form):
    general = [Unusual(message) if isinstance(message, dict) else message for message in messages]
    assert input_messages(messages, with_form=with_form) == input_messages(general, with_form=with_form)
