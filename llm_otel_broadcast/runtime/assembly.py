"""Puts the parts of a run together: lanes, app spans, observer. Knows all rooms; keeps no state."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llm_otel_broadcast.app.late_spans import LateSpans
from llm_otel_broadcast.app.metrics import AppMetrics
from llm_otel_broadcast.app.spans import AppSpans
from llm_otel_broadcast.delivery.broadcaster import Broadcaster
from llm_otel_broadcast.delivery.key_watch import KeyWatch
from llm_otel_broadcast.delivery.lane import Lane
from llm_otel_broadcast.delivery.recorder import Recorder
from llm_otel_broadcast.delivery.seams import LaneParts, LeftOut, RecordReader
from llm_otel_broadcast.delivery.unwanted import unwanted_by_all
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.host.logs import logger
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.trace_fields import NO_FIELDS
from llm_otel_broadcast.runtime.observer import CallObserver
from llm_otel_broadcast.runtime.runs import Run
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import redact_url
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.settings.privacy import PARTS
from llm_otel_broadcast.settings.spool import SpoolSettings
from llm_otel_broadcast.version import __version__

_METRICS_DELAY_S: Final = 1.0
_METRICS_MAX_BYTES: Final = 16 * 1024 * 1024
_LATE_DELAY_S: Final = 0.25
"""How long an app's span waits for its caller to parse, at most; then the body is read for it."""

_NOWHERE: Final = (
    "there is nowhere to send traces to: pass endpoint=... to instrument(), give `run --endpoint URL`, set "
    "LLM_OTEL_BROADCAST_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT, add a destination to the settings file "
    "(llm-otel-broadcast destinations add), or set up an OpenTelemetry tracer provider"
)

if TYPE_CHECKING:
    from llm_otel_broadcast.delivery.on_generation import Announcer
    from llm_otel_broadcast.other_spans.foreign_span import ForeignSpan
    from llm_otel_broadcast.record.span_data import Attributes, SpanData
    from llm_otel_broadcast.record.usage import Cost
    from llm_otel_broadcast.spool.shelf import Shelf


def assemble(
    options: Options,
    keeps: Callable[[object], bool],
    *,
    previous: Run | None = None,
    beside: Callable[[], None] | None = None,
    covers: Callable[[object], bool] | None = None,
    source: object = None,
) -> Run:
    """Make a run with everything that the options ask for. Starts no thread and imports nothing heavy.

    Args:
        options: the settings.
        keeps: returns whether another run still sends through an exporter that this one no longer needs.
        previous: the run that this one replaces; it adopts the lanes of destinations that have not changed.
        beside: starts whatever else runs in the process, at the first record.
        covers: see `Run`.
        source: see `Run`.
    """
    enabled = _enabled(options)
    # A destination from `OTEL_EXPORTER_OTLP_*` is where the app's own SDK exports to: each call would arrive there twice.
    app_spans = AppSpans(
        mode=False if options.app_spans == "auto" and options.from_environment else options.app_spans,
        provider=options.tracer_provider,
        version=__version__,
        describe=_describe,
        conclude=_concluder(options),
        render_enclosing_span=_enclosing_span_renderer(options),
        alone=not enabled,
        joins=options.join_app_traces,
    )
    late_spans, app_metrics = LateSpans(app_spans.end), AppMetrics(__version__)
    announcer: Announcer | None = None
    if options.on_generation:
        from llm_otel_broadcast.delivery.on_generation import Announcer

        announcer = Announcer(options.on_generation)
    adopted, lanes = _lanes_for(
        options, previous, lambda destination: _parts_maker(destination, options, app_spans, keeps, announcer)
    )
    broadcaster = _broadcaster(lanes, late_spans, app_metrics, options, beside)
    # Destinations that are all turned off are there on purpose.
    if not enabled and app_spans.provider() is None and not options.destinations:
        logger.warning(_NOWHERE)
    observer = CallObserver(
        options,
        broadcaster,
        app_spans,
        late_spans,
        app_metrics,
        unwanted=_unwanted(options, enabled),
        key_watch=KeyWatch(enabled),
    )
    return Run(options, observer, broadcaster, adopted, covers, source)


