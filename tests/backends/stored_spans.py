"""Each backend's own query API, read into one plain value, so that one set of promises is checked with all of them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.backends.http_requests import ask
from tests.support.deadlines import eventually

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """A span as a backend gives it back; identifiers are hex, JSON texts among the attributes are what they say."""

    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    start_ns: int
    end_ns: int
    failed: bool
    attributes: dict[str, Any]


def read_agentmesh(address: str, trace_id: str) -> list[StoredSpan]:
    return [
        StoredSpan(
            name=span["name"],
            trace_id=span["trace_id"],
            span_id=span["span_id"],
            parent_span_id=span["parent_span_id"] or "",
            start_ns=_nanoseconds(span["started_at"]),
            end_ns=_nanoseconds(span["ended_at"]),
            failed=span["status"] == "failed",
            attributes=plain(span["metadata"]["attributes"]) | _agentmesh_content(span),
        )
        for span in ask(f"{address}/api/traces/{trace_id}/spans")
    ]


def _agentmesh_content(span: dict[str, Any]) -> dict[str, Any]:
    """Return the messages, which it keeps beside the attributes."""
    kept = {"gen_ai.input.messages": span["input"], "gen_ai.output.messages": span["output"]}
    return {key: value for key, value in kept.items() if value}


def read_mlflow(address: str, trace_id: str) -> list[StoredSpan]:
    trace = ask(f"{address}/api/3.0/mlflow/traces/get?trace_id=tr-{trace_id}")["trace"]
    return [
        StoredSpan(
            name=span["name"],
            trace_id=_hex(span["trace_id"]),
            span_id=_hex(span["span_id"]),
            parent_span_id=_hex(span.get("parent_span_id", "")),
            start_ns=span["start_time_unix_nano"],
            end_ns=span["end_time_unix_nano"],
            failed=span["status"].get("code") == "STATUS_CODE_ERROR",
            attributes=plain({made["key"]: _value(made["value"]) for made in span["attributes"]}),
        )
        for span in trace["spans"]
    ]


def read_phoenix(address: str, trace_id: str) -> list[StoredSpan]:
    """Return the spans once there are any: it stores what it has accepted a moment later, a request's spans together."""
    spans = eventually(
        lambda: ask(f"{address}/v1/projects/default/spans?limit=1000&trace_id={trace_id}")["data"],
        30,
        "Phoenix to store",
    )
    return [
        StoredSpan(
            name=span["name"],
            trace_id=span["context"]["trace_id"],
            span_id=span["context"]["span_id"],
            parent_span_id=span["parent_id"] or "",
            start_ns=_nanoseconds(span["start_time"]),
            end_ns=_nanoseconds(span["end_time"]),
            failed=span["status_code"] == "ERROR",
            attributes=plain(span["attributes"]),
        )
        for span in spans
    ]


READERS = {"agentmesh": read_agentmesh, "mlflow": read_mlflow, "phoenix": read_phoenix}


def plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with JSON texts parsed: some backends give them back as text, others as what they say."""
    return {key: _parsed(value) for key, value in attributes.items()}


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.startswith(("[", "{")) else value


def _value(value: dict[str, Any]) -> Any:
    """Return what an OTLP value holds, in protobuf's field names."""
    ((kind, held),) = value.items()
    if kind == "array_value":
        return [_value(item) for item in held["values"]]
    if kind == "kvlist_value":
        return {item["key"]: _value(item["value"]) for item in held["values"]}
    return held


def _hex(text: str) -> str:
    return base64.b64decode(text).hex()


def _nanoseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1) * 1000
