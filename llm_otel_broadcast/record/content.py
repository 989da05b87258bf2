"""What was said in a call, in one form whatever client library it went through. Imports nothing of ours but `media`.

A client library makes it in the background, privacy takes from it, and a dialect writes it down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llm_otel_broadcast.record.media import Part

ContentPart: TypeAlias = Literal["system", "inputs", "outputs", "tools"]


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one call: plain values with the members that the GenAI conventions' JSON schemas have.

    Attributes:
        system: the parts of instructions that stand apart from the messages.
        inputs: the request's messages: `role`, `parts` and, if there is one, `name`.
        outputs: a message for each choice, with its `finish_reason`.
        tools: definitions of the tools that the request offers: `type`, `name` and the tool's own members.
        error_text: the text of the error that the call ended in, which may quote any of the others.
        omitted_characters: how much of the outputs was not kept in the first place, because it was too much.
        shortened: which of the four have been cut to the length that a destination takes.
    """

    system: Sequence[Part] = ()
    inputs: Sequence[Part] = ()
    outputs: Sequence[Part] = ()
    tools: Sequence[Part] = ()
    error_text: str = ""
    omitted_characters: int = 0
    shortened: frozenset[ContentPart] = frozenset()