def _enabled(options: Options) -> list[Destination]:
    return [destination for destination in options.destinations if destination.enabled]


def _lanes_for(
    options: Options, previous: Run | None, parts_maker_of: Callable[[Destination], Callable[[], LaneParts]]
) -> tuple[tuple[Lane, ...], list[Lane]]:
    """Return the lanes that a run adopts from the previous one, and all that it has.

    Adopted are those of destinations for which nothing changes: queue, connection and books stay.
    """
    destinations = _enabled(options)
    # A destination that is down must not use up the memory of the others.
    share = options.max_queue_bytes // max(1, len(destinations))
    replaced: dict[str, tuple[Destination, Lane]] = {}
    adopts = False
    if previous is not None:
        pairs = zip(_enabled(previous.options), previous.broadcaster.lanes, strict=True)
        replaced = {destination.name: (destination, lane) for destination, lane in pairs}
        # All other options are part of what each lane renders and sends.
        is_same = replace(previous.options, destinations=()) == replace(options, destinations=())
        adopts = is_same and not previous.broadcaster.stopped
    adopted: list[Lane] = []
    lanes: list[Lane] = []
    for destination in destinations:
        replaced_destination, lane = replaced.get(destination.name, (None, None))
        if adopts and lane is not None and replaced_destination == destination:
            # There may be more destinations than before, or fewer.
            lane.max_bytes = share
            adopted.append(lane)
        else:
            # What the replaced lane has noted of the same address: a root that is there is not sent once more.
            is_same_address = replaced_destination is not None and replaced_destination.endpoint == destination.endpoint
            lane = Lane(
                destination.name,
                destination.batch_delay,
                share,
                parts_maker_of(destination),
                lane.sent_spans if lane is not None and is_same_address else None,
                closes=destination.exporter is not None,
                shelf=shelf_for(destination, options),
                is_durable=destination.durable,
            )
        lanes.append(lane)
    return tuple(adopted), lanes


def shelf_for(destination: Destination, options: Options) -> Shelf | None:
    """Return a destination's part of the spool; None: there is no spool, or it sends through an exporter, which encodes by itself."""
    settings = options.spool
    # `Options` has brought it into its full form.
    if not isinstance(settings, SpoolSettings) or destination.endpoint is None:
        return None
    # Only with a spool: this imports SQLite, which not every Python has.
    try:
        from llm_otel_broadcast.spool.shelf import Shelf
        from llm_otel_broadcast.spool.store import store_at
    except ImportError as error:
        logger.warning("there is no spool, as this Python cannot use SQLite (%s)", error.name)
        return None
    store = store_at(Path(settings.directory), settings.max_bytes, settings.max_age)
    endpoint, headers = destination.endpoint, destination.headers
    return Shelf(store, destination.name, endpoint, redact_url(endpoint), headers, destination.timeout)


def parts_for(destination: Destination) -> LaneParts:
    """Return what a lane renders and sends with, for a test of the destination. An exporter is not shut down."""
    # A test has no spool.
    destination = replace(destination, durable=False)
    options = Options(destinations=(destination,))
    app_spans = AppSpans(
        mode=False,
        provider=None,
        version=__version__,
        describe=_describe,
        conclude=_concluder(options),
        render_enclosing_span=_enclosing_span_renderer(options),
        alone=False,
        joins=False,
    )
    return _parts_maker(destination, options, app_spans, lambda _: True, None)()


def _broadcaster(
    lanes: list[Lane],
    late_spans: LateSpans,
    app_metrics: AppMetrics,
    options: Options,
    on_start: Callable[[], None] | None,
) -> Broadcaster:
    def metrics_reader() -> RecordReader:
        # On the recorder's thread, as on a lane's: this imports the prices.
        cost_of = _cost_reader(options)
        return RecordReader(lambda record: app_metrics.record(record, cost_of(record)))

    return Broadcaster(
        lanes,
        metrics=Recorder("metrics", _METRICS_DELAY_S, _METRICS_MAX_BYTES, metrics_reader),
        late=Recorder(
            "app spans",
            _LATE_DELAY_S,
            sys.maxsize,
            lambda: RecordReader(late_spans.note_read, late_spans.end_read, late_spans.close),
        ),
        on_start=on_start,
    )


