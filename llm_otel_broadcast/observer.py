"""What happens at the two ends of a watched call.

Fields, ids, the app's span and the context at its start; the app's span and the lanes at its end.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from llm_otel_broadcast.app_metrics import AppMetrics
from llm_otel_broadcast.app_spans import AppSpans, bare
from llm_otel_broadcast.clients.openai.server import server_of
from llm_otel_broadcast.delivery.broadcaster import Broadcaster
from llm_otel_broadcast.fields import wire
from llm_otel_broadcast.fields.ids import new_span_id, new_trace_id
from llm_otel_broadcast.fields.lineage import Roots, place
from llm_otel_broadcast.fields.merge import merge
from llm_otel_broadcast.generation import NO_FIELDS, Generation
from llm_otel_broadcast.guard import Guard
from llm_otel_broadcast.settings.options import Options

_FIELDS = Guard("reading the trace fields")
_COURTESY = Guard("making the app's own span")


class CallObserver:
    """Joins fields, app spans and delivery for the wrapper in `clients.observe`."""

    def __init__(
        self,
        options: Options,
        broadcaster: Broadcaster,
        app_spans: AppSpans,
        app_metrics: AppMetrics,
        *,
        wants_content: bool,
    ) -> None:
        self._options = options
        self._broadcaster = broadcaster
        self._app_spans = app_spans
        self._meter_provider = app_metrics.provider
        self._defaults = dict(options.trace_defaults)
        self._roots = Roots()
        self._alone = not broadcaster.lanes
        self.wants_content = wants_content

    def rewrite(self, instance: Any, kwargs: dict[str, Any], record: Generation) -> dict[str, Any]:
        """Read the call's fields, and return the arguments the client is to be called with."""
        options = self._options
        record.server = server_of(instance)
        record.is_measured = self._meter_provider() is not None
        said = wire.NOTHING_SAID
        with _FIELDS:
            said = wire.read(kwargs)
            record.fields = merge(said.trace, said.session_id, said.user, self._defaults)
        if options.request_stream_usage and record.stream and "stream_options" not in kwargs:
            kwargs["stream_options"] = {"include_usage": True}
            record.hides_usage_chunk = True
        if options.link_gateway:
            self._place(record, trace.get_current_span())  # its ids go out with the request
        return wire.rewrite(
            kwargs,
            record,
            said,
            forward=options.forward_trace_fields,
            link_gateway=options.link_gateway,
        )

    def _place(self, record: Generation, current: trace.Span) -> None:
        """Give the record its ids, parent and courtesy spans."""
        with _FIELDS:
            around = current.get_span_context()
            place(record, (around.trace_id, around.span_id) if around.is_valid else None, self._roots)
        if not record.span_id:  # the fields could not be read: the call is recorded without them
            record.fields = NO_FIELDS
            record.trace_id, record.span_id = new_trace_id(), new_span_id()
        with _COURTESY:
            record.app_spans = self._app_spans.start(record, current)

    def opened(self, record: Generation) -> otel_context.Context | None:
        """Place the record and return the context that is current during the call (DESIGN, section 2.2)."""
        if not record.span_id:
            self._place(record, trace.get_current_span())
        if record.app_spans:
            return trace.set_span_in_context(record.app_spans[-1])
        if self._app_spans.provider() is not None or self._alone:
            return None  # a bare context would have a ParentBased sampler of the app decide by our flag
        return trace.set_span_in_context(bare(record.trace_id, record.span_id))

    def closed(self, record: Generation) -> None:
        """End the courtesy spans and hand the record over."""
        spans, record.app_spans = record.app_spans, ()
        if spans:
            with _COURTESY:
                self._app_spans.end(record, spans)
        self._broadcaster.put(record)
