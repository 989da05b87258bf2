"""`instrument()` and the life cycle: the one file that knows all rooms."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from llm_otel_broadcast.app_spans import AppSpans
from llm_otel_broadcast.clients.openai.targets import Patches
from llm_otel_broadcast.delivery.broadcaster import Broadcaster
from llm_otel_broadcast.delivery.lane import Lane, LaneParts, LaneStatus
from llm_otel_broadcast.delivery.privacy import allows_content
from llm_otel_broadcast.generation import Generation
from llm_otel_broadcast.guard import errors, logger
from llm_otel_broadcast.observer import CallObserver
from llm_otel_broadcast.settings.destination import Compression, Destination, Encoding
from llm_otel_broadcast.settings.environment import destination_from
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.options import AppSpans as AppSpansMode
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider

    from llm_otel_broadcast.span import Attributes, Span

DestinationStatus = LaneStatus


@dataclass(frozen=True, slots=True)
class Status:
    """The figures of `status()`.

    Attributes:
        instrumented: whether calls are being recorded now.
        destinations: the books of each destination.
        internal_errors: errors of our own that were kept from your calls, by place.
    """

    instrumented: bool
    destinations: tuple[DestinationStatus, ...]
    internal_errors: Mapping[str, int]


class Handle:
    """What `instrument()` returns; as a context manager it shuts down at the end of the block."""

    def __init__(self, broadcaster: Broadcaster, exit_timeout: float) -> None:
        self._broadcaster = broadcaster
        self._exit_timeout = exit_timeout

    def flush(self, timeout: float = 10.0) -> bool:
        """Send everything recorded so far; wait at most `timeout` seconds for all destinations side by side.

        Returns:
            True when everything has been delivered, False when time ran out or something was lost meanwhile.
        """
        return self._broadcaster.flush(timeout)

    def shutdown(self, timeout: float | None = None) -> None:
        """Stop recording, deliver what is left for at most `timeout` seconds (default: `exit_timeout`), end the threads."""
        if _state.handle is self:
            uninstrument()
        self._broadcaster.stop(self._exit_timeout if timeout is None else timeout)

    def status(self) -> Status:
        """Return the figures of this handle's destinations."""
        return Status(_state.handle is self and _state.active, self._broadcaster.status(), dict(errors))

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


