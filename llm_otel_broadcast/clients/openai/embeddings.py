"""Reading `embeddings`. Of the vectors only the number of dimensions is looked at; they are never kept."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

from llm_otel_broadcast.clients.openai.answers import read_head, read_tail
from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.text_inputs import note_inputs
from llm_otel_broadcast.clients.openai.usage import copy_counts, read_usage
from llm_otel_broadcast.clients.reader import (
    MAX_NAME_CHARACTERS,
    Reader,
    all_members_of,
    declares_only,
    items_of,
    members_of,
    note,
    parse_json,
    text_of,
)
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.media import base64_size
from llm_otel_broadcast.record.usage import UnreadUsage

# Of a body that may have megabytes of numbers: each vector, without parsing it.
_VECTOR: Final = re.compile(rb'"embedding"\s*:\s*(\[[^\[\]]*\]|"[^"]*")')
_FLOAT_BYTES: Final = 4
_MEMBERS: Final = frozenset({"data", "model", "object", "usage"})
"""What the client declares of an answer. A newer one may declare more: its answers are read on the general path."""
_read_usage: Final = partial(read_usage, generates=False)


class EmbeddingReader(Reader):
    """Reads embeddings."""

    operation = "embeddings"
    api = None

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.wants_content = content
        dimensions, encoding = kwargs.get("dimensions"), text_of(kwargs.get("encoding_format"))
        if type(dimensions) is int:
            note(record, dimensions=dimensions)
        if encoding:
            # A list in the conventions (`gen_ai.request.encoding_formats`).
            note(record, encoding_formats=[encoding])
        note_inputs(record, kwargs, "input", content=content)

    def read_response(self, record: Generation, response: object) -> None:
        if not _read_typical_answer(record, response):
            self.read_any_response(record, response)

    def read_any_response(self, record: Generation, response: object) -> None:
        """Do what `read_response` does, whatever the answer is."""
        members = all_members_of(response)
        read_head(record, members)
        read_tail(record, members)
        first = next(iter(items_of(members, "data")), None)
        note(record, dimensions=_dimensions(members_of(first).get("embedding")))
        note_error(record, members)

    def read_body(self, record: Generation, body: bytes) -> None:
        """Read all but the vectors: to parse them would hold the GIL, and with it the host's threads, for as long as it takes."""
        first = _VECTOR.search(body)
        self.read_response(record, parse_json(_VECTOR.sub(b'"embedding":null', body)))
        if first is not None:
            vector = first[1]
            numbers = vector.count(b",") + 1 if vector.strip(b"[] \r\n\t") else None
            note(record, dimensions=numbers if vector[:1] == b"[" else _dimensions(vector[1:-1].decode("ascii")))


def _read_typical_answer(record: Generation, response: Any) -> bool:
    """Fill the record from vectors of numbers and two counts. False: it is another answer, and nothing has been filled.

    This takes a sixth of the instructions of the general path.
    """
    kind: Any = type(response)
    try:
        members = response.__dict__
        vectors, model, details = members["data"], members["model"], record.details
        if (
            response.__pydantic_extra__
            or not declares_only(kind, _MEMBERS)
            or type(vectors) is not list
            or not vectors
            or type(model) is not str
            or len(model) > MAX_NAME_CHARACTERS
        ):
            return False
        vector = vectors[0].__dict__["embedding"]
        counts = copy_counts(members["usage"])
        if counts is None or type(vector) is not list or not vector or type(vector[0]) is not float:
            return False
    except (AttributeError, KeyError):
        return False
    record.unread_usage = UnreadUsage(_read_usage, counts)
    record.response_model = record.served_model or model or record.response_model
    note(record, dimensions=len(vector))
    # what the request states is still to be looked at, unless it is a number
    record.is_limited = record.served_model is None and (details is None or "encoding_formats" not in details)
    return True


def _dimensions(vector: object) -> int | None:
    """Return the length of a vector: a list (or the first of several), or 32-bit floats in base64 where asked for."""
    # The client asks for base64 by itself when the caller names no format, and decodes it before we see the answer; a
    # caller who asks for base64 gets the text.
    if isinstance(vector, str):
        return base64_size(vector) // _FLOAT_BYTES or None
    if vector and isinstance(vector, list | tuple):
        return len(vector[0] if isinstance(vector[0], list | tuple) else vector) or None
    return None
