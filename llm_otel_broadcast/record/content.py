"""What was said in a call, in one form whatever client library it went through. Imports nothing of ours but `media`.

A client library makes it in the background, privacy takes from it, and a dialect writes it down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from llm_otel_broadcast.record.media import Part

ContentPart: TypeAlias = Literal["system", "inputs", "outputs", "tools"]
FORM: Final = "api_form"
"""A member of a message or a part: how the API had it, where the neutral form has no place for that.

Only a dialect that repeats the API's own form (`Dialect.repeats_form`) is given it, after privacy like any other member.
Of a message: `content` (`parts`: a list, `null`, `absent`; else it was a text), `order` (the names of its members) and
`members` (others that it has). Of a text: its other members. Of a tool's result: `parts`, what the list had. Of a tool call:
`is_spaced`, its arguments were JSON with a blank after each separator.
"""


_PLAIN_MEMBERS: Final = 2
"""Of a plain message (`role`, `parts`) and of a plain text (`type`, `content`)."""


# Not frozen, which takes three times as long to make; two are made for each record and destination.
@dataclass(slots=True)
class Content:
    """The content of one call, which nobody changes: plain values with the members that the GenAI conventions' JSON schemas have.

    Attributes:
        system: the parts of instructions that stand apart from the messages.
        inputs: the request's messages: `role`, `parts` and, if there is one, `name`.
        outputs: a message for each choice, with its `finish_reason`.
        tools: definitions of the tools that the request offers: `type`, `name` and the tool's own members.
        error_text: the text of the error that the call ended in, which may quote any of the others.
        omitted_characters: how much of the outputs was not kept in the first place, because it was too much.
        shortened: which of the four have been cut to the length that a destination takes.
        json_texts: those of the four whose JSON text is known, because they have been measured by it.
    """

    system: Sequence[Part] = ()
    inputs: Sequence[Part] = ()
    outputs: Sequence[Part] = ()
    tools: Sequence[Part] = ()
    error_text: str = ""
    omitted_characters: int = 0
    shortened: frozenset[ContentPart] = frozenset()
    json_texts: Mapping[ContentPart, str] = field(default_factory=dict)


def plain_text_of(message: Part) -> str | None:
    """Return the text of a message that is a role and one text and nothing else; None: it is another one.

    Most are such, and dialects write them in a third of the time when they know.
    """
    parts = message.get("parts")
    if len(message) > _PLAIN_MEMBERS or type(parts) is not list or len(parts) != 1 or "role" not in message:
        return None
    part = parts[0]
    if type(part) is not dict or len(part) > _PLAIN_MEMBERS or part.get("type") != "text":
        return None
    text = part.get("content")
    return text if type(text) is str else None


def without_form(message: Part) -> Part:
    """Return a message in neutral form alone; itself where there is nothing else."""
    parts = message.get("parts")
    parts = parts if isinstance(parts, list) else []
    if FORM not in message:
        for part in parts:
            if isinstance(part, dict) and FORM in part:
                break
        else:
            return message
    neutral = [
        {name: value for name, value in part.items() if name != FORM} if isinstance(part, dict) else part
        for part in parts
    ]
    return {name: neutral if name == "parts" else value for name, value in message.items() if name != FORM}
