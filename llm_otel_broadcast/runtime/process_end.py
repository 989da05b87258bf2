"""The end of a process, whichever way it comes: what is recorded is delivered first, within `exit_timeout`.

Four ways pass by what is registered with `atexit`: SIGTERM in a program without a handler for it, a signal that a program
raises against itself (uvicorn does, after it has put the handlers before its own back), `os._exit` (job runners' workers,
children of multiprocessing) and `os.exec*`. Exit codes and signals stay what they are.
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
from types import FrameType
from typing import Any, Final

from llm_otel_broadcast.clients.streams import end_open_streams, open_streams
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.host.logs import drain, free_handlers, is_own_thread
from llm_otel_broadcast.host.process import begin_anew_in_child
from llm_otel_broadcast.runtime.runs import registry

_DELIVERING: Final = Guard("delivering at the end of the process")
_LOG_TIMEOUT_S: Final = 0.2
"""Part of `exit_timeout` that is left for what there is to log of it; a tenth of it where that is less."""
_INIT_PID: Final = 1
"""The first process of a container: the kernel does not deliver signals to it that it has no handler for."""
_REPLACED: Final = ((os, "_exit"), (os, "execv"), (os, "execve"), (signal, "raise_signal"))


def deliver_rest() -> None:
    """Deliver what any run still has, replaced ones included, all within the longest `exit_timeout`.

    Calls in exit handlers that come after this one are still recorded, and delivered in what is left of that time.
    """
    end_open_streams()
    runs = registry.running
    if not runs:
        return
    timeout = max(run.exit_timeout for run in runs)
    deadline = time.monotonic() + timeout
    delivered_by = deadline - min(_LOG_TIMEOUT_S, timeout / 10)
    for run in runs:
        run.broadcaster.hurry()
    for run in runs:
        run.broadcaster.end(min(delivered_by, time.monotonic() + run.exit_timeout))
    drain(deadline)
    free_handlers()


def _at_exit() -> None:
    deliver_rest()
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        _stay_interrupted()


def _stay_interrupted() -> None:
    """Have a program that was interrupted end by that signal, as its shell expects.

    CPython forgets it when code is made from text before the end, as for each named tuple or dataclass that our threads
    import (`run_eval_code_obj` in Python/pythonrun.c); running out of such code interrupted reminds it.
    """
    with suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")  # noqa: S102


def _deliver_before_leaving() -> None:
    """Deliver before the process leaves without exit handlers, if something waits. Not on our threads: one would wait for itself."""
    if is_own_thread() or not (open_streams or any(run.has_records for run in registry.running)):
        return
    with _DELIVERING:
        deliver_rest()


# -- SIGTERM ------------------------------------------------------------------------------------------------------------


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    """Deliver, then end as without us. A second SIGTERM meanwhile ends the process at once.

    Python runs this between two steps of its own: one long call of C code in the main thread holds the end up until it
    returns, as it does for every handler that is written in Python.
    """
    if signal.getsignal(number) is not _on_sigterm:
        # a handler of the program's, set later, calls the one before it: the program goes on to end in its own way
        return
    signal.signal(number, signal.SIG_DFL)
    try:
        _deliver_before_leaving()
    finally:
        os.kill(os.getpid(), number)


def _watch_sigterm() -> None:
    """Take SIGTERM where nobody has; a program that sets a handler, or `SIG_DFL` again, has it back for good."""
    if threading.current_thread() is not threading.main_thread() or os.getpid() == _INIT_PID:
        return
    # not the main interpreter
    with suppress(ValueError):
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_sigterm)


# -- functions that leave -----------------------------------------------------------------------------------------------


def _leaving(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that takes the place of one that ends the process, or this program in it."""

    @functools.wraps(original)
    def leave(*args: Any, **kwargs: Any) -> Any:
        try:
            if original.__name__ != "raise_signal" or _ends_the_process(args):
                _deliver_before_leaving()
        finally:
            result = original(*args, **kwargs)
        return result

    return leave


def _ends_the_process(args: tuple[Any, ...]) -> bool:
    return args[:1] == (signal.SIGTERM,) and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class _Replacements:
    """Our functions in the places of those that leave."""

    def __init__(self) -> None:
        self._originals: dict[tuple[Any, str], tuple[Any, Any]] = {}

    def apply(self) -> None:
        for module, name in _REPLACED:
            original = getattr(module, name, None)
            if original is not None and (module, name) not in self._originals:
                replacement = _leaving(original)
                self._originals[module, name] = (original, replacement)
                setattr(module, name, replacement)

    def remove(self) -> None:
        """Put the very same functions back, where nobody has replaced ours meanwhile."""
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
    """Put everything back when nothing is recorded any more."""
    if registry.is_needed:
        return
    _replacements.remove()
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _watch_in_child() -> None:
    """In a child process, just forked: its main thread may be another, and multiprocessing forgets its parent's `atexit`."""
    if registry.running:
        _watch_sigterm()
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

    util.register_after_fork(registry, at_end)
    if not in_child and sys.modules["multiprocessing.process"].parent_process() is not None:
        at_end(None)


atexit.register(_at_exit)
begin_anew_in_child(_watch_in_child)
