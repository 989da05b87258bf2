"""A soak: `python -m tests.faults.soak` pulls plugs for 20 minutes, and compares what arrived with what was promised.

Processes call one model in many ways and end in many ways, some by SIGKILL. One destination works all the time, the others
have faults that change at random. In the end the books, what arrived, memory and descriptors are judged; the last line is
JSON. The seed that is printed repeats the choices, though not the moments.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from llm_otel_broadcast.receiver.decoding import decode_json
from llm_otel_broadcast.receiver.store import ReceivedSpan
from tests.faults.forgetful import ForgetfulStandIn
from tests.faults.server import FAULTS, HEALTHY, Fault, FaultServer
from tests.faults.soak_findings import Arrivals, Life, faults, figures
from tests.faults.soak_ledger import read_ledger
from tests.faults.soak_worker import ENDINGS, EXIT_TIMEOUT_S, KINDS, Plan
from tests.support.broken_backends import OK, Backend, receive_body

_DEFAULT_SECONDS: Final = 1200.0
_TICK_S: Final = 0.1
_STEADY_TIMEOUT_S: Final = 60.0
_FAULTY_TIMEOUT_S: Final = 3.0
_MAX_FAULT_S: Final = 6.0
_OUTAGE_S: Final = 75.0
"""Longer than a batch is tried."""
_OUTAGE_SHARE: Final = 0.04
_KILLED_SHARE: Final = 0.25
_MIN_LIFE_S: Final = 4.0
_MAX_LIFE_S: Final = 60.0
_END_TIMEOUT_S: Final = 180.0
# Longer than the claim of a killed process on the request that it was at.
_LATE_DELIVERY_S: Final = 150.0
RESIDENTS: Final = ("threads", "streams", "asyncio")
"""Kinds of which one process lives as long as the soak, to see whether it grows."""


class Taken:
    """The spans that a destination has taken, by the ids of their calls."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals = arrivals

    def add(self, spans: Iterable[ReceivedSpan]) -> None:
        """Note spans of a request that is answered well."""
        taken_at = time.time()
        for call_id in _call_ids(spans):
            self.arrivals.acknowledged[call_id].append(taken_at)

    def add_unanswered(self, spans: Iterable[ReceivedSpan]) -> None:
        self.arrivals.unanswered.update(_call_ids(spans))


def _call_ids(spans: Iterable[ReceivedSpan]) -> list[str]:
    return [str(span.attributes["user.id"]) for span in spans if "user.id" in span.attributes]


class Unanswered(Backend):
    """A destination in trouble that takes what it reads."""

    def __init__(self, seen: Backend, taken: Taken) -> None:
        super().__init__(seen.endpoint, stopped=seen.stopped)
        self._taken = taken

    def read(self, connection: socket.socket) -> bool:
        body = receive_body(connection)
        if body is not None:
            self._taken.add_unanswered(decode_json(body))
        return body is not None


class Destination:
    """One destination of the soak; a faulty one changes its conduct now and then."""

    def __init__(self, name: str, *, is_steady: bool = False) -> None:
        self.arrivals = Arrivals(name, is_steady)
        self.taken = Taken(self.arrivals)
        self.server = FaultServer()
        self.server.fault = self._health()
        self._until = 0.0
        self._was_healthy = False

    def change(self, chance: random.Random, remaining_s: float) -> None:
        """Change the conduct if its time is over: faults and health in turn."""
        if self.arrivals.is_steady or time.monotonic() < self._until:
            return
        self._was_healthy = not self._was_healthy
        seconds = chance.uniform(0.5, _MAX_FAULT_S)
        fault = HEALTHY
        if not self._was_healthy:
            fault = chance.choice(FAULTS)
            if remaining_s > 2 * _OUTAGE_S and chance.random() < _OUTAGE_SHARE:
                seconds = _OUTAGE_S
        self._until = time.monotonic() + seconds
        self.become(fault)

    def become(self, fault: Fault) -> None:
        if not fault.listens:
            self.arrivals.resets.append(time.time())
        if fault is HEALTHY:
            self.server.become(self._health())
        elif not fault.takes:
            self.server.become(fault)
        else:

            def conduct(seen: Backend, connection: socket.socket) -> bool | None:
                return fault.conduct(Unanswered(seen, self.taken), connection)

            self.server.become(replace(fault, takes=False, conduct=conduct))
        if not fault.listens:
            self.arrivals.resets.append(time.time())

    def _health(self) -> Fault:
        """Return the conduct of a destination that works, which knows whether its answer is still waited for."""

        def conduct(_: Backend, connection: socket.socket) -> bool:
            body = receive_body(connection)
            if body is None:
                return False
            spans = decode_json(body)
            # A request may have lain in the backlog of a destination that accepted nothing for longer than its sender waited.
            (self.taken.add_unanswered if has_left(connection) else self.taken.add)(spans)
            connection.sendall(OK)
            return True

        return replace(HEALTHY, conduct=conduct, takes=False)


def has_left(connection: socket.socket) -> bool:
    """Return whether the client has closed the connection."""
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.setblocking(True)