class _State:
    """What is instrumented in this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.patches = Patches()
        self.handle: Handle | None = None
        self.broadcasters: list[Broadcaster] = []
        self.active = False


_state = _State()


def instrument(  # noqa: PLR0913  # all by keyword, each with a default
    *,
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    encoding: Encoding = "auto",
    compression: Compression = "none",
    privacy_mode: bool = False,
    timeout: float = 10.0,
    exporter: SpanExporter | None = None,
    destinations: Sequence[Destination] | None = None,
    trace_defaults: Mapping[str, object] | None = None,
    service_name: str | None = None,
    capture_content: bool = True,
    app_spans: AppSpansMode = "auto",
    tracer_provider: TracerProvider | None = None,
    capture_content_in_app_spans: bool = False,
    forward_trace_fields: bool | None = None,
    link_gateway: bool = False,
    request_stream_usage: bool = False,
    estimate_cost: bool = True,
    max_queue_bytes: int = 64 * 1024 * 1024,
    exit_timeout: float = 3.0,
) -> Handle:
    """Record every call of the `openai` client and broadcast it. Calling it again changes the settings.

    Args:
        endpoint: traces URL of one OTLP/HTTP backend; shorthand for one `Destination`, as are `headers`, `encoding`,
            `compression`, `privacy_mode`, `timeout` (seconds) and `exporter`.
        headers: see `Destination`.
        encoding: see `Destination`.
        compression: see `Destination`.
        privacy_mode: see `Destination`.
        timeout: see `Destination`.
        exporter: see `Destination`.
        destinations: several destinations instead. With neither, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or
            `OTEL_EXPORTER_OTLP_ENDPOINT` (and `..._HEADERS`) name one.
        trace_defaults: trace fields for calls that do not say them: the keys of `trace`, `session_id` and `user`.
        service_name: `service.name` of the resource; default: the app provider's resource, else `OTEL_SERVICE_NAME`.
        capture_content: False: prompts and answers are not even referenced.
        app_spans: a standard span in the app's own tracer provider as well: `auto` (default), True or False.
        tracer_provider: the provider for those spans; default: the global one, looked up at each call.
        capture_content_in_app_spans: True puts content on those spans too.
        forward_trace_fields: None: OpenRouter gets the fields a call carries, other hosts none; True: merged fields go to
            any host; False: to none.
        link_gateway: True: OpenRouter's own broadcast spans are told to hang below ours.
        request_stream_usage: True asks for token counts in streams that do not ask themselves.
        estimate_cost: False: no cost unless the response states it.
        max_queue_bytes: memory for records that wait, all destinations together.
        exit_timeout: seconds the process waits for delivery at its end, at most.

    Returns:
        A handle: `flush`, `shutdown`, `status`; also a context manager.

    Raises:
        ConfigError: listing every wrong setting.
    """
    shorthand = {
        "endpoint": endpoint,
        "headers": headers,
        "encoding": encoding,
        "compression": compression,
        "privacy_mode": privacy_mode,
        "timeout": timeout,
        "exporter": exporter,
    }
    chosen, from_environment = _destinations(shorthand, destinations)
    options = Options(
        destinations=chosen,
        trace_defaults=trace_defaults or {},
        service_name=service_name,
        capture_content=capture_content,
        app_spans=app_spans,
        tracer_provider=tracer_provider,
        capture_content_in_app_spans=capture_content_in_app_spans,
        forward_trace_fields=forward_trace_fields,
        link_gateway=link_gateway,
        request_stream_usage=request_stream_usage,
        estimate_cost=estimate_cost,
        max_queue_bytes=max_queue_bytes,
        exit_timeout=exit_timeout,
        from_environment=from_environment,
    )
    return _install(options)


def _destinations(
    shorthand: Mapping[str, Any], destinations: Sequence[Destination] | None
) -> tuple[tuple[Destination, ...], bool]:
    """Return the destinations that the arguments or else the environment name, and whether it was the environment."""
    single = shorthand["endpoint"] is not None or shorthand["exporter"] is not None
    if destinations is not None:
        if single:
            raise ConfigError(
                ["endpoint (or exporter) and destinations are both given: put the endpoint into a Destination"]
            )
        if isinstance(destinations, str | bytes) or not isinstance(destinations, Sequence):
            raise ConfigError([f"destinations must be a list of Destination, got {type(destinations).__name__}"])
        return tuple(destinations), False
    given = {name: value for name, value in shorthand.items() if value is not None}
    if single:
        return (Destination(**given),), False
    found = destination_from(os.environ)
    if found is None and shorthand["headers"]:
        Destination(**given)  # headers without an endpoint: let it say so
    return ((found,), True) if found else ((), False)


def _install(options: Options) -> Handle:
    with _state.lock:
        lanes = [destination for destination in options.destinations if destination.enabled]
        share = options.max_queue_bytes // max(1, len(lanes))
        app_spans = AppSpans(
            mode=False if options.app_spans == "auto" and options.from_environment else options.app_spans,
            provider=options.tracer_provider,
            version=__version__,
            describe=_describe,
            conclude=_concluder(content=options.capture_content_in_app_spans),
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
        previous = _state.handle
        _state.handle = Handle(broadcaster, options.exit_timeout)
        _state.broadcasters.append(broadcaster)
        _state.patches.switch.observer = CallObserver(options, broadcaster, app_spans, wants_content=wanted)
        _state.patches.apply()
        _state.active = True
    if previous is not None:
        _retire(previous)
    return _state.handle


def _retire(previous: Handle) -> None:
    """Let the lanes of replaced settings deliver what they have, without anybody waiting for it."""
    threading.Thread(target=previous.shutdown, name="llm-otel-broadcast retiring", daemon=True).start()


def _describe(record: Generation) -> Attributes:
    from llm_otel_broadcast.dialects.semconv import request_attributes

    return request_attributes(record)


def _concluder(*, content: bool) -> Callable[[Generation], Span]:
    def conclude(record: Generation) -> Span:
        from llm_otel_broadcast.dialects.semconv import generation_span

        return generation_span(record, None, content=content and allows_content(record, privacy_mode=False))

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
            return [semconv.generation_span(record, cost, content=content)]

        return LaneParts(
            transport=make_transport(destination, __version__, options.service_name, app_spans.provider),
            render=render,
            block=lambda record, position: semconv.block_span(record.blocks[position], record),
            delay=retry.delay,
        )

    return make


def uninstrument() -> None:
    """Take the patches off: the very same functions are back. What was recorded is still delivered.

    `flush()` and `status()` go on working. Does nothing when nothing is instrumented.
    """
    with _state.lock:
        _state.patches.switch.observer = None
        _state.patches.remove()
        _state.active = False


def flush(timeout: float = 10.0) -> bool:
    """Send everything recorded so far; see `Handle.flush`. True when nothing was ever instrumented."""
    return _state.handle.flush(timeout) if _state.handle else True


def shutdown(timeout: float | None = None) -> None:
    """Stop recording, deliver what is left and end the threads; see `Handle.shutdown`."""
    if _state.handle:
        _state.handle.shutdown(timeout)


def status() -> Status:
    """Return the figures of the newest `instrument()`."""
    return (
        _state.handle.status()
        if _state.handle
        else Status(instrumented=False, destinations=(), internal_errors=dict(errors))
    )


def _at_exit() -> None:
    if _state.handle:
        _state.handle.shutdown()


def _after_fork() -> None:
    _state.lock = threading.RLock()
    for broadcaster in _state.broadcasters:
        broadcaster.after_fork()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
