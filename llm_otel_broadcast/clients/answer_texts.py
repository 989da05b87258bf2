"""The texts of a streamed answer, kept up to what can be sent: both ends of each, never the whole of an endless stream.

What was left out is counted. Runs on the host's thread at every chunk: a piece is appended to a list, everything else happens
once in as many characters as are kept.
"""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.record.generation import Generation

CUT: Final = "[truncated]"
"""Stands for the middle of a text (OpenRouter's Broadcast marks it so: spec, section 8)."""
_MIN_SHARE_CHARACTERS: Final = 256


class Texts(list[str]):
    """The pieces of one text, in order; `omitted` counts the characters that were left out of its middle."""

    __slots__ = ("_head", "omitted")

    def __init__(self) -> None:
        super().__init__()
        self.omitted = 0
        self._head = 0

    @property
    def size(self) -> int:
        return sum(map(len, self))

    def cut(self, limit: int) -> None:
        """Keep both ends, `limit` characters in all."""
        text = "".join(map(str, self))
        excess = len(text) - limit
        if excess > 0:
            # what is left out now has to include where something was left out before
            after = len(text) - self._head if self.omitted else len(text)
            tail = min(after, max(limit - self._head, limit - limit // 2) if self.omitted else limit - limit // 2)
            self._head = limit - tail
            self.omitted += excess
            text = text[: self._head] + text[len(text) - tail :]
        self[:] = [text]

    def joined(self) -> str | None:
        """Return the text, with a mark where its middle is left out; None when there is none."""
        text = "".join(map(str, self))
        if self.omitted:
            return f"{text[: self._head]}{CUT}{text[self._head :]}"
        return text if self else None


class Allowance:
    """How much the texts of one stream may hold together.

    Args:
        limit: in characters. Up to twice as many are kept while the stream goes on, so that cutting stays rare.
    """

    __slots__ = ("_bound", "_held", "_limit", "_texts")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bound = 2 * limit
        self._held = 0
        self._texts: list[Texts] = []

    def texts(self) -> Texts:
        """Return a text to append pieces to; `take` has to be told of each."""
        texts = Texts()
        self._texts.append(texts)
        return texts

    def take(self, piece: str) -> None:
        """Note that a piece has been appended, and cut all texts if that was too much."""
        self._held += len(piece)
        if self._held > self._bound:
            self._cut()

    def _cut(self) -> None:
        """Give each text an equal share; what short ones leave goes to the long ones."""
        room, held = self._limit, 0
        texts = sorted((texts for texts in self._texts if texts), key=lambda texts: texts.size)
        for done, text in enumerate(texts):
            share = max(room // (len(texts) - done), _MIN_SHARE_CHARACTERS)
            text.cut(share)
            size = text.size
            room -= size
            held += size
        self._held = held
        # with very many texts their smallest shares exceed the limit: cutting at every piece would cost the square
        self._bound = max(2 * self._limit, 2 * held)

    def settle(self) -> None:
        """Cut what is more than may be sent: no further piece comes."""
        if self._held > self._limit:
            self._cut()

    def note(self, record: Generation) -> None:
        """Tell the record how much was left out."""
        self.settle()
        record.omitted_characters += sum(texts.omitted for texts in self._texts)


def limit_answer(record: Generation) -> None:
    """Cut the texts of an answer that came whole to what can be sent, both ends kept."""
    limit = record.max_characters
    for choice in record.choices:
        for name in ("content", "reasoning", "refusal"):
            text = getattr(choice, name)
            if type(text) is str and len(text) > limit + len(CUT):
                setattr(choice, name, _both_ends(record, text, limit))
        for call in choice.tool_calls:
            if type(call.arguments) is str and len(call.arguments) > limit + len(CUT):
                call.arguments = _both_ends(record, call.arguments, limit)


def _both_ends(record: Generation, text: str, limit: int) -> str:
    record.omitted_characters += len(text) - limit
    record.size -= len(text) - limit
    return f"{text[: limit // 2]}{CUT}{text[len(text) - limit // 2 :]}"
