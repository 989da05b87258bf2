"""The bodies an OTLP/HTTP receiver answers with, in the encoding of the request."""

from __future__ import annotations

import json
from typing import Final

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"

_INVALID_ARGUMENT: Final = 3
_CODE_FIELD: Final = 0x08
_MESSAGE_FIELD: Final = 0x12


def success(content_type: str) -> bytes:
    """Return an export response without a partial success; in protobuf that is the empty message."""
    return b"" if content_type.startswith(PROTOBUF) else b'{"partialSuccess":{}}'


def failure(message: str, content_type: str) -> bytes:
    """Return a `google.rpc.Status`, in the encoding of a content type."""
    # Written by hand: the module of googleapis-common-protos is a dependency that nothing else needs.
    if not content_type.startswith(PROTOBUF):
        return json.dumps({"code": _INVALID_ARGUMENT, "message": message}).encode()
    text = message.encode()
    length = len(text)
    status = bytearray([_CODE_FIELD, _INVALID_ARGUMENT, _MESSAGE_FIELD])
    # Protobuf's lengths: the lowest seven bits first, the eighth says that more follow.
    while length > 0x7F:  # noqa: PLR2004  # seven bits per octet
        status.append(length & 0x7F | 0x80)
        length >>= 7
    status.append(length)
    return bytes(status) + text