def _unwanted(options: Options, lanes: Sequence[Destination]) -> frozenset[str]:
    """Return the parts of the content that nobody may have: no destination, no rule of theirs, nor the app's own spans."""
    if not options.capture_content:
        return frozenset(PARTS)
    if options.capture_content_in_app_spans:
        return frozenset()
    rule_fields: dict[str, frozenset[str]] = {}
    for destination in lanes:
        if destination.filter_rules:
            from llm_otel_broadcast.delivery.selection import Selection

            rule_fields[destination.name] = Selection(destination).fields
    return unwanted_by_all(lanes, rule_fields)


def _describe(record: Generation) -> Attributes:
    from llm_otel_broadcast.dialects.semconv import request_attributes

    return request_attributes(record)


def _concluder(options: Options) -> Callable[[Generation], SpanData]:
    def conclude(record: Generation) -> SpanData:
        from llm_otel_broadcast.delivery.facts import content_for, content_of
        from llm_otel_broadcast.delivery.privacy import allows_content
        from llm_otel_broadcast.dialects.semconv import SEMCONV

        content = None
        if options.capture_content_in_app_spans and allows_content(record, privacy_mode=False):
            content = content_for(record, content_of(record), max_chars=options.max_content_chars)
        # The record itself, not a copy of its facts: this is the host's thread, and this dialect looks at nothing else.
        return SEMCONV.generation_span(record, content, None)

    return conclude


def _enclosing_span_renderer(options: Options) -> Callable[[EnclosingSpan], SpanData]:
    def render(enclosing_span: EnclosingSpan) -> SpanData:
        from llm_otel_broadcast.delivery.facts import enclosing_facts_of, error_text_for
        from llm_otel_broadcast.dialects.semconv import SEMCONV
        from llm_otel_broadcast.record.enclosing_facts import EnclosingContent

        fields = enclosing_span.fields or NO_FIELDS
        allows_text = options.capture_content_in_app_spans and not fields.private
        failure = enclosing_span.failure
        content = EnclosingContent(error_text=error_text_for(failure)) if allows_text else None
        return SEMCONV.enclosing_span(enclosing_facts_of(enclosing_span, fields, failure), content)

    return render


def _cost_reader(options: Options) -> Callable[[Generation], Cost | None]:
    """Return a function that determines the cost of a record, None if that fails: it must not lose the record."""
    from llm_otel_broadcast.delivery.price_list import price_list
    from llm_otel_broadcast.delivery.pricing import cost_of

    # Before the first record: on a busy machine the import takes a second, and rendering would be taken for blocked.
    if options.estimate_cost:
        price_list()
    return lambda record: or_else(lambda: cost_of(record, estimated=options.estimate_cost), None)


def _parts_maker(
    destination: Destination,
    options: Options,
    app_spans: AppSpans,
    keeps: Callable[[object], bool],
    announcer: Announcer | None,
) -> Callable[[], LaneParts]:
    def make() -> LaneParts:
        """Import everything heavy: this runs on the lane's thread."""
        from llm_otel_broadcast.fields.json_encoder import encoder
        from llm_otel_broadcast.runtime.books_metrics import books_metrics
        from llm_otel_broadcast.runtime.rendering import RecordRendering
        from llm_otel_broadcast.wire import retry
        from llm_otel_broadcast.wire.transport import make_transport

        encoder.use_compiled()
        rendering = RecordRendering(destination, options, announcer, _cost_reader(options))

        def render(record: Generation | ForeignSpan) -> list[SpanData] | LeftOut:
            # At each record, as the app may set its meter provider at any time.
            books_metrics.register()
            return rendering.render(record)

        return LaneParts(
            transport=make_transport(
                destination,
                __version__,
                options.service_name,
                app_spans.provider,
                keep=lambda: keeps(destination.exporter),
            ),
            render=render,
            enclosing_span=rendering.enclosing_span,
            delay=retry.delay,
            chooses=rendering.chooses,
            shrink=rendering.shrink,
            withheld=rendering.withheld,
        )

    return make
