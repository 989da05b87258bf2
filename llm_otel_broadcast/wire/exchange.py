"""What goes out to a destination, and what comes back: one `Body` is one request, one `Answer` is what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeAlias, TypeVar

Payload = TypeVar("Payload")
Encoding: TypeAlias = Literal["json", "protobuf"]
OTHER_ENCODING: Final[dict[Encoding, Encoding]] = {"json": "protobuf", "protobuf": "json"}
Kind: TypeAlias = Literal["ok", "retry", "refused", "unsupported_media", "too_large"]


@dataclass(frozen=True, slots=True)
class Body(Generic[Payload]):
    """Encoded spans, ready to be posted, and posted again as they are.

    Attributes:
        content: the bytes that go out, compressed if the destination is to have them so; for an exporter object, which
            encodes by itself, the spans of OpenTelemetry's SDK that it is handed.
        spans: how many spans it carries.
        encoding: of the spans.
        compression: of the content.
    """

    content: Payload
    spans: int
    encoding: Encoding
    compression: Literal["none", "gzip"] = "none"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request. `message` and `excerpt` never hold headers, queries or user information.

    Attributes:
        kind: what to do.
        status: of HTTP; None: there was no answer.
        message: what happened, and what can be done.
        retry_after: seconds to wait before the next try, where the server asks for it.
        rejected: how many spans were not taken.
        excerpt: the beginning of the answer's text, on one line.
        is_page: the answer is a web page.
        location: the whole address to which a redirect points.
        error: why there was no answer.
        encode_again: the server does not take this encoding, and `encode` now makes the other one.
    """

    kind: Kind
    status: int | None
    message: str
    retry_after: float | None
    rejected: int
    excerpt: str = ""
    is_page: bool = False
    location: str = field(default="", repr=False)
    error: Exception | None = None
    encode_again: bool = False
