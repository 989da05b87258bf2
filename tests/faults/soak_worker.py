"""One process of a soak: it calls in its own way for so long, and then ends in its own way. Started by `soak.py`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import openai

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from tests.faults.soak_ledger import Ledger

EXIT_TIMEOUT_S: Final = 30.0
"""Much, as the machine may be busy: what is recorded is to arrive however a process ends."""
_QUEUE_BYTES: Final = 4 * 1024 * 1024
_CALLERS: Final = 3
_MAX_PAUSE_S: Final = 0.15
_SAMPLE_INTERVAL_S: Final = 0.5
_CANCELLED_SHARE: Final = 0.1
_MAX_CHILDREN: Final = 4
_CALLS_OF_A_CHILD: Final = 2
_POOL_CALLS: Final = 8
_MAX_WORDS: Final = 300

ENDINGS: Final = ("falls off its end", "sys.exit", "SIGTERM", "os._exit", "os.execv", "shutdown")


@dataclass(frozen=True)
class Plan:
    """What one life is to do.

    Attributes:
        life: its number.
        kind: how it calls; see `KINDS`.
        ending: one of `ENDINGS`.
        seconds: how long it calls.
        seed: of its choices.
        ledger: the file it writes.
        base_url: of the model.
        destinations: endpoint and timeout (seconds), by name.
        spool: directory for what cannot be delivered; None: there is none.
        durable: True has every body kept before it is posted.
    """

    life: int
    kind: str
    ending: str
    seconds: float
    seed: int
    ledger: str
    base_url: str
    destinations: dict[str, tuple[str, float]]
    spool: str | None = None
    durable: bool = False

    def instrument(self) -> None:
        spooling: dict[str, Any] = {} if self.spool is None else {"spool": self.spool, "durable": self.durable}
        llm_otel_broadcast.instrument(
            destinations=[
                Destination(name=name, endpoint=endpoint, timeout=timeout_s, batch_delay=0.2)
                for name, (endpoint, timeout_s) in self.destinations.items()
            ],
            max_queue_bytes=_QUEUE_BYTES,
            exit_timeout=EXIT_TIMEOUT_S,
            **spooling,
        )


class Caller:
    """Calls the model in one process, each call under an id of its own."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.ledger = Ledger(plan.ledger)
        self._numbers = itertools.count()
        self._chance = random.Random(f"{plan.seed} {os.getpid()}")
        self._given: dict[str, Any] = {"api_key": "x", "base_url": plan.base_url, "max_retries": 0, "timeout": 60}

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(**self._given, http_client=openai.DefaultHttpxClient(verify=False))

    def async_client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(**self._given, http_client=openai.DefaultAsyncHttpxClient(verify=False))

    def request(self) -> dict[str, Any]:
        prompt = "word " * self._chance.randrange(1, _MAX_WORDS)
        call_id = f"{self.plan.life}.{os.getpid()}.{next(self._numbers)}"
        return {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}], "user": call_id}

    def pause_s(self) -> float:
        return self._chance.uniform(0, _MAX_PAUSE_S)

    def call(self, client: openai.OpenAI) -> None:
        request = self.request()
        client.chat.completions.create(**request)
        self.ledger.note_call(request["user"])

    def stream(self, client: openai.OpenAI) -> None:
        """Read a stream to its end, or close it in the middle, or forget it."""
        request = self.request()
        stream = client.chat.completions.create(**request, stream=True)
        if (chance := self._chance.random()) < 1 / 3:
            next(iter(stream))
            stream.close()
        elif chance < 2 / 3:
            for _ in stream:
                pass
        else:
            next(iter(stream))
            del stream
            # It ends when it is collected, or with the process: for one that was shut down before, that is too late.
            if self.plan.ending == "shutdown":
                return
            # Nor could one that is not collected survive a kill.
            if self.plan.durable:
                gc.collect()
        self.ledger.note_call(request["user"])

    async def call_async(self, client: openai.AsyncOpenAI) -> None:
        request = self.request()
        if self._chance.random() < _CANCELLED_SHARE:
            call = asyncio.create_task(client.chat.completions.create(**request))
            await asyncio.sleep(self._chance.uniform(0, 0.01))
            call.cancel()
            await asyncio.wait([call])
            return
        await client.chat.completions.create(**request)
        self.ledger.note_call(request["user"])


