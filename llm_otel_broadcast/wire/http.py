"""One POST of an OTLP body, and what its answer means."""

from __future__ import annotations

import gzip
import time
from http.client import HTTPException
from ssl import SSLError
from typing import Final, Literal
from urllib.parse import parse_qsl, urlsplit

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import redact_url
from llm_otel_broadcast.wire.advice import SUCCESS, batch_advice
from llm_otel_broadcast.wire.answers import is_otlp, is_page, partial_success, text_of
from llm_otel_broadcast.wire.connection import Connection, Response
from llm_otel_broadcast.wire.exchange import Answer, Kind
from llm_otel_broadcast.wire.network_errors import advice_on, cause, is_proxy_login, reason_of
from llm_otel_broadcast.wire.proxies import Proxy, proxy_for
from llm_otel_broadcast.wire.retry import RETRYABLE, asked_pause
from llm_otel_broadcast.wire.tls import Certificates

_MAX_EXCERPT_CHARS: Final = 200
# Values of headers and queries from this length on are cut out of what a server says; a shorter one hides nothing, but
# would tear words apart.
_MIN_SECRET_CHARS: Final = 4
_GZIP_LEVEL: Final = 6
_KINDS: Final[dict[int, Kind]] = {413: "too_large", 415: "unsupported_media"}


def compressed(content: bytes, compression: Literal["none", "gzip"]) -> bytes:
    """Return a body as it goes out."""
    # Without the time in its header: the same spans are the same bytes.
    return gzip.compress(content, _GZIP_LEVEL, mtime=0) if compression == "gzip" else content


class HttpSender:
    """Posts bodies to one destination. Redirects are refused, so that no credential follows one to another host."""

    def __init__(self, destination: Destination, version: str) -> None:
        self._url = destination.endpoint or ""
        self._address = redact_url(self._url)
        self._headers = {"User-Agent": f"llm-otel-broadcast/{version}", **destination.headers}
        self._secrets = _secrets(destination)
        self._method = destination.method
        self._certificates = Certificates(destination)
        self._proxy: Proxy | None = None
        self._connection: Connection | None = None

    def send(
        self, content: bytes, content_type: str, timeout: float, *, compression: Literal["none", "gzip"] = "none"
    ) -> Answer:
        """Post a body. Never raises for what a network or server does.

        Args:
            content: of the body, as it goes out.
            content_type: of the content.
            timeout: seconds for connecting, and as many again for sending and the answer.
            compression: of the content.
        """
        headers = {**self._headers, "Content-Type": content_type}
        if compression == "gzip":
            headers["Content-Encoding"] = "gzip"
        try:
            if self._connection is None:
                # Not before the first request: a file may be unusable today and there tomorrow.
                self._proxy = proxy_for(self._url)
                self._connection = Connection(self._url, self._proxy, self._certificates)
            response = self._connection.send(content, headers, timeout, self._method)
        except (HTTPException, OSError, ValueError) as error:
            # While new files cannot be used the former ones are; where TLS fails then, the reason is the new files.
            problem = self._certificates.problem
            reason = self._excerpt(reason_of(error if problem is None or cause(error, SSLError) is None else problem))
            advice = advice_on(error)
            message = f"{self._address} cannot be reached ({reason})" + (f": {advice}" if advice else "")
            return Answer("retry", None, message, None, 0, reason, error=error)
        return self._judge(response, content_type)

    def _judge(self, response: Response, content_type: str) -> Answer:
        """Return what an answer to a body of that content type means."""
        status, content = response.status, response.content
        answer_type = response.headers.get("Content-Type", "").lower()
        page = is_page(content)
        if status in SUCCESS and is_otlp(content, answer_type, whole=response.is_whole):
            rejected, message = partial_success(content, answer_type)
            if response.fault is not None:
                message = f"its answer is incomplete ({reason_of(response.fault)})"
            return Answer("ok", status, self._excerpt(message), None, rejected)
        advice = batch_advice(status, content_type, is_page=page)
        excerpt = self._excerpt(text_of(content, answer_type, page=page))
        # 407 is the proxy's; any other status may be, where there is no tunnel through it.
        who = self._address
        if self._proxy is not None and not self._url.startswith("https:"):
            proxy = f"the proxy {self._proxy.label}"
            who = proxy if is_proxy_login(status) else f"{self._address}, through {proxy},"
        message = f"{who} answered {status}"
        message += (f" ({advice})" if advice else "") + (f": {excerpt}" if excerpt else "")
        if status in RETRYABLE:
            headers = response.headers
            pause_s = asked_pause(headers.get("Retry-After"), headers.get("Date"), time.time())
            return Answer("retry", status, message, pause_s, 0, excerpt, page)
        location = response.headers.get("Location", "")
        return Answer(_KINDS.get(status, "refused"), status, message, None, 0, excerpt, page, location)

    def _excerpt(self, text: str) -> str:
        """Return the beginning of what a server says, on one line; it may repeat a key it does not like."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return "".join(char for char in " ".join(text.split()) if char.isprintable())[:_MAX_EXCERPT_CHARS]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _secrets(destination: Destination) -> list[str]:
    """Return what must never be shown, longest first: header values, their last words (`Bearer ...`), query values."""
    values = [
        *destination.headers.values(),
        *(value for _, value in parse_qsl(urlsplit(destination.endpoint or "").query)),
    ]
    secrets = {part for value in values for part in (value, value.rpartition(" ")[2])}
    return sorted((part for part in secrets if len(part) >= _MIN_SECRET_CHARS), key=len, reverse=True)
