"""Forks at the worst moments, many times: `python -m tests.faults.fork_stress --rounds 500`.

A round forks while other threads call, one destination's queue is full and requests to the other are under way; or while the
first record of a process is on its way, so that threads are being started and modules imported. Each child calls, and leaves
in one of several ways. In the end every call has arrived, once, and every child has ended by itself.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import itertools
import json
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import openai

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.receiver.store import TraceStore
from tests.faults.forgetful import ForgetfulStandIn
from tests.support.broken_backends import refusing

_CHILD_TIMEOUT_S: Final = 120.0
"""A child that is at it for longer is deadlocked; the machine may be busy."""
_QUEUE_BYTES: Final = 2 * 1024 * 1024
_MAX_WAITING: Final = 10
"""For one destination all must arrive: who calls waits for it on a machine that is busy, as both have queues of one size."""
_EXIT_TIMEOUT_S: Final = 0.2
_CALLERS: Final = 2
_CALLER_PAUSE_S: Final = 0.005
_LONG_PROMPT: Final = "x" * 20_000
_MAX_YOUNG_AGE_S: Final = 0.3
_FORKING_THREADS: Final = 3
_ROUNDS_PER_START: Final = 25
"""A child that is not forked imports everything anew, which takes a second: one round in so many."""

WAYS: Final = ("fork", "forks from threads", "fork of a young process", "multiprocessing fork")
STARTS: Final = ("spawn", "forkserver")
LEAVING: Final = ("os._exit", "flush, then os._exit", "sys.exit", "SIGTERM")

Targets = tuple[str, str, str]
"""The model's base URL, the endpoint of a destination that works, and that of one that refuses."""


def caller_of(base_url: str) -> Callable[[str, str], object]:
    """Return a function that calls the model, with a client of its own.

    Not in a thread while another one forks: up to Python 3.11 `functools.cached_property`, which the client is made of, has a
    lock that a child inherits held, with us and without us.
    """
    http = openai.DefaultHttpxClient(verify=False)
    client = openai.OpenAI(api_key="x", base_url=base_url, max_retries=0, http_client=http, timeout=30)
    completions = client.chat.completions

    def call(name: str, prompt: str) -> object:
        return completions.create(model=name, messages=[{"role": "user", "content": prompt}])

    return call


def call(base_url: str, name: str) -> None:
    """Call the model in a process that has no client yet: a connection of its parent's is not for a child."""
    caller_of(base_url)(name, "Hi")


def is_news(record: logging.LogRecord) -> bool:
    """Return whether a line of the log is about anything but the destination that is meant to fail."""
    return "refuses" not in (record.args or ())


def instrument(targets: Targets) -> None:
    _, works, refuses = targets
    logging.getLogger("llm_otel_broadcast").addFilter(is_news)
    llm_otel_broadcast.instrument(
        destinations=[
            Destination(name="works", endpoint=works, batch_delay=0.0, privacy_mode=True),
            Destination(name="refuses", endpoint=refuses, batch_delay=0.0),
        ],
        max_queue_bytes=_QUEUE_BYTES,
        exit_timeout=_EXIT_TIMEOUT_S,
    )


def wait_until_delivered() -> None:
    """Wait for the destination that works; the other one would take its full minute."""
    deadline = time.monotonic() + _CHILD_TIMEOUT_S
    while True:
        books = llm_otel_broadcast.status().destinations[0]
        if books.delivered == books.produced:
            return
        if books.dropped or time.monotonic() > deadline:
            faulthandler.dump_traceback(all_threads=True)
            raise TimeoutError(f"not delivered: {books}")
        time.sleep(0.002)


