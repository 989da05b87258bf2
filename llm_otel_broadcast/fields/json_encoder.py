"""Plain JSON values as text, by the `json` module or, where the extra `fast` is installed, by orjson.

The two differ in nothing that a reader of JSON sees. orjson is loaded in the background only, and takes nothing that `json` would
take in another way: where it refuses a value (half an emoji, a large integer), `json` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.host.import_lock import importing

# `json` would write NaN, which is not JSON: a mistake of ours must fail here, not in the backend's parser.
_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
# What `JSONEncoder.encode` calls for a text, without the way there, which takes longer than most of the texts.
quote_short: Final[Callable[[str], str]] = getattr(json.encoder, "encode_basestring", _json.encode)
"""Returns a text as text of JSON; the quickest way for a short one, whether orjson is there or not."""
MAX_SHORT_CHARS: Final = 128
"""Of a text for which the bytes that orjson makes cost more than it saves."""


class Encoder:
    """Writes values of JSON's own types.

    Attributes:
        encode: returns a value as text.
        quote: returns a text as text of JSON.
    """

    def __init__(self) -> None:
        self.encode: Callable[[object], str] = _json.encode
        self.quote: Callable[[str], str] = quote_short

    def use_compiled(self) -> bool:
        """Write with orjson from here on, if it can be imported; return whether it can. For a thread of ours."""

        def load() -> Callable[[object], bytes]:
            with importing:
                import orjson

            dumps: Callable[[object], bytes] = orjson.dumps
            return dumps

        # It may be there and broken, as a wheel for another machine is.
        dumps = or_else(load, None)
        if dumps is None:
            return False

        def encode(value: object) -> str:
            try:
                return dumps(value).decode()
            except TypeError:
                return _json.encode(value)

        def quote(text: str) -> str:
            if len(text) <= MAX_SHORT_CHARS:
                return quote_short(text)
            try:
                return dumps(text).decode()
            except TypeError:
                return quote_short(text)

        self.encode, self.quote = encode, quote
        return True

    def use_json(self) -> None:
        """Write with the `json` module."""
        self.encode, self.quote = _json.encode, quote_short


encoder: Final = Encoder()
