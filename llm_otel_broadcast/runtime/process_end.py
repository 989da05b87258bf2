"""Delivery at the end of the process, however it ends, within `exit_timeout`.

Four ways do not run what `atexit` has: SIGTERM in a program without a handler for it, a signal that a program raises against
itself (uvicorn does, after it has restored the handlers it found), `os._exit` (job runners' workers, children of
multiprocessing) and `os.exec*`. Exit codes and signals stay what they are.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, ModuleType
from typing import Final

from llm_otel_broadcast.clients.stream_watch import end_open_streams, open_streams
from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.host.logs import drain, free_handlers, is_own_thread
from llm_otel_broadcast.runtime.runs import registry
from llm_otel_broadcast.runtime.unheard_signals import UnheardSignals

_DELIVERING: Final = Guard("delivering at the end of the process")
# The part of `exit_timeout` that is kept for logging how delivery went; a tenth of it where that is less.
_LOG_TIMEOUT_S: Final = 0.2
# The first process of a container. The kernel delivers it no signal that it has no handler for, so SIGTERM does not end it.
_INIT_PID: Final = 1
_REPLACED_FUNCTIONS: Final = ((os, "_exit"), (os, "execv"), (os, "execve"), (signal, "raise_signal"))


def deliver_rest() -> None:
    """Deliver what any run still has, replaced ones included, all within the longest `exit_timeout`.

    Calls in later exit handlers are still recorded, and delivered in the time that then remains.
    """
    end_open_streams()
    runs = registry.running
    if not runs:
        return
    timeout = max(run.exit_timeout for run in runs)
    deadline = time.monotonic() + timeout
    delivery_deadline = deadline - min(_LOG_TIMEOUT_S, timeout / 10)
    for run in runs:
        run.broadcaster.hurry()
    for run in runs:
        run.broadcaster.end(min(delivery_deadline, time.monotonic() + run.exit_timeout))
    drain(deadline)
    free_handlers()


def _at_exit() -> None:
    deliver_rest()
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        # A program that was interrupted is to end by SIGINT, as its shell expects. CPython forgets the interrupt when code is
        # compiled from text before the end, as for each named tuple or dataclass that our threads import (`run_eval_code_obj`
        # in Python/pythonrun.c). Code that ends by an interrupt restores it.
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102


def _deliver_before_leaving() -> None:
    """Deliver, if anything waits, before the process ends without running exit handlers."""
    # A thread of ours would wait for itself.
    if is_own_thread() or not (open_streams or any(run.has_records for run in registry.running)):
        return
    with _DELIVERING:
        deliver_rest()


unheard_signals: Final = UnheardSignals()


# -- SIGTERM ------------------------------------------------------------------------------------------------------------


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    """Deliver, then end the process by the signal. A second SIGTERM meanwhile ends it at once.

    As every handler written in Python, this waits for a long call of C code in the main thread to return.
    """
    # A handler that the program has set since calls the previous one, ours: the program goes on to end in its own way.
    if signal.getsignal(number) is not _on_sigterm:
        return
    if unheard_signals.is_heard and unheard_signals.is_repeated:
        # Both were heard after all.
        unheard_signals.is_repeated = False
        return
    is_second, unheard_signals.is_heard = unheard_signals.is_heard, True
    # Where the signal may be repeated, that must not end the process.
    if is_second or not unheard_signals.is_watched:
        signal.signal(number, signal.SIG_DFL)
    try:
        if not is_second:
            _deliver_before_leaving()
    finally:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _watch_sigterm() -> None:
    """Handle SIGTERM where nobody does. A program that sets a handler, or `SIG_DFL` again, has the signal back for good."""
    if threading.current_thread() is not threading.main_thread() or os.getpid() == _INIT_PID:
        return
    # A subinterpreter may set no handler.
    with suppress(ValueError):
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_sigterm)


# -- functions that leave -----------------------------------------------------------------------------------------------


def _leaving(original: Callable[..., object]) -> Callable[..., object]:
    """Return the replacement of a function that ends the process, or its program: it delivers first."""

    @functools.wraps(original)
    def leave(*args: object, **kwargs: object) -> object:
        try:
            # Of the signals that a program raises against itself, one that ends it.
            is_sigterm = args[:1] == (signal.SIGTERM,) and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            if original.__name__ != "raise_signal" or is_sigterm:
                _deliver_before_leaving()
        finally:
            result = original(*args, **kwargs)
        return result

    return leave


class _Replacements:
    """The functions that end a process, replaced by ours."""

    def __init__(self) -> None:
        self._originals: dict[tuple[ModuleType, str], tuple[Callable[..., object], Callable[..., object]]] = {}

    def apply(self) -> None:
        for module, name in _REPLACED_FUNCTIONS:
            original = getattr(module, name, None)
            if original is not None and (module, name) not in self._originals:
                replacement = _leaving(original)
                self._originals[module, name] = (original, replacement)
                setattr(module, name, replacement)

    def remove(self) -> None:
        """Put the very same functions back, where nobody else has replaced ours meanwhile."""
        for (module, name), (original, replacement) in tuple(self._originals.items()):
            if getattr(module, name) is replacement:
                setattr(module, name, original)
                del self._originals[module, name]


_replacements: Final = _Replacements()


# -- beginning and ending to watch --------------------------------------------------------------------------------------


def watch() -> None:
    """Have what is recorded from now on delivered at the end of this process and of its children."""
    _replacements.apply()
    _watch_sigterm()
    _watch_multiprocessing()


def unwatch() -> None:
    """Put everything back once nobody records any more."""
    if registry.is_needed:
        return
    _replacements.remove()
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _watch_in_child() -> None:
    """In a child process: its main thread may be another one, and multiprocessing does not run its parent's `atexit`."""
    unheard_signals.begin_anew()
    if registry.running:
        _watch_sigterm()
    _watch_multiprocessing(in_child=True)


def _watch_multiprocessing(*, in_child: bool = False) -> None:
    """Deliver at the end of multiprocessing's children.

    Args:
        in_child: this is a child that has just been forked.
    """
    # They leave by `os._exit`, without what their parents have registered with `atexit`. What is registered with
    # `register_after_fork` runs only in a fork that turns out to be a child of multiprocessing.
    util = sys.modules.get("multiprocessing.util")
    # While another thread imports it, it has not all of its names.
    if util is None or not hasattr(util, "Finalize"):
        return

    def at_end(_: object) -> None:
        util.Finalize(None, _at_exit, exitpriority=0)
        if signal.getsignal(signal.SIGTERM) is _on_sigterm:
            unheard_signals.watch(signal.SIGTERM, lambda: signal.getsignal(signal.SIGTERM) is _on_sigterm)

    util.register_after_fork(registry, at_end)
    if not in_child and sys.modules["multiprocessing.process"].parent_process() is not None:
        at_end(None)


atexit.register(_at_exit)
begin_anew_in_child(_watch_in_child)
