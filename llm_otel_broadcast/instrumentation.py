"""`instrument()` and the life cycle of what it starts."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from llm_otel_broadcast.assembly import Assembly, assemble
from llm_otel_broadcast.clients.openai.choosing import covering
from llm_otel_broadcast.clients.openai.targets import Patches
from llm_otel_broadcast.clients.streams import end_open_streams
from llm_otel_broadcast.delivery.books import LaneStatus
from llm_otel_broadcast.delivery.broadcaster import flush_all
from llm_otel_broadcast.fields.scope import sinks
from llm_otel_broadcast.guard import errors
from llm_otel_broadcast.settings.destination import Compression, Destination, Encoding
from llm_otel_broadcast.settings.environment import destination_from
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.options import AppSpans as AppSpansMode
from llm_otel_broadcast.settings.options import Options

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider

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


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What one `instrument()` started. `covers` tells the calls of a single client; None: all clients."""

    assembly: Assembly
    exit_timeout: float
    covers: Callable[[Any], bool] | None
    exporters: tuple[object, ...] = ()

    def status(self) -> Status:
        return Status(_state.is_active(self), self.assembly.broadcaster.status(), dict(errors))

    def shutdown(self, timeout: float | None) -> None:
        _state.release(self)
        self.assembly.broadcaster.stop(self.exit_timeout if timeout is None else timeout)
        _state.forget(self)


class _State:
    """What is instrumented in this process.

    Attributes:
        newest: the newest for all clients; it stays for `flush()` and `status()` when it no longer records.
        chosen: those for single clients.
        running: every one that may still have something to deliver.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.patches = Patches()
        self.newest: _Run | None = None
        self.chosen: tuple[_Run, ...] = ()
        self.running: tuple[_Run, ...] = ()

    def install(self, run: _Run) -> _Run | None:
        """Have a run's observer watch calls; return the run that it replaces."""
        with self.lock:
            self.running = (*self.running, run)
            previous = None
            if run.covers is None:
                previous, self.newest = self.newest, run
                self.patches.switch.observer = run.assembly.observer
            else:
                self._choose((run, *self.chosen))
            self._tell()
            self.patches.apply()
        return previous

    def _choose(self, runs: tuple[_Run, ...]) -> None:
        self.chosen = runs
        self.patches.switch.chosen = tuple((run.covers, run.assembly.observer) for run in runs if run.covers)

    def _tell(self) -> None:
        """Let the program's contexts know who wants their spans."""
        active = (*((self.newest,) if self.newest and self.is_active(self.newest) else ()), *self.chosen)
        sinks.all = tuple(run.assembly.observer for run in active)

    def release(self, run: _Run) -> None:
        """Have a run watch no more; take the patches off when nobody is left who watches."""
        with self.lock:
            if self.patches.switch.observer is run.assembly.observer:
                self.patches.switch.observer = None
            self._choose(tuple(other for other in self.chosen if other is not run))
            self._tell()
            if self.patches.switch.observer is None and not self.chosen:
                self.patches.remove()

    def forget(self, run: _Run) -> None:
        with self.lock:
            self.running = tuple(other for other in self.running if other is not run)

    def keeps(self, exporter: object) -> bool:
        """Return whether a run that goes on has this exporter, so that one that ends must not shut it down."""
        return any(
            exporter is other for run in self.running if not run.assembly.broadcaster.stopped for other in run.exporters
        )

    def is_active(self, run: _Run) -> bool:
        return self.patches.switch.observer is run.assembly.observer or run in self.chosen

    def current(self) -> tuple[_Run, ...]:
        """Return what the module's functions act on: the newest run for all clients, and those for single ones."""
        return (*((self.newest,) if self.newest else ()), *self.chosen)


_state = _State()


