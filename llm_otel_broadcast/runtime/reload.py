"""The settings of one `instrument()`, and the thread that reads the settings file again when it changes.

That thread looks at the file every 30 seconds, and never on a call's way. No lane's thread could do that:
one that waits for a destination which does not answer is the very one whose settings want to be changed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Final

from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.green_threads import Mailbox, flavor, mailbox
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.host.logs import logger, own
from llm_otel_broadcast.runtime.assembly import assemble
from llm_otel_broadcast.runtime.runs import Run, registry
from llm_otel_broadcast.settings.environment import PREFIX, stated_disabled
from llm_otel_broadcast.settings.errors import ConfigError, FileError
from llm_otel_broadcast.settings.locations import Stamp, look
from llm_otel_broadcast.settings.precedence import FileResult, names_destination, read_file_at, resolve_settings

if TYPE_CHECKING:
    from llm_otel_broadcast.settings.options import Options

_LOOK_INTERVAL_S = 30.0
# An editor may empty a file, or take it away, before it writes: a change counts once it has lasted this long.
_UNCHANGED_FOR_S = 0.5
# After this time a call that had begun under replaced settings has surely handed its record over.
_LATE_RECORDS_S = 0.5
# As long as a batch is tried again (`delivery.lane`): replaced settings are no reason to lose what waits.
_RETIRING_TIMEOUT_S: Final = 60.0
_LOOKING: Final = Guard("looking at the settings file")


class SettingsSource:
    """Where one `instrument()` has its settings from: arguments, environment and file. Makes a new run when the file changes.

    Args:
        arguments: those of `instrument()`, by name.
        environ: the environment. It is read now, and for good: only the file is read again.
        covers: whether a call is one of the single client that is watched; None: all clients are.
    """

    def __init__(
        self, arguments: Mapping[str, object], environ: Mapping[str, str], covers: Callable[[object], bool] | None
    ) -> None:
        self._arguments = arguments
        self._environ = {name: text for name, text in environ.items() if name.startswith((PREFIX, "OTEL_"))}
        self._covers = covers
        self._lookup = look(environ)
        self._stamp: Stamp | None = None
        """Of the file as it was read last."""
        self._last_look: tuple[Stamp | None] | None = None
        """The stamp at the last look, which may be that of a file still being written; None before the first look."""
        self._is_closed = False
        self._logged_warnings: set[str] = set()
        """About other products' variables, which are read again with each change of the file."""
        self.run: Run | None = None

    def begin(self) -> None:
        """Record as the arguments, the environment and the file say.

        A file that is wrong is logged, and nothing is recorded until it is mended.

        Raises:
            ConfigError: listing every wrong setting.
        """
        self._stamp = self._lookup.stamp()
        for refusal in self._lookup.refusals():
            logger.warning("%s", refusal)
        file = read_file_at(self._stamp, self._lookup, os.environ)
        options: Options | None = None
        try:
            options = self._resolve(file)
        except FileError as error:
            # The words of `zero_code.start`: without a handler of the program's this is the same line on stderr.
            logger.error("%s; the program runs untraced", "; ".join(error.faults))
        with registry.lock:
            if self._covers is None:
                watcher.close_all(but_for_clients=True)
            if options is None or self._is_off(file):
                self._stop(registry.newest if self._covers is None else None)
            else:
                self._install(options)
            # Where a change of the file could matter.
            is_fixed = self._stamp is None and names_destination(self._environ, self._arguments)
            if self._lookup.places and not is_fixed:
                watcher.follow((*watcher.sources, self))
        # Where nothing is recorded no record will ever start the thread.
        if self.run is None:
            watcher.start()

    def _resolve(self, file: FileResult) -> Options:
        """Return the options that result with this file, and log what is odd about them."""
        settled = resolve_settings(self._arguments, self._environ, file)
        if file is not None and not isinstance(file, ConfigError):
            for notice in file.notices(settled.options.destinations):
                logger.warning("%s", notice)
        for warning in settled.warnings:
            if warning not in self._logged_warnings:
                logger.warning("%s", warning)
        self._logged_warnings |= set(settled.warnings)
        return settled.options

    @property
    def is_for_all_clients(self) -> bool:
        """Whether its run watches all clients; a newer one for all clients then takes its place."""
        return self._covers is None

    def _stop(self, run: Run | None) -> None:
        """Record nothing more; what has been recorded is still delivered."""
        if run is not None and registry.is_active(run):
            registry.release(run)
            _retire(run)

    def _is_off(self, file: FileResult) -> bool:
        if file is None or isinstance(file, ConfigError) or file.enabled:
            return False
        if stated_disabled(self._environ) is False:
            return False
        logger.debug("nothing is recorded: %s says enabled = false", file.path)
        return True

    def _install(self, options: Options) -> None:
        """Have a run with these options watch; the one before delivers what it has, and nobody waits for that."""
        previous = self.run
        newest = registry.newest
        if previous is None and self._covers is None and newest and not newest.broadcaster.stopped:
            # `instrument()` again: a destination that stays as it is keeps its lane, with what waits there.
            previous = newest
        run = assemble(
            options,
            registry.has_exporter,
            previous=previous,
            beside=watcher.start,
            covers=self._covers,
            source=self,
        )
        replaced = registry.install(run, previous)
        self.run = run
        run.broadcaster.start_early()
        if replaced is not None:
            replaced.broadcaster.hand_over(run.adopted_lanes)
            _retire(replaced)

    # -- the watcher's thread ---------------------------------------------------------------------------------------

    def check(self) -> bool:
        """Read the file again if it has changed. What is wrong with it is logged once, and the old settings stay.

        Returns:
            True when it has only just changed, so that somebody may still be writing: look again soon.
        """
        stamp = self._lookup.stamp()
        has_changed, last_look, self._last_look = stamp != self._stamp, self._last_look, (stamp,)
        if not has_changed or last_look != (stamp,):
            return has_changed
        try:
            self._follow(read_file_at(stamp, self._lookup, os.environ))
        finally:
            self._stamp = stamp
        return False

    def _follow(self, file: FileResult) -> None:
        try:
            is_off = self._is_off(file)
            options = self._resolve(file)
        except ConfigError as error:
            logger.warning("the settings stay as they were: %s", "; ".join(error.faults))
            return
        # A fork in between would leave the child with half a change.
        with importing, registry.lock:
            if self._is_closed or (self.run is not None and not registry.is_active(self.run)):
                return
            if is_off:
                self._stop(self.run)
                self.run = None
            elif self.run is None or self.run.options != options:
                self._install(options)
            else:
                return
            logger.info("the settings file has changed, and what is recorded with it")

    def close(self) -> None:
        """Follow the file no more. What it started goes on."""
        with registry.lock:
            self._is_closed = True
            watcher.follow(tuple(source for source in watcher.sources if source is not self))


