"""Sends spans to one destination: in the encoding it takes, no request over 4 MB, or through an exporter handed over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from llm_otel_broadcast.host.forks import importing
from llm_otel_broadcast.host.suppression import untraced
from llm_otel_broadcast.record.span_data import Scope, SpanData
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.wire import otlp_json
from llm_otel_broadcast.wire.http import Answer, HttpSender
from llm_otel_broadcast.wire.resource import ResourceSource, plain_attributes

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

MAX_BODY: Final = 4_000_000
_JSON: Final = "application/json"
_PROTOBUF: Final = "application/x-protobuf"


class Transport(Protocol):
    """Sends spans; one thread only."""

    def send(self, spans: Sequence[SpanData], *, divisible: bool = True) -> Answer:
        """Send; `divisible`: too many bytes at once are not sent, as the caller can send less."""

    def flush(self) -> bool:
        """Pass on what is still held back; False when that fails."""

    def close(self) -> None: ...


def make_transport(
    destination: Destination,
    version: str,
    service_name: str | None,
    provider: Callable[[], Any],
    keep: Callable[[], bool] = lambda: False,
) -> Transport:
    """Return what sends to the destination.

    Args:
        destination: where to.
        version: of this package.
        service_name: wins over whatever else names the service.
        provider: returns the app's tracer provider, or None.
        keep: whether the exporter outlives this, because newer settings have it too.
    """
    source = ResourceSource(service_name, provider)
    if destination.exporter is not None:
        return ExporterTransport(destination.exporter, source, Scope(version), destination.timeout, keep)
    return HttpTransport(destination, source, Scope(version))


class HttpTransport:
    """OTLP/HTTP. With `encoding="auto"` it starts with JSON; after a 415 it takes the other encoding if that one is taken.

    A proxy, too, may answer 415 once: so only what has worked is stayed with, and a later 415 leads back.
    """

    def __init__(self, destination: Destination, source: ResourceSource, scope: Scope) -> None:
        self._sender = HttpSender(destination, scope.version)
        self._timeout = destination.timeout
        self._source = source
        self._scope = scope
        self._protobuf = destination.encoding == "protobuf"
        self._may_switch = destination.encoding == "auto"
        self._last: Literal["json", "protobuf"] = "protobuf" if self._protobuf else "json"

    def send(self, spans: Sequence[SpanData], *, divisible: bool = True) -> Answer:
        body = self._encode(spans)
        if len(body) > MAX_BODY and len(spans) > 1 and divisible:
            return Answer("too_large", None, f"a batch of {len(body)} bytes", None, 0)
        answer = self._post(body)
        if answer.kind == "unsupported_media" and self._may_switch:
            self._protobuf = not self._protobuf
            other = self._post(self._encode(spans))
            if other.kind != "ok":
                self._protobuf = not self._protobuf
            return other
        return answer

    @property
    def encoding(self) -> Literal["json", "protobuf"]:
        """What the last request was encoded in."""
        return self._last

    def _encode(self, spans: Sequence[SpanData]) -> bytes:
        if not self._protobuf:
            return otlp_json.encode(plain_attributes(self._source.resource()), self._scope, spans)
        with importing:
            from llm_otel_broadcast.wire import protobuf
            from llm_otel_broadcast.wire.sdk_span import to_readable

        resource = self._source.resource()
        return protobuf.encode([to_readable(span, resource, self._scope) for span in spans])

    def _post(self, body: bytes) -> Answer:
        self._last = "protobuf" if self._protobuf else "json"
        with untraced():
            return self._sender.send(body, _PROTOBUF if self._protobuf else _JSON, self._timeout)

    def flush(self) -> bool:
        return True

    def close(self) -> None:
        self._sender.close()


class ExporterTransport:
    """An OpenTelemetry `SpanExporter` of the user's, as configured by him; retrying is its own business."""

    def __init__(
        self, exporter: SpanExporter, source: ResourceSource, scope: Scope, timeout: float, keep: Callable[[], bool]
    ) -> None:
        self._exporter = exporter
        self._source = source
        self._scope = scope
        self._timeout = timeout
        self._keep = keep

    def send(self, spans: Sequence[SpanData], *, divisible: bool = True) -> Answer:
        del divisible  # how much goes into a request is the exporter's business too
        with importing:
            from opentelemetry.sdk.trace.export import SpanExportResult

            from llm_otel_broadcast.wire.sdk_span import to_readable

        resource = self._source.resource()
        with untraced():
            result = self._exporter.export([to_readable(span, resource, self._scope) for span in spans])
        if result is SpanExportResult.SUCCESS:
            return Answer("ok", None, "", None, 0)
        return Answer("refused", None, f"{type(self._exporter).__name__} reported failure", None, 0)

    def flush(self) -> bool:
        flush = getattr(self._exporter, "force_flush", None)
        if flush is None:
            return True
        with untraced():
            return flush(int(self._timeout * 1000)) is not False

    def close(self) -> None:
        shutdown = getattr(self._exporter, "shutdown", None)
        if shutdown is not None and not self._keep():
            shutdown()
