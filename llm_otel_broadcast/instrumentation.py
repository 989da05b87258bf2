"""`instrument()` and the life cycle of what it starts."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from llm_otel_broadcast.assembly import Assembly, assemble
from llm_otel_broadcast.clients.openai.choosing import covering
from llm_otel_broadcast.clients.openai.targets import Patches
from llm_otel_broadcast.clients.streams import end_open_streams
from llm_otel_broadcast.delivery.books import LaneStatus
from llm_otel_broadcast.delivery.broadcaster import flush_all
from llm_otel_broadcast.fields.scope import sinks
from llm_otel_broadcast.guard import errors, logger
from llm_otel_broadcast.settings.destination import Compression, Destination, Encoding
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.layers import settle
from llm_otel_broadcast.settings.options import AppSpans as AppSpansMode
from llm_otel_broadcast.settings.variables import disabling, misspelt

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider

    from llm_otel_broadcast.delivery.announcing import FinishedGeneration

DestinationStatus = LaneStatus


@dataclass(frozen=True, slots=True)
class Status:
    """The figures of `status()`.

    Attributes:
        instrumented: whether calls are being recorded now.
        destinations: the books of each destination.
        internal_errors: errors of our own, and of your `redact` and `on_generation`, that were kept from your calls, by place.
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
    """What `instrument()` returns; as a context manager it shuts down at the end of the block. `run` None: does nothing."""

    def __init__(self, run: _Run | None) -> None:
        self._run = run

    def flush(self, timeout: float = 10.0) -> bool:
        """Send everything recorded so far; wait at most `timeout` seconds for all destinations side by side.

        Returns:
            True when everything has been delivered, False when time ran out or something was lost meanwhile.
        """
        return self._run is None or self._run.assembly.broadcaster.flush(timeout)

    def shutdown(self, timeout: float | None = None) -> None:
        """Stop recording, deliver what is left for at most `timeout` seconds (default: `exit_timeout`), end the threads."""
        if self._run is not None:
            self._run.shutdown(timeout)

    def status(self) -> Status:
        """Return the figures of this handle's destinations."""
        return (
            Status(instrumented=False, destinations=(), internal_errors={}) if self._run is None else self._run.status()
        )

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


