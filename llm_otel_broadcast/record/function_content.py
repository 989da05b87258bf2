"""What went into a function of the program's and what came out of it. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_MAX_CHARACTERS: Final = 1_000_000
_CHARACTERS_OF_OTHERS: Final = 1_000
"""What a value counts that has no length we know: a thousand of them are kept, or a million characters."""


@dataclass(slots=True)
class FunctionContent:
    """Content of a function's span: values of the program's own, which nobody but it changes any more.

    Attributes:
        inputs: arguments by name.
        pieces: what came back, piece by piece.
        characters: how many `pieces` hold, roughly.
    """

    inputs: Mapping[str, object] | None = None
    pieces: list[object] = field(default_factory=list)
    characters: int = 0

    @property
    def has_room(self) -> bool:
        """Whether another piece is worth keeping."""
        return self.characters < _MAX_CHARACTERS

    def add_piece(self, value: object) -> None:
        """Take one more piece."""
        self.characters += _size_of(value)
        self.pieces.append(value)

    @property
    def size(self) -> int:
        """Estimate of the bytes held."""
        return sum(map(_size_of, (*self.pieces, *(self.inputs or {}).values())))

    def argument(self) -> object:
        """Return the text that is the only argument, else all arguments by name; None: there are none."""
        values = list((self.inputs or {}).values())
        return values[0] if len(values) == 1 and isinstance(values[0], str) else self.inputs or None

    def result(self) -> object:
        """Return texts one after the other, anything else as it is, several as a list; None: nothing came back."""
        texts = [piece for piece in self.pieces if isinstance(piece, str)]
        if self.pieces and len(texts) == len(self.pieces):
            return "".join(texts)
        return self.pieces[0] if len(self.pieces) == 1 else list(self.pieces) or None


def _size_of(value: object) -> int:
    return len(value) if isinstance(value, str | bytes) else _CHARACTERS_OF_OTHERS
