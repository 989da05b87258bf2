"""One POST of an OTLP body, and what its answer means."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import urllib3

from llm_otel_broadcast.forks import importing
from llm_otel_broadcast.settings.destination import Destination, redact_url
from llm_otel_broadcast.wire.deadline import bounded
from llm_otel_broadcast.wire.faults import reason_of
from llm_otel_broadcast.wire.retry import RETRYABLE, parse_retry_after
from llm_otel_broadcast.wire.route import proxy_for, tls_context

Kind: TypeAlias = Literal["ok", "retry", "refused", "unsupported_media", "too_large"]

_MAX_ANSWER: Final = 65_536
_SHOWN: Final = 200
_SECRET: Final = 4
"""Values of headers and queries from this length on are cut out of what a server says."""
_SAYING: Final = ("message", "detail", "error", "error_description", "title")
"""Members of JSON objects in which servers say what is wrong."""
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
        self._destination = destination
        self._pool: urllib3.PoolManager | None = None
        self._kept = False
        """The connection of the request before is still there, as far as we know."""

    def send(self, body: bytes, content_type: str, timeout: float) -> Answer:
        """Post a body; at most `timeout` seconds in all. Never raises for what a network or server does."""
        headers = {**self._headers, "Content-Type": content_type}
        if self._gzip:
            body = gzip.compress(body, 6, mtime=0)
            headers["Content-Encoding"] = "gzip"
        kept, self._kept = self._kept, False
        try:
            response = self._post(body, headers, timeout, again=kept)
            try:
                content = _read(response)
            finally:
                response.close()
                response.release_conn()
        except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
            reason = self._excerpt(reason_of(error))
            return Answer("retry", None, f"{self._shown} cannot be reached ({reason})", None, 0, reason, error=error)
        self._kept = True
        return self._judge(response.status, response.headers, content, content_type)

    def _post(self, body: bytes, headers: Mapping[str, str], timeout: float, *, again: bool) -> Any:
        """Post; `again`: at once once more if a connection of before turns out to have been closed while it idled."""
        deadline = time.monotonic() + timeout
        try:
            return self._request(body, headers, timeout)
        except urllib3.exceptions.ProtocolError as error:
            if not again or not any(isinstance(cause, ConnectionError) for cause in error.args):
                raise
        return self._request(body, headers, max(0.001, deadline - time.monotonic()))

    def _request(self, body: bytes, headers: Mapping[str, str], timeout: float) -> Any:
        if self._pool is None:  # not before the first request: a file may be unusable today and there tomorrow
            self._pool = _pool(self._destination)
        return self._pool.request(
            "POST",
            self._url,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(total=timeout),
            retries=False,
            redirect=False,
            preload_content=False,
            enforce_content_length=True,  # urllib3 2 does so anyway
        )

    def _judge(self, status: int, headers: Mapping[str, str], content: bytes, sent: str) -> Answer:
        page = _is_page(content)
        if 200 <= status < 300 and not page:  # noqa: PLR2004
            rejected, message = partial_success(content, headers.get("Content-Type", ""))
            return Answer("ok", status, self._excerpt(message), None, rejected)
        hint = _hint(status, sent, page=page)
        said = self._excerpt(_text_of(content, headers.get("Content-Type", ""), page=page))
        text = f"{self._shown} answered {status}" + (f" ({hint})" if hint else "") + (f": {said}" if said else "")
        if status in RETRYABLE:
            wait = parse_retry_after(headers.get("Retry-After"), time.time())
            return Answer("retry", status, text, wait, 0, said, page)
        kinds: dict[int, Kind] = {413: "too_large", 415: "unsupported_media"}
        return Answer(kinds.get(status, "refused"), status, text, None, 0, said, page, headers.get("Location", ""))

    def _excerpt(self, text: str) -> str:
        """Return the beginning of what a server says, on one line; it may repeat a key it does not like."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = re.sub(r"\s+", " ", text).strip()
        return "".join(char for char in text if char.isprintable())[:_SHOWN]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.clear()


def _pool(destination: Destination) -> urllib3.PoolManager:
    url = destination.endpoint or ""
    context = tls_context(destination) if urlsplit(url).scheme == "https" else None
    proxy = proxy_for(url)
    if proxy is None:
        return bounded(urllib3.PoolManager(maxsize=1, ssl_context=context))
    return bounded(urllib3.ProxyManager(proxy.url, maxsize=1, proxy_headers=proxy.headers or None, ssl_context=context))


def _is_page(content: bytes) -> bool:
    """Return whether an answer is a web page, that of a login or a proxy for instance: such an address stores no spans."""
    return content[:_SHOWN].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _text_of(content: bytes, content_type: str, *, page: bool) -> str:
    """Return what an answer says; of a web page, its title; of JSON and protobuf, the message."""
    if "protobuf" in content_type:
        return _status_message(content)
    text = content.decode("utf-8", "replace")
    if page:
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return title[1] if title else ""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return text
    while isinstance(said, dict):
        said = next((said[key] for key in _SAYING if said.get(key)), None)
    return said if isinstance(said, str) else text


def _status_message(content: bytes) -> str:
    """Read a `google.rpc.Status`, which is how OTLP says errors in protobuf."""
    with importing:
        from google.protobuf.message import DecodeError
        from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

    try:
        return str(Status.FromString(content).message)
    except DecodeError:
        return content.decode("utf-8", "replace")


def _hint(status: int, sent: str, *, page: bool) -> str | None:
    if 200 <= status < 300 and page:  # noqa: PLR2004
        return "a web page, not an OTLP path: it usually ends in /v1/traces"
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


def _read(response: Any) -> bytes:
    """Read the answer's beginning, for as long as the request's timeout allows."""
    content = b""
    read = getattr(response, "read1", None) or response.read
    while len(content) < _MAX_ANSWER and (piece := read(1024)):
        content += piece
    return content


def partial_success(content: bytes, content_type: str) -> tuple[int, str]:
    """Return how many spans an answer 2xx says were rejected, and why; anything that says nothing of it is zero."""
    if "protobuf" in content_type:
        return _partial_protobuf(content)
    try:
        answer = json.loads(content)
        partial = answer.get("partialSuccess") or {}
        return max(0, int(partial.get("rejectedSpans") or 0)), str(partial.get("errorMessage") or "")
    except (ValueError, TypeError, AttributeError, RecursionError):
        return 0, ""


def _partial_protobuf(content: bytes) -> tuple[int, str]:
    with importing:
        from google.protobuf.message import DecodeError
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(content).partial_success
    except DecodeError:
        return 0, ""
    return max(0, partial.rejected_spans), str(partial.error_message)
