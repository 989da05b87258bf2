"""One POST of an OTLP body, and what its answer means."""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from llm_otel_broadcast.settings.destination import Destination, redact_url
from llm_otel_broadcast.wire.retry import RETRYABLE, parse_retry_after

Kind: TypeAlias = Literal["ok", "retry", "refused", "unsupported_media", "too_large"]

_MAX_ANSWER: Final = 65_536
_SHOWN: Final = 200
_HINTS: Final = {
    400: "it understood the address but refused the content: a header or the encoding",
    401: "check the API key in headers=",
    403: "check the API key in headers=",
    404: "check the path of the endpoint: it usually ends in /v1/traces",
    405: "this is a web page, not an OTLP path: it usually ends in /v1/traces",
    413: "the request is too large for it",
    415: 'it does not take this encoding: try encoding="protobuf"',
    422: "a header is missing or wrong",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request. `message` never holds headers, queries or user information."""

    kind: Kind
    status: int | None
    message: str
    retry_after: float | None
    rejected: int


class HttpSender:
    """Posts bodies to one destination. Redirects are refused, so that no credential follows one to another host."""

    def __init__(self, destination: Destination, version: str) -> None:
        self._url = destination.endpoint or ""
        self._shown = redact_url(self._url)
        self._gzip = destination.compression == "gzip"
        self._headers = {"User-Agent": f"llm-otel-broadcast/{version}", **destination.headers}
        self._pool = _pool(self._url)

    def send(self, body: bytes, content_type: str, timeout: float) -> Answer:
        """Post a body; at most `timeout` seconds in all. Never raises for what a network or server does."""
        deadline = time.monotonic() + timeout
        headers = {**self._headers, "Content-Type": content_type}
        if self._gzip:
            body = gzip.compress(body, 6, mtime=0)
            headers["Content-Encoding"] = "gzip"
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(total=timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                content = _read(response, deadline)
            finally:
                response.close()
                response.release_conn()
        except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
            return Answer("retry", None, f"{self._shown} cannot be reached ({_reason(error)})", None, 0)
        return self._judge(response.status, response.headers, content)

    def _judge(self, status: int, headers: Mapping[str, str], content: bytes) -> Answer:
        if 200 <= status < 300:  # noqa: PLR2004
            rejected, message = partial_success(content, headers.get("Content-Type", ""))
            return Answer("ok", status, message, None, rejected)
        hint = _HINTS.get(status)
        text = f"{self._shown} answered {status}" + (f" ({hint})" if hint else "") + _excerpt(content)
        if status in RETRYABLE:
            return Answer("retry", status, text, parse_retry_after(headers.get("Retry-After"), time.time()), 0)
        kinds: dict[int, Kind] = {413: "too_large", 415: "unsupported_media"}
        return Answer(kinds.get(status, "refused"), status, text, None, 0)

    def close(self) -> None:
        self._pool.clear()


def _pool(url: str) -> urllib3.PoolManager:
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy if "://" in proxy else f"http://{proxy}", maxsize=1)
    return urllib3.PoolManager(maxsize=1)


def _read(response: Any, deadline: float) -> bytes:
    """Read the answer's beginning; a server that drips bytes is cut off at the deadline."""
    content = b""
    read, size = getattr(response, "read1", None), 1024
    if read is None:  # urllib3 before 2.1: its `read` waits until it has all it was asked for
        read, size = response.read, 1
    while len(content) < _MAX_ANSWER:
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end in time")
        piece = read(size)
        if not piece:
            break
        content += piece
    return content


def _reason(error: Exception) -> str:
    """Name an error without the URL that urllib3 puts into its text."""
    inner = getattr(error, "reason", None) or error
    if isinstance(inner, urllib3.exceptions.NewConnectionError):
        if isinstance(inner.__context__, socket.gaierror):
            return "its name is not known"
        return "connection refused" if "refused" in str(inner) else "no connection"
    if isinstance(inner, TimeoutError | urllib3.exceptions.TimeoutError):
        return "timeout"
    return type(inner).__name__


def _excerpt(content: bytes) -> str:
    text = re.sub(r"\s+", " ", content[: 4 * _SHOWN].decode("utf-8", "replace")).strip()
    shown = "".join(char for char in text if char.isprintable())[:_SHOWN]
    return f": {shown}" if shown else ""


def partial_success(content: bytes, content_type: str) -> tuple[int, str]:
    """Return how many spans an answer 2xx says were rejected, and why; anything that says nothing of it is zero."""
    if "protobuf" in content_type:
        return _partial_protobuf(content)
    try:
        answer = json.loads(content)
        partial = answer.get("partialSuccess") or {}
        return max(0, int(partial.get("rejectedSpans") or 0)), str(partial.get("errorMessage") or "")[:_SHOWN]
    except (ValueError, TypeError, AttributeError, RecursionError):
        return 0, ""


def _partial_protobuf(content: bytes) -> tuple[int, str]:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        partial = ExportTraceServiceResponse.FromString(content).partial_success
    except DecodeError:
        return 0, ""
    return max(0, partial.rejected_spans), partial.error_message[:_SHOWN]
