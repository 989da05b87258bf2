"""What `instrument()` started, over all that its settings file says: the file is read again when it changes.

A thread of its own looks at the file, at most every 30 seconds and never on a call's way. No lane's thread could do that:
one that waits for a destination which does not answer is the very one whose settings want to be changed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

from llm_otel_broadcast.host.forks import importing
from llm_otel_broadcast.host.green_threads import Mailbox, flavor, mailbox
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.host.logs import logger, own
from llm_otel_broadcast.runtime.assembly import assemble
from llm_otel_broadcast.runtime.runs import Run, state
from llm_otel_broadcast.settings.environment import PREFIX, stated_disabled
from llm_otel_broadcast.settings.errors import ConfigError, FileError
from llm_otel_broadcast.settings.locations import Stamp, look
from llm_otel_broadcast.settings.precedence import FileResult, names_destination, read_file_at, resolve_settings

if TYPE_CHECKING:
    from llm_otel_broadcast.settings.options import Options

_EVERY = 30.0
_SETTLING = 0.5
"""Seconds that a change must have lasted: an editor may empty a file, or take it away, before it writes."""
_GRACE = 0.5
"""Seconds after which a call that had begun under replaced settings has surely handed its record over."""
_PATIENCE: Final = 60.0
"""Seconds that destinations of replaced settings have for what is queued: as long as one is tried again (`delivery.lane`)."""
_LOOKING: Final = Guard("looking at the settings file")


class Life:
    """One `instrument()` from its beginning to its end.

    Args:
        given: its arguments.
        environ: the environment; what it says now holds for good, only the file is read again.
        covers: tells the calls of a single client; None: all clients.
    """

    def __init__(
        self, given: Mapping[str, object], environ: Mapping[str, str], covers: Callable[[Any], bool] | None
    ) -> None:
        self._given = given
        self._environ = {name: text for name, text in environ.items() if name.startswith((PREFIX, "OTEL_"))}
        self._covers = covers
        self._lookup = look(environ)
        self._seen: Stamp | None = None
        self._coming: tuple[Stamp | None] | None = None
        """What was there at the last look."""
        self._ended = False
        self._warned: set[str] = set()
        """What is odd about others' variables, and has been logged."""
        self.run: Run | None = None

    def begin(self) -> None:
        """Record as the arguments, the environment and the file say.

        A file that is wrong is logged, and nothing is recorded until it is mended.

        Raises:
            ConfigError: listing every wrong setting.
        """
        self._seen = self._lookup.stamp()
        for refusal in self._lookup.refusals():
            logger.warning("%s", refusal)
        file = read_file_at(self._seen, self._lookup, os.environ)
        options: Options | None = None
        try:
            options = self._settled(file)
        except FileError as wrong:
            # The words of `zero_code.start`: without a handler of the program's this is the same line on stderr.
            logger.error("%s; the program runs untraced", "; ".join(wrong.faults))
        with state.lock:
            if self._covers is None:
                for life in watcher.lives:
                    life.superseded()
            if options is None or self._is_off(file):
                self._stop(state.newest if self._covers is None else None)
            else:
                self._install(options)
            if self._is_watching():
                watcher.follow((*watcher.lives, self))
        if self.run is None:  # no record will ever start the thread
            watcher.start()

    def _settled(self, file: FileResult) -> Options:
        """Return the options that result with this file, and say what is odd about them."""
        settled = resolve_settings(self._given, self._environ, file)
        _warn(file, settled.options)
        for warning in settled.warnings:
            if warning not in self._warned:
                logger.warning("%s", warning)
        self._warned |= set(settled.warnings)
        return settled.options

    def superseded(self) -> None:
        """Make way for a newer one for all clients."""
        if self._covers is None:
            self.end()

    def _stop(self, run: Run | None) -> None:
        """Record nothing more; what has been recorded is still delivered."""
        if run is not None and state.is_active(run):
            state.release(run)
            _retire(run)

    def _is_watching(self) -> bool:
        """Return whether a change of the file could matter."""
        if self._seen is None and names_destination(self._environ, self._given):
            return False
        return bool(self._lookup.places)

    def _is_off(self, file: FileResult) -> bool:
        if file is None or isinstance(file, ConfigError) or file.enabled:
            return False
        if stated_disabled(self._environ) is False:
            return False
        logger.debug("nothing is recorded: %s says enabled = false", file.path)
        return True

    def _install(self, options: Options) -> None:
        """Have these options watch, and those before deliver what they have without anybody waiting for it."""
        before = self.run
        newest = state.newest
        if before is None and self._covers is None and newest and not newest.assembly.broadcaster.stopped:
            # `instrument()` again: a destination that stays as it is keeps its lane, with what waits there
            before = newest
        exporters = tuple(made.exporter for made in options.destinations if made.enabled and made.exporter)
        assembly = assemble(options, state.keeps, before.assembly if before else None, watcher.start)
        run = Run(assembly, options.exit_timeout, self._covers, exporters, self)
        previous = state.install(run, before)
        self.run = run
        if previous is not None:
            previous.assembly.broadcaster.hand_over(assembly.taken)
            _retire(previous)

    # -- the watcher's thread ---------------------------------------------------------------------------------------

    def check(self) -> bool:
        """Read the file again if it is another one; what is wrong with it is said once, and the old settings stay.

        Returns:
            True when it has only just changed, so that somebody may still be writing: look again soon.
        """
        stamp = self._lookup.stamp()
        is_new, was_coming, self._coming = stamp != self._seen, self._coming, (stamp,)
        if not is_new or was_coming != (stamp,):
            return is_new
        try:
            self._follow(read_file_at(stamp, self._lookup, os.environ))
        finally:
            self._seen = stamp
        return False

    def _follow(self, file: FileResult) -> None:
        try:
            is_off = self._is_off(file)
            options = self._settled(file)
        except ConfigError as wrong:
            logger.warning("the settings stay as they were: %s", "; ".join(wrong.faults))
            return
        with importing, state.lock:  # no fork in between
            self._change(None if is_off else options)

    def _change(self, options: Options | None) -> None:
        if self._ended or (self.run is not None and not state.is_active(self.run)):
            return
        if options is None:
            self._stop(self.run)
            self.run = None
        elif self.run is None or self.run.assembly.options != options:
            self._install(options)
        else:
            return
        logger.info("the settings file has changed, and what is recorded with it")

    def end(self) -> None:
        """Follow the file no more."""
        with state.lock:
            self._ended = True
            watcher.follow(tuple(life for life in watcher.lives if life is not self))


