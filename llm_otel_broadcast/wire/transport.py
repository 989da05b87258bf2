"""Two steps to one destination: `encode` spans into a body of at most 4 MB, and `post` it.

Over OTLP/HTTP, or through an exporter object of the program's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.host.suppression import untraced
from llm_otel_broadcast.host.turns import in_turns
from llm_otel_broadcast.record.span_data import Scope, SpanData
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.wire import otlp_json, otlp_protobuf
from llm_otel_broadcast.wire.exchange import OTHER_ENCODING, Answer, Body, Encoding
from llm_otel_broadcast.wire.http import HttpSender, compressed
from llm_otel_broadcast.wire.oversized import OversizedError
from llm_otel_broadcast.wire.resource import ResourceSource, plain_attributes

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

# Before compression. Backends refuse larger requests, and the small spans of a batch are lost with it.
MAX_BODY_BYTES: Final = 4_000_000
_CONTENT_TYPES: Final = {"json": "application/json", "protobuf": "application/x-protobuf"}


def make_transport(
    destination: Destination,
    version: str,
    service_name: str | None,
    provider: Callable[[], object],
    keep: Callable[[], bool] = lambda: False,
) -> HttpTransport | ExporterTransport:
    """Return what sends to the destination.

    Args:
        destination: where to.
        version: of this package.
        service_name: wins over whatever else names the service.
        provider: returns the app's tracer provider, or None.
        keep: whether the exporter outlives this, because newer settings have it too.
    """
    source = ResourceSource(service_name, provider, destination.resource_attributes)
    if destination.exporter is not None:
        return ExporterTransport(destination.exporter, source, Scope(version), destination.timeout, keep)
    return HttpTransport(destination, source, version)


class HttpTransport:
    """OTLP/HTTP. With `encoding="auto"` it starts with JSON; after a 415 it makes the other encoding.

    A proxy, too, may answer 415 once: so only an encoding that was accepted is stayed with, and a later 415 leads back.
    """

    def __init__(self, destination: Destination, source: ResourceSource, version: str) -> None:
        self._sender = HttpSender(destination, version)
        self._timeout = destination.timeout
        self._compression = destination.compression
        self._source = source
        self._scope = Scope(version)
        self._is_auto = destination.encoding == "auto"
        self._accepted: Encoding = "protobuf" if destination.encoding == "protobuf" else "json"
        """What is gone back to after the other one was tried in vain."""
        self._next = self._accepted
        """What `encode` makes next."""

    def encode(self, spans: Sequence[SpanData], *, divisible: bool = False) -> Body[bytes]:
        """Return the spans as one request.

        Args:
            spans: in any order.
            divisible: they may go out in several requests.

        Raises:
            OversizedError: they are divisible, and have more than 4 MB. Where they are not, it is for the server to judge.
        """
        encoding = self._next
        resource = self._source.resource()
        if encoding == "json":
            content = otlp_json.encode(plain_attributes(resource), self._scope, spans)
        else:
            content = otlp_protobuf.encode(resource.attributes, self._scope, spans, resource.schema_url)
        if divisible and len(content) > MAX_BODY_BYTES and len(spans) > 1:
            raise OversizedError
        return Body(compressed(content, self._compression), len(spans), encoding, self._compression)

    def post(self, body: Body[bytes]) -> Answer:
        """Send a request and return what became of it. Never raises for what a network or server does."""
        # Another instrumentation would trace our own requests, and the spans of these would be exported in turn.
        with untraced():
            answer = self._sender.send(
                body.content, _CONTENT_TYPES[body.encoding], self._timeout, compression=body.compression
            )
        if not self._is_auto:
            return answer
        if answer.kind == "unsupported_media":
            self._next = OTHER_ENCODING[body.encoding]
            return replace(answer, encode_again=True)
        if answer.kind == "ok":
            self._accepted = body.encoding
        self._next = self._accepted
        return answer

    def flush(self) -> bool:
        """Return True: nothing is held back."""
        return True

    def close(self) -> None:
        self._sender.close()


class ExporterTransport:
    """A `SpanExporter` object of the program's, used as it is configured; encoding, dividing and retrying are its own business."""

    def __init__(
        self, exporter: SpanExporter, source: ResourceSource, scope: Scope, timeout: float, keep: Callable[[], bool]
    ) -> None:
        self._exporter = exporter
        self._source = source
        self._scope = scope
        self._timeout = timeout
        self._keep = keep

    def encode(self, spans: Sequence[SpanData], *, divisible: bool = False) -> Body[Sequence[ReadableSpan]]:
        """Return the spans as the SDK has them, which is what an exporter takes; how large its requests are is not known."""
        del divisible
        with importing:
            from llm_otel_broadcast.wire.sdk_span import to_readable

        resource = self._source.resource()
        return Body([to_readable(span, resource, self._scope) for span in in_turns(spans)], len(spans), "protobuf")

    def post(self, body: Body[Sequence[ReadableSpan]]) -> Answer:
        """Hand the spans to the exporter; an error that it raises comes out."""
        with importing:
            from opentelemetry.sdk.trace.export import SpanExportResult

        with untraced():
            result = self._exporter.export(body.content)
        if result is SpanExportResult.SUCCESS:
            return Answer("ok", None, "", None, 0)
        return Answer("refused", None, f"{type(self._exporter).__name__} reported failure", None, 0)

    def flush(self) -> bool:
        """Have the exporter send what it holds; False: it could not within the destination's timeout."""
        force_flush = getattr(self._exporter, "force_flush", None)
        if force_flush is None:
            return True
        with untraced():
            return force_flush(int(self._timeout * 1000)) is not False

    def close(self) -> None:
        """Shut the exporter down, unless newer settings go on with it."""
        shutdown = getattr(self._exporter, "shutdown", None)
        if shutdown is not None and not self._keep():
            shutdown()
