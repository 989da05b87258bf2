"""What happens at the two ends of a watched call.

Fields, ids, the app's span and the context at its start; the app's span and the lanes at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context

from llm_otel_broadcast.app_metrics import AppMetrics
from llm_otel_broadcast.app_spans import AppSpans, bare
from llm_otel_broadcast.clients.openai.keys import client_of, key_of, learns_late
from llm_otel_broadcast.clients.openai.server import server_of
from llm_otel_broadcast.delivery.broadcaster import Broadcaster
from llm_otel_broadcast.delivery.privacy import narrow
from llm_otel_broadcast.delivery.selection import KeyWatch
from llm_otel_broadcast.fields import wire
from llm_otel_broadcast.fields.ids import new_span_id, new_trace_id
from llm_otel_broadcast.fields.lineage import place
from llm_otel_broadcast.fields.merge import has_ids, merge, over
from llm_otel_broadcast.fields.scope import current_scope
from llm_otel_broadcast.generation import NO_FIELDS, Block, Fields, Generation
from llm_otel_broadcast.guard import Guard
from llm_otel_broadcast.overlap import overlap
from llm_otel_broadcast.settings.options import Options

_ALL_CONTENT: Final = frozenset({"inputs", "outputs", "system", "tools"})
_KEY = Guard("reading which key a call is made with")
_FIELDS = Guard("reading the trace fields")
_COURTESY = Guard("making the app's own span")


def _may_ask_for_usage(record: Generation, kwargs: dict[str, Any]) -> bool:
    """Return whether the operation takes `stream_options`, and the caller has left it open."""
    return "stream_options" not in kwargs and (
        record.api == "chat_completions" or record.operation == "text_completion"
    )


class CallObserver:
    """Joins fields, app spans and delivery for the wrapper in `clients.observe`."""

    def __init__(
        self,
        options: Options,
        broadcaster: Broadcaster,
        app_spans: AppSpans,
        app_metrics: AppMetrics,
        *,
        unwanted: frozenset[str],
        key_watch: KeyWatch,
    ) -> None:
        self._options = options
        self._broadcaster = broadcaster
        self._app_spans = app_spans
        self._meter_provider = app_metrics.provider
        self._defaults = dict(options.trace_defaults)
        self._alone = not broadcaster.lanes
        self.wants_content = not unwanted >= _ALL_CONTENT
        self._unwanted = unwanted
        self._key_watch = key_watch
        self.joins = options.join_app_traces
        self.successor: CallObserver | None = None
        """Whose settings have replaced these: calls that were under way then end there."""

    def rewrite(self, instance: Any, kwargs: dict[str, Any], record: Generation) -> dict[str, Any]:
        """Read the call's fields, and return the arguments the client is to be called with."""
        options = self._options
        record.server = server_of(instance)
        record.is_measured = self._meter_provider() is not None
        if self._unwanted and record.wants_content:
            record.unwanted = self._unwanted
            narrow(record)
        if self._key_watch.asks:
            with _KEY:
                self._note_key(record, client_of(instance), kwargs.get("extra_headers"))
        said = wire.NOTHING_SAID
        with _FIELDS:
            said = wire.read(kwargs)
            self._say(record, said)
        if options.request_stream_usage and record.stream and _may_ask_for_usage(record, kwargs):
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

    def _note_key(self, record: Generation, client: Any, headers: Any) -> None:
        """Note which of the keys that destinations ask for the call is made with; the key itself is not kept."""
        key = key_of(client, headers)
        if key is not None and not learns_late(client):
            record.api_keys = self._key_watch.names_of(key)
        else:
            record.caller = client

    def _say(self, record: Generation, said: wire.Said) -> None:
        """Merge what is said about the call with what is said around it."""
        scope = current_scope()
        record.fields = merge(said.trace, said.session_id, said.user, self.around(scope.said if scope else {}))
        record.in_scope = scope is not None and bool(scope.blocks) and not has_ids(said.trace)
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
        if scope is None or not record.in_scope or not scope.blocks:
            place(record, around)
            return
        place(record, around, scope.blocks, scope.anchor(around))

    def opened(self, record: Generation) -> otel_context.Context | None:
        """Place the record and return the context that is current during the call (DESIGN, section 2.2)."""
        if not record.span_id:
            self._place(record, trace.get_current_span())
        for block in record.blocks:
            if block.is_scoped:
                block.generations += 1
        if record.app_spans:
            return trace.set_span_in_context(record.app_spans[-1])
        if self.app_traces or self._alone:
            return None  # a bare context would have a ParentBased sampler of the app decide by our flag
        return trace.set_span_in_context(bare(record.trace_id, record.span_id))

    def block_opened(self, block: Block, said: Mapping[Any, Any]) -> trace.Span | None:
        """Start a block's courtesy span; return what is to be current in the block (DESIGN, section 2.2)."""
        block.fields = self._block_fields(said)
        if not block.with_calls_only:  # it may come to nothing: the app's traces are not to have that
            with _COURTESY:
                self._app_spans.open_block(block, explicit=block.is_apart or not self.joins)
        if block.app_span is not None:
            shown: trace.Span = block.app_span
            return shown
        if self.app_traces or self._alone:
            return None
        return bare(block.trace_id, block.span_id)

    def block_closed(self, block: Block, said: Mapping[Any, Any]) -> None:
        """End a block's courtesy span; hand the block over when it is whole. What was said meanwhile is on it too."""
        block.fields = self._block_fields(said)
        with _COURTESY:
            self._app_spans.close_block(block)
        block.when_whole.append(partial(self._broadcaster.put_block, block))
        block.settle()

    def reported(self, record: Generation, said: Mapping[Any, Any], block: Block | None = None) -> None:
        """Take a generation that the program itself reported; `block` is the span it turned out to be."""
        fields = self._block_fields(said)
        if block is not None and not fields.generation_name:
            fields = fields._replace(generation_name=block.name)
        record.fields = fields
        record.is_measured = self._meter_provider() is not None
        with _COURTESY:
            if block is None:
                record.app_spans = self._app_spans.start(record, trace.get_current_span())
            elif block.app_span is not None:
                self._app_spans.rename(block.app_span, record)
                record.app_spans = (block.app_span,)
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

    def _block_fields(self, said: Mapping[Any, Any]) -> Fields:
        return merge(None, None, None, self.around(said))

    def fields_of(self, said: Mapping[Any, Any] | None) -> Fields:
        """Return what holds for a span of another instrumentation; in the background, where no baggage is current."""
        return merge(None, None, None, over(self._defaults, said) if said else self._defaults)

    def put(self, record: Generation) -> None:
        """Hand a record over to the lanes."""
        record.wants_content &= self.wants_content
        if self._unwanted and record.wants_content:
            record.unwanted |= self._unwanted
            narrow(record)
        self._broadcaster.put(record)

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
                    self._app_spans.end(record, spans)
        finally:
            last.put(record)
        for block in record.blocks:
            block.settle()
