"""The forks of this process: the only hook that we register with Python, and the steps of all process-wide state around a fork.

A child has the memory of its parent, but only the thread that forked: locks may be held, queues filled and books kept by
threads that are not there. Whatever keeps such state for the whole process registers here how it begins anew.
"""

from __future__ import annotations

# OpenTelemetry's SDK imports this late, and it registers a lock with forks. Were it imported by a thread of ours while a fork
# waits for that thread, Python would release the lock after the fork without having taken it before, and say so on stderr.
import concurrent.futures.thread  # noqa: F401
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Final, TypeAlias

from llm_otel_broadcast.host.weak_calls import weakly

Step: TypeAlias = Callable[[], object]

_before_fork: Final[list[Step]] = []
_in_parent: Final[list[Step]] = []
_in_child: Final[list[Step]] = []


def around_fork(*, before_fork: Step, in_parent: Step, in_child: Step) -> None:
    """Register steps before and after a fork, as `os.register_at_fork` does.

    Args:
        before_fork: runs in the thread that forks; the step that was registered last runs first.
        in_parent: undoes `before_fork` in the parent.
        in_child: undoes `before_fork` in the child.
    """
    _before_fork.append(before_fork)
    _in_parent.append(in_parent)
    _in_child.append(in_child)


def begin_anew_in_child(step: Step) -> None:
    """Register a step that resets process-wide state in a child.

    Steps run in the order in which they were registered, which is that of the imports: a lock is free before its users run.
    """
    _in_child.append(step)


def _run(steps: Iterable[Step]) -> None:
    """Run the steps, the last one first."""
    # With separate hooks Python would run the others after one that fails, and report its error: so does the stack.
    with ExitStack() as stack:
        for step in steps:
            stack.callback(step)


def _run_before_fork() -> None:
    _run(_before_fork)


def _run_in_parent() -> None:
    _run(reversed(_in_parent))


def _run_in_child() -> None:
    _run(reversed(_in_child))


# Windows has no forks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=weakly(_run_before_fork),
        after_in_parent=weakly(_run_in_parent),
        after_in_child=weakly(_run_in_child),
    )
