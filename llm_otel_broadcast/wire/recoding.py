"""Encoded requests made anew: in the other encoding, in two halves, with less content.

For bodies whose spans are gone, such as those of another process. Whatever the encoding, they pass through OTLP's own messages.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.record.span_data import CONTENT_CUT, CONTENT_LEFT_OUT, CONTENT_TOO_LARGE
from llm_otel_broadcast.wire.exchange import Body, Encoding
from llm_otel_broadcast.wire.http import compressed

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

# Shorter texts are names and ids, not content.
_MIN_CONTENT_CHARS: Final = 4_096
# A body has a few MB: what unpacks to more than this was not packed by us.
_MAX_UNPACKED_BYTES: Final = 256_000_000
_ID_FIELDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})
_ELLIPSIS: Final = "…"


class UnreadableBodyError(ValueError):
    """A body is not what its encoding says."""


def recode(body: Body[bytes], encoding: Encoding) -> Body[bytes]:
    """Return a body in another encoding.

    Raises:
        UnreadableBodyError: it cannot be read.
    """
    return _body_of(_message_of(body), body, encoding)


def halve(body: Body[bytes]) -> tuple[Body[bytes], Body[bytes]] | None:
    """Return the two halves of a body; None: it has one span.

    Raises:
        UnreadableBodyError: it cannot be read.
    """
    middle = body.spans // 2
    if not middle:
        return None
    return (
        _body_of(_part_of(body, lambda position: position < middle), body, body.encoding),
        _body_of(_part_of(body, lambda position: position >= middle), body, body.encoding),
    )


def shrink(body: Body[bytes]) -> Body[bytes] | None:
    """Return a body with content of half the length, in the end without any; None: there is nothing left to cut.

    What is JSON stays JSON. What was done is an attribute of each span.

    Raises:
        UnreadableBodyError: it cannot be read.
    """
    request = _message_of(body)
    spans = [
        (span, [pair for pair in span.attributes if len(pair.value.string_value) >= _MIN_CONTENT_CHARS])
        for span in _spans_of(request)
    ]
    longest = max((_longest(pair.value.string_value) for _, pairs in spans for pair in pairs), default=0)
    if not longest:
        return None
    limit = longest // 2 if longest // 2 >= _MIN_CONTENT_CHARS else 0
    for span, pairs in spans:
        for pair in pairs:
            if limit:
                pair.value.string_value = _cut(pair.value.string_value, limit)
            else:
                span.attributes.remove(pair)
        if pairs:
            mark = next((pair for pair in span.attributes if pair.key == CONTENT_TOO_LARGE), None)
            mark = span.attributes.add(key=CONTENT_TOO_LARGE) if mark is None else mark
            mark.value.string_value = CONTENT_CUT if limit else CONTENT_LEFT_OUT
    return _body_of(request, body, body.encoding)


def _longest(text: str) -> int:
    """Return the length of the longest text in a value that may be JSON."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return len(text)
    longest, pending = 0, [document]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            longest = max(longest, len(value))
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            pending += value.values()
    return longest


def _cut(text: str, limit: int) -> str:
    """Return a text, or the texts in it if it is JSON, with `limit` characters at most."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text if len(text) <= limit else text[: limit - 1] + _ELLIPSIS

    def shortened(value: object) -> object:
        if isinstance(value, str) and len(value) > limit:
            return value[: limit - 1] + _ELLIPSIS
        if isinstance(value, list):
            return [shortened(item) for item in value]
        if isinstance(value, dict):
            return {key: shortened(item) for key, item in value.items()}
        return value

    return json.dumps(shortened(document), ensure_ascii=False)


# -- encodings ------------------------------------------------------------------------------------------------------------


def _message_of(body: Body[bytes]) -> ExportTraceServiceRequest:
    # Slow to import, and used only where a destination wants something else than it was sent.
    with importing:
        from google.protobuf import json_format
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        content = body.content
        if body.compression == "gzip":
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                # What is longer is cut here, and is no whole message then.
                content = packed.read(_MAX_UNPACKED_BYTES)
        if body.encoding == "protobuf":
            return ExportTraceServiceRequest.FromString(content)
        document = _with_ids(json.loads(content), lambda text: base64.b64encode(bytes.fromhex(text)).decode())
        return json_format.ParseDict(document, ExportTraceServiceRequest())
    except (ValueError, DecodeError, json_format.ParseError, OSError, EOFError, RecursionError) as error:
        raise UnreadableBodyError(type(error).__name__) from None


def _body_of(request: ExportTraceServiceRequest, body: Body[bytes], encoding: Encoding) -> Body[bytes]:
    with importing:
        from google.protobuf import json_format

    if encoding == "protobuf":
        content = request.SerializeToString()
    else:
        document = json_format.MessageToDict(request, use_integers_for_enums=True)
        document = _with_ids(document, lambda text: base64.b64decode(text).hex())
        content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    spans = sum(1 for _ in _spans_of(request))
    return Body(compressed(content, body.compression), spans, encoding, body.compression)


def _with_ids(document: Any, convert: Callable[[str], str]) -> Any:
    """Return a JSON document with its ids in another form: OTLP has them in hex, protobuf's own JSON in base64."""
    if isinstance(document, list):
        return [_with_ids(item, convert) for item in document]
    if isinstance(document, dict):
        return {
            key: convert(value) if key in _ID_FIELDS and isinstance(value, str) else _with_ids(value, convert)
            for key, value in document.items()
        }
    return document


def _spans_of(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            yield from scope_spans.spans


def _part_of(body: Body[bytes], is_part: Callable[[int], bool]) -> ExportTraceServiceRequest:
    """Return the message with those spans whose position is part of it."""
    request = _message_of(body)
    position = 0
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            remaining = []
            for span in scope_spans.spans:
                if is_part(position):
                    remaining.append(span)
                position += 1
            del scope_spans.spans[:]
            scope_spans.spans.extend(remaining)
    for resource_spans in request.resource_spans:
        filled = [scope_spans for scope_spans in resource_spans.scope_spans if scope_spans.spans]
        del resource_spans.scope_spans[:]
        resource_spans.scope_spans.extend(filled)
    filled_resources = [resource_spans for resource_spans in request.resource_spans if resource_spans.scope_spans]
    del request.resource_spans[:]
    request.resource_spans.extend(filled_resources)
    return request