def in_threads(work: Callable[[Caller, openai.OpenAI], None]) -> Callable[[Caller, float], None]:
    """Return a way of calling: several threads that share a client."""

    def run(caller: Caller, deadline: float) -> None:
        client = caller.client()

        def call_until_deadline() -> None:
            while time.monotonic() < deadline:
                work(caller, client)
                time.sleep(caller.pause_s())

        threads = [threading.Thread(target=call_until_deadline) for _ in range(_CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def in_tasks(caller: Caller, deadline: float) -> None:
    async def call_until_deadline(client: openai.AsyncOpenAI) -> None:
        while time.monotonic() < deadline:
            await caller.call_async(client)
            await asyncio.sleep(caller.pause_s())

    async def main() -> None:
        async with caller.async_client() as client:
            await asyncio.gather(*(call_until_deadline(client) for _ in range(_CALLERS)))

    asyncio.run(main())


def in_forks(caller: Caller, deadline: float) -> None:
    """Fork children that call and leave, while a thread of the parent calls as well."""
    busy = threading.Thread(target=in_threads(Caller.call), args=(caller, deadline))
    busy.start()
    children: set[int] = set()
    for leaving in itertools.cycle((os._exit, sys.exit, lambda _: os.kill(os.getpid(), signal.SIGTERM))):
        if time.monotonic() > deadline:
            break
        child = os.fork()
        if not child:
            caller = Caller(caller.plan)
            client = caller.client()
            for _ in range(_CALLS_OF_A_CHILD):
                caller.call(client)
            leaving(0)
            # SIGTERM is handled between two instructions.
            time.sleep(EXIT_TIMEOUT_S * 2)
        children.add(child)
        while len(children) >= _MAX_CHILDREN:
            children -= _ended(children)
            time.sleep(0.01)
    busy.join()
    while children:
        children -= _ended(children)
        time.sleep(0.01)


def _ended(children: set[int]) -> set[int]:
    return {child for child in children if os.waitpid(child, os.WNOHANG)[0]}


_in_pool: Final[list[Caller]] = []
"""The caller of a pool's process."""


def begin_in_pool(plan: Plan, method: str) -> None:
    """Begin a process of a pool: a forked one inherits the settings, any other makes its own."""
    if method != "fork":
        plan.instrument()
    _in_pool.append(Caller(plan))


def call_in_pool(_: int) -> None:
    caller = _in_pool[-1]
    with caller.client() as client:
        caller.call(client)


def in_pools(caller: Caller, deadline: float) -> None:
    """Use pools of multiprocessing in a `with` block, which ends their processes by SIGTERM."""
    for method in itertools.cycle(("fork", "spawn", "forkserver")):
        if time.monotonic() > deadline:
            return
        context = multiprocessing.get_context(method)
        with context.Pool(2, begin_in_pool, (caller.plan, method)) as pool:
            pool.map(call_in_pool, range(_POOL_CALLS))


def until_spool_is_empty(caller: Caller, deadline: float) -> None:
    """Call once, and wait until nothing is left in the spool."""
    with caller.client() as client:
        caller.call(client)
    while time.monotonic() < deadline and spooled_bodies(caller.plan.spool):
        time.sleep(_SAMPLE_INTERVAL_S)


def spooled_bodies(directory: str | None) -> int:
    """Return how many requests lie in a spool's files."""
    count = 0
    for path in Path(directory or os.devnull).glob("bodies-*.sqlite3"):
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            count += database.execute("SELECT count(*) FROM bodies").fetchone()[0]
    return count


KINDS: Final[dict[str, Callable[[Caller, float], None]]] = {
    "threads": in_threads(Caller.call),
    "streams": in_threads(Caller.stream),
    "asyncio": in_tasks,
    "forks": in_forks,
    "multiprocessing": in_pools,
}
LATE_KIND: Final = "the last"
"""Delivers what all others have left in the spool."""


def sampling(ledger: Ledger, ends: threading.Event) -> Iterator[None]:
    while not ends.wait(_SAMPLE_INTERVAL_S):
        ledger.note_sample()
        yield


def end(plan: Plan, ledger: Ledger) -> None:
    """End the process as planned, if not by returning."""
    ledger.write("leaving", time.time())
    if plan.ending == "shutdown":
        llm_otel_broadcast.shutdown()
        ledger.note_sample("final")
    elif plan.ending == "sys.exit":
        sys.exit(0)
    elif plan.ending == "SIGTERM":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(EXIT_TIMEOUT_S * 2)
    elif plan.ending == "os._exit":
        os._exit(0)
    elif plan.ending == "os.execv":
        os.execv(sys.executable, [sys.executable, "-c", "pass"])


def main() -> None:
    plan = Plan(**json.loads(sys.argv[1]))
    caller = Caller(plan)
    # The client imports at its first call: a child that is forked meanwhile waits for ever, with us and without us.
    with caller.client() as client:
        list(client.chat.completions.create(model="gpt-4o", messages=[], stream=True))
        client.chat.completions.create(model="gpt-4o", messages=[])
    plan.instrument()
    ends = threading.Event()
    samples = sampling(caller.ledger, ends)
    sampler = threading.Thread(target=lambda: list(samples), daemon=True)
    sampler.start()
    run = until_spool_is_empty if plan.kind == LATE_KIND else KINDS[plan.kind]
    run(caller, time.monotonic() + plan.seconds)
    ends.set()
    sampler.join()
    end(plan, caller.ledger)


if __name__ == "__main__":
    main()