class Handle:
    """What `instrument()` returns; as a context manager it shuts down at the end of the block."""

    def __init__(self, run: _Run) -> None:
        self._run = run

    def flush(self, timeout: float = 10.0) -> bool:
        """Send everything recorded so far; wait at most `timeout` seconds for all destinations side by side.

        Returns:
            True when everything has been delivered, False when time ran out or something was lost meanwhile.
        """
        return self._run.assembly.broadcaster.flush(timeout)

    def shutdown(self, timeout: float | None = None) -> None:
        """Stop recording, deliver what is left for at most `timeout` seconds (default: `exit_timeout`), end the threads."""
        self._run.shutdown(timeout)

    def status(self) -> Status:
        """Return the figures of this handle's destinations."""
        return self._run.status()

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


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
    client: Any = None,
    trace_defaults: Mapping[str, object] | None = None,
    service_name: str | None = None,
    capture_content: bool = True,
    app_spans: AppSpansMode = "auto",
    tracer_provider: TracerProvider | None = None,
    capture_content_in_app_spans: bool = False,
    forward_trace_fields: bool | None = None,
    link_gateway: bool = False,
    join_app_traces: bool = True,
    baggage_metadata: Sequence[str] = (),
    request_stream_usage: bool = False,
    estimate_cost: bool = True,
    max_content_chars: int = 1_000_000,
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
        client: watch this client, or this resource of one (`client.chat`), instead of all; the handle undoes it. Other
            clients stay as they are.
        trace_defaults: trace fields for calls that do not say them: the keys of `trace`, `session_id` and `user`.
        service_name: `service.name` of the resource; default: the app provider's resource, else `OTEL_SERVICE_NAME`.
        capture_content: False: prompts and answers are not even referenced.
        app_spans: a standard span in the app's own tracer provider as well: `auto` (default), True or False.
        tracer_provider: the provider for those spans; default: the global one, looked up at each call.
        capture_content_in_app_spans: True puts content on those spans too.
        forward_trace_fields: None: OpenRouter gets the fields a call carries, other hosts none; True: merged fields go to
            any host; False: to none.
        link_gateway: True: OpenRouter's own broadcast spans are told to hang below ours.
        join_app_traces: False: what is sent never hangs below the app's own spans, for backends that do not see those.
        baggage_metadata: keys of the OpenTelemetry baggage that become metadata.
        request_stream_usage: True asks for token counts in streams that do not ask themselves.
        estimate_cost: False: no cost unless the response states it.
        max_content_chars: length of one content attribute, at most; what is cut stays valid JSON and says so.
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
    found, from_environment = _destinations(shorthand, destinations)
    covers = None if client is None else covering(client)
    if client is not None and covers is None:
        raise ConfigError(
            [f"client must be an openai client or a resource of one, such as client.chat, got {type(client).__name__}"]
        )
    options = Options(
        destinations=found,
        trace_defaults=trace_defaults or {},
        service_name=service_name,
        capture_content=capture_content,
        app_spans=app_spans,
        tracer_provider=tracer_provider,
        capture_content_in_app_spans=capture_content_in_app_spans,
        forward_trace_fields=forward_trace_fields,
        link_gateway=link_gateway,
        join_app_traces=join_app_traces,
        baggage_metadata=_keys(baggage_metadata),
        request_stream_usage=request_stream_usage,
        estimate_cost=estimate_cost,
        max_content_chars=max_content_chars,
        max_queue_bytes=max_queue_bytes,
        exit_timeout=exit_timeout,
        from_environment=from_environment,
    )
    exporters = tuple(destination.exporter for destination in found if destination.enabled and destination.exporter)
    run = _Run(assemble(options, _state.keeps), options.exit_timeout, covers, exporters)
    previous = _state.install(run)
    if previous is not None:
        previous.assembly.observer.heir = run.assembly.observer
    _watch_multiprocessing()
    if previous is not None:
        _retire(previous)
    return Handle(run)


def _keys(given: Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError([f'baggage_metadata must be a list such as ["tenant"], got {type(given).__name__}'])
    return tuple(given)


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


def _retire(previous: _Run) -> None:
    """Let the lanes of replaced settings deliver what they have, without anybody waiting for it."""
    threading.Thread(target=previous.shutdown, args=(None,), name="llm-otel-broadcast retiring", daemon=True).start()


def uninstrument() -> None:
    """Take the patches off: the very same functions are back. What was recorded is still delivered.

    `flush()` and `status()` go on working. Does nothing when nothing is instrumented.
    """
    for run in _state.current():
        _state.release(run)


def flush(timeout: float = 10.0) -> bool:
    """Send everything recorded so far, also under settings that were replaced; see `Handle.flush`.

    True when nothing was ever instrumented.
    """
    return flush_all([run.assembly.broadcaster for run in _state.running], timeout)


def shutdown(timeout: float | None = None) -> None:
    """Stop recording, deliver what is left and end the threads; see `Handle.shutdown`."""
    for run in _state.current():
        run.shutdown(timeout)


def status() -> Status:
    """Return the figures of the newest `instrument()`, and of those for single clients."""
    told = [run.status() for run in _state.current()]
    return Status(
        instrumented=any(one.instrumented for one in told),
        destinations=tuple(lane for one in told for lane in one.destinations),
        internal_errors=dict(errors),
    )


def _at_exit() -> None:
    """Deliver what any run still has, replaced ones included, all within the longest `exit_timeout`."""
    end_open_streams()
    runs = _state.running
    deadline = time.monotonic() + max((run.exit_timeout for run in runs), default=0.0)
    for run in runs:
        _state.release(run)
        run.assembly.broadcaster.hurry()
    for run in runs:
        run.shutdown(min(run.exit_timeout, max(0.0, deadline - time.monotonic())))
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        _stay_interrupted()


def _stay_interrupted() -> None:
    """Have a program that was interrupted end by that signal, as its shell expects.

    CPython forgets it when code is made from text before the end, as for each named tuple or dataclass that our threads
    import (`run_eval_code_obj` in Python/pythonrun.c); running out of such code interrupted reminds it.
    """
    with suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")  # noqa: S102


def _after_fork() -> None:
    _state.lock = threading.RLock()
    for run in _state.running:
        run.assembly.broadcaster.after_fork()
    _watch_multiprocessing(in_child=True)


def _watch_multiprocessing(*, in_child: bool = False) -> None:
    """Deliver at the end of multiprocessing's children, which leave by `os._exit` and forget the `atexit` of their parents.

    `in_child`: just forked; only if it turns out to be a child of multiprocessing does that run what is registered.
    """
    util: Any = sys.modules.get("multiprocessing.util")
    if util is None:
        return

    def at_end(_: object) -> None:
        util.Finalize(None, _at_exit, exitpriority=0)

    util.register_after_fork(_state, at_end)
    if not in_child and sys.modules["multiprocessing.process"].parent_process() is not None:
        at_end(None)


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
