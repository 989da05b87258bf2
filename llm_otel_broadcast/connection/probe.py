"""The probe: one real span, marked, sent as all spans are; and after a refusal the same with other settings.

An empty batch proves nothing: real backends accept it with wrong settings and refuse it with right ones.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from llm_otel_broadcast.connection.remedies import remedies
from llm_otel_broadcast.connection.report import Step, StepError, timed
from llm_otel_broadcast.connection.time_limit import within
from llm_otel_broadcast.connection.verdict import describe_acceptance, describe_refusal, is_taken, summarize_refusal
from llm_otel_broadcast.delivery.sender import Exchange, post
from llm_otel_broadcast.dialects import DIALECTS
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.record.span_data import KIND_INTERNAL, SpanData
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.version import __version__
from llm_otel_broadcast.wire.exchange import Answer, Encoding
from llm_otel_broadcast.wire.transport import make_transport

_NAME: Final = "llm-otel-broadcast connection test"
_MILLISECOND: Final = 1_000_000
# Probes with other settings, at most: a test must end while somebody waits for it.
_MAX_TRIALS: Final = 8
# Changes one on top of the other, at most: another path, and there another encoding.
_MAX_CHANGES: Final = 2
_ASKS_FOR_KEY: Final = frozenset({401, 403})
_HTTP_PORT: Final = "4318"
# By which OpenRouter's Broadcast marks the test of a webhook, so that one that was made for it does not keep the span.
_TEST_HEADER: Final = {"X-Test-Connection": "true"}


class Probed(NamedTuple):
    """How a probe ended."""

    answer: Answer
    encoding: Encoding
    trace_id: str


def probe_span() -> SpanData:
    """Return a span of no consequence, marked as a test."""
    end = time.time_ns()
    return SpanData(
        name=_NAME,
        trace_id=secrets.randbits(128) or 1,
        span_id=secrets.randbits(64) or 1,
        parent_span_id=0,
        kind=KIND_INTERNAL,
        start_ns=end - _MILLISECOND,
        end_ns=end,
        attributes={"test": True},
    )


def probe(destination: Destination) -> Probed:
    """Send one span as all spans are sent there, and return what became of it."""
    span = DIALECTS[destination.dialect]().connection_test_span(probe_span())
    trace_id = f"{span.trace_id:032x}"
    marked = replace(destination, headers={**_TEST_HEADER, **destination.headers})
    transport = make_transport(marked, __version__, None, lambda: None, keep=lambda: True)

    def export() -> Exchange:
        exchange = post(transport, transport.encode([span]), [span])
        if transport.flush():
            return exchange
        return exchange._replace(answer=replace(exchange.answer, kind="retry", message="flushing failed"))

    try:
        # Over HTTP each step has a time limit of its own; an exporter may have none.
        body, answer = export() if destination.exporter is None else within(destination.timeout, export)
    finally:
        transport.close()
    return Probed(answer, body.encoding, trace_id)


class Probing:
    """Sends the probe to one destination, and finds what helps when it is refused."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self.failure: StepError | None = None
        self.suggestion: Mapping[str, object] = {}
        self.trace_id = ""
        self._trials_left = _MAX_TRIALS

    def steps(self) -> Iterator[Step]:
        """Yield the probe, and further ones while it is worth trying."""
        step, self.failure, probed = self._probe("probe", self._destination)
        yield step
        if probed is None:
            return
        if is_taken(probed.answer):
            # With it set, the first request of each process is no longer refused.
            if self._destination.encoding == "auto" and probed.encoding == "protobuf":
                self.suggestion = {"encoding": "protobuf"}
            return
        yield from self._remedies(self._destination, probed.answer, {})

    def _remedies(self, destination: Destination, answer: Answer, so_far: Mapping[str, object]) -> Iterator[Step]:
        """Probe with other settings until one helps.

        Args:
            destination: with the changes so far.
            answer: to the probe with these.
            so_far: the changes.
        """
        for remedy in remedies(destination, answer):
            changes = {**so_far, **remedy.changes}
            if not remedy.is_tried:
                self.suggestion = self.suggestion or changes
                continue
            if not self._trials_left:
                return
            self._trials_left -= 1
            changed = replace(destination, **remedy.changes)  # type: ignore[arg-type]
            step, _, probed = self._probe("try", changed)
            result = step.detail if step.ok or probed is None else summarize_refusal(probed.answer)
            yield replace(step, detail=f"{remedy.label}: {result}")
            if probed is None:
                continue
            status = probed.answer.status
            # A path at which the server asks for the key where it did not before: that much is right.
            asks = "endpoint" in remedy.changes and status in _ASKS_FOR_KEY and answer.status not in _ASKS_FOR_KEY
            if is_taken(probed.answer) or asks:
                self.suggestion = changes
            # Another status than before: the change has led somewhere, and a second one may do the rest.
            elif not self.suggestion and len(so_far) + 1 < _MAX_CHANGES and status not in (None, answer.status):
                yield from self._remedies(changed, probed.answer, changes)
            if self.suggestion:
                return

    def _probe(self, name: str, destination: Destination) -> tuple[Step, StepError | None, Probed | None]:
        probes: list[Probed] = []

        def action() -> str:
            # An exporter may raise anything. That over HTTP nothing is raised is the transport's promise.
            failures: list[BaseException] = []
            or_else(lambda: probes.append(probe(destination)), recover=failures.append)
            if failures:
                if isinstance(failures[0], TimeoutError):
                    raise StepError(f"no answer within {destination.timeout:g} s{_of_grpc(destination)}")
                exporter, raised = type(destination.exporter).__name__, type(failures[0]).__name__
                raise StepError(f"{exporter} raised {raised}{_of_grpc(destination)}")
            answer, encoding, trace_id = probes[0]
            if answer.status is not None or is_taken(answer):
                self.trace_id = trace_id
            if is_taken(answer):
                if destination.exporter is not None:
                    return f"{type(destination.exporter).__name__} reported success"
                return describe_acceptance(destination, answer, encoding)
            if destination.exporter is not None:
                raise StepError(f"{answer.message}{_of_grpc(destination)}")
            raise StepError(describe_refusal(destination, answer, encoding))

        step, failure = timed(name, action)
        return step, failure, probes[0] if probes else None


def _of_grpc(destination: Destination) -> str:
    """Remind of the port, where an exporter speaks gRPC."""
    exporter = destination.exporter
    if exporter is None or "grpc" not in type(exporter).__module__:
        return ""
    # No public attribute says where an exporter sends to; without this one the sentence is more general.
    exporter_endpoint = str(getattr(exporter, "_endpoint", ""))
    if exporter_endpoint.endswith(f":{_HTTP_PORT}"):
        return f": it speaks gRPC to port {_HTTP_PORT}, which is for OTLP/HTTP; gRPC usually has 4317"
    return ": it speaks gRPC, which usually has port 4317; is the server there, and does it want TLS?"
