"""`BroadcastSpanProcessor`: sends spans of the app's tracer provider to our destinations, if they are about a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Unpack

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from llm_otel_broadcast.app.other_tracers import Mark, overlap, parent_of, tells_of_a_call
from llm_otel_broadcast.clients.call import is_under_way
from llm_otel_broadcast.delivery.ledger import DestinationStatus
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.host.logs import logger
from llm_otel_broadcast.other_spans.conventions import is_genai
from llm_otel_broadcast.other_spans.foreign_span import ForeignSpan
from llm_otel_broadcast.record.scope_name import SCOPE_NAME
from llm_otel_broadcast.runtime import process_end
from llm_otel_broadcast.runtime.assembly import assemble
from llm_otel_broadcast.runtime.runs import Run, registry
from llm_otel_broadcast.settings.destination import SHORTHAND, Destination, check_field_names
from llm_otel_broadcast.settings.environment import disabling, variable_of
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.precedence import resolve_settings
from llm_otel_broadcast.tracing.scope import current_scope

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from llm_otel_broadcast.settings.destination_fields import DestinationFields

_TAKING: Final = Guard("taking a span of another instrumentation")
_UNKNOWN: Final = Mark()
_NOWHERE: Final = (
    "BroadcastSpanProcessor() has nowhere to send: give endpoint=... or destinations=[...], or no argument at all for the "
    "destinations of instrument()"
)


class BroadcastSpanProcessor(SpanProcessor):
    """Sends GenAI spans that other instrumentations make to our destinations: same selection, privacy and delivery.

    `provider.add_span_processor(BroadcastSpanProcessor())` sends to the destinations of `instrument()`, whichever are in use when
    a span ends. With arguments it has destinations of its own. Spans that are not about a model, an agent or a tool stay out,
    and so do those of calls that we recorded ourselves and send to the same place.

    Args:
        destinations: as for `instrument()`. Attributes keep the names that they have, whatever the `dialect`.
        all_spans: True: spans that are not about GenAI are sent too.
        **destination: the fields of one `Destination`, as for `instrument()`. `filter_rules` judge generations: spans of agents,
            chains and tools go where the generations of their trace go. No span tells its API key, so `api_keys` with
            `include` lets none through.

    Raises:
        ConfigError: listing every wrong setting.
        TypeError: there is no argument of that name.
    """

    def __init__(
        self,
        *,
        destinations: Sequence[Destination] | None = None,
        all_spans: bool = False,
        **destination: Unpack[DestinationFields],
    ) -> None:
        check_field_names("BroadcastSpanProcessor", destination, (*SHORTHAND, "destinations", "all_spans"))
        arguments: dict[str, object] = {**destination, "destinations": destinations}
        self._all_spans = all_spans
        self._shares = all(value is None for value in arguments.values())
        self._own = None if self._shares else _own_run(arguments)
        self._open = True
        # Counted for the whole process: what we do about other tracers depends on it (`app.other_tracers`).
        overlap.processors += 1
        overlap.sharing += self._shares

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note what only the start of a span tells: whether we record its call, and the trace fields around it."""
        del parent_context
        with _TAKING:
            is_ours, scope = is_under_way(), current_scope()
            fields = scope.context_fields if scope is not None and scope.context_fields else None
            above = parent_of(span) if tells_of_a_call(span) else None
            if is_ours or fields is not None or above is not None:
                overlap.mark(span.context.span_id, is_ours=is_ours, context_fields=fields, parent_span_id=above)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that has ended. Takes microseconds and waits for nothing."""
        with _TAKING:
            mark = overlap.take(span.context.span_id) or _UNKNOWN
            attributes = span.attributes or {}
            is_sent = self._open and (self._all_spans or is_genai(attributes))
            # Our own spans are of calls that we deliver ourselves.
            if not is_sent or getattr(span.instrumentation_scope, "name", None) == SCOPE_NAME:
                return
            shared_run = registry.delivering
            run = shared_run if self._own is None else self._own
            is_ours = mark.is_ours and is_genai(attributes)
            if run is None or (is_ours and self._own is None):
                return
            # The call was recorded for the destinations of `instrument()`: the same address does not get it twice.
            elsewhere = shared_run.endpoints if is_ours and shared_run is not None else frozenset()
            fields_of = run.observer.fields_of
            run.broadcaster.put_span(ForeignSpan(span, attributes, mark.context_fields, fields_of, elsewhere))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send everything queued so far, for at most `timeout_millis` milliseconds.

        Returns:
            False when time ran out or something was lost meanwhile.
        """
        run = self._run()
        return run is None or run.broadcaster.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Take no more spans, and deliver what is queued. The destinations of `instrument()` go on."""
        if not self._open:
            return
        self._open = False
        overlap.processors -= 1
        overlap.sharing -= self._shares
        with _TAKING:
            if self._own is not None:
                self._own.shutdown(None)
                process_end.unwatch()
            elif (run := registry.delivering) is not None:
                run.broadcaster.flush(run.exit_timeout)

    def status(self) -> tuple[DestinationStatus, ...]:
        """Return the figures of the destinations that it sends to."""
        run = self._run()
        return () if run is None else run.broadcaster.status()

    def _run(self) -> Run | None:
        return registry.delivering if self._own is None else self._own


def _own_run(arguments: Mapping[str, object]) -> Run | None:
    """Start a run that delivers without watching calls; None where everything is turned off.

    Args:
        arguments: those of `instrument()`, by name.

    Raises:
        ConfigError: listing every wrong setting.
    """
    if disabling(os.environ):
        return None
    # The file is not read here, so there is nothing for `to` to choose from.
    environ = {name: text for name, text in os.environ.items() if name != variable_of("to")}
    settled = resolve_settings(arguments, environ)
    for warning in settled.warnings:
        logger.warning("%s", warning)
    if not settled.options.destinations:
        # A variable of OpenTelemetry's names a destination that cannot be used: that stops no program.
        if settled.warnings:
            return None
        raise ConfigError([_NOWHERE])
    run = assemble(settled.options, registry.has_exporter)
    registry.add(run)
    process_end.watch()
    return run
