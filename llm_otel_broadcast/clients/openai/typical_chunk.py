"""The chunk that nearly all of a streamed answer is made of: one choice, a piece of its text, nothing else.

It has a path of its own, because it is read on the host's thread a thousand times for an answer: 4 thousand instructions
instead of 12.
"""

from __future__ import annotations

from typing import Any, Final

from llm_otel_broadcast.clients.answer_texts import Allowance, TextPieces
from llm_otel_broadcast.clients.reader import members_of
from llm_otel_broadcast.host.guard import is_for_host
from llm_otel_broadcast.record.generation import Generation

_SILENT_FIELDS: Final = frozenset({"content", "role"})
"""Members of a delta that the typical chunk states; nobody reads the role of a piece."""
_NO_INDEX: Final = object()


class TypicalChunk:
    """What the next chunk looks like if it is typical, as the general path has seen it in the chunks before.

    Derive from it: `add_any` reads any chunk, the typical one included, and calls `expect` and `expect_any`.

    Args:
        allowance: counts what is kept.
        keeps_text: False: texts are passed over.
    """

    __slots__ = (
        "_allowance",
        "_append",
        "_extras",
        "_fields",
        "_has_fingerprint",
        "_has_tier",
        "_index",
        "_keeps_text",
    )

    def __init__(self, allowance: Allowance, *, keeps_text: bool) -> None:
        self._allowance = allowance
        self._keeps_text = keeps_text
        self._index: object = _NO_INDEX
        """Of the choice; not an index while any chunk has to take the general path."""
        self._fields: frozenset[str] = frozenset()
        self._extras: dict[str, object] = {}
        """Members of the delta that the client does not know, as servers state them in every chunk: None, or empty lists."""
        self._append: Any = None
        self._has_fingerprint = self._has_tier = False
        """A chunk has stated it; until then each is asked."""

    def add(self, chunk: Any) -> bool:
        """Take a chunk; see `Fold.add`."""
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
                extras = delta.__pydantic_extra__
                # What the server has stated: cheaper than a look at each member, and new ones are never passed over.
                if delta.__pydantic_fields_set__ == self._fields and (not extras or extras == self._extras):
                    text = delta.content
                    if type(text) is str:
                        append = self._append
                        if append is not None:
                            append(text)
                            # `Allowance.count`, without the call.
                            allowance = self._allowance
                            allowance.room = room = allowance.room - len(text)
                            if room < 0:
                                allowance.cut()
                        return False
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # No choice, two of them, or what is no model of the client's.
            if is_for_host(error):
                raise
        return self.add_any(chunk)

    def add_any(self, chunk: Any) -> bool:
        """Take a chunk of any form."""
        raise NotImplementedError

    def expect(self, index: int, text: TextPieces, choices: Any, record: Generation) -> None:
        """Have the next chunk take the short path if it has the form of this one.

        Args:
            index: of the choice that this one had a piece of text for, and nothing else.
            text: where the pieces go.
            choices: of this chunk.
            record: with what the chunks have stated so far.
        """
        if type(choices) is not list or len(choices) != 1:
            return
        delta = members_of(choices[0]).get("delta")
        fields, extras = getattr(delta, "__pydantic_fields_set__", None), getattr(delta, "__pydantic_extra__", None)
        if type(fields) is not set or not fields <= _SILENT_FIELDS or type(extras) is not dict:
            return
        if any(value is not None and value != [] for value in extras.values()):
            return
        self._fields = frozenset(fields)
        self._extras = {name: None if value is None else [] for name, value in extras.items()}
        self._append = text.append if self._keeps_text else None
        self._has_fingerprint = record.system_fingerprint is not None
        self._has_tier = record.response_service_tier is not None
        self._index = index

    def expect_any(self) -> None:
        """Have the next chunk take the general path."""
        self._index = _NO_INDEX