def _warn(file: FileResult, options: Options) -> None:
    if file is not None and not isinstance(file, ConfigError):
        for warning in file.notices(options.destinations):
            logger.warning("%s", warning)


class _Watcher:
    """The thread that looks at the file for all of them; in a process that makes no call it never starts."""

    def __init__(self) -> None:
        self.lives: tuple[Life, ...] = ()
        self.after_fork()

    def after_fork(self) -> None:
        """In a child: begin anew; the thread is not there."""
        self._make_thread()
        if any(life.run is None for life in self.lives):
            self.start()

    def _make_thread(self) -> None:
        """Make what the thread waits in, of the kind that threads have now."""
        self._flavor = flavor()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._bell: Mailbox[None] = mailbox()

    def follow(self, lives: tuple[Life, ...]) -> None:
        """Look for these from now on; a thread that is there looks at once, or ends when there are none."""
        self.lives = lives
        self._bell.put(None)

    def start(self) -> None:
        """Start the thread if it is needed and does not run. Never waits: a finalizer may come here on top of a call that is at it."""
        if self._flavor is not flavor() and self._thread is None:
            self._make_thread()
        if not self.lives or not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=own(self._watch), name="llm-otel-broadcast settings", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:
            # no thread is to be had now: the next record tries again
            return
        finally:
            self._starting.release()

    def _watch(self) -> None:
        while self._is_wanted():
            is_changing = False
            for life in self.lives:
                with _LOOKING:
                    is_changing |= life.check()
            with suppress(Empty):
                self._bell.get(timeout=_SETTLING if is_changing else _EVERY)

    def _is_wanted(self) -> bool:
        with self._starting:
            if self.lives:
                return True
            self._thread = None
        if self.lives:  # they came while `start` could not see that this thread is about to end
            self.start()
        return False


watcher: Final = _Watcher()


def _retire(previous: Run) -> None:
    """Let the lanes of replaced settings deliver what they have, without anybody waiting for it.

    Until then `status()` shows them, and the end of the process waits for them.
    """
    if previous.assembly.broadcaster.stopped:
        return

    def finish() -> None:
        time.sleep(_GRACE)
        previous.shutdown(_PATIENCE)

    try:
        threading.Thread(target=own(finish), name="llm-otel-broadcast retiring", daemon=True).start()
    except RuntimeError:
        # no thread is to be had: the end of the process delivers it, or `shutdown()`
        return