def call_and_leave(targets: Targets, name: str, leaving: str) -> None:
    """What a child does. It never returns."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    call(targets[0], name)
    if leaving == "flush, then os._exit":
        llm_otel_broadcast.flush(_EXIT_TIMEOUT_S)
    wait_until_delivered()
    if leaving == "SIGTERM":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_CHILD_TIMEOUT_S)
    if leaving == "sys.exit":
        sys.exit(0)
    os._exit(0)


def await_child(child: int, what: str) -> None:
    """Wait for a child's end by itself.

    Raises:
        TimeoutError: it is deadlocked; where it stands is on stderr.
        ChildProcessError: it has failed.
    """
    deadline = time.monotonic() + _CHILD_TIMEOUT_S
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGUSR1)
            time.sleep(1.0)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"deadlock: {what}")
        time.sleep(0.002)
    if (code := os.waitstatus_to_exitcode(ended[1])) not in (0, -signal.SIGTERM):
        raise ChildProcessError(f"exit code {code}: {what}")


def forked(work: Callable[[], object]) -> int:
    """Fork; the child works, and leaves in its own way or by an error."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except SystemExit:
        raise
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(2)


def fork_from_threads(targets: Targets, names: Sequence[str], leaving: str) -> None:
    """Fork in several threads at one moment; a thread cannot end its process by `sys.exit`."""
    failures: list[BaseException] = []
    together = threading.Barrier(len(names))

    def fork_one(name: str) -> None:
        try:
            together.wait()
            await_child(forked(lambda: call_and_leave(targets, name, leaving)), f"{name}, forked in a thread")
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=fork_one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def be_young(targets: Targets, name: str, leaving: str, age_s: float) -> None:
    """Instrument and call for the first time, and fork meanwhile. Runs in a process of its own, and ends it."""
    instrument(targets)
    call_model = caller_of(targets[0])
    failures: list[BaseException] = []

    def first_call() -> None:
        try:
            call_model(f"{name} parent", "Hi")
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=first_call)
    thread.start()
    time.sleep(age_s)
    await_child(
        forked(lambda: call_and_leave(targets, f"{name} child", leaving)), f"{name} at the age of {age_s:.3f} s"
    )
    thread.join()
    if failures:
        raise failures[0]
    wait_until_delivered()
    os._exit(0)


def work_elsewhere(targets: Targets, name: str, *, is_forked: bool) -> None:
    """What a child of multiprocessing does."""
    if not is_forked:
        instrument(targets)
    call(targets[0], name)
    wait_until_delivered()


def start_by_multiprocessing(targets: Targets, name: str, method: str) -> None:
    context = multiprocessing.get_context(method)
    child = context.Process(target=work_elsewhere, args=(targets, name), kwargs={"is_forked": method == "fork"})  # type: ignore[attr-defined]
    child.start()
    child.join(_CHILD_TIMEOUT_S)
    if child.exitcode is None:
        os.kill(child.pid, signal.SIGKILL)
        raise TimeoutError(f"deadlock: {name}, by multiprocessing ({method})")
    if child.exitcode:
        raise ChildProcessError(f"exit code {child.exitcode}: {name}, by multiprocessing ({method})")


