"""HTTP headers as people write them: a mapping, `KEY=VALUE` or `Name: value`. Values are never shown, names only as far as they are names.

A text that was taken apart in the wrong place has a secret where its name should be (`Authorization: Basic U0VD==` read as
`KEY=VALUE`). So no message shows more of a name than its leading token characters.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Final, NamedTuple
from urllib.parse import unquote

from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.validators import read_json, split_pair

# RFC 9110, section 5.6.2. No regular expressions here: nearly every program has a header, and would compile them.
_TOKEN_CHARACTERS: Final = frozenset("!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters)
_CONTROL_CHARACTERS: Final = frozenset(map(chr, (*range(0x09), *range(0x0A, 0x20), *range(0x7F, 0xA0))))
_NAME_SHOWN_CHARS: Final = 40
# A second Content-Type or Content-Encoding would make the body unreadable for the backend.
_SET_BY_US: Final = frozenset({"content-type", "content-encoding", "content-length", "host", "transfer-encoding"})
HEADERS_WRITTEN: Final = "a JSON object, or `key=value,key=value` (URL-encoded)"


class Headers(NamedTuple):
    """The headers of a list that can be read, and what is wrong with the other entries."""

    headers: dict[str, str]
    faults: list[str]


def _leading_token(text: str) -> str:
    return "".join(takewhile(_TOKEN_CHARACTERS.__contains__, text))


def shown_name(name: str) -> str:
    """Return a header's name as it may be shown: its leading token characters, `...` for whatever follows them."""
    token = _leading_token(name)[:_NAME_SHOWN_CHARS]
    return token if token == name else f"{token}..."


def split_header(text: str) -> tuple[str, str] | None:
    """Split `Name: value`, as curl and the vendors' documentation have it, or `KEY=VALUE`; None: it is neither."""
    text = text.strip()
    token = _leading_token(text)
    # A colon right after a token is curl's form; in `KEY=a:b` the token ends at the `=`.
    if token and text[len(token) : len(token) + 1] == ":":
        return token, text[len(token) + 1 :].strip()
    return split_pair(text)


def read_pairs(texts: Sequence[str]) -> dict[str, str]:
    """Read headers, each a text of its own: `KEY=VALUE` or `Name: value`.

    Raises:
        ConfigError: naming each that is neither, by its position.
    """
    pairs = [split_header(text) for text in texts]
    faults = [
        f"number {position + 1} is not KEY=VALUE or 'Name: value'"
        for position, pair in enumerate(pairs)
        if pair is None
    ]
    if faults:
        raise ConfigError(faults)
    return dict(pair for pair in pairs if pair is not None)


def read_entries(text: str) -> Headers:
    """Read comma-separated headers: `key=value` is URL-encoded, as OpenTelemetry's variables have it, `Name: value` is plain."""
    headers: dict[str, str] = {}
    faults = []
    for position, entry in enumerate(text.split(",")):
        if not entry.strip():
            continue
        pair = split_header(entry)
        if pair is None:
            faults.append(f"entry {position + 1} is not key=value (entries are separated by commas)")
            continue
        name, value = pair
        # OpenTelemetry's variables are URL-encoded (W3C Baggage); a header copied from curl or a vendor's page is not.
        if not entry.strip().startswith(f"{name}:"):
            name, value = unquote(name), unquote(value)
        fault = header_fault(name, value)
        if fault is None:
            headers[name] = value
        else:
            faults.append(fault)
    return Headers(headers, faults)


def read_headers(text: str) -> object:
    """Read a JSON object, or headers separated by commas.

    Raises:
        ValueError: naming what is wrong by its position or name, never by its value.
    """
    if text.startswith("{"):
        return read_json(text)
    headers, faults = read_entries(text)
    if faults:
        raise ValueError("; ".join(faults))
    return headers


def header_faults(headers: object) -> list[str]:
    """Say what is wrong with headers; values are never shown."""
    if not isinstance(headers, Mapping):
        return [f'headers must be a mapping such as {{"Authorization": "Bearer ..."}}, got {type(headers).__name__}']
    return [fault for name, value in headers.items() if (fault := header_fault(name, value))]


def header_fault(name: object, value: object) -> str | None:
    """Say what is wrong with a header, None when it is fine."""
    if not isinstance(name, str):
        return f"a header's name must be a string, got {type(name).__name__}"
    printable_name = shown_name(name)
    if not name or not _TOKEN_CHARACTERS.issuperset(name):
        return f'header name "{printable_name}" is not a valid HTTP header name: letters, digits and - only'
    if name.lower() in _SET_BY_US:
        return f'header "{printable_name}" is set by the encoding: leave it out (see encoding and compression)'
    if not isinstance(value, str):
        # A number is no secret, and seeing it helps: a missing pair of quotes is the usual cause.
        number = f" {value}" if isinstance(value, int | float) else ""
        return f'header "{printable_name}" must be a string, got {type(value).__name__}{number}'
    # A line break would add headers of the value's own (header injection); some servers take other control characters for one
    # (vertical tab, form feed, NEL). RFC 9110, section 5.5, has the tab alone.
    control = next(filter(_CONTROL_CHARACTERS.__contains__, value), None)
    if control is not None:
        kind = "a line break" if control in "\r\n\0" else "a control character"
        return f'header "{printable_name}" has {kind} in its value: remove it'
    try:
        # http.client encodes header values as latin-1, and would raise at each request.
        value.encode("latin-1")
    except UnicodeEncodeError:
        return f'header "{printable_name}" has characters in its value that HTTP headers cannot carry: only latin-1 is allowed'
    return None
