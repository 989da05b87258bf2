"""The process and its forks: the only hook that we register with Python, and all that state of ours does before and after it.

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

Step: TypeAlias = Callable[[], object]

_before: Final[list[Step]] = []
_in_parent: Final[list[Step]] = []
_in_child: Final[list[Step]] = []


def around_fork(*, before: Step, in_parent: Step, in_child: Step) -> None:
    """Register what happens before a fork and after it, as `os.register_at_fork` does.

    Args:
        before: runs in the thread that forks; what was registered last comes first.
        in_parent: undoes `before` in the parent.
        in_child: undoes `before` in the child.
    """
    _before.append(before)
    _in_parent.append(in_parent)
    _in_child.append(in_child)


def begin_anew_in_child(step: Step) -> None:
    """Register how state begins anew in a child. Steps run in the order of the imports: a lock is free before its users come."""
    _in_child.append(step)


def _run(steps: Iterable[Step]) -> None:
    """Run the last step first. One that fails does not keep the others from running; Python then reports its error."""
    with ExitStack() as stack:
        for step in steps:
            stack.callback(step)


# Windows has no forks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _run(_before),
        after_in_parent=lambda: _run(reversed(_in_parent)),
        after_in_child=lambda: _run(reversed(_in_child)),
    )
