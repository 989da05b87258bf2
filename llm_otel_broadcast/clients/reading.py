"""What a reader of a client library's operation provides, and how the client's errors are described."""

from __future__ import annotations

from typing import Any, Final, Protocol

from llm_otel_broadcast.generation import Failure, Generation

_MAX_ERROR_TEXT: Final = 16_384


class Reader(Protocol):
    """How one operation's request, response and chunks are read. Stateless; the record holds everything."""

    operation: str

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        """Fill the record from the call's arguments; may replace a one-time iterator in `kwargs` by one that is teed."""

    def read_response(self, record: Generation, response: Any) -> None:
        """Fill the record from a whole answer."""

    def read_body(self, record: Generation, body: bytes) -> None:
        """Fill the record from the bytes of a whole answer (raw responses, in the background)."""

    def fold(self, record: Generation) -> Fold:
        """Return what takes the chunks of a stream."""


class Fold(Protocol):
    """Takes chunks one by one and fills the record."""

    hide_usage_chunk: bool

    def add(self, chunk: Any) -> bool:
        """Take a chunk. True: it must not reach the caller, because only our own request for usage made it."""

    def finish(self) -> None:
        """Fill the record with what the chunks add up to."""


def describe(error: BaseException) -> Failure:
    """Return what an exception of the client says; its text counts as content."""
    status = getattr(error, "status_code", None)
    code = getattr(error, "code", None)
    request_id = getattr(error, "request_id", None)
    return Failure(
        type=type(error).__qualname__,
        message=str(error)[:_MAX_ERROR_TEXT],
        status_code=status if isinstance(status, int) else None,
        code=code if isinstance(code, str) else None,
        request_id=request_id if isinstance(request_id, str) else None,
    )
