"""A signal handler may raise between any two steps of ours: that exception is the host's, and nothing of ours stays behind."""

from __future__ import annotations

import contextvars
import ctypes
import gc
import itertools
import signal
import sys
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from llm_otel_broadcast import trace_context, traced, traced_generation
from llm_otel_broadcast.host import guard
from tests.support.client_calls import MESSAGES

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals"),
    # where the client is interrupted, its sockets are closed by garbage collection, with us and without us
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PACKAGE = "llm_otel_broadcast"
UNGUARDED = "__exit__, call"
"""As a context's `__exit__` begins, before any statement of it can guard it: so it is with every context manager in Python."""


class SoftTimeLimitError(Exception):
    """As celery's: an `Exception`, so that a program can catch it."""


class Interruption:
    """Sends a signal at the given step of our code: where CPython looks for signals, after a call of C code or as a function begins."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.at = ""

    def __call__(self, frame, event, arg):
        module = frame.f_globals.get("__name__", "")
        # what a finalizer raises never reaches anybody
        if event not in ("call", "c_return") or module.partition(".")[0] != PACKAGE or _is_finalizing(frame):
            return
        if module.startswith((f"{PACKAGE}.stand_in", f"{PACKAGE}.receiver")):
            return
        # nor what is raised while `any` and its like close the generator that they leave
        if frame.f_code.co_name == "<genexpr>" and event == "call":
            return
        self.left -= 1
        if self.left < 0:
            sys.setprofile(None)
            self.at = f"{module} line {frame.f_lineno}, {frame.f_code.co_name}, {event}"
            signal.raise_signal(signal.SIGUSR1)


def _is_finalizing(frame) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


@pytest.fixture
def limited(monkeypatch):
    """Have SIGUSR1 raise as a soft time limit does; our own errors are stopped, as they are in production."""

    def handler(number, frame):
        raise SoftTimeLimitError

    monkeypatch.setattr(guard, "raise_again", False)
    before = signal.signal(signal.SIGUSR1, handler)
    # The client's streams that were interrupted are closed by garbage collection, with us and without us. What a signal handler
    # raises in a finalizer reaches nobody, and httpcore waits for a lock of its own for ever where one runs inside its pool.
    gc.disable()
    yield
    sys.setprofile(None)
    signal.signal(signal.SIGUSR1, before)
    gc.enable()
    gc.collect()


def chat(client, model="gpt-4o"):
    client.chat.completions.create(model=model, messages=MESSAGES)


def streamed(client):
    for _ in client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True):
        pass


def decorated(client):
    traced_generation(span_name="step")(chat)(client)


def as_a_tool(client):
    traced(kind="tool")(chat)(client)


def in_a_context(client):
    with trace_context(trace_name="job"):
        chat(client)


@pytest.mark.parametrize(
    ("work", "app", "stride"),
    # each step of the plain call; of the others, which share most of them, some
    [
        (chat, False, 1),
        (chat, True, 5),
        (streamed, False, 5),
        (decorated, False, 5),
        (as_a_tool, False, 9),
        (in_a_context, False, 5),
    ],
)
def test_a_time_limit_reaches_the_host_at_any_step_and_leaves_nothing_behind(
    work, app, stride, client, instrumented, limited, receiver
):
    """Celery's soft time limit was swallowed, and after it no call of the thread was recorded any more."""
    handle = instrumented(tracer_provider=TracerProvider() if app else None)
    faults = []
    next_calls = {}

    def interrupted(steps):
        """Return where the work was interrupted, None when it has fewer steps; note what is wrong afterwards."""
        interruption = Interruption(steps)
        is_raised = False
        sys.setprofile(interruption)
        try:
            work(client)
        except SoftTimeLimitError:
            is_raised = True
        finally:
            sys.setprofile(None)
        if interruption.at and not is_raised:
            faults.append(f"swallowed: {interruption.at}")
        if trace.get_current_span().get_span_context().is_valid and not interruption.at.endswith(UNGUARDED):
            faults.append(f"a dead span is current: {interruption.at}")
        next_calls[f"chat next-{steps}"] = interruption.at
        chat(client, f"next-{steps}")
        return interruption.at

    # in a context of its own each, so that what one step leaves behind is not taken for the next one's
    offsets = itertools.count(step=stride)
    count = next(steps for steps in offsets if not contextvars.copy_context().run(interrupted, steps))
    assert count > 100
    assert faults == []
    assert handle.status().internal_errors == {}
    assert handle.flush(10.0)
    books = handle.status().destinations[0]
    assert books.delivered == books.produced
    spans = receiver.store.spans()
    assert len({span.span_id for span in spans}) == len(spans)
    arrived = {span.name for span in spans}
    assert [at for name, at in next_calls.items() if name not in arrived] == []


def test_what_another_thread_raises_in_ours_reaches_the_host(monkeypatch):
    """Timers of stopit and rq raise in a thread by its number; no frame tells of it."""
    monkeypatch.setattr(guard, "raise_again", False)
    # a name of ours makes it code of ours
    namespace = {"__name__": f"{PACKAGE}.clients.endless", "begun": threading.Event()}
    exec("def endless():\n    begun.set()\n    while True: pass", namespace)
    main = ctypes.c_ulong(threading.get_ident())

    def limit():
        namespace["begun"].wait()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(main, ctypes.py_object(SoftTimeLimitError))

    threading.Thread(target=limit, daemon=True).start()
    with pytest.raises(SoftTimeLimitError), guard.Guard("reading the response"):
        namespace["endless"]()
    assert not guard.errors


@pytest.mark.parametrize("error", [ValueError, LookupError, SoftTimeLimitError])
def test_an_error_that_no_signal_handler_raised_stays_here(error, monkeypatch):
    monkeypatch.setattr(guard, "raise_again", False)

    class Odd:
        def __str__(self):
            raise error

    assert guard.or_else(lambda: str(Odd()), "odd") == "odd"
    with guard.Guard("reading the response"):
        str(Odd())
    assert guard.errors == {"reading the response": 1}