class Process:
    """A process that runs."""

    def __init__(self, plan: Plan, kill_after_s: float | None) -> None:
        self.plan = plan
        self._errors = Path(plan.ledger).with_suffix(".stderr")
        self._kill_at = None if kill_after_s is None else time.monotonic() + kill_after_s
        self._killed_at: float | None = None
        with self._errors.open("wb") as errors:
            words = [sys.executable, "-W", "ignore", "-m", "tests.faults.soak_worker", json.dumps(asdict(plan))]
            # A group of its own: a kill takes its children along, as a container's end does.
            self.process = subprocess.Popen(words, stderr=errors, start_new_session=True)

    def ended(self) -> Life | None:
        """Return its life if it is over; kill it if it is time to."""
        code = self.process.poll()
        if code is None and self._kill_at is not None and time.monotonic() > self._kill_at:
            self._kill_at = None
            self.kill()
        if code is None:
            return None
        ledger = read_ledger(Path(self.plan.ledger))
        errors = self._errors.read_text(encoding="utf-8", errors="replace")
        return Life(
            self.plan.life, self.plan.kind, self.plan.ending, code, time.time(), self._killed_at, errors, ledger
        )

    def kill(self) -> None:
        self._killed_at = time.time()
        os.killpg(self.process.pid, signal.SIGKILL)


class Soak:
    """Servers and processes of one soak.

    Args:
        options: of the command line.
        directory: for ledgers.
    """

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self._options = options
        self._directory = directory
        self._chance = random.Random(options.seed)
        self._destinations = (
            Destination("steady", is_steady=True),
            Destination("faulty"),
            Destination("faulty too"),
        )
        self._running: list[Process] = []
        self._lives: list[Life] = []
        self._begun = 0

    def run(self) -> tuple[list[str], dict[str, object]]:
        """Return what is wrong, and the figures."""
        started = time.monotonic()
        deadline = started + self._options.seconds
        with ForgetfulStandIn() as stand_in:
            for destination in self._destinations:
                destination.server.start()
            try:
                for kind in RESIDENTS:
                    self._begin(stand_in.base_url, kind, "shutdown", self._options.seconds, None)
                while (remaining_s := deadline - time.monotonic()) > 0:
                    self._tick(remaining_s)
                    while len(self._running) < self._options.processes and remaining_s > _MIN_LIFE_S:
                        self._begin_any(stand_in.base_url, remaining_s)
                    time.sleep(_TICK_S)
                self._end(stand_in.base_url)
            finally:
                for process in self._running:
                    process.kill()
                for destination in self._destinations:
                    destination.server.stop()
        arrivals = [destination.arrivals for destination in self._destinations]
        wrong = faults(
            self._lives,
            arrivals,
            exit_timeout_s=EXIT_TIMEOUT_S,
            spool=self._options.spool is not None,
            durable=self._options.durable,
        )
        counts = {"seconds": round(time.monotonic() - started), "seed": self._options.seed}
        return wrong, {**counts, **figures(self._lives, arrivals), "faults_found": len(wrong)}

    def _tick(self, remaining_s: float) -> None:
        for destination in self._destinations:
            destination.change(self._chance, remaining_s)
        self._reap()

    def _reap(self) -> None:
        for process in tuple(self._running):
            if (life := process.ended()) is not None:
                self._running.remove(process)
                self._lives.append(life)
                print(f"{life}: {len(life.ledger.calls)} calls, exit code {life.exit_code}", flush=True)

    def _begin_any(self, base_url: str, remaining_s: float) -> None:
        seconds = min(self._chance.uniform(_MIN_LIFE_S, _MAX_LIFE_S), remaining_s)
        is_killed = self._chance.random() < _KILLED_SHARE
        kill_after_s = self._chance.uniform(_MIN_LIFE_S / 2, seconds) if is_killed else None
        self._begin(base_url, self._chance.choice([*KINDS]), self._chance.choice(ENDINGS), seconds, kill_after_s)

    def _begin(self, base_url: str, kind: str, ending: str, seconds: float, kill_after_s: float | None) -> None:
        self._begun += 1
        plan = Plan(
            life=self._begun,
            kind=kind,
            ending=ending,
            seconds=seconds,
            seed=self._chance.randrange(2**31),
            ledger=str(self._directory / f"life {self._begun}.jsonl"),
            base_url=base_url,
            destinations={
                destination.arrivals.name: (
                    destination.server.endpoint,
                    _STEADY_TIMEOUT_S if destination.arrivals.is_steady else _FAULTY_TIMEOUT_S,
                )
                for destination in self._destinations
            },
            spool=self._options.spool,
            durable=self._options.durable,
        )
        self._running.append(Process(plan, kill_after_s))

    def _end(self, base_url: str) -> None:
        """Heal all destinations, and wait for the processes; with a spool, for what they have left there too."""
        for destination in self._destinations:
            destination.become(HEALTHY)
        self._wait(_END_TIMEOUT_S)
        if self._options.spool is not None:
            self._begin(base_url, "threads", "shutdown", _LATE_DELIVERY_S, None)
            self._wait(_LATE_DELIVERY_S + _END_TIMEOUT_S)

    def _wait(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self._running:
            self._reap()
            if time.monotonic() > deadline:
                hanging = ", ".join(f"life {process.plan.life} ({process.plan.kind})" for process in self._running)
                raise TimeoutError(f"does not end: {hanging}")
            time.sleep(_TICK_S)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    seconds = float(os.environ.get("SOAK_SECONDS", _DEFAULT_SECONDS))
    parser.add_argument(
        "--seconds", type=float, default=seconds, help="how long (default: SOAK_SECONDS, else 20 minutes)"
    )
    parser.add_argument("--processes", type=int, default=len(RESIDENTS) + 4, help="how many at a time")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--spool", metavar="DIR", help="keep on disk what cannot be delivered")
    parser.add_argument("--durable", action="store_true", help="with --spool: keep all of it before it is posted")
    options = parser.parse_args(arguments)
    print(f"{options.seconds:g} s, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak ") as directory:
        wrong, counts = Soak(options, Path(directory)).run()
    for fault in wrong:
        print(f"WRONG: {fault}")
    print(f"{len(wrong)} faults found" if wrong else "everything as promised")
    print(json.dumps(counts))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
