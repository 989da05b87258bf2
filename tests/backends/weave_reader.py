"""The code with which W&B Weave reads OTLP, as a server of its own: what was posted, as the calls that Weave stores.

Runs in an environment that has `weave`, not in ours: `python weave_reader.py PORT`. Its releases have had that code up to 0.52.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from weave.trace_server.opentelemetry.python_spans import Resource, Span

CALLS: dict[str, list[dict[str, object]]] = {}


class Handler(BaseHTTPRequestHandler):
    """Takes traces, and gives back calls by trace id."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for batch in request.resource_spans:
            resource = Resource.from_proto(batch.resource)
            for span in (span for scope in batch.scope_spans for span in scope.spans):
                start, end = Span.from_proto(span, resource).to_call("project")
                call = {**start.model_dump(mode="json"), **end.model_dump(mode="json")}
                CALLS.setdefault(start.trace_id, []).append(call)
        self._answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        calls = [call for trace_id in query.get("trace_id", ()) for call in CALLS.get(trace_id, ())]
        self._answer(json.dumps(calls).encode(), "application/json")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