class _Watcher:
    """The thread that looks at the file for all sources; in a process that makes no call it never starts."""

    def __init__(self) -> None:
        self.sources: tuple[SettingsSource, ...] = ()
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a child process: the thread is not there."""
        self._make_bell()
        if any(source.run is None for source in self.sources):
            self.start()

    def _make_bell(self) -> None:
        """Make what the thread waits in, of the kind that threads have now (`host.green_threads`)."""
        self._flavor = flavor()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._bell: Mailbox[None] = mailbox()

    def follow(self, sources: tuple[SettingsSource, ...]) -> None:
        """Look for these from now on; a thread that is there looks at once, or ends when there are none."""
        self.sources = sources
        self._bell.put(None)

    def close_all(self, *, but_for_clients: bool = False) -> None:
        """Close all sources; `but_for_clients`: those of single clients go on."""
        for source in self.sources:
            if source.is_for_all_clients or not but_for_clients:
                source.close()

    def start(self) -> None:
        """Start the thread if it is needed and does not run. Never waits: a finalizer may come here on top of a call that is at it."""
        if self._flavor is not flavor() and self._thread is None:
            self._make_bell()
        if not self.sources or not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=own(self._watch), name="llm-otel-broadcast settings", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:
            # No thread is to be had now: the next record tries again.
            return
        finally:
            self._starting.release()

    def _watch(self) -> None:
        while True:
            with self._starting:
                if not self.sources:
                    self._thread = None
                    break
            is_changing = False
            for source in self.sources:
                with _LOOKING:
                    is_changing |= source.check()
            with suppress(Empty):
                self._bell.get(timeout=_UNCHANGED_FOR_S if is_changing else _LOOK_INTERVAL_S)
        # They came while `start` could not see that this thread is about to end.
        if self.sources:
            self.start()


watcher: Final = _Watcher()
begin_anew_in_child(watcher.begin_anew)


def _retire(run: Run) -> None:
    """Let the lanes of a replaced run deliver what they have, without anybody waiting for it.

    Until then `status()` shows them, and the end of the process waits for them.
    """
    if run.broadcaster.stopped:
        return

    def finish() -> None:
        time.sleep(_LATE_RECORDS_S)
        run.shutdown(_RETIRING_TIMEOUT_S)

    try:
        threading.Thread(target=own(finish), name="llm-otel-broadcast retiring", daemon=True).start()
    except RuntimeError:
        # No thread is to be had: the end of the process delivers it, or `shutdown()`.
        return