@contextmanager
def busy(targets: Targets) -> Iterator[Callable[[], list[str]]]:
    """Have threads call in a loop, so that a queue is full and requests are under way; yields their calls' names so far."""
    names: list[str] = []
    ends = threading.Event()

    def call_in_a_loop(caller: int, call_model: Callable[[str, str], object]) -> None:
        for number in itertools.count():
            if ends.wait(_CALLER_PAUSE_S):
                return
            name = f"caller {caller}.{number}"
            while llm_otel_broadcast.status().destinations[0].queued_records > _MAX_WAITING:
                time.sleep(_CALLER_PAUSE_S)
            call_model(name, _LONG_PROMPT)
            names.append(name)

    threads = [
        threading.Thread(target=call_in_a_loop, args=(caller, caller_of(targets[0]))) for caller in range(_CALLERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield lambda: names
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def run_rounds(targets: Targets, rounds: int, seed: int) -> None:
    """Fork so many times; prints the names of the calls that must arrive, as JSON, one list a line."""
    chance = random.Random(seed)

    def announce(*names: str) -> None:
        print(json.dumps(names), flush=True)

    # A child that is forked while its parent imports waits for ever, and the client imports at its first call.
    call(targets[0], "not recorded")
    # A fork waits five seconds for an import of ours, and then goes on: on a machine so busy that the price list takes longer,
    # its child would inherit that module's lock held, and wait for ever.
    importlib.import_module("genai_prices.data")
    # Before this process is instrumented: a young process must not be one that was instrumented already.
    nursery = forked(lambda: raise_the_young(targets, rounds, chance.randrange(2**31)))
    instrument(targets)
    with busy(targets) as calls:
        for number in range(rounds):
            way = WAYS[number % len(WAYS)]
            leaving, name = LEAVING[number // len(WAYS) % len(LEAVING)], f"round {number}"
            if way == "fork of a young process":
                continue
            if number % _ROUNDS_PER_START == _ROUNDS_PER_START - 1:
                way = STARTS[number // _ROUNDS_PER_START % len(STARTS)]
                start_by_multiprocessing(targets, name, way)
                announce(name)
            elif way == "multiprocessing fork":
                start_by_multiprocessing(targets, name, "fork")
                announce(name)
            elif way == "forks from threads":
                names = [f"{name}.{thread}" for thread in range(_FORKING_THREADS)]
                fork_from_threads(targets, names, "os._exit" if leaving in ("sys.exit", "SIGTERM") else leaving)
                announce(*names)
            else:
                await_child(forked(lambda: call_and_leave(targets, name, leaving)), f"{name}: {way}, {leaving}")  # noqa: B023
                announce(name)
    announce(*calls())
    wait_until_delivered()
    full = llm_otel_broadcast.status().destinations[1].dropped.get("queue_full", 0)
    print(json.dumps({"queue_full": full}), flush=True)
    _, status = os.waitpid(nursery, 0)
    if status:
        raise ChildProcessError("a round with a young process has failed")


def raise_the_young(targets: Targets, rounds: int, seed: int) -> None:
    """Run those rounds that begin with a process which is not instrumented."""
    chance = random.Random(seed)
    for number in range(WAYS.index("fork of a young process"), rounds, len(WAYS)):
        name, leaving = f"round {number}", LEAVING[number // len(WAYS) % len(LEAVING)]
        age_s = chance.uniform(0.0, _MAX_YOUNG_AGE_S)
        await_child(forked(lambda: be_young(targets, name, leaving, age_s)), f"{name} and its first call")  # noqa: B023
        print(json.dumps([f"{name} parent", f"{name} child"]), flush=True)
    os._exit(0)


def stress(rounds: int, seed: int) -> dict[str, int]:
    """Run the rounds in a program of its own; return figures.

    Raises:
        AssertionError: a call is missing or there twice, or a child hung or failed.
    """
    started = time.monotonic()
    with ForgetfulStandIn() as stand_in, OtlpReceiver(store=TraceStore(max_spans=1_000_000)) as receiver:
        targets = (stand_in.base_url, receiver.endpoint, refusing())
        words = ["--targets", json.dumps(targets), "--rounds", str(rounds), "--seed", str(seed)]
        program = [sys.executable, "-W", "ignore", "-m", "tests.faults.fork_stress", *words]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), f"exit code {done.returncode}:\n{done.stderr}"
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        arrived = Counter(span.name.removeprefix("chat ") for span in receiver.store.spans())
    expected = {name for line in lines if isinstance(line, list) for name in line}
    figures = next(line for line in lines if isinstance(line, dict))
    missing, twice = expected - arrived.keys(), {name: count for name, count in arrived.items() if count > 1}
    strangers = arrived.keys() - expected
    assert not missing, f"{len(missing)} calls have not arrived: {sorted(missing)[:10]}"
    assert not twice, f"{len(twice)} calls have arrived more than once: {sorted(twice.items())[:10]}"
    assert not strangers, f"{len(strangers)} calls have arrived that nobody made: {sorted(strangers)[:10]}"
    children = sum(name.startswith("round") for name in expected)
    return {
        "rounds": rounds,
        "children": children,
        "calls": len(expected),
        **figures,
        "seconds": round(time.monotonic() - started),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--targets", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.targets is not None:
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        run_rounds(tuple(options.targets), options.rounds, options.seed)
        return
    print(f"{options.rounds} rounds, seed {options.seed}", flush=True)
    print(json.dumps(stress(options.rounds, options.seed)))


if __name__ == "__main__":
    main()
