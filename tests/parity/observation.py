"""Everything that a host can see of a run: results, errors, tracebacks, warnings, logs, context, and what went over the wire."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import openai
from opentelemetry import context

from llm_otel_broadcast.stand_in.answers import Answer
from llm_otel_broadcast.stand_in.server import SeenRequest
from tests.parity.memory import http_client
from tests.support.host_usage import Note, client_of, run, settled
from tests.support.stand_in.server import StandIn

LOGGERS = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "asyncio", "opentelemetry", "llm_otel_broadcast")
TURNS = 20
_VOLATILE_HEADERS = {"idempotency-key", "x-stainless-read-timeout"}
_TESTS = __file__.rpartition("/tests/")[0] + "/tests/"
_MASKS = (
    (re.compile(r"0x[0-9a-f]+"), "0x"),
    (re.compile(r"stainless-python-retry-[0-9a-f-]+"), "IDEMPOTENCY"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT"), "DATE"),
    (re.compile(r"(?<=cancel scope )[0-9a-f]+"), "SCOPE"),
    (re.compile(r"boundary=\w+"), "BOUNDARY"),
    (re.compile(r"'idempotency_key': '[^']*'"), "IDEMPOTENCY"),
)


@dataclass
class Seen:
    """What one run showed. Two are equal when a host could not tell them apart."""

    notes: list[Any] = field(default_factory=list)
    error: Any = None
    warnings: list[Any] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    connections: int = 0
    unraisable: list[Any] = field(default_factory=list)
    contexts: list[Any] = field(default_factory=list)
    tasks: int = 0


def observe(
    stand_in: StandIn,
    kind: str,
    work: Callable[[Any, Note], Awaitable[None]],
    answers: tuple[Answer, ...] = (),
    *,
    memory: Any = None,
    **options: Any,
) -> Seen:
    """Run a host's work with a fresh client and return what it showed.

    Args:
        stand_in: the API.
        kind: `sync` or `async`.
        work: gets the client, and a function to note what it sees.
        answers: what the API answers, in order.
        memory: what a transport answers instead, from memory (see `memory`).
        options: for the client.
    """
    seen = Seen()
    requests, connections = len(stand_in.requests), stand_in.connections
    stand_in.script(*answers)
    if memory is not None:
        options["http_client"] = http_client(kind, memory)
    gc.collect(0)
    gc.disable()  # all that the run makes stays young, so that a quick collection finds it
    with ExitStack() as stack:
        stack.enter_context(_noting_warnings(seen))
        stack.enter_context(_noting_logs(seen))
        stack.enter_context(_noting_unraisable(seen))
        run(kind, _host(stand_in, kind, work, seen, options))
        gc.collect(0)
    gc.enable()
    if kind == "async":  # what is closed later is closed in tasks, in no certain order
        seen.logs.sort(key=repr)
    seen.requests = [_told(request) for request in stand_in.requests[requests:]]
    seen.connections = stand_in.connections - connections
    return seen


async def _host(stand_in: StandIn, kind: str, work: Any, seen: Seen, options: dict[str, Any]) -> None:
    client = client_of(kind, stand_in.base_url, **options)
    before = contextvars.copy_context()
    current = context.get_current()

    def note(*facts: Any) -> None:
        seen.notes.append(facts)
        seen.contexts.append((context.get_current() == current, changes(before)))

    try:
        await work(client, note)
    except BaseException as error:  # whatever it is, it is compared
        seen.error = described(error)
        note("after the error")
    note("end")
    for _ in range(TURNS if kind == "async" else 0):  # let the tasks run that close what is left
        await asyncio.sleep(0)
    stand_in.forget_script()
    if "http_client" not in options:
        # the connection that is left is used again, or a new one is made: the server counts
        with suppress(openai.NotFoundError):
            await settled(client.get("/no/generation", cast_to=object))
    await settled(client.close())
    seen.tasks = len(asyncio.all_tasks()) if kind == "async" else 0


def changes(before: contextvars.Context) -> list[str]:
    """Return the context variables that have changed, by name."""
    now = contextvars.copy_context()
    everything = {*before, *now}
    missing = object()
    return sorted(var.name for var in everything if before.get(var, missing) is not now.get(var, missing))


def described(error: BaseException | None, depth: int = 0) -> Any:
    """Describe an error with its traceback, and those behind it."""
    if error is None or depth > 8:
        return None
    facts = {name: masked(repr(value)) for name, value in vars(error).items()}
    return {
        "type": type(error),
        "text": masked(str(error)),
        "args": masked(repr(error.args)),
        "members": facts,
        "frames": frames(error.__traceback__),
        "cause": described(error.__cause__, depth + 1),
        "context": described(error.__context__, depth + 1),
        "suppressed": error.__suppress_context__,
    }


def frames(trace: TracebackType | None) -> list[Any]:
    """Return file, function and line of each frame; in these tests the line says only from which of two runs it is."""
    return [
        (frame.filename, frame.name, None if frame.filename.startswith(_TESTS) else frame.lineno)
        for frame in traceback.extract_tb(trace)
    ]


def masked(text: str) -> str:
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text


def _told(request: SeenRequest) -> Any:
    headers = [(name, value) for name, value in request.headers.items() if name not in _VOLATILE_HEADERS]
    boundary = re.search(r"boundary=(\w+)", request.headers.get("content-type", ""))
    body = request.body.replace(boundary[1].encode(), b"BOUNDARY") if boundary else request.body
    return request.path, [(name, masked(value)) for name, value in headers], body


@contextmanager
def _noting_warnings(seen: Seen) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    seen.warnings = [(made.category, masked(str(made.message)), made.filename, made.lineno) for made in caught]


class _Noting(logging.Handler):
    def __init__(self, seen: Seen) -> None:
        super().__init__(logging.DEBUG)
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != threading.get_ident() and record.name.startswith("llm_otel_broadcast"):
            return  # the lanes have a word of their own
        if "closing of asynchronous generator" in record.getMessage():
            return  # of a stream that nobody closes: the loop closes its parts in no certain order, and some complain
        place = record.pathname, record.funcName, record.lineno
        self._seen.logs.append((record.name, record.levelno, masked(record.getMessage()), place))


@contextmanager
def _noting_logs(seen: Seen) -> Any:
    handler = _Noting(seen)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger, level in levels:
            logger.removeHandler(handler)
            logger.setLevel(level)


@contextmanager
def _noting_unraisable(seen: Seen) -> Any:
    before = sys.unraisablehook
    sys.unraisablehook = lambda made: seen.unraisable.append((made.exc_type, masked(str(made.exc_value))))
    try:
        yield
    finally:
        sys.unraisablehook = before
