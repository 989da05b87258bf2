"""Functions and objects of the program's that block: a flush ends at its deadline, and what they held up arrives later."""

from __future__ import annotations

import threading
import time

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

import llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context, traced_generation
from llm_otel_broadcast.receiver import OtlpReceiver
from tests.support.books import balanced
from tests.support.client_calls import chat
from tests.support.deadlines import until

FLUSH_S = 0.3
MARGIN_S = 3.0
"""The machine may be busy; what blocks does so for 30 seconds."""


class Gate:
    """Something of the program's that blocks until it is opened, in each of the places where we call the program."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.exported = []

    def block(self, *_):
        self.reached.set()
        self.opened.wait(30)

    def redact(self, text):
        self.block()
        return text

    def __repr__(self):
        self.block()
        return "gate"

    def export(self, spans):
        self.block()
        self.exported += [span.name for span in spans]
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis=30_000):
        return True

    def shutdown(self):
        pass


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def healthy():
    with OtlpReceiver() as running:
        yield running


def names(receiver):
    return sorted(span.name for span in receiver.store.spans())


def flush_at_the_deadline(handle):
    began = time.monotonic()
    is_flushed = handle.flush(FLUSH_S)
    assert time.monotonic() - began < FLUSH_S + MARGIN_S
    assert all(balanced(books) for books in handle.status().destinations)
    return is_flushed


@pytest.mark.parametrize("place", ["redact", "exporter"])
def test_what_blocks_one_destination_stops_no_flush_and_no_other_destination(gate, receiver, healthy, stand_in, place):
    held = {
        "redact": lambda: Destination(name="held", endpoint=receiver.endpoint, batch_delay=0.0, redact=gate.redact),
        "exporter": lambda: Destination(name="held", exporter=gate, batch_delay=0.0),
    }[place]()
    free = Destination(name="free", endpoint=healthy.endpoint, batch_delay=0.0)
    handle = llm_otel_broadcast.instrument(destinations=[held, free])
    chat("sync", stand_in.base_url)
    assert gate.reached.wait(10)
    assert not flush_at_the_deadline(handle)
    until(lambda: names(healthy) == ["chat gpt-4o-mini"], 10)
    gate.opened.set()
    assert handle.flush(20)
    assert (gate.exported or names(receiver)) == ["chat gpt-4o-mini"]
    assert [(books.delivered, books.dropped) for books in handle.status().destinations] == [(1, {}), (1, {})]


@pytest.mark.parametrize("place", ["on_generation", "metadata"])
def test_what_blocks_all_destinations_stops_no_flush(gate, instrumented, receiver, stand_in, place):
    handle = instrumented(on_generation=gate.block) if place == "on_generation" else instrumented()
    with trace_context(key=gate if place == "metadata" else 1):
        chat("sync", stand_in.base_url)
    assert gate.reached.wait(10)
    assert not flush_at_the_deadline(handle)
    gate.opened.set()
    assert handle.flush(20)
    assert names(receiver) == ["chat gpt-4o-mini"]
    assert handle.status().destinations[0].dropped == {}


def test_a_fields_function_that_blocks_holds_up_its_own_call_alone(gate, instrumented, receiver, stand_in):
    """It runs in the program's own thread, before the function that it is for."""
    handle = instrumented()

    @traced_generation(session_id=lambda question: gate.block())
    def answer(question):
        return question

    thread = threading.Thread(target=answer, args=("why?",), daemon=True)
    thread.start()
    assert gate.reached.wait(10)
    chat("sync", stand_in.base_url)
    assert flush_at_the_deadline(handle) or handle.flush(20)
    assert names(receiver) == ["chat gpt-4o-mini"]
    gate.opened.set()
    thread.join(10)
    assert handle.flush(20)
    until(lambda: len(names(receiver)) == 2)
