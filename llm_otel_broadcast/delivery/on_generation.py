"""Showing each finished generation to the program's own `on_generation` before anything is sent, once, in the background."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from llm_otel_broadcast.delivery.worker_thread import WorkerThread
from llm_otel_broadcast.host.green_threads import Mailbox, flavor, mailbox
from llm_otel_broadcast.host.guard import Callback
from llm_otel_broadcast.host.suppression import untraced
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.usage import Cost, Usage

TIMEOUT_S: Final = 2.0
"""How long a destination waits for what `on_generation` adds; below the default `exit_timeout`."""


class FinishedGeneration:
    """A finished generation as `on_generation` gets it. Everything but `operation` may be None: unknown is absent.

    Attributes:
        attributes: put in here what is to be on its span at every destination: texts, numbers, truth values, lists of them;
            anything else becomes JSON text.
    """

    def __init__(self, record: Generation, cost: Cost | None) -> None:
        self._record = record
        self._cost = cost
        self.attributes: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"<FinishedGeneration {self.name!r} {self.trace_id}/{self.span_id}>"

    @property
    def name(self) -> str:
        """The name of the span."""
        return self._record.name

    @property
    def operation(self) -> str:
        """`chat`, `embeddings`, ...: `gen_ai.operation.name`."""
        return self._record.operation

    @property
    def provider(self) -> str:
        """Whom the call went to: `gen_ai.provider.name`."""
        return self._record.server.provider

    @property
    def model(self) -> str | None:
        """The model that was asked for."""
        return self._record.request_model

    @property
    def response_model(self) -> str | None:
        """The model that answered."""
        return self._record.response_model

    @property
    def response_id(self) -> str | None:
        """The provider's id of the answer."""
        return self._record.response_id

    @property
    def input_tokens(self) -> int | None:
        """Tokens of what was asked."""
        return self._usage.input_tokens

    @property
    def output_tokens(self) -> int | None:
        """Tokens of the answer."""
        return self._usage.output_tokens

    @property
    def total_tokens(self) -> int | None:
        """Both."""
        return self._usage.total_tokens

    @property
    def cost(self) -> float | None:
        """USD, as stated, else estimated."""
        return self._cost.total if self._cost else None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self._record.end_ns - self._record.start_ns) / 1e9

    @property
    def finish_reasons(self) -> Sequence[str]:
        """Why each choice ended."""
        return [choice.finish_reason for choice in self._record.choices if choice.finish_reason]

    @property
    def error(self) -> str | None:
        """The type of the error that it ended in; None: it ended well."""
        return self._record.failure.type if self._record.failure else None

    @property
    def session_id(self) -> str | None:
        """The session that it belongs to."""
        return self._record.fields.session_id

    @property
    def user(self) -> str | None:
        """Whom it is for."""
        return self._record.fields.user

    @property
    def metadata(self) -> Mapping[str, object]:
        """What the caller said in `trace` beyond the keys that have a meaning."""
        return dict(self._record.fields.metadata)

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return f"{self._record.trace_id:032x}"

    @property
    def span_id(self) -> str:
        """16 hex digits."""
        return f"{self._record.span_id:016x}"

    @property
    def _usage(self) -> Usage:
        return self._record.usage or Usage()


class _Announcement:
    """A generation that `on_generation` is to be called with; `has_ended` is set once it has been."""

    __slots__ = ("cost", "has_ended", "record")

    def __init__(self, record: Generation, cost: Cost | None) -> None:
        self.record = record
        self.cost = cost
        self.has_ended = threading.Event()


class Announcer:
    """Calls `on_generation` once for each generation, on a thread of its own: a call that blocks holds no destination up.

    What the function calls itself is not traced: a judge that is a model would be judged in turn, for ever.
    """

    def __init__(self, function: Callable[[FinishedGeneration], object]) -> None:
        self._function = Callback("on_generation", function, "what it added is left out, the span is sent")
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = (os.getpid(), flavor())
        self._lock = threading.Lock()
        self._announcements: Mailbox[_Announcement] = mailbox()
        self._under_way: dict[int, _Announcement] = {}
        self._busy_since: float | None = None
        self._worker = WorkerThread("llm-otel-broadcast on_generation", self._work)

    def announce(self, record: Generation, cost: Cost | None) -> None:
        """Call the function with the record, unless that has been done, and wait for `record.attributes`, which it adds.

        Where it takes longer than `TIMEOUT_S`, nothing is added, and that is logged once and counted.
        """
        if record.attributes is not None:
            return
        if self._process != (os.getpid(), flavor()):
            # A forked child, or gevent has patched since: what waits is sent without what would have been added.
            self._begin_anew()
        # Several destinations come here with the same record: the first begins, the others wait with it.
        with self._lock:
            if record.attributes is not None:
                return
            announcement = self._under_way.get(id(record))
            if announcement is None:
                announcement = self._under_way[id(record)] = _Announcement(record, cost)
                self._announcements.put(announcement)
        self._worker.start()
        # Shorter while an earlier announcement has been blocking for long.
        busy_since = self._busy_since
        timeout_s = TIMEOUT_S if busy_since is None else max(0.0, TIMEOUT_S - (time.monotonic() - busy_since))
        if not announcement.has_ended.wait(timeout_s):
            with self._lock:
                is_late = record.attributes is None
                if is_late:
                    record.attributes = {}
            if is_late:
                self._function.fail(f"it has not returned within {TIMEOUT_S:g} s")

    def _work(self) -> None:
        while True:
            announcement = self._announcements.get()
            added: dict[str, object] = {}
            # Not where it has waited for so long that every destination has gone on without.
            if announcement.record.attributes is None:
                generation = FinishedGeneration(announcement.record, announcement.cost)
                self._busy_since = time.monotonic()
                with untraced():
                    has_returned, _ = self._function(generation)
                self._busy_since = None
                # The program may have put anything in the attributes' place.
                is_usable = has_returned and isinstance(generation.attributes, dict)
                added = dict(generation.attributes) if is_usable else {}
            with self._lock:
                # Not where the destinations have gone on without: a span would differ from one to the next.
                if announcement.record.attributes is None:
                    announcement.record.attributes = added
                self._under_way.pop(id(announcement.record), None)
            announcement.has_ended.set()
