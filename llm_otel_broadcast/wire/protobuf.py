"""OTLP protobuf, by OpenTelemetry's own encoder."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan


def encode(spans: Sequence[ReadableSpan]) -> bytes:
    """Return an ExportTraceServiceRequest as protobuf bytes."""
    return bytes(encode_spans(spans).SerializeToString())
