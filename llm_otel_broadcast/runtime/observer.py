"""What happens at the two ends of a watched call.

Fields, ids, the app's span and the context at its start; the app's span and the lanes at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context

from llm_otel_broadcast.app.late_spans import LateSpans
from llm_otel_broadcast.app.metrics import AppMetrics
from llm_otel_broadcast.app.other_tracers import overlap
from llm_otel_broadcast.app.spans import AppSpans, bare
from llm_otel_broadcast.clients import extra_body
from llm_otel_broadcast.clients.answer_texts import limit_answer
from llm_otel_broadcast.clients.openai.keys import client_of, default_headers_of, key_of, learns_late
from llm_otel_broadcast.clients.openai.server import server_of
from llm_otel_broadcast.clients.openai.stream_usage import request_usage
from llm_otel_broadcast.delivery.broadcaster import Broadcaster
from llm_otel_broadcast.delivery.privacy import narrow
from llm_otel_broadcast.delivery.selection import KeyWatch
from llm_otel_broadcast.fields.ids import new_span_id, new_trace_id
from llm_otel_broadcast.fields.merge import has_ids, merge, over
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan, Opener
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.sizes import text_size
from llm_otel_broadcast.record.trace_fields import NO_FIELDS, Fields
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.tracing.placement import assign_ids
from llm_otel_broadcast.tracing.scope import current_scope

_ALL_CONTENT: Final = frozenset({"inputs", "outputs", "system", "tools"})
_SMALL: Final = frozenset({int, float, bool})
_QUEUE_SHARE: Final = 8
"""One answer may take this part of a queue; a character has up to four bytes."""
_KEY = Guard("reading which key a call is made with")
_FIELDS = Guard("reading the trace fields")
_COURTESY = Guard("making the app's own span")


class CallObserver:
    """Joins fields, app spans and delivery for the wrapper in `clients.observe`."""

    def __init__(
        self,
        options: Options,
        broadcaster: Broadcaster,
        app_spans: AppSpans,
        late_spans: LateSpans,
        app_metrics: AppMetrics,
        *,
        unwanted: frozenset[str],
        key_watch: KeyWatch,
    ) -> None:
        self._options = options
        self._broadcaster = broadcaster
        self._app_spans = app_spans
        self._late_spans = late_spans
        self._meter_provider = app_metrics.provider
        self._defaults = dict(options.trace_defaults)
        self._alone = not broadcaster.lanes
        self.wants_content = not unwanted >= _ALL_CONTENT
        self._unwanted = unwanted
        self._key_watch = key_watch
        self._max_characters = min(options.max_content_chars, options.max_queue_bytes // _QUEUE_SHARE)
        self.joins = options.join_app_traces
        self.successor: CallObserver | None = None
        """Whose settings have replaced these: calls that were under way then end there."""

    def rewrite(self, instance: Any, kwargs: dict[str, Any], record: Generation) -> dict[str, Any]:
        """Read the call's fields, and return the arguments the client is to be called with."""
        options = self._options
        record.server = server_of(instance)
        record.max_characters = self._max_characters
        record.is_measured = self._meter_provider() is not None
        if self._unwanted and record.wants_content:
            record.unwanted = self._unwanted
            narrow(record)
        if self._key_watch.asks:
            with _KEY:
                self._note_key(record, client_of(instance), kwargs.get("extra_headers"))
        said = extra_body.NOTHING_SAID
        with _FIELDS:
            said = extra_body.read(kwargs, default_headers_of(client_of(instance)))
            self._say(record, said)
        if options.link_gateway:
            self._place(record, trace.get_current_span())  # its ids go out with the request
        sent = extra_body.rewrite(
            kwargs,
            record,
            said,
            forward=options.forward_trace_fields,
            link_gateway=options.link_gateway,
        )
        return request_usage(record, sent) if options.request_stream_usage else sent

    def _note_key(self, record: Generation, client: Any, headers: Any) -> None:
        """Note which of the keys that destinations ask for the call is made with; the key itself is not kept."""
        key = key_of(client, headers)
        if key is not None and not learns_late(client):
            record.api_keys = self._key_watch.names_of(key)
        else:
            record.caller = client

    def _say(self, record: Generation, said: extra_body.Said) -> None:
        """Merge what is said about the call with what is said around it."""
        scope = current_scope()
        record.fields = merge(
            said.trace, said.session_id, said.user, self.around(scope.context_fields if scope else {})
        )
        record.in_scope = scope is not None and bool(scope.enclosing_spans) and not has_ids(said.trace)
        if scope is not None and record.fields.private:
            scope.hide_errors()

    def _place(self, record: Generation, current: trace.Span) -> None:
        """Give the record its ids, parent and courtesy spans."""
        with _FIELDS:
            self._hang(record, current)
        if not record.span_id:  # the fields could not be read: the call is recorded without them
            record.fields = NO_FIELDS
            record.trace_id, record.span_id = new_trace_id(), new_span_id()
        with _COURTESY:
            record.app_spans = self._app_spans.start(record, current)
            if overlap.processors:
                overlap.claim(record, current)

    def _hang(self, record: Generation, current: trace.Span) -> None:
        span = current.get_span_context()
        around = (span.trace_id, span.span_id) if span.is_valid and self.joins else None
        scope = current_scope()
        if scope is None or not record.in_scope or not scope.enclosing_spans:
            assign_ids(record, around)
            return
        assign_ids(record, around, scope.enclosing_spans, scope.anchor(around))

    def opened(self, record: Generation) -> otel_context.Context | None:
        """Place the record and return the context that is current during the call (DESIGN, section 2.2)."""
        if not record.span_id:
            self._place(record, trace.get_current_span())
        for enclosing_span in record.enclosing_spans:
            if enclosing_span.opener is Opener.CONTEXT:
                enclosing_span.generations += 1
        if record.app_spans:
            return trace.set_span_in_context(record.app_spans[-1])
        if self.app_traces or self._alone:
            return None  # a bare context would have a ParentBased sampler of the app decide by our flag
        return trace.set_span_in_context(bare(record.trace_id, record.span_id))

    def enclosing_span_opened(self, enclosing_span: EnclosingSpan, said: Mapping[Any, Any]) -> trace.Span | None:
        """Start a block's courtesy span; return what is to be current in the block (DESIGN, section 2.2)."""
        enclosing_span.fields = self._enclosing_fields(said)
        if not enclosing_span.needs_generations:  # it may come to nothing: the app's traces are not to have that
            with _COURTESY:
                self._app_spans.open_enclosing_span(
                    enclosing_span, explicit=enclosing_span.ignores_current_span or not self.joins
                )
        if enclosing_span.app_span is not None:
            shown: trace.Span = enclosing_span.app_span
            return shown
        if self.app_traces or self._alone:
            return None
        return bare(enclosing_span.trace_id, enclosing_span.span_id)

    def enclosing_span_closed(self, enclosing_span: EnclosingSpan, said: Mapping[Any, Any]) -> None:
        """End a block's courtesy span; hand the block over when it is whole. What was said meanwhile is on it too."""
        enclosing_span.fields = self._enclosing_fields(said)
        with _COURTESY:
            self._app_spans.close_enclosing_span(enclosing_span)
        enclosing_span.on_complete.append(partial(self._broadcaster.put_enclosing_span, enclosing_span))
        enclosing_span.call_on_complete()

    def reported(
        self, record: Generation, said: Mapping[Any, Any], enclosing_span: EnclosingSpan | None = None
    ) -> None:
        """Take a generation that the program itself reported; `block` is the span it turned out to be."""
        fields = self._enclosing_fields(said)
        if enclosing_span is not None and not fields.generation_name:
            fields = fields._replace(generation_name=enclosing_span.name)
        record.fields = fields
        record.is_measured = self._meter_provider() is not None
        with _COURTESY:
            if enclosing_span is None:
                record.app_spans = self._app_spans.start(record, trace.get_current_span())
            elif enclosing_span.app_span is not None:
                self._app_spans.rename(enclosing_span.app_span, record)
                record.app_spans = (enclosing_span.app_span,)
            # At once: what the program reports of its own is no answer that is still to be read.
            spans, record.app_spans = record.app_spans, ()
            if spans:
                self._app_spans.end(record, spans)
        self.closed(record)

    def around(self, said: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """Return what is said round a call: by the program's contexts, else in the baggage, else in `trace_defaults`."""
        outer: Mapping[Any, Any] = self._defaults
        if self._options.baggage_metadata:
            carried = {key: baggage.get_baggage(key) for key in self._options.baggage_metadata}
            outer = {**outer, **{key: value for key, value in carried.items() if value is not None}}
        if not said:
            return outer
        return over(outer, said) if outer else said

    @property
    def app_traces(self) -> bool:
        """Whether the app has a tracer provider."""
        return self._app_spans.provider() is not None

    def _enclosing_fields(self, said: Mapping[Any, Any]) -> Fields:
        return merge(None, None, None, self.around(said))

    def fields_of(self, said: Mapping[Any, Any] | None) -> Fields:
        """Return what holds for a span of another instrumentation; in the background, where no baggage is current."""
        return merge(None, None, None, over(self._defaults, said) if said else self._defaults)

    def put(self, record: Generation) -> None:
        """Hand a record over to the lanes."""
        record.wants_content &= self.wants_content
        limit_answer(record)
        if record.failure is not None:
            record.size += len(record.failure.message)
        for held in (*record.parameters.values(), record.fields.metadata):
            if held and type(held) not in _SMALL:
                record.size += text_size(held)
        if self._unwanted and record.wants_content:
            record.unwanted |= self._unwanted
            narrow(record)
        self._broadcaster.put(record)

    def _end_app_spans(self, record: Generation, spans: tuple[Any, ...]) -> None:
        """End the courtesy spans, or have that wait for what is still to be read."""
        waits = record.pending is not None and not self._broadcaster.stopped
        if waits and self._late_spans.take(record, spans):
            self._broadcaster.put_late(record)
        else:
            self._app_spans.end(record, spans)

    def settled(self, record: Generation) -> None:
        """End the courtesy spans of a record that has been read after its end."""
        self._late_spans.end(record)

    def closed(self, record: Generation) -> None:
        """End the courtesy spans and hand the record over."""
        client, record.caller = record.caller, None
        if client is not None:
            with _KEY:
                record.api_keys = self._key_watch.names_of(key_of(client, None) or "")
        spans, record.app_spans = record.app_spans, ()
        last = self
        while last.successor is not None:
            last = last.successor
        try:
            if spans:
                with _COURTESY:
                    self._end_app_spans(record, spans)
        finally:
            last.put(record)
        for enclosing_span in record.enclosing_spans:
            enclosing_span.call_on_complete()
