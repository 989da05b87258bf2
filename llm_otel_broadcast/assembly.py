"""Puts the parts of one `instrument()` together: lanes, app spans, observer. Knows all rooms; keeps no state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_otel_broadcast.app_spans import AppSpans
from llm_otel_broadcast.delivery.broadcaster import Broadcaster
from llm_otel_broadcast.delivery.lane import Lane, LaneParts
from llm_otel_broadcast.delivery.privacy import allows_content
from llm_otel_broadcast.generation import Generation
from llm_otel_broadcast.guard import logger
from llm_otel_broadcast.observer import CallObserver
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.version import __version__

if TYPE_CHECKING:
    from llm_otel_broadcast.span import Attributes, Span


@dataclass(frozen=True, slots=True)
class Assembly:
    """What watches calls, and what takes their records."""

    observer: CallObserver
    broadcaster: Broadcaster


def assemble(options: Options) -> Assembly:
    """Make everything that these options ask for. Starts no thread and imports nothing heavy."""
    lanes = [destination for destination in options.destinations if destination.enabled]
    share = options.max_queue_bytes // max(1, len(lanes))
    app_spans = AppSpans(
        mode=False if options.app_spans == "auto" and options.from_environment else options.app_spans,
        provider=options.tracer_provider,
        version=__version__,
        describe=_describe,
        conclude=_concluder(options),
        alone=not lanes,
    )
    broadcaster = Broadcaster(
        [
            Lane(destination.name, destination.batch_delay, share, _parts_maker(destination, options, app_spans))
            for destination in lanes
        ]
    )
    if not lanes and app_spans.provider() is None and not options.destinations:
        logger.warning(
            "instrument() has nowhere to send traces: pass endpoint=..., set OTEL_EXPORTER_OTLP_ENDPOINT, "
            "or set up an OpenTelemetry tracer provider"
        )
    wanted = options.capture_content and (
        any(not destination.privacy_mode for destination in lanes) or options.capture_content_in_app_spans
    )
    return Assembly(CallObserver(options, broadcaster, app_spans, wants_content=wanted), broadcaster)


def _describe(record: Generation) -> Attributes:
    from llm_otel_broadcast.dialects.semconv import request_attributes

    return request_attributes(record)


def _concluder(options: Options) -> Callable[[Generation], Span]:
    def conclude(record: Generation) -> Span:
        from llm_otel_broadcast.dialects.semconv import generation_span

        content = options.capture_content_in_app_spans and allows_content(record, privacy_mode=False)
        return generation_span(record, None, content=content, max_chars=options.max_content_chars)

    return conclude


def _parts_maker(destination: Destination, options: Options, app_spans: AppSpans) -> Callable[[], LaneParts]:
    def make() -> LaneParts:
        """Import everything heavy: this runs on the lane's thread."""
        from llm_otel_broadcast.dialects import semconv
        from llm_otel_broadcast.pricing import estimate
        from llm_otel_broadcast.wire import retry
        from llm_otel_broadcast.wire.transport import make_transport

        def render(record: Generation) -> list[Span]:
            stated = record.usage is not None and record.usage.cost is not None
            cost = estimate(record) if options.estimate_cost and not stated else None
            content = allows_content(record, privacy_mode=destination.privacy_mode)
            made = semconv.generation_span(record, cost, content=content, max_chars=options.max_content_chars)
            return [made, *semconv.attempt_spans(record)]

        return LaneParts(
            transport=make_transport(destination, __version__, options.service_name, app_spans.provider),
            render=render,
            block=lambda record, position: semconv.block_span(record.blocks[position], record),
            delay=retry.delay,
        )

    return make
