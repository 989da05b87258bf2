"""One destination's book of blocks: which it has, and which it may have because a generation below them went there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, TypeAlias

from llm_otel_broadcast.generation import Block
from llm_otel_broadcast.span import Span

Key: TypeAlias = tuple[int, int]
_MAX: Final = 10_000


def key_of(block: Block) -> Key:
    return block.trace_id, block.span_id


class BlockBook:
    """Used by the lane's thread, and at a change of settings by those of two lanes; bounded."""

    def __init__(self) -> None:
        self._sent: OrderedDict[Key, None] = OrderedDict()
        self._wanted: OrderedDict[Key, None] = OrderedDict()

    def due(self, blocks: Iterable[Block]) -> list[Block]:
        """Return those blocks round an accepted generation that are to go with it; those still open follow by themselves."""
        found = []
        for block in blocks:
            if block.is_elsewhere or block.is_handed_on:  # it comes by itself, through the settings that replaced these
                continue
            if block.is_scoped:
                _note(self._wanted, key_of(block))
            is_over = bool(block.end_ns) and block.is_whole(rendered=True)
            if (is_over or not block.is_scoped) and not self.has(key_of(block)):
                found.append(block)
        return found

    def follows(self, block: Block) -> bool:
        """Return whether a block that has ended is wanted: nothing happened below it, or something that went here."""
        return not block.generations or block.is_handed_on or key_of(block) in self._wanted

    def has(self, key: Key) -> bool:
        """Return whether the destination has a block."""
        try:
            self._sent.move_to_end(key)
        except KeyError:
            return False
        return True

    def missing(self, blocks: Iterable[Span]) -> dict[Key, Span]:
        """Return those spans of blocks that the destination does not have yet, each once."""
        by_key = {(block.trace_id, block.span_id): block for block in blocks}
        return {key: block for key, block in by_key.items() if not self.has(key)}

    def remember(self, keys: Iterable[Key]) -> None:
        """Note blocks that have been sent."""
        for key in keys:
            _note(self._sent, key)


def _note(book: OrderedDict[Key, None], key: Key) -> None:
    book[key] = None
    if len(book) > _MAX:
        book.popitem(last=False)
