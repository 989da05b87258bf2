"""Whether a body would take far more memory once it is parsed than it has bytes; told before it is parsed.

Three bytes of JSON become a list of sixty-four, two of protobuf a message of a hundred and more: 16 MiB took 1.4 GB, and minutes.
"""

from __future__ import annotations

from typing import Final

MAX_JSON_CONTAINERS: Final = 1_000_000
"""Objects and arrays, brackets in texts included: the smallest attribute has two objects in 30 bytes."""
MAX_PROTOBUF_FIELDS: Final = 200_000
"""Fields of a request, its groups and its scopes, spans included."""
# The numbers of `resource_spans`, `scope_spans` and `spans`, each in the message around it.
_LEVELS: Final = (1, 2, 2)
# Wire types, and those of a fixed size in octets.
_VARIABLE: Final = 0
_LENGTH_DELIMITED: Final = 2
_SIZES: Final = {1: 8, 5: 4}


def has_too_many_containers(body: bytes) -> bool:
    """Return whether a JSON body has more objects and arrays than any sender's."""
    return body.count(b"{") + body.count(b"[") > MAX_JSON_CONTAINERS


def has_too_many_fields(body: bytes) -> bool:
    """Return whether an export request in protobuf has more groups and spans than any sender's; one that is damaged has not."""
    pending = [(0, len(body), 0)]
    count = 0
    while pending:
        position, end, level = pending.pop()
        while position < end:
            count += 1
            if count > MAX_PROTOBUF_FIELDS:
                return True
            try:
                key, position = _integer(body, position)
                kind = key & 7
                size = _SIZES.get(kind, 0)
                if kind in (_VARIABLE, _LENGTH_DELIMITED):
                    value, position = _integer(body, position)
                    size = value if kind == _LENGTH_DELIMITED else 0
            except IndexError:
                # Cut off: the parser says so.
                return False
            if key == _LEVELS[level] << 3 | _LENGTH_DELIMITED and level + 1 < len(_LEVELS):
                pending.append((position, min(position + size, end), level + 1))
            position += size
    return False


def _integer(body: bytes, position: int) -> tuple[int, int]:
    """Return a variable integer and the position behind it."""
    value = shift = 0
    while True:
        octet = body[position]
        position += 1
        value |= (octet & 0x7F) << shift
        shift += 7
        # Ten octets hold 64 bits; more of them are no integer.
        if octet < 0x80 or shift > 63:  # noqa: PLR2004  # the eighth bit says that more follow
            return value, position
