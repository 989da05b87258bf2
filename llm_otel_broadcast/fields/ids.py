"""Trace and span ids: made up, or derived from the caller's text the way OpenRouter derives them."""

from __future__ import annotations

import random
import re
import string
from hashlib import sha256
from typing import Final

from llm_otel_broadcast.host.forks import begin_anew_in_child

# our own generator, so that a host's random.seed() cannot make ids repeat; and no child of a fork repeats its parent's
_random = random.Random()  # noqa: S311
begin_anew_in_child(_random.seed)

_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_UUID_CHARS: Final = 36
_HEX_DIGITS: Final = frozenset(string.hexdigits)
# A text: compiled where a program passes one.
_TRACEPARENT: Final = r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?\Z"


def new_trace_id() -> int:
    """Return a random, valid trace id."""
    # all zeros are invalid in W3C trace context
    return _random.getrandbits(128) or 1


def new_span_id() -> int:
    """Return a random, valid span id."""
    return _random.getrandbits(64) or 1


def derive_trace_id(text: str) -> int:
    """Return the trace id that a caller's text stands for.

    32 hex digits, or a UUID with dashes, are the id itself; any other text gives the first 128 bits of its SHA-256. The
    all-zero id is invalid in OpenTelemetry and is hashed too.
    """
    is_uuid = len(text) == _UUID_CHARS and text[8] == text[13] == text[18] == text[23] == "-"
    return _id_in(text.replace("-", "") if is_uuid else text, _TRACE_ID_BYTES) or _hash(text, _TRACE_ID_BYTES)


def derive_span_id(text: str) -> int:
    """Return the span id that a caller's text stands for: 16 hex digits verbatim, else 64 bits of its SHA-256."""
    return _id_in(text, _SPAN_ID_BYTES) or _hash(text, _SPAN_ID_BYTES)


def root_span_id(trace_id: int, trace_name: str) -> int:
    """Return the id of the root span `trace_name` of a trace, the same in every process."""
    return _hash(f"{trace_id.to_bytes(_TRACE_ID_BYTES, 'big').hex()}/{trace_name}", _SPAN_ID_BYTES)


def parse_traceparent(text: str) -> tuple[str, str] | None:
    """Return trace id and parent span id of a W3C `traceparent` as hex, or None when it is not a valid one."""
    # later versions may have more parts (the last group), version ff is none: W3C trace context, section 3.2.2
    match = re.match(_TRACEPARENT, text.strip().lower()) if text else None
    if not match or not int(match[1], 16) or not int(match[2], 16):
        return None
    return match[1], match[2]


def _id_in(text: str, id_bytes: int) -> int:
    """Return the id that a text of hex digits is, 0 where it is none."""
    return int(text, 16) if len(text) == 2 * id_bytes and _HEX_DIGITS.issuperset(text) else 0


def _hash(text: str, id_bytes: int) -> int:
    # a text cut out of JSON may hold half of a surrogate pair; not by way of hex, which takes as long as hashing
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:id_bytes], "big") or 1
