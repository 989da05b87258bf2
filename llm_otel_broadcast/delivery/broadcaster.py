"""Hands each finished record to every lane; starts, flushes and stops them together."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from llm_otel_broadcast.delivery.lane import Lane, LaneStatus
from llm_otel_broadcast.generation import Generation


class Broadcaster:
    """All lanes of one `instrument()`. Threads start with the first record, never before (pains P12).

    Args:
        lanes: the destinations'.
        metrics: takes those records that the app's metrics want; it is no destination and has no part in `status()`.
    """

    def __init__(self, lanes: Sequence[Lane], metrics: Lane | None = None) -> None:
        self.lanes = tuple(lanes)
        self._metrics = metrics
        self._all = self.lanes if metrics is None else (*self.lanes, metrics)
        self._started = self._measuring = False
        self._starting = threading.Lock()
        self._stopped = False

    def put(self, record: Generation) -> None:
        """Hand a finished record over. Takes microseconds, waits for nobody. After `stop` it is counted as dropped."""
        if not self._started and not self._stopped:
            self._start()
        for lane in self.lanes:
            lane.put(record)
        if record.is_measured and self._metrics is not None:
            if not self._measuring and not self._stopped:
                self._start_metrics(self._metrics)
            self._metrics.put(record)

    def _start(self) -> None:
        with self._starting:
            if not self._started and not self._stopped:
                for lane in self.lanes:
                    lane.start()
                self._started = True

    def _start_metrics(self, lane: Lane) -> None:
        with self._starting:
            if not self._measuring and not self._stopped:
                lane.start()
                self._measuring = True

    def flush(self, timeout: float) -> bool:
        """Send everything now; wait at most `timeout` seconds for all lanes side by side.

        Returns:
            True when nothing is left and nothing was lost meanwhile.
        """
        deadline = time.monotonic() + timeout
        before = self._lost()
        self.hurry()
        done = [lane.wait_idle(deadline) for lane in self._all]
        return all(done) and self._lost() == before

    def hurry(self) -> None:
        """Have all lanes send what they have now, without waiting for it."""
        for lane in self._all:
            lane.hurry()

    def _lost(self) -> int:
        return sum(sum(lane.status().dropped.values()) for lane in self.lanes)

    def stop(self, timeout: float) -> None:
        """Flush for at most `timeout` seconds, then end the threads; what is left is counted as dropped."""
        if self._stopped:
            return
        self._stopped = True
        deadline = time.monotonic() + timeout
        self.hurry()
        for lane in self._all:
            lane.stop(deadline)

    def after_fork(self) -> None:
        """In a child process: begin anew; what was queued belongs to the parent."""
        self._starting = threading.Lock()
        self._started = self._measuring = False
        for lane in self._all:
            lane.after_fork()

    def status(self) -> tuple[LaneStatus, ...]:
        return tuple(lane.status() for lane in self.lanes)
