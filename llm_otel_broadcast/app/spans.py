"""The courtesy span: a standard span in the app's own tracer provider, if the app has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

from llm_otel_broadcast.clients import LIBRARIES
from llm_otel_broadcast.fields.ids import derive_span_id, derive_trace_id
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan, Opener
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.scope_name import SCOPE_NAME

if TYPE_CHECKING:
    from llm_otel_broadcast.record.span_data import Attributes, SpanData

_SAMPLED: Final = trace.TraceFlags(trace.TraceFlags.SAMPLED)


class AppSpans:
    """Makes courtesy spans; looks the provider up at each call, because the app may set it late.

    Args:
        mode: `auto`, True or False as in `instrument(app_spans=)`.
        provider: a provider to use instead of the app's global one.
        version: ours, as the tracer's version.
        describe: what is known at the start, as span attributes; never content.
        conclude: the finished span as the dialect has it, without content unless the user asked for it there.
        render_enclosing_span: the same for an enclosing span.
        alone: no destination is configured: explicit ids are honoured here.
        joins: False: what is broadcast keeps its own ids, apart from the app's traces.
    """

    def __init__(
        self,
        *,
        mode: str | bool,
        provider: trace.TracerProvider | None,
        version: str,
        describe: Callable[[Generation], Attributes],
        conclude: Callable[[Generation], SpanData],
        render_enclosing_span: Callable[[EnclosingSpan], SpanData],
        alone: bool,
        joins: bool,
    ) -> None:
        self._mode = mode
        self._explicit_provider = provider
        self._version = version
        self._describe = describe
        self._conclude = conclude
        self._render_enclosing_span = render_enclosing_span
        self._alone = alone
        self._joins = joins
        # both are looked up again only when the app's provider is another one: this runs at every call
        self._checked_provider: trace.TracerProvider | None = None
        self._is_sdk_provider = False
        self._tracer_provider: trace.TracerProvider | None = None
        self._cached_tracer: trace.Tracer | None = None

    def provider(self) -> trace.TracerProvider | None:
        """Return the app's SDK provider, None while it has none. Never makes the API load one."""
        if self._explicit_provider is not None:
            return self._explicit_provider
        # the API's own variable: its function loads a provider when the environment names one, and costs more
        provider: trace.TracerProvider | None = getattr(trace, "_TRACER_PROVIDER", None)
        if provider is None:
            return None
        if provider is not self._checked_provider:
            # the API's placeholders have neither
            self._is_sdk_provider = hasattr(provider, "resource") or hasattr(provider, "add_span_processor")
            self._checked_provider = provider
        return provider if self._is_sdk_provider else None

    def _tracer(self) -> trace.Tracer | None:
        """Return the tracer for courtesy spans, None where there are to be none."""
        if self._mode is False:
            return None
        provider = self.provider()
        if provider is None:
            return None
        if provider is not self._tracer_provider:
            self._cached_tracer = provider.get_tracer(SCOPE_NAME, self._version)
            self._tracer_provider = provider
        return self._cached_tracer

    def open_enclosing_span(self, enclosing_span: EnclosingSpan, above: trace.Span | None, *, explicit: bool) -> None:
        """Start the courtesy span of a context's span.

        Args:
            enclosing_span: the context's span, which takes over the courtesy span's ids.
            above: the span that it hangs below; None: the one that is current.
            explicit: its own ids were stated; they stay, unless no destination is to have them.
        """
        tracer = self._tracer()
        if tracer is None:
            return
        current = trace.get_current_span() if above is None else above
        if explicit and self._alone and enclosing_span.totals and enclosing_span.parent_span_id:
            current = _remote(enclosing_span.trace_id, enclosing_span.parent_span_id)
        enclosing_span.app_span = tracer.start_span(
            enclosing_span.name,
            context=trace.set_span_in_context(current),
            kind=trace.SpanKind.INTERNAL,
            attributes=dict(self._render_enclosing_span(enclosing_span).attributes),
            start_time=enclosing_span.start_ns,
        )
        if not explicit or self._alone:
            _adopt(enclosing_span, enclosing_span.app_span, current)

    def rename(self, span: trace.Span, record: Generation) -> None:
        """Make an enclosing span's courtesy span that of the generation which it turned out to be."""
        span.update_name(record.name)
        span.set_attributes(dict(self._describe(record)))

    def close_enclosing_span(self, enclosing_span: EnclosingSpan) -> None:
        """End an enclosing span's courtesy span."""
        span, enclosing_span.app_span = enclosing_span.app_span, None
        if span is None:
            return
        finished = self._render_enclosing_span(enclosing_span)
        span.update_name(enclosing_span.name)
        span.set_attributes(dict(finished.attributes))
        if enclosing_span.failure is not None:
            span.set_status(trace.StatusCode.ERROR, finished.status_message)
        span.end(enclosing_span.end_ns)

    def start(self, record: Generation, current: trace.Span) -> tuple[trace.Span, ...]:
        """Start the record's courtesy spans, enclosing blocks first; the record takes over their ids.

        Returns:
            The spans, the generation's last; empty when there is to be none.
        """
        tracer = self._tracer()
        if tracer is None:
            return ()
        if self._mode == "auto" and (record.traced_below or _is_foreign_generation(current)):
            return ()
        fields = record.fields
        explicit = (
            not self._joins
            or bool(fields.trace_id or fields.parent_span_id)
            or any(enclosing_span.ignores_current_span for enclosing_span in record.enclosing_spans)
        )
        # stated ids are for what is broadcast: the courtesy span stays in the app's own trace
        if explicit and not self._alone:
            span = tracer.start_span(
                record.name,
                kind=trace.SpanKind.CLIENT,
                attributes=dict(self._describe(record)),
                start_time=record.start_ns,
            )
            record.span_id = span.get_span_context().span_id
            return (span,)
        return self._start_chain(tracer, record, current, explicit=explicit)

    def _start_chain(
        self, tracer: trace.Tracer, record: Generation, current: trace.Span, *, explicit: bool
    ) -> tuple[trace.Span, ...]:
        """Start the enclosing spans and the generation below one another in the app's provider."""
        parent: trace.Span = current
        if explicit and not any(enclosing_span.opener is Opener.CONTEXT for enclosing_span in record.enclosing_spans):
            fields = record.fields
            parent_span_id = (
                record.enclosing_spans[0].parent_span_id if record.enclosing_spans else record.parent_span_id
            )
            trace_id = derive_trace_id(fields.trace_id) if fields.trace_id else record.trace_id
            if fields.parent_span_id:
                parent_span_id = derive_span_id(fields.parent_span_id)
            if parent_span_id:
                parent = _remote(trace_id, parent_span_id)
        spans: list[trace.Span] = []
        for enclosing_span in record.enclosing_spans:
            # a context's span is current, or above what is
            if enclosing_span.opener is Opener.CONTEXT:
                continue
            # the root of an earlier call: its courtesy span is there already
            if enclosing_span.is_in_app_traces:
                parent = _remote(enclosing_span.trace_id, enclosing_span.span_id)
                continue
            span = tracer.start_span(
                enclosing_span.name,
                context=trace.set_span_in_context(parent),
                kind=trace.SpanKind.INTERNAL,
                start_time=record.start_ns,
            )
            _adopt(enclosing_span, span, parent)
            spans.append(span)
            parent = span
        span = tracer.start_span(
            record.name,
            context=trace.set_span_in_context(parent),
            kind=trace.SpanKind.CLIENT,
            attributes=dict(self._describe(record)),
            start_time=record.start_ns,
        )
        own_ids, parent_ids = span.get_span_context(), parent.get_span_context()
        record.trace_id, record.span_id = own_ids.trace_id, own_ids.span_id
        record.parent_span_id = parent_ids.span_id if parent_ids.is_valid else 0
        return (*spans, span)

    def end(self, record: Generation, spans: tuple[trace.Span, ...]) -> None:
        """Complete and end the record's courtesy spans."""
        own_span = spans[-1]
        finished = self._conclude(record)
        own_span.set_attributes(dict(finished.attributes))
        if record.failure is not None:
            own_span.set_status(trace.StatusCode.ERROR, finished.status_message)
        for event in finished.events:
            own_span.add_event(event.name, dict(event.attributes), event.time_ns)
        # made for this call alone: they stand for it in lists of traces
        for span in spans[:-1] if record.failure is not None else ():
            span.set_attribute("error.type", finished.attributes["error.type"])
            span.set_status(trace.StatusCode.ERROR, finished.status_message)
        for span in reversed(spans):
            span.end(record.end_ns)


def _adopt(enclosing_span: EnclosingSpan, span: trace.Span, parent: trace.Span) -> None:
    """Give an enclosing span the ids of its courtesy span."""
    own_ids, parent_ids = span.get_span_context(), parent.get_span_context()
    enclosing_span.trace_id, enclosing_span.span_id = own_ids.trace_id, own_ids.span_id
    is_child = parent_ids.is_valid and parent_ids.trace_id == own_ids.trace_id
    enclosing_span.parent_span_id = parent_ids.span_id if is_child else 0
    enclosing_span.is_in_app_traces = True


def _remote(trace_id: int, span_id: int) -> trace.Span:
    return trace.NonRecordingSpan(trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=_SAMPLED))


def _is_foreign_generation(span: trace.Span) -> bool:
    """Return whether the current span is another instrumentation's span of this very call, and still under way."""
    if getattr(span, "kind", None) is not trace.SpanKind.CLIENT or not span.is_recording():
        return False
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", None) or ""
    if scope == SCOPE_NAME:
        return False
    # some give their span its attributes only when it ends: those are known by their scope
    return "gen_ai.operation.name" in (getattr(span, "attributes", None) or ()) or scope.startswith(
        LIBRARIES.other_tracers
    )
