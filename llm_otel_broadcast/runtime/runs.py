"""What is instrumented in this process: the runs that record, and those that still deliver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llm_otel_broadcast.clients import LIBRARIES
from llm_otel_broadcast.clients.patching import Patcher
from llm_otel_broadcast.delivery.ledger import DestinationStatus
from llm_otel_broadcast.host.guard import errors
from llm_otel_broadcast.runtime.assembly import Assembly
from llm_otel_broadcast.tracing.scope import sinks


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

    def __str__(self) -> str:
        lines = ["calls are being recorded" if self.instrumented else "no calls are being recorded"]
        lines += [f"  {destination}" for destination in self.destinations] or ["  no destination"]
        lines += [f"  errors kept from your calls, {place}: {count}" for place, count in self.internal_errors.items()]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What one `instrument()`, or a change of its settings file, started.

    Attributes:
        assembly: what watches calls, and what takes their records.
        exit_timeout: seconds that its end may take.
        covers: tells the calls of a single client; None: all clients.
        exporters: those of its destinations.
        life: the `instrument()` it belongs to.
    """

    assembly: Assembly
    exit_timeout: float
    covers: Callable[[Any], bool] | None
    exporters: tuple[object, ...] = ()
    life: object = None

    def status(self) -> Status:
        return Status(state.is_active(self), self.assembly.broadcaster.status(), dict(errors))

    def shutdown(self, timeout: float | None) -> None:
        state.release(self)
        self.assembly.broadcaster.stop(self.exit_timeout if timeout is None else timeout)
        state.forget(self)


class State:
    """What is instrumented in this process.

    Attributes:
        newest: the newest for all clients; it stays for `flush()` and `status()` when it no longer records.
        chosen: those for single clients.
        running: every one that may still have something to deliver.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.patches = Patcher(LIBRARIES)
        self.newest: Run | None = None
        self.chosen: tuple[Run, ...] = ()
        self.running: tuple[Run, ...] = ()

    def install(self, run: Run, instead_of: Run | None = None) -> Run | None:
        """Have a run's observer watch calls; return the run that it replaces.

        `instead_of`: for a single client's, the one to be replaced.
        """
        with self.lock:
            self.running = (*self.running, run)
            previous = instead_of
            if run.covers is None:
                previous, self.newest = self.newest, run
                self.patches.switch.observer = run.assembly.observer
            elif instead_of is not None:
                self._choose(run if other is instead_of else other for other in self.chosen)
            else:
                self._choose((run, *self.chosen))
            if previous is not None:
                previous.assembly.observer.successor = run.assembly.observer
            self._tell()
            self.patches.apply()
        return previous

    def _choose(self, runs: Iterable[Run]) -> None:
        self.chosen = tuple(runs)
        self.patches.switch.chosen = tuple((run.covers, run.assembly.observer) for run in self.chosen if run.covers)

    def _tell(self) -> None:
        """Let the program's contexts know who wants their spans."""
        active = (*((self.newest,) if self.newest and self.is_active(self.newest) else ()), *self.chosen)
        sinks.all = tuple(run.assembly.observer for run in active)

    def release(self, run: Run) -> None:
        """Have a run watch no more; take the patches off when nobody is left who watches."""
        with self.lock:
            if self.patches.switch.observer is run.assembly.observer:
                self.patches.switch.observer = None
            self._choose(other for other in self.chosen if other is not run)
            self._tell()
            if self.patches.switch.observer is None and not self.chosen:
                self.patches.remove()

    def forget(self, run: Run) -> None:
        with self.lock:
            self.running = tuple(other for other in self.running if other is not run)

    def keeps(self, exporter: object) -> bool:
        """Return whether a run that goes on has this exporter, so that one that ends must not shut it down."""
        return any(
            exporter is other for run in self.running if not run.assembly.broadcaster.stopped for other in run.exporters
        )

    def is_active(self, run: Run) -> bool:
        return self.patches.switch.observer is run.assembly.observer or run in self.chosen

    def current(self) -> tuple[Run, ...]:
        """Return what the module's functions act on: the newest run for all clients, and those for single ones."""
        return (*((self.newest,) if self.newest else ()), *self.chosen)


state = State()
