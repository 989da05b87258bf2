"""Reading `embeddings`. Of the vectors only the number of dimensions is looked at; they are never kept."""

from __future__ import annotations

import re
from typing import Any, Final

from llm_otel_broadcast.clients.openai.answers import read_head, read_tail
from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.text_inputs import note_inputs
from llm_otel_broadcast.clients.reader import Reader, all_members_of, items_of, members_of, note, parse_json, text_of
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.media import base64_size

# Of a body that may have megabytes of numbers: each vector, without parsing it.
_VECTOR: Final = re.compile(rb'"embedding"\s*:\s*(\[[^\[\]]*\]|"[^"]*")')
_FLOAT_BYTES: Final = 4


class EmbeddingReader(Reader):
    """Reads embeddings."""

    operation = "embeddings"
    api = None

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.wants_content = content
        dimensions, encoding = kwargs.get("dimensions"), text_of(kwargs.get("encoding_format"))
        note(
            record,
            dimensions=dimensions if type(dimensions) is int else None,
            # A list in the conventions (`gen_ai.request.encoding_formats`).
            encoding_formats=[encoding] if encoding else None,
        )
        note_inputs(record, kwargs, "input", content=content)

    def read_response(self, record: Generation, response: object) -> None:
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


def _dimensions(vector: object) -> int | None:
    """Return the length of a vector: a list (or the first of several), or 32-bit floats in base64 where asked for."""
    # The client asks for base64 by itself when the caller names no format, and decodes it before we see the answer; a
    # caller who asks for base64 gets the text.
    if isinstance(vector, str):
        return base64_size(vector) // _FLOAT_BYTES or None
    if vector and isinstance(vector, list | tuple):
        return len(vector[0] if isinstance(vector[0], list | tuple) else vector) or None
    return None
