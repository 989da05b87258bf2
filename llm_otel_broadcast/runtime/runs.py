"""The runs of this process: what each set of settings started, and which of them record and which only deliver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from llm_otel_broadcast.clients import LIBRARIES
from llm_otel_broadcast.clients.patching import Patcher
from llm_otel_broadcast.clients.stream_watch import open_streams
from llm_otel_broadcast.delivery.broadcaster import Broadcaster
from llm_otel_broadcast.delivery.lane import Lane
from llm_otel_broadcast.delivery.ledger import DestinationStatus
from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.guard import errors
from llm_otel_broadcast.runtime.observer import CallObserver
from llm_otel_broadcast.runtime.totals import Totals, add_books
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.tracing.scope import sinks

# A program that makes a destination for each of its tenants has as many names.
_MAX_ENDED_NAMES: Final = 1_000


class Status(NamedTuple):
    """The figures of `status()`.

    Attributes:
        instrumented: whether calls are being recorded now.
        destinations: the books of each destination.
        internal_errors: errors of our own that were kept from your calls, by what we were doing.
    """

    instrumented: bool
    destinations: tuple[DestinationStatus, ...]
    internal_errors: Mapping[str, int]

    def __str__(self) -> str:
        lines = ["calls are being recorded" if self.instrumented else "no calls are being recorded"]
        lines += [f"  {destination}" for destination in self.destinations] or ["  no destination"]
        lines += [
            f"  errors kept from your calls, {activity}: {count}" for activity, count in self.internal_errors.items()
        ]
        return "\n".join(lines)


class Run:
    """What one set of settings started: `instrument()`, a change of its settings file, or a span processor.

    Attributes:
        options: the settings.
        observer: watches calls.
        broadcaster: takes the records and delivers them.
        adopted_lanes: lanes of the run before whose destinations have not changed; they go on in this one.
        covers: whether a call is one of the single client that is watched; None: all clients are.
        source: the settings of the `instrument()` that the run belongs to; None: a span processor's own destinations.
    """

    def __init__(
        self,
        options: Options,
        observer: CallObserver,
        broadcaster: Broadcaster,
        adopted_lanes: tuple[Lane, ...] = (),
        covers: Callable[[object], bool] | None = None,
        source: object = None,
    ) -> None:
        self.options = options
        self.observer = observer
        self.broadcaster = broadcaster
        self.adopted_lanes = adopted_lanes
        self.covers = covers
        self.source = source

    @property
    def exit_timeout(self) -> float:
        """Seconds that delivering what is left may take."""
        return self.options.exit_timeout

    @property
    def endpoints(self) -> frozenset[str]:
        """The addresses that it sends to."""
        return frozenset(
            destination.endpoint
            for destination in self.options.destinations
            if destination.enabled and destination.endpoint
        )

    @property
    def has_records(self) -> bool:
        """Whether a record waits for delivery, or to be put into the spool."""
        return any(destination.queued_records or destination.spooled for destination in self.broadcaster.status())

    def has_exporter(self, exporter: object) -> bool:
        """Return whether one of its destinations sends through this exporter."""
        exporters = (destination.exporter for destination in self.options.destinations if destination.enabled)
        return exporter is not None and any(exporter is other for other in exporters)

    def shutdown(self, timeout: float | None) -> None:
        """Stop recording, and deliver what is left for at most `timeout` seconds (None: `exit_timeout`)."""
        registry.release(self)
        # It is forgotten last: a process that ends meanwhile still delivers it.
        self.broadcaster.stop(self.exit_timeout if timeout is None else timeout)
        registry.forget(self)


class Registry:
    """All runs of the process. The only one who patches the client libraries and says who records.

    Attributes:
        lock: held while runs change.
        patches: the patches of the client libraries.
        newest: the newest run for all clients; it stays for `flush()` and `status()` when it no longer records.
        for_clients: the runs for single clients.
        running: every run that may still have something to deliver.
        ended_totals: the figures of the lanes of runs that have been forgotten, by destination.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.patches = Patcher(LIBRARIES)
        self.newest: Run | None = None
        self.for_clients: tuple[Run, ...] = ()
        self.running: tuple[Run, ...] = ()
        self.ended_totals: Totals = {}

    def add(self, run: Run) -> None:
        """Have a run delivered at the end of the process; it watches no calls."""
        with self.lock:
            self.running = (*self.running, run)

    def install(self, run: Run, instead_of: Run | None = None) -> Run | None:
        """Have a run watch calls; return the run that it replaces.

        Args:
            run: the run.
            instead_of: the one to replace, where the run is for a single client. One for all clients replaces the newest.
        """
        with self.lock:
            self.add(run)
            previous = instead_of
            if run.covers is None:
                # Even one that no longer records: its destinations may still deliver.
                previous, self.newest = self.newest, run
                self.patches.switch.observer = run.observer
            elif instead_of is not None:
                self._set_for_clients(run if other is instead_of else other for other in self.for_clients)
            else:
                self._set_for_clients((run, *self.for_clients))
            if previous is not None:
                # Calls under way, streams above all, keep the observer they began with; it passes their records on.
                previous.observer.successor = run.observer
            self._announce()
            self.patches.apply()
        return previous

    def _set_for_clients(self, runs: Iterable[Run]) -> None:
        self.for_clients = tuple(runs)
        self.patches.switch.chosen = tuple((run.covers, run.observer) for run in self.for_clients if run.covers)

    def _announce(self) -> None:
        """Let the program's trace contexts know who wants their spans."""
        # `tracing` is below this room and cannot ask.
        newest = (self.newest,) if self.newest and self.is_active(self.newest) else ()
        sinks.all = tuple(run.observer for run in (*newest, *self.for_clients))

    def release(self, run: Run) -> None:
        """Have a run watch no more; take the patches off when nobody watches any more."""
        with self.lock:
            # A newer run for all clients may have taken its place.
            if self.patches.switch.observer is run.observer:
                self.patches.switch.observer = None
            self._set_for_clients(other for other in self.for_clients if other is not run)
            self._announce()
            if self.patches.switch.observer is None and not self.for_clients:
                self.patches.remove()

    def forget(self, run: Run) -> None:
        """Take a run off that has delivered everything."""
        with self.lock:
            if run not in self.running:
                return
            self.running = tuple(other for other in self.running if other is not run)
            adopted = self._running_lanes()
            add_books(self.ended_totals, (lane for lane in run.broadcaster.lanes if lane not in adopted))
            while len(self.ended_totals) > _MAX_ENDED_NAMES:
                del self.ended_totals[next(iter(self.ended_totals))]

    def _running_lanes(self) -> set[Lane]:
        """Return the lanes of all runs; one that a run has adopted is in the run before it as well."""
        return {lane for run in self.running for lane in run.broadcaster.lanes}

    def totals(self) -> Totals:
        """Return the figures by destination since the process began: of all runs, those included that have ended."""
        with self.lock:
            lanes = self._running_lanes()
            totals = {name: figures.copy() for name, figures in self.ended_totals.items()}
        add_books(totals, lanes)
        return totals

    def has_exporter(self, exporter: object) -> bool:
        """Return whether a run that goes on sends through this exporter."""
        # The program may give the same exporter to `instrument()` again: the run that ends must not shut it down.
        return any(run.has_exporter(exporter) for run in self.running if not run.broadcaster.stopped)

    def is_active(self, run: Run) -> bool:
        """Return whether a run watches calls."""
        return self.patches.switch.observer is run.observer or run in self.for_clients

    @property
    def is_needed(self) -> bool:
        """Whether somebody records now: calls are watched, or a span processor has destinations of its own."""
        return any(self.is_active(run) or run.source is None for run in self.running)

    @property
    def delivering(self) -> Run | None:
        """The newest run for all clients while it records, or still delivers."""
        return self.newest if self.newest in self.running else None

    def current(self) -> tuple[Run, ...]:
        """Return what the module's functions act on: the newest run for all clients, and those for single ones."""
        return (*((self.newest,) if self.newest else ()), *self.for_clients)

    def replaced(self) -> tuple[Run, ...]:
        """Return the runs of `instrument()` that have been replaced, and still deliver."""
        current = self.current()
        return tuple(run for run in self.running if run not in current and run.source is not None)

    def status(self, current: Sequence[Run], replaced: Sequence[Run]) -> Status:
        """Return the figures of runs: all of the current ones, of the replaced ones what still waits."""
        # A lane that the next run has adopted is among the figures of that run.
        backlogs = (
            figures
            for run in replaced
            for lane, figures in zip(run.broadcaster.lanes, run.broadcaster.status(), strict=True)
            if figures.queued_records and lane in run.broadcaster.workers
        )
        return Status(
            instrumented=any(self.is_active(run) for run in current),
            destinations=(*(books for run in current for books in run.broadcaster.status()), *backlogs),
            internal_errors=dict(errors),
        )

    def begin_anew(self) -> None:
        """In a child process: queues, threads and streams are the parent's."""
        self.lock = threading.RLock()
        self.ended_totals = {}
        # The parent ends the records of its streams; the child's end would end them once more.
        open_streams.clear()
        for run in self.running:
            run.broadcaster.after_fork()


registry: Final = Registry()
begin_anew_in_child(registry.begin_anew)
