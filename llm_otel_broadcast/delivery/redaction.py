"""Calling the program's function that redacts: where it fails or blocks, content is left out, and the span is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llm_otel_broadcast.host.blocked_objects import objects
from llm_otel_broadcast.host.guard import Callback
from llm_otel_broadcast.host.suppression import untraced

# Each is a thread that is left behind, of which a lane has a few: with so many the function is not called any more.
_MAX_BLOCKED_CALLS: Final = 4


class WithheldError(Exception):
    """The function that redacts has failed: the content is not sent."""


class Redaction:
    """The function that redacts for one destination, called on its thread only.

    A thread that a call blocks is replaced by another one, which begins with the same record again: a call that has not
    ended when the next one is to begin belongs to a thread that was left behind.

    Args:
        destination_name: for the log and for `status().internal_errors`.
        function: gets each text, and returns what is sent in its place.
    """

    def __init__(self, destination_name: str, function: Callable[[str], str]) -> None:
        consequence = "the content is left out, the span is sent"
        self._callback = Callback(f'redact of destination "{destination_name}"', function, consequence)
        # The span that each unfinished call is for; by an object of the call's own, as texts may be equal.
        self._unfinished: dict[object, int] = {}

    def is_blocked(self, span_id: int) -> bool:
        """Return whether a call for this span's texts has blocked, or so many have that none is made any more."""
        is_blocked = len(self._unfinished) >= _MAX_BLOCKED_CALLS or span_id in self._unfinished.values()
        if is_blocked:
            self._callback.fail("it blocks")
        return is_blocked

    def apply(self, text: str, span_id: int) -> str:
        """Return what is sent in place of a text.

        Raises:
            WithheldError: the function has failed.
        """
        call = object()
        self._unfinished[call] = span_id
        try:
            # A model may do the redacting: its calls are not to be traced, or they would be redacted in turn.
            with untraced():
                # So that a thread that stands still here is known to be held up by the function, not by the record.
                has_returned, redacted = objects.read(call, lambda: self._callback(text), lambda: (False, None))
        finally:
            self._unfinished.pop(call, None)
        if has_returned and isinstance(redacted, str):
            return str(redacted)
        if has_returned:
            self._callback.fail(f"it returned {type(redacted).__name__}, not text")
        raise WithheldError
