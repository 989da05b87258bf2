"""An embedded OTLP/HTTP traces receiver: the demo's backend and the tests' independent witness."""

from __future__ import annotations

from llm_otel_broadcast.receiver.decoding import DecodeError, decode_json, decode_protobuf
from llm_otel_broadcast.receiver.requests import ReceivedRequest
from llm_otel_broadcast.receiver.server import OtlpReceiver, Reply
from llm_otel_broadcast.receiver.store import ReceivedEvent, ReceivedSpan, TraceStore

__all__ = [
    "DecodeError",
    "OtlpReceiver",
    "ReceivedEvent",
    "ReceivedRequest",
    "ReceivedSpan",
    "Reply",
    "TraceStore",
    "decode_json",
    "decode_protobuf",
]
