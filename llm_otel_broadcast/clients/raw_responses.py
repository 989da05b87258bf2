"""The body of a raw response: its bytes are parsed in the background, unless the caller parses it first."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import ref

from llm_otel_broadcast.host.deferred import Deferred
from llm_otel_broadcast.host.guard import Guard

if TYPE_CHECKING:
    from llm_otel_broadcast.clients.call import Call

_PARSING = Guard("watching a raw response")
_BODY = Guard("reading a raw response")


def keep_body(call: Call, response: Any) -> None:
    """Have the body parsed in the background: the client closes the connection an instant before it keeps the body.

    Of an answer that is no text, a reader's `measure` takes the size at once, and nothing is kept.
    """
    measure = getattr(call.reader, "measure", None)
    if measure is not None:
        measure(call.record, response)
        return
    call.record.size += getattr(response, "num_bytes_downloaded", 0)
    call.record.pending = Deferred(_read_body, call, response)


def _read_body(call: Call, response: Any) -> None:
    body = getattr(response, "_content", None)
    if isinstance(body, bytes):
        # what is no JSON says nothing, and is no error of ours
        with _BODY, suppress(ValueError):
            call.reader.read_body(call.record, body)


class ParsedAnswer(dict[Any, Any]):
    """Stands where a raw response keeps what it has parsed, until it has parsed the answer: the app's span waits for that."""

    __slots__ = ("_call", "_raw")

    def __init__(self, raw: Any, call: Call) -> None:
        super().__init__(raw._parsed_by_type)  # noqa: SLF001
        # no cycle: a response that the caller drops unparsed goes at once, with its body
        self._raw = ref(raw)
        self._call = call

    def __setitem__(self, kind: Any, answer: Any) -> None:
        super().__setitem__(kind, answer)
        with _PARSING:
            raw = self._raw()
            # what the caller has parsed into a type of its own need not have the facts: the bytes have
            if raw is not None and kind is getattr(raw, "_cast_to", None):
                raw._parsed_by_type = dict(self)  # noqa: SLF001
                self._call.parsed(answer)