def instrument(  # noqa: PLR0913  # all by keyword, none needed
    *,
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    encoding: Encoding | None = None,
    compression: Compression | None = None,
    privacy_mode: bool | None = None,
    timeout: float | None = None,
    sampling_rate: float | None = None,
    errors_always: bool | None = None,
    api_keys: Mapping[str, Sequence[str]] | None = None,
    filter_rules: Mapping[str, Any] | None = None,
    hide: Collection[str] | None = None,
    redact: Callable[[str], str] | None = None,
    metadata_allow: Sequence[str] | None = None,
    metadata_deny: Sequence[str] | None = None,
    hash_user: bool | None = None,
    dialect: Literal["semconv"] | None = None,
    exporter: SpanExporter | None = None,
    destinations: Sequence[Destination] | None = None,
    client: Any = None,
    trace_defaults: Mapping[str, object] | None = None,
    service_name: str | None = None,
    capture_content: bool | None = None,
    app_spans: AppSpansMode | None = None,
    tracer_provider: TracerProvider | None = None,
    capture_content_in_app_spans: bool | None = None,
    on_generation: Callable[[FinishedGeneration], Any] | None = None,
    forward_trace_fields: bool | None = None,
    link_gateway: bool | None = None,
    join_app_traces: bool | None = None,
    baggage_metadata: Sequence[str] | None = None,
    request_stream_usage: bool | None = None,
    estimate_cost: bool | None = None,
    max_content_chars: int | None = None,
    max_queue_bytes: int | None = None,
    exit_timeout: float | None = None,
) -> Handle:
    """Record every call of the `openai` client and broadcast it. Calling it again changes the settings.

    What is not given is taken from the variable `LLM_OTEL_BROADCAST_` + NAME, else it has the default named here. With
    `LLM_OTEL_BROADCAST_DISABLED=true` or `OTEL_SDK_DISABLED=true` nothing is done at all.

    Args:
        endpoint: traces URL of one OTLP/HTTP backend; shorthand for one `Destination`, as are `headers`, `encoding`,
            `compression`, `privacy_mode`, `timeout` (seconds), `exporter` and the others that say "see `Destination`".
        headers: see `Destination`.
        encoding: see `Destination`.
        compression: see `Destination`.
        privacy_mode: see `Destination`; True with `destinations` makes all of them private.
        timeout: see `Destination`.
        sampling_rate: see `Destination`.
        errors_always: see `Destination`.
        api_keys: see `Destination`.
        filter_rules: see `Destination`.
        hide: see `Destination`. This and the four below count for each of `destinations` too, besides its own.
        redact: see `Destination`.
        metadata_allow: see `Destination`.
        metadata_deny: see `Destination`.
        hash_user: see `Destination`.
        dialect: see `Destination`.
        exporter: see `Destination`.
        destinations: several destinations instead. With neither, here and in the variables,
            `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT` (and `..._HEADERS`) name one.
        client: watch this client, or this resource of one (`client.chat`), instead of all; the handle undoes it. Other
            clients stay as they are.
        trace_defaults: trace fields for calls that do not say them: the keys of `trace`, `session_id` and `user`.
        service_name: `service.name` of the resource; default: the app provider's resource, else `OTEL_SERVICE_NAME`.
        capture_content: False: prompts and answers are not even referenced. Default: True.
        app_spans: a standard span in the app's own tracer provider as well: `auto` (default), True or False.
        tracer_provider: the provider for those spans; default: the global one, looked up at each call.
        capture_content_in_app_spans: True puts content on those spans too. Default: False.
        on_generation: is shown each finished generation in the background, before anything is sent, and may add attributes:
            `on_generation=lambda generation: generation.attributes.update(team="search")`. It should be quick; if it fails,
            the span is sent without. Default: none.
        forward_trace_fields: default: OpenRouter gets the fields a call carries, other hosts none; True: merged fields go
            to any host; False: to none.
        link_gateway: True: OpenRouter's own broadcast spans are told to hang below ours. Default: False.
        join_app_traces: False: what is sent never hangs below the app's own spans, for backends that do not see those.
            Default: True.
        baggage_metadata: keys of the OpenTelemetry baggage that become metadata. Default: none.
        request_stream_usage: True asks for token counts in streams that do not ask themselves. Default: False.
        estimate_cost: False: no cost unless the response states it. Default: True.
        max_content_chars: length of one content attribute, at most; what is cut stays valid JSON and says so. Default:
            1,000,000.
        max_queue_bytes: memory for records that wait, all destinations together. Default: 64 MiB.
        exit_timeout: seconds the process waits for delivery at its end, at most. Default: 3.

    Returns:
        A handle: `flush`, `shutdown`, `status`; also a context manager.

    Raises:
        ConfigError: listing every wrong setting.
    """
    given = dict(locals())  # before there is anything but the arguments
    del given["client"]
    disabled_by = disabling(os.environ)
    if disabled_by:
        logger.debug("nothing is recorded: %s is true", disabled_by)
        return Handle(None)
    covers = None if client is None else covering(client)
    if client is not None and covers is None:
        raise ConfigError(
            [f"client must be an openai client or a resource of one, such as client.chat, got {type(client).__name__}"]
        )
    options = settle(given, os.environ)
    for warning in misspelt(os.environ):
        logger.warning("%s", warning)
    exporters = tuple(made.exporter for made in options.destinations if made.enabled and made.exporter)
    run = _Run(assemble(options, _state.keeps), options.exit_timeout, covers, exporters)
    previous = _state.install(run)
    if previous is not None:
        previous.assembly.observer.heir = run.assembly.observer
    _watch_multiprocessing()
    if previous is not None:
        _retire(previous)
    return Handle(run)


def instrument_was_called() -> bool:
    """Return whether `instrument()` has been called in this process: a start without code then leaves it alone."""
    return _state.newest is not None or bool(_state.chosen)


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
