"""What happens at the two ends of a watched call and of a span that the program opens itself.

At the start: who answers, fields, ids, the app's span and the context. At the end: the app's span and the lanes.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context

from llm_otel_broadcast.app.late_spans import LateSpans
from llm_otel_broadcast.app.metrics import AppMetrics
from llm_otel_broadcast.app.other_tracers import overlap
from llm_otel_broadcast.app.spans import AppSpans
from llm_otel_broadcast.clients.answer_limits import limit_answer
from llm_otel_broadcast.clients.library import ClientLibrary
from llm_otel_broadcast.clients.request_fields import NO_REQUEST_FIELDS, RequestFields, forward_fields
from llm_otel_broadcast.delivery.broadcaster import Broadcaster
from llm_otel_broadcast.delivery.key_watch import KeyWatch
from llm_otel_broadcast.delivery.unwanted import narrow
from llm_otel_broadcast.fields.ids import new_span_id, new_trace_id
from llm_otel_broadcast.fields.merge import TraceObject, has_ids, is_fixed, merge, over, with_caller
from llm_otel_broadcast.host.current_context import BareSpan, get_current, ids_in, span_in, with_span
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.record.enclosing_span import CONTEXT, EnclosingSpan
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.sizes import text_size
from llm_otel_broadcast.record.trace_fields import NO_FIELDS, Fields
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.tracing.placement import assign_ids
from llm_otel_broadcast.tracing.scope import Scope, current_scope

_ALL_CONTENT: Final = frozenset({"inputs", "outputs", "system", "tools"})
_SMALL: Final = frozenset({int, float, bool})
"""Types of parameters whose size is not worth counting."""
# one answer may take half of a queue: a character of Python's has up to four bytes
_QUEUE_BYTES_PER_CHARACTER: Final = 8
_KEY = Guard("reading which key a call is made with")
_FIELDS = Guard("reading the trace fields")
_COURTESY = Guard("making the app's own span")
_LIMITING = Guard("cutting an answer to what can be sent")


class CallObserver:
    """Joins fields, app spans and delivery: the `Observer` of `clients.call` and the sink of `tracing.scope`.

    Args:
        options: the settings.
        broadcaster: takes finished records.
        app_spans: makes the app's own spans.
        late_spans: keeps those of records that are still to be read.
        app_metrics: says whether the app has a meter provider.
        unwanted: parts of the content that no destination may have; likewise an attribute.
        key_watch: says which API keys destinations ask for.

    Attributes:
        joins: whether records hang below the app's own spans.
        successor: the observer whose settings have replaced these; calls that were under way then end there.
    """

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
        # else what they are may be another at each call
        self._are_defaults_fixed = not options.baggage_metadata and is_fixed(self._defaults)
        self._default_fields = merge(None, None, None, self._defaults) if self._are_defaults_fixed else None
        self._alone = not broadcaster.lanes
        self.wants_content = not unwanted >= _ALL_CONTENT
        self.unwanted = unwanted
        self._key_watch = key_watch
        self._max_characters = min(options.max_content_chars, options.max_queue_bytes // _QUEUE_BYTES_PER_CHARACTER)
        self.joins = options.join_app_traces
        self.successor: CallObserver | None = None
        if options.baggage_metadata:
            # Only then: it takes a millisecond to import.
            from opentelemetry.baggage import get_baggage

            self._get_baggage = get_baggage

    def prepare(
        self, library: ClientLibrary, instance: object, arguments: dict[str, Any], record: Generation
    ) -> dict[str, Any]:
        """Read who answers and the call's fields, and return the arguments to call the client with."""
        options = self._options
        record.server = library.server_of(instance)
        record.max_characters = self._max_characters
        record.is_measured = self._meter_provider() is not None
        if self.unwanted and record.wants_content:
            record.unwanted = self.unwanted
            narrow(record)
        if self._key_watch.asks:
            with _KEY:
                # the key itself is not kept, only which of those that destinations ask for it is
                key = library.key_of(instance, arguments, has_ended=False)
                if key is None:
                    record.late_key = partial(library.key_of, instance, {}, has_ended=True)
                else:
                    record.api_keys = self._key_watch.names_of(key)
        request_fields = NO_REQUEST_FIELDS
        try:
            request_fields = library.read_fields(instance, arguments)
            scope = current_scope()
            record.fields = self._fields_of_call(scope, request_fields)
            if scope is not None:
                record.in_scope = bool(scope.enclosing_spans) and not has_ids(request_fields.trace)
                if record.fields.private:
                    scope.hide_errors()
        except BaseException as error:
            if not _FIELDS.stops(error):
                raise
        if options.link_gateway:
            # before the arguments are written: its ids go out with the request
            self._place_record(record, get_current(), app_traces=self.app_traces)
        if request_fields.carried or options.forward_trace_fields or options.link_gateway:
            arguments = forward_fields(
                library,
                arguments,
                record,
                request_fields,
                forward=options.forward_trace_fields,
                link_gateway=options.link_gateway,
            )
        return library.request_usage(record, arguments) if record.stream and options.request_stream_usage else arguments

    def _place_record(self, record: Generation, context: Context, *, app_traces: bool) -> None:
        """Give the record its ids, its parent and its courtesy spans."""
        current = span_in(context)
        try:
            app_parent = None
            if current is not None and self.joins:
                app_parent = ids_in(context)
            scope = current_scope() if record.in_scope else None
            if scope is None or not scope.enclosing_spans:
                assign_ids(record, app_parent)
            else:
                assign_ids(record, app_parent, scope.enclosing_spans, scope.anchor(app_parent))
        except BaseException as error:
            if not _FIELDS.stops(error):
                raise
        # the fields could not be read: the call is recorded without them
        if not record.span_id:
            record.fields = NO_FIELDS
            record.trace_id, record.span_id = new_trace_id(), new_span_id()
        try:
            if overlap.processors or app_traces:
                span = trace.INVALID_SPAN if current is None else current
                record.app_spans = self._app_spans.start(record, span)
                if overlap.processors:
                    overlap.claim(record, span)
        except BaseException as error:
            if not _COURTESY.stops(error):
                raise

    def opened(self, record: Generation) -> Context | None:
        """Place the record and return the context that is current during the call."""
        current, app_traces = get_current(), self._app_spans.provider() is not None
        if not record.span_id:
            self._place_record(record, current, app_traces=app_traces)
        for enclosing_span in record.enclosing_spans:
            if enclosing_span.opener is CONTEXT:
                enclosing_span.generations += 1
        if record.app_spans:
            return with_span(record.app_spans[-1], current)
        # where the app traces, a bare context would have a ParentBased sampler of the app decide by our flag
        if self._alone or app_traces:
            return None
        return with_span(BareSpan(record.trace_id, record.span_id), current)

    def enclosing_span_opened(self, enclosing_span: EnclosingSpan, above: trace.Span | None) -> trace.Span | None:
        """Start an enclosing span's courtesy span; return what is to be current below it.

        Args:
            enclosing_span: the span, complete.
            above: the courtesy span that it hangs below; None: the one that is current.
        """
        app_traces = self.app_traces
        # a span for calls only may come to nothing: the app's traces are not to have that
        if app_traces and not enclosing_span.needs_generations:
            with _COURTESY:
                self._app_spans.open_enclosing_span(
                    enclosing_span, above, explicit=enclosing_span.ignores_current_span or not self.joins
                )
        if enclosing_span.app_span is not None:
            app_span: trace.Span = enclosing_span.app_span
            return app_span
        if app_traces or self._alone:
            return None
        return BareSpan(enclosing_span.trace_id, enclosing_span.span_id)

    def enclosing_span_closed(self, enclosing_span: EnclosingSpan, scope: Scope) -> None:
        """End an enclosing span's courtesy span; hand it over when it is whole.

        Args:
            enclosing_span: the span.
            scope: the context's, whose fields may have become more since it opened.
        """
        enclosing_span.fields = self.fields_within(scope)
        if enclosing_span.app_span is not None:
            with _COURTESY:
                self._app_spans.close_enclosing_span(enclosing_span)
        enclosing_span.on_complete.append(partial(self._broadcaster.put_enclosing_span, enclosing_span))
        enclosing_span.call_on_complete()

    def reported(self, record: Generation, scope: Scope, enclosing_span: EnclosingSpan | None = None) -> None:
        """Take a generation that the program itself reports; `enclosing_span`: the span that it turns out to be."""
        fields = self.fields_within(scope)
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
            # at once: what the program reports of its own is no answer that is still to be read
            spans, record.app_spans = record.app_spans, ()
            if spans:
                record.is_in_app_traces = True
                self._app_spans.end(record, spans)
        self.closed(record)

    def _fields_of_call(self, scope: Scope | None, request_fields: RequestFields) -> Fields:
        call_trace, session_id, user, _ = request_fields
        if not call_trace:
            fields = self._default_fields if scope is None else self.fields_within(scope)
            if fields is not None:
                return with_caller(fields, session_id, user)
        return merge(call_trace, session_id, user, self._around({} if scope is None else scope.context_fields))

    def fields_within(self, scope: Scope) -> Fields:
        """Return the fields of what states none itself: of the contexts around it, over those that hold for all calls."""
        # merged once for a context with all its spans and calls: it takes 13,000 instructions
        merged = scope.merged
        fields = merged.get(self)
        if fields is None:
            fields = merge(None, None, None, self._around(scope.context_fields))
            if self._are_defaults_fixed and is_fixed(scope.context_fields):
                merged[self] = fields
        return fields

    def _around(self, context_fields: TraceObject) -> TraceObject:
        """Return the fields that surround a call: of the program's contexts, over the baggage, over `trace_defaults`."""
        outer: TraceObject = self._defaults
        if self._options.baggage_metadata:
            entries = {key: self._get_baggage(key) for key in self._options.baggage_metadata}
            outer = {**outer, **{key: value for key, value in entries.items() if value is not None}}
        if not context_fields:
            return outer
        return over(outer, context_fields) if outer else context_fields

    @property
    def app_traces(self) -> bool:
        """Whether the app has a tracer provider."""
        return self._app_spans.provider() is not None

    def fields_of(self, context_fields: TraceObject | None) -> Fields:
        """Return the fields of another instrumentation's span. Called in the background, where no baggage is current."""
        return merge(None, None, None, over(self._defaults, context_fields) if context_fields else self._defaults)

    def hand_over(self, record: Generation) -> None:
        """Hand a record over to the lanes."""
        if not self.wants_content:
            record.wants_content = False
        if record.failure is not None:
            record.size += len(record.failure.message)
        if record.fields.metadata:
            record.size += text_size(record.fields.metadata)
        for value in record.parameters.values():
            if type(value) not in _SMALL and value:
                record.size += text_size(value)
        if self.unwanted and record.wants_content:
            record.unwanted |= self.unwanted
            narrow(record)
        self._broadcaster.put_generation(record)

    def settled(self, record: Generation) -> None:
        """End the courtesy spans of a record that has been read after its end."""
        self._late_spans.end(record)

    def closed(self, record: Generation) -> None:
        """End the courtesy spans and hand the record over."""
        # first of all: the app's own spans say what the answer says, too
        if not record.is_limited or record.failure is not None:
            with _LIMITING:
                limit_answer(record)
        if record.late_key is not None:
            late_key, record.late_key = record.late_key, None
            with _KEY:
                record.api_keys = self._key_watch.names_of(late_key() or "")
        last = self
        while last.successor is not None:
            last = last.successor
        try:
            if record.app_spans:
                spans, record.app_spans = record.app_spans, ()
                record.is_in_app_traces = True
                with _COURTESY:
                    waits = record.pending is not None and not self._broadcaster.stopped
                    # what is still to be read may belong on them
                    if waits and self._late_spans.take(record, spans):
                        self._broadcaster.put_late(record)
                    else:
                        self._app_spans.end(record, spans)
        finally:
            last.hand_over(record)
        for enclosing_span in record.enclosing_spans:
            enclosing_span.call_on_complete()
