"""What an answer to an OTLP request says: whether it is one, what was rejected, and the words in it.

A server may send anything, and a regular expression holds the GIL for as long as it runs: everything here takes time in
proportion to what came, and that is bounded.
"""

from __future__ import annotations

import json
from typing import Final

from llm_otel_broadcast.host.import_lock import importing

_PAGE_HEAD_BYTES: Final = 4_096
_PAGES: Final = (b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<meta", b"<script")
# Members of JSON objects in which servers say what is wrong.
_MESSAGES: Final = ("message", "detail", "error", "error_description", "title")
# What simple receivers answer instead of an empty object: a word, as text or as a JSON string (measured with labubu 0.1.4).
_CONSENT: Final = frozenset(
    {"ok", "okay", "accepted", "ack", "created", "done", "received", "success", "successful", "thanks", "true"}
)
_CONSENT_BYTES: Final = 64


def is_page(content: bytes) -> bool:
    """Return whether an answer is a web page, that of a login or a proxy for instance: such an address stores no spans."""
    # A page begins with any number of comments and declarations; a regular expression for that can take quadratic time.
    head = content[:_PAGE_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    for opening, closing in ((b"<!--", b"-->"), (b"<?", b"?>"), (b"<!--", b"-->")):
        while head.startswith(opening):
            _, end, head = head.partition(closing)
            if not end:
                # A comment longer than that: no OTLP answer begins so.
                return True
            head = head.lstrip()
    return head.lower().startswith(_PAGES)


def is_otlp(content: bytes, content_type: str, *, whole: bool) -> bool:
    """Return whether an answer with a status of success can be that of an OTLP receiver.

    Args:
        content: its beginning.
        content_type: as its header has it.
        whole: False: it was cut off or was not read to its end, and cannot be parsed.
    """
    if is_page(content):
        return False
    text = content.strip()
    if not text or "protobuf" in content_type:
        return True
    # Protobuf under the general label of binary data; text under it is none.
    if content_type.startswith("application/octet-stream") and not text.isascii():
        return True
    if not whole:
        return text[:1] in (b"{", b"[")
    if len(text) <= _CONSENT_BYTES and text.strip(b'"!. \t\r\n').lower().decode("latin-1") in _CONSENT:
        return True
    # A JSON string is a message to people, that of a login for instance; an object, a number or null is an answer.
    try:
        return not isinstance(json.loads(text), str)
    except (ValueError, RecursionError):
        return False


def partial_success(content: bytes, content_type: str) -> tuple[int, str]:
    """Return how many spans an answer 2xx says were rejected, and why; anything that says nothing of it is zero."""
    if "protobuf" in content_type:
        with importing:
            from google.protobuf.message import DecodeError
            from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        try:
            counts = ExportTraceServiceResponse.FromString(content).partial_success
        except DecodeError:
            return 0, ""
        return max(0, counts.rejected_spans), str(counts.error_message)
    # Any shape may come, and numbers as text: proto3 JSON writes int64 so.
    try:
        answer = json.loads(content)
        partial = answer.get("partialSuccess") or {}
        return max(0, int(partial.get("rejectedSpans") or 0)), str(partial.get("errorMessage") or "")
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return 0, ""


def text_of(content: bytes, content_type: str, *, page: bool) -> str:
    """Return what an answer says; of a web page, its title; of JSON and protobuf, the message."""
    if "protobuf" in content_type and not page:
        # A `google.rpc.Status`, which is how OTLP says errors in protobuf. It comes from a backend that was sent protobuf, so
        # the packages are there.
        with importing:
            from google.protobuf.message import DecodeError
            from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

        try:
            return str(Status.FromString(content).message)
        except DecodeError:
            return content.decode("utf-8", "replace")
    text = content.decode("utf-8", "replace")
    if page:
        # `casefold` would change the length of some letters.
        small = "".join(char.lower() if char.isascii() else char for char in text)
        start = small.find("<title")
        begin = small.find(">", start) + 1
        end = small.find("</title", begin)
        return text[begin:end] if start >= 0 and begin and end >= 0 else ""
    try:
        part: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    while isinstance(part, dict):
        members: dict[str, object] = part
        part = next((members[key] for key in _MESSAGES if members.get(key)), None)
    return part if isinstance(part, str) else text
