"""One POST of an OTLP body, and what its answer means."""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from ssl import SSLError
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import redact_url
from llm_otel_broadcast.wire.answers import is_otlp, is_page, partial_success, text_of
from llm_otel_broadcast.wire.connection import Connection, Response
from llm_otel_broadcast.wire.network_errors import cause, is_proxy_login, reason_of
from llm_otel_broadcast.wire.proxies import Proxy, proxy_for
from llm_otel_broadcast.wire.retry import RETRYABLE, asked_pause
from llm_otel_broadcast.wire.tls import Certificates

Kind: TypeAlias = Literal["ok", "retry", "refused", "unsupported_media", "too_large"]

_SHOWN: Final = 200
_SECRET: Final = 4
"""Values of headers and queries from this length on are cut out of what a server says."""
_HINTS: Final = {
    400: "it understood the address but refused the content: a header or the encoding",
    401: "check the API key in headers=",
    403: "check the API key in headers=",
    404: "check the path of the endpoint: it usually ends in /v1/traces",
    405: "this is a web page, not an OTLP path: it usually ends in /v1/traces",
    407: "the proxy wants a name and password: http://name:password@host in its variable",
    413: "the request is too large for it",
    422: "a header is missing or wrong",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request. `message` and `said` never hold headers, queries or user information.

    Attributes:
        kind: what to do.
        status: of HTTP; None: there was no answer.
        message: what happened, and what can be done.
        retry_after: seconds to wait before the next try, where the server asks for it.
        rejected: how many spans were not taken.
        said: the beginning of what the server said.
        is_page: it said it with a web page.
        location: where it points to, whole.
        error: why there was no answer.
    """

    kind: Kind
    status: int | None
    message: str
    retry_after: float | None
    rejected: int
    said: str = ""
    is_page: bool = False
    location: str = field(default="", repr=False)
    error: Exception | None = None


class HttpSender:
    """Posts bodies to one destination. Redirects are refused, so that no credential follows one to another host."""

    def __init__(self, destination: Destination, version: str) -> None:
        self._url = destination.endpoint or ""
        self._shown = redact_url(self._url)
        self._gzip = destination.compression == "gzip"
        self._headers = {"User-Agent": f"llm-otel-broadcast/{version}", **destination.headers}
        self._secrets = _secrets(destination)
        self._certificates = Certificates(destination)
        self._proxy: Proxy | None = None
        self._connection: Connection | None = None

    def send(self, body: bytes, content_type: str, timeout: float) -> Answer:
        """Post a body. Never raises for what a network or server does.

        Args:
            body: of the request.
            content_type: what it is.
            timeout: seconds for connecting, and as many again for sending and the answer.
        """
        headers = {**self._headers, "Content-Type": content_type}
        if self._gzip:
            body = gzip.compress(body, 6, mtime=0)
            headers["Content-Encoding"] = "gzip"
        try:
            if self._connection is None:
                # Not before the first request: a file may be unusable today and there tomorrow.
                self._proxy = proxy_for(self._url)
                self._connection = Connection(self._url, self._proxy, self._certificates)
            response = self._connection.post(body, headers, timeout)
        except (HTTPException, OSError, ValueError) as error:
            reason = self._excerpt(self._reason_of(error))
            return Answer("retry", None, f"{self._shown} cannot be reached ({reason})", None, 0, reason, error=error)
        return self._judge(response, content_type)

    def _reason_of(self, error: Exception) -> str:
        """Name an error; of TLS while a new file cannot be used, that file."""
        problem = self._certificates.problem
        return reason_of(error if problem is None or cause(error, SSLError) is None else problem)

    def _judge(self, response: Response, sent: str) -> Answer:
        status, content = response.status, response.content
        content_type = response.headers.get("Content-Type", "").lower()
        page = is_page(content)
        success = 200 <= status < 300  # noqa: PLR2004
        if success and is_otlp(content, content_type, whole=response.is_whole):
            rejected, message = partial_success(content, content_type)
            if response.fault is not None:
                message = f"its answer is incomplete ({reason_of(response.fault)})"
            return Answer("ok", status, self._excerpt(message), None, rejected)
        hint = _hint(status, sent, page=page)
        said = self._excerpt(text_of(content, content_type, page=page))
        text = f"{self._who(status)} answered {status}" + (f" ({hint})" if hint else "") + (f": {said}" if said else "")
        if status in RETRYABLE:
            headers = response.headers
            wait = asked_pause(headers.get("Retry-After"), headers.get("Date"), time.time())
            return Answer("retry", status, text, wait, 0, said, page)
        kinds: dict[int, Kind] = {413: "too_large", 415: "unsupported_media"}
        location = response.headers.get("Location", "")
        return Answer(kinds.get(status, "refused"), status, text, None, 0, said, page, location)

    def _who(self, status: int) -> str:
        """Name who answered: 407 is the proxy's; any other status may be, where there is no tunnel through it."""
        if self._proxy is None or self._url.startswith("https:"):
            return self._shown
        if is_proxy_login(status):
            return f"the proxy {self._proxy.shown}"
        return f"{self._shown}, through the proxy {self._proxy.shown},"

    def _excerpt(self, text: str) -> str:
        """Return the beginning of what a server says, on one line; it may repeat a key it does not like."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return "".join(char for char in " ".join(text.split()) if char.isprintable())[:_SHOWN]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _hint(status: int, sent: str, *, page: bool) -> str | None:
    if 200 <= status < 300:  # noqa: PLR2004
        return f"{'a web page' if page else 'no answer of OTLP'}, not an OTLP path: it usually ends in /v1/traces"
    if 300 <= status < 400:  # noqa: PLR2004
        return "it points elsewhere, where nothing is sent to by itself"
    return _encoding_hint(sent) if status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE else _HINTS.get(status)


def _secrets(destination: Destination) -> list[str]:
    """Return what must never be shown, longest first: header values, their last words (`Bearer ...`), query values."""
    values = [
        *destination.headers.values(),
        *(value for _, value in parse_qsl(urlsplit(destination.endpoint or "").query)),
    ]
    found = {part for value in values for part in (value, value.rpartition(" ")[2]) if len(part) >= _SECRET}
    return sorted(found, key=len, reverse=True)


def _encoding_hint(sent: str) -> str:
    other = "json" if "protobuf" in sent else "protobuf"
    return f'it does not take {sent}: try encoding="{other}"'
