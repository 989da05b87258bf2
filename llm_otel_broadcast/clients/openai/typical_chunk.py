"""The chunks that nearly all of a streamed answer is made of: one choice with a piece of one of its texts, and nothing else.

Its text, its reasoning, or the arguments of a call.

They have paths of their own, because they are read on the host's thread a thousand times for an answer: a text takes
4 thousand instructions, a piece of reasoning or of a call 8 to 10, any chunk on the general path 20.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import islice
from typing import Any, Final

from llm_otel_broadcast.clients.answer_texts import Allowance, TextPieces
from llm_otel_broadcast.clients.openai.content_parts import MessageTexts
from llm_otel_broadcast.clients.openai.tool_calls import CallPieces, OpenCall
from llm_otel_broadcast.clients.reader import Members
from llm_otel_broadcast.clients.stream_watch import StreamReading
from llm_otel_broadcast.host.guard import is_for_host
from llm_otel_broadcast.record.generation import Generation

_TEXT_FIELDS: Final = frozenset({"content", "role"})
"""Members of a delta that a piece of a text or of reasoning states; nobody reads the role of a piece."""
_CALL_FIELDS: Final = _TEXT_FIELDS | {"tool_calls"}
_COUNTED_TOGETHER: Final = 256
"""Pieces whose characters are counted at once: counting each would be a tenth of what a chunk takes."""
_MAX_CHARACTERS: Final = 256
"""Of a piece that waits to be counted."""
_NO_TEXT: Final = TextPieces()
_MEDIA: Final = frozenset({"audio", "images"})


# Without `__slots__`: what most choices do not have need not be set.
class StreamedChoice(MessageTexts):
    """The texts and calls of one choice of a stream."""

    index: int
    calls: CallPieces | None = None


class TypicalChunk:
    """What the next chunk looks like if it is typical, as the general path has seen it in the chunks before.

    Derive from it: `add_any` reads any chunk, the typical one included, sets `_index` to None before and calls `expect` after.

    Args:
        allowance: counts what is kept.
        keeps_text: False: texts are passed over.
    """

    __slots__ = (
        "_allowance",
        "_append",
        "_call",
        "_extras",
        "_fields",
        "_has_fingerprint",
        "_has_tier",
        "_index",
        "_keeps_text",
        "_pieces",
        "_read_piece",
        "_reasoning_name",
    )

    def __init__(self, allowance: Allowance, *, keeps_text: bool) -> None:
        self._allowance = allowance
        self._keeps_text = keeps_text
        self._index: int | None = None
        """Of the choice; None while any chunk has to take the general path."""
        self._fields: frozenset[str] = frozenset()
        self._extras: dict[str, object] = {}
        """Members of the delta that the client does not know, as servers state them in every chunk: None, or empty lists.

        Of reasoning the names alone count."""
        self._pieces = _NO_TEXT
        """Where they go."""
        self._append: Callable[[Any], int] = len
        """Adds a piece there, if texts are kept."""
        self._has_fingerprint = self._has_tier = False
        """A chunk has stated it; until then each is asked."""
        self._read_piece: Callable[[Any, Any], Any] | None = None
        """Returns the piece that a delta carries, by its extras, None where it is another kind of delta; None: it is a text."""
        self._reasoning_name = ""
        self._call: OpenCall | None = None

    def add(self, chunk: Any) -> bool:
        """Take a chunk; see `Fold.add`."""
        if self._index is None:
            return self.add_any(chunk)
        try:
            members = chunk.__dict__
            (piece,) = members["choices"]
            choice = piece.__dict__
            if (
                # Small integers are the same objects; `==` would take True for 1.
                choice["index"] is self._index
                and choice["finish_reason"] is None
                and members["usage"] is None
                and (self._has_fingerprint or members["system_fingerprint"] is None)
                and (self._has_tier or members["service_tier"] is None)
            ):
                delta = choice["delta"]
                # What the server has stated: cheaper than a look at each member, and new ones are never passed over.
                if delta.__pydantic_fields_set__ == self._fields:
                    extras = delta.__pydantic_extra__
                    read_piece, text = self._read_piece, None
                    if read_piece is not None:
                        text = read_piece(delta, extras)
                    elif not extras or extras == self._extras:
                        text = delta.content
                    if text is not None:
                        # `Allowance.take`, without the call. What is no text raises here.
                        allowance = self._allowance
                        allowance.room = room = allowance.room - self._append(text)
                        if room < 0:
                            allowance.cut()
                        return False
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # No choice, two of them, or what is no model of the client's.
            if is_for_host(error):
                raise
        return self.add_any(chunk)

    def follow(self, reading: StreamReading) -> Generator[Any, None, None]:
        """Yield the chunks of a synchronous stream and take each: `follow_generator`, with the text of `add` in a loop of its own.

        The call of `add`, and attributes instead of local variables, would be a third of what a chunk takes.
        """
        allowance, read_chunk = self._allowance, reading.read_chunk
        with reading as chunks:
            yield None
            for next_chunk in chunks:
                chunk = next_chunk
                while True:
                    if not read_chunk(chunk):
                        yield chunk
                    if self._read_piece is not None or self._index is None:
                        break
                    index, fields, silent = self._index, self._fields, self._extras
                    has_fingerprint, has_tier = self._has_fingerprint, self._has_tier
                    append, pieces = self._append, self._pieces
                    size = pieces.size
                    for chunk in islice(chunks, _COUNTED_TOGETHER):
                        try:
                            members = chunk.__dict__
                            (piece,) = members["choices"]
                            choice = piece.__dict__
                            if (
                                choice["index"] is index
                                and choice["finish_reason"] is None
                                and members["usage"] is None
                                and (has_fingerprint or members["system_fingerprint"] is None)
                                and (has_tier or members["service_tier"] is None)
                                # Of one member alone, the text, the length tells as much, for half of what comparing takes.
                                and (
                                    len(stated := (delta := choice["delta"]).__pydantic_fields_set__) == 1
                                    or stated == fields
                                )
                                and (not (extras := delta.__pydantic_extra__) or extras == silent)
                            ):
                                if append(delta.content) > _MAX_CHARACTERS:
                                    allowance.take(pieces.size - size)
                                    size = pieces.size
                            else:
                                break
                        except (AttributeError, KeyError, TypeError, ValueError) as error:
                            if is_for_host(error):
                                raise
                            break
                        yield chunk
                    else:
                        allowance.take(pieces.size - size)
                        break
                    allowance.take(pieces.size - size)

    def add_any(self, chunk: Any) -> bool:
        """Take a chunk of any form."""
        raise NotImplementedError

    def expect(self, choice: StreamedChoice, choices: Any, record: Generation) -> None:
        """Have the next chunk take a short path if it has the form of this one, and that is a typical one.

        Args:
            choice: what this one had a piece for.
            choices: of this chunk.
            record: with what the chunks have stated so far.
        """
        if type(choices) is not list or len(choices) != 1:
            return
        try:
            delta = choices[0].__dict__["delta"]
            members, fields, extras = delta.__dict__, delta.__pydantic_fields_set__, delta.__pydantic_extra__
        except (AttributeError, KeyError):
            # No model of the client's.
            return
        if type(fields) is not set or not fields <= _CALL_FIELDS or type(extras) is not dict:
            return
        pieces: TextPieces | None = None
        if extras and any(value is not None and value != [] for value in extras.values()):
            if "tool_calls" not in fields:
                pieces = self._expect_reasoning(choice, members, extras)
        elif "tool_calls" in fields:
            pieces = self._expect_arguments(choice, members)
        elif type(members.get("content")) is str and members["content"]:
            pieces, self._read_piece = choice.content, None
        if pieces is None:
            return
        self._pieces = pieces
        self._append = pieces.append if self._keeps_text else len
        self._fields = frozenset(fields)
        self._extras = {name: None if value is None else [] for name, value in extras.items()} if extras else extras
        self._has_fingerprint = record.system_fingerprint is not None
        self._has_tier = record.response_service_tier is not None
        self._index = choice.index

    def _expect_reasoning(self, choice: StreamedChoice, members: Members, extras: dict[str, Any]) -> TextPieces | None:
        # The order of `reasoning_of`, which reads no other where this one is a text.
        name = "reasoning" if "reasoning" in extras else "reasoning_content"
        if type(extras.get(name)) is not str or not extras[name] or members.get("content"):
            return None
        if not _MEDIA.isdisjoint(extras):
            return None
        self._reasoning_name, self._read_piece = name, self._read_reasoning
        return choice.reasoning

    def _read_reasoning(self, delta: Any, extras: Any) -> Any:
        if len(extras) != len(self._extras) or delta.content:
            return None
        if len(extras) > 1 and extras.keys() != self._extras.keys():
            return None
        return extras[self._reasoning_name] or None

    def _expect_arguments(self, choice: StreamedChoice, members: Members) -> TextPieces | None:
        call = None if choice.calls is None else choice.calls.next_call
        if call is None or members.get("content"):
            return None
        self._call, self._read_piece = call, self._read_arguments
        return call.arguments

    def _read_arguments(self, delta: Any, extras: Any) -> Any:
        if extras and extras != self._extras:
            return None
        members = delta.__dict__
        (piece,) = members["tool_calls"]
        call_members = piece.__dict__
        function = call_members["function"].__dict__
        arguments = function["arguments"]
        call = self._call
        if (
            call is not None
            and call_members["index"] is call.index
            and call_members["id"] is None
            and function["name"] is None
            and not members["content"]
            and type(arguments) is str
            and arguments
        ):
            call.has_arguments = True
            return arguments
        return None
