"""Which kind of thread `threading.Thread` starts now, the system's or a greenlet of gevent or eventlet, and what it may wait in.

A program may be patched by gevent or eventlet at any time: before it imports us, after `instrument()`, in a worker that was
forked (`gunicorn --preload -k gevent`). From then on a new thread is a greenlet, and all greenlets of a thread stand still
while one of them waits in a lock or queue of the system's. So a thread of ours and the queue it waits in must be of one kind:
they are made together, and made anew once the kind has changed.

We follow the program instead of keeping to the system's threads and locks, which gevent would still give us: waiting for
these in `flush()` would stop every greenlet of the program, a receiver in this very process among them, and sockets in
our threads would be gevent's or eventlet's all the same.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import BuiltinFunctionType
from typing import Generic, TypeAlias, TypeVar, cast

T = TypeVar("T")


def flavor() -> object:
    """Return the function that starts threads now: by its identity one kind of thread is told from another."""
    return _thread.start_new_thread


def is_native() -> bool:
    """Return whether threads are the system's now."""
    return isinstance(_thread.start_new_thread, BuiltinFunctionType)


def rest() -> None:
    """Block for ever a thread of the system's whose program has been patched since it was started."""
    if is_native():
        return
    # At the thread's end `threading` would look for it under the number of a greenlet, and print a KeyError.
    never: SimpleQueue[None] = SimpleQueue()
    never.get()


class _GreenQueue(Generic[T]):
    """A queue for one reader among greenlets.

    `put` is safe in a finalizer, and from a thread of gevent's pool, which gevent's own queue does not promise.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._wake = threading.Lock()
        self._wake.acquire()

    def put(self, item: T) -> None:
        self._items.append(item)
        if self._wake.locked():
            try:
                self._wake.release()
            except RuntimeError:
                # Another thread has released it at this moment.
                return

    def get(self, *, timeout: float | None = None) -> T:
        """Wait for an item.

        Raises:
            Empty: none came within `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return self._items.popleft()
            except IndexError:
                remaining_s = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._wake.acquire(timeout=remaining_s) and not self._items:
                raise Empty

    def empty(self) -> bool:
        return not self._items


class Exclusion:
    """A lock whose kind follows that of the threads. A greenlet may switch to another one while it holds the lock."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a child process: a thread that is not there may have held the lock."""
        self._lock_of: tuple[object, threading.Lock] = (flavor(), threading.Lock())

    @contextmanager
    def only_here(self) -> Iterator[None]:
        """Hold the lock, after waiting for it."""
        if self._lock_of[0] is not flavor():
            self.begin_anew()
        with self._lock_of[1]:
            yield

    @contextmanager
    def if_free(self) -> Iterator[bool]:
        """Hold the lock if it is free; yield whether it is held."""
        if self._lock_of[0] is not flavor():
            self.begin_anew()
        lock = self._lock_of[1]
        is_held = lock.acquire(blocking=False)
        try:
            yield is_held
        finally:
            if is_held:
                lock.release()


# One type for both classes: they share the methods that we call.
Mailbox: TypeAlias = SimpleQueue


def mailbox() -> Mailbox[T]:
    """Return a queue for one reader, in which a thread that is started now may wait."""
    # The one written in C is reentrant, so `put` may run in a finalizer; Python's fallback and gevent's own are not.
    return SimpleQueue() if is_native() and SimpleQueue.__module__ == "_queue" else cast("Mailbox[T]", _GreenQueue())


def wait_for_company(bell: Mailbox[T], rung: list[T], delay_s: float) -> None:
    """Wait up to `delay_s` seconds for one more item: what comes shortly after the first is sent together with it."""
    with suppress(Empty):
        rung.append(bell.get(timeout=delay_s))
