"""The texts of a streamed answer, kept up to what can be sent: both ends of each, never the whole of an endless stream.

What was left out is counted. Runs on the host's thread at every chunk: a piece is written to a buffer, everything else happens
once in as many characters as are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Final

from llm_otel_broadcast.clients.reader import MAX_ITEMS, note_unread
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.sizes import text_size

CUT: Final = "[truncated]"
"""Stands for the middle of a text (OpenRouter's Broadcast marks it so)."""
_MIN_SHARE_CHARACTERS: Final = 256
MAX_CALL_CHARACTERS: Final = 1_000_000
"""Of the ids and names of an answer's tool calls together: they cannot be cut where there are too many."""


class TextPieces:
    """The pieces of one text, in order; `omitted` counts the characters that were left out of its middle."""

    __slots__ = ("_head_length", "append", "buffer", "omitted")

    def __init__(self) -> None:
        # One call of C takes a piece, refuses what is no text and tells its length; a list takes four times the memory.
        self.buffer = buffer = StringIO()
        self.append: Callable[[str], int] = buffer.write
        """Adds a piece and returns its length; `TypeError` for what is no text."""
        self.omitted = 0
        self._head_length = 0

    def __bool__(self) -> bool:
        return self.buffer.tell() > 0

    @property
    def size(self) -> int:
        """Characters that are held."""
        return self.buffer.tell()

    def cut(self, limit: int) -> None:
        """Keep both ends, `limit` characters in all."""
        buffer = self.buffer
        text = buffer.getvalue()
        excess = len(text) - limit
        if excess > 0:
            # A text that was cut before has a seam after its head; this cut has to include it, because the mark for
            # the middle stands in one place only.
            room = limit - self._head_length if self.omitted else 0
            tail_length = max(room, limit - limit // 2)
            if self.omitted:
                tail_length = min(tail_length, len(text) - self._head_length)
            self._head_length = limit - tail_length
            self.omitted += excess
            # The same buffer: whoever appends holds its method.
            buffer.seek(0)
            buffer.truncate()
            buffer.write(text[: self._head_length] + text[len(text) - tail_length :])

    def joined(self) -> str | None:
        """Return the text, with a mark where its middle is left out; None when there is none."""
        text = self.buffer.getvalue()
        if self.omitted:
            return f"{text[: self._head_length]}{CUT}{text[self._head_length :]}"
        return text or None


class Allowance:
    """How much the texts of one stream may hold together.

    Args:
        limit: in characters. Up to twice as many are kept while the stream goes on, so that cutting stays rare.
    """

    __slots__ = ("_call_room", "_limit", "_next_cut", "_omitted_characters", "_part_room", "_texts", "room")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._part_room = limit
        self._call_room = MAX_CALL_CHARACTERS
        self._omitted_characters = 0
        self._next_cut = 2 * limit
        self.room = self._next_cut
        """How many more characters are kept before the texts are cut."""
        self._texts: list[TextPieces] = []

    def new_text(self) -> TextPieces:
        """Return a text to append pieces to; `count` must be called with each piece."""
        text = TextPieces()
        self._texts.append(text)
        return text

    def count(self, piece: str) -> None:
        """Count a piece that has been appended, and cut all texts if that was too much."""
        self.take(len(piece))

    def take(self, characters: int) -> None:
        """Count characters that have been appended, and cut all texts if that was too much."""
        self.room -= characters
        if self.room < 0:
            self.cut()

    def admits_call(self, name_characters: int) -> bool:
        """Take another tool call, by the length of its id and name. False: there are too many, and it is left out."""
        self._call_room -= name_characters
        if self._call_room >= 0 and len(self._texts) < MAX_ITEMS:
            return True
        note_unread("too many tool calls")
        return False

    def admits_part(self, part: object) -> bool:
        """Take a part that is no text and cannot be cut: a link, what a tool of the provider's returned. False: leave it out."""
        size = text_size(part)
        if size <= self._part_room:
            self._part_room -= size
            return True
        self._omitted_characters += size
        return False

    def cut(self) -> None:
        """Give each text an equal share; what short ones leave goes to the long ones."""
        room, held_characters = self._limit, 0
        # The shortest first: what it does not need is shared among the rest.
        texts = sorted((text for text in self._texts if text), key=lambda text: text.size)
        for index, text in enumerate(texts):
            share = max(room // (len(texts) - index), _MIN_SHARE_CHARACTERS)
            text.cut(share)
            size = text.size
            room -= size
            held_characters += size
        # With very many texts their smallest shares exceed the limit: cutting at every piece would cost the square.
        self._next_cut = max(2 * self._limit, 2 * held_characters)
        self.room = self._next_cut - held_characters

    def cut_to_limit(self) -> None:
        """Cut what is more than may be sent. To be called when no further piece comes."""
        # Not by what was counted: where a stream is left, its last pieces are not.
        held_characters = 0
        for text in self._texts:
            held_characters += text.buffer.tell()
        if held_characters > self._limit:
            self.cut()

    def note_omitted(self, record: Generation) -> None:
        """Cut what is more than may be sent, and add to the record how many characters were left out."""
        self.cut_to_limit()
        record.omitted_characters += self._omitted_characters
        for text in self._texts:
            record.omitted_characters += text.omitted
