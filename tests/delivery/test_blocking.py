"""Objects and functions of the program's that block: no destination stands still for long, and no fork waits."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import contextmanager

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context
from llm_otel_broadcast.delivery import on_generation, watch
from llm_otel_broadcast.host import blocked_objects
from llm_otel_broadcast.receiver import OtlpReceiver
from tests.support.books import balanced
from tests.support.client_calls import chat
from tests.support.deadlines import until
from tests.support.limited_backend import limited, taken

PLACEHOLDER = "<Stuck: not read, it blocks>"


class Stuck:
    """Blocks whoever wants its text, until it is let go."""

    def __init__(self):
        self.asked = threading.Event()
        self.free = threading.Event()

    def __repr__(self):
        self.asked.set()
        self.free.wait(30)
        return "its text"


@pytest.fixture
def stuck():
    made = Stuck()
    yield made
    made.free.set()


@pytest.fixture
def other():
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def both(receiver, other):
    """Two destinations; what is wanted of them is the same."""

    def instrument(**options):
        destinations = [
            Destination(name=name, endpoint=to.endpoint, batch_delay=0.0)
            for name, to in (("one", receiver), ("two", other))
        ]
        return llm_otel_broadcast.instrument(destinations=destinations, **options)

    return instrument


@contextmanager
def a_blocked_lane(stand_in, stuck):
    with trace_context(trace_name="Blocked", key=stuck):
        chat("sync", stand_in.base_url, model="blocked")
    assert stuck.asked.wait(10)
    yield


def names(receiver):
    return [span.name for span in receiver.store.spans()]


def books_are_right():
    return all(balanced(destination) for destination in llm_otel_broadcast.status().destinations)


def test_an_object_that_blocks_stops_one_destination_and_the_other_sends_everything(
    both, stand_in, receiver, other, stuck
):
    both()
    with a_blocked_lane(stand_in, stuck):
        for number in range(5):
            chat("sync", stand_in.base_url, model=f"free-{number}")
        quick = until(lambda: next((to for to in (receiver, other) if len(names(to)) == 7), None), 20)
        slow = other if quick is receiver else receiver
        assert not names(slow)
        (blocked,) = [span for span in quick.store.spans() if span.name == "chat blocked"]
        assert blocked.attributes["trace.metadata.key"] == PLACEHOLDER
        assert books_are_right()


def test_the_destination_that_was_blocked_goes_on_without_the_object_and_sends_nothing_twice(
    both, stand_in, receiver, other, stuck, monkeypatch
):
    # shorter than the time-out, as it is for users: who waits for another thread to be through is not blocked
    monkeypatch.setattr(blocked_objects, "_WAIT_S", 0.02)
    monkeypatch.setattr(watch, "_TIMEOUT_S", 0.2)
    handle = both()
    with a_blocked_lane(stand_in, stuck):
        time.sleep(0.3)
        chat("sync", stand_in.base_url, model="free")
        assert handle.flush(10)
        stuck.free.set()
        chat("sync", stand_in.base_url, model="last")
        assert handle.flush(10)
    for to in (receiver, other):
        assert sorted(names(to)) == ["Blocked", "chat blocked", "chat free", "chat last"]
    assert books_are_right()
    assert all(destination.delivered == 4 for destination in handle.status().destinations)


def test_redact_that_blocks_costs_the_content_of_its_record_alone_and_that_is_said(
    instrumented, stand_in, receiver, monkeypatch, caplog
):
    monkeypatch.setattr(watch, "_TIMEOUT_S", 0.2)
    asked, free = threading.Event(), threading.Event()

    def redact(text):
        if text == "Hello" and not asked.is_set():
            asked.set()
            free.wait(30)
        return text

    handle = instrumented(redact=redact, name="backend")
    chat("sync", stand_in.base_url, model="blocked", messages=[{"role": "user", "content": "Hello"}])
    assert asked.wait(10)
    time.sleep(0.3)
    chat("sync", stand_in.base_url, model="free", messages=[{"role": "user", "content": "Bye"}])
    assert handle.flush(10)
    free.set()
    blocked, other = sorted(receiver.store.spans(), key=lambda span: span.name)
    assert (blocked.name, other.name) == ("chat blocked", "chat free")
    assert "gen_ai.input.messages" not in blocked.attributes
    assert blocked.attributes["gen_ai.request.model"] == "blocked"
    assert "Bye" in other.attributes["gen_ai.input.messages"]
    (books,) = handle.status().destinations
    assert (books.dropped, books.delivered) == ({}, 2)
    assert handle.status().internal_errors == {'redact of destination "backend"': 1}
    assert "failed (it blocks): the content is left out, the span is sent" in caplog.text


def test_redact_that_blocks_while_a_record_is_cut_costs_the_content_alone(client, monkeypatch):
    """What a destination finds too large is rendered again, and the function called again."""
    monkeypatch.setattr(watch, "_TIMEOUT_S", 0.2)
    again, free = threading.Event(), threading.Event()
    texts = []

    def redact(text):
        if text in texts and not again.is_set():
            again.set()
            free.wait(30)
        texts.append(text)
        return text

    with limited(100_000, redact=redact) as (running, handle):
        client.chat.completions.create(model="large", messages=[{"role": "user", "content": "x" * 150_000}])
        assert again.wait(10)
        time.sleep(0.3)
        client.chat.completions.create(model="small", messages=[{"role": "user", "content": "Bye"}])
        assert handle.flush(10)
        free.set()
        large, small = taken(running, 100_000)["chat large"], taken(running, 100_000)["chat small"]
        assert "gen_ai.input.messages" not in large
        assert "Bye" in small["gen_ai.input.messages"]
        (books,) = handle.status().destinations
        assert (books.dropped, books.delivered) == ({}, 2)


def test_redact_that_blocks_each_time_stops_neither_the_destination_nor_leaks_a_text(
    instrumented, stand_in, receiver, monkeypatch
):
    """Each time costs a thread: after a few the function is not called until one of its calls has ended."""
    monkeypatch.setattr(watch, "_TIMEOUT_S", 0.05)
    free = threading.Event()
    calls = []

    def redact(text):
        calls.append(text)
        free.wait(30)
        return text

    handle = instrumented(redact=redact)
    for number in range(8):
        chat("sync", stand_in.base_url, model=f"m-{number}", messages=[{"role": "user", "content": "secret"}])
        assert handle.flush(10)
    assert len(calls) == 4
    assert len(receiver.store.spans()) == handle.status().destinations[0].delivered == 8
    assert "secret" not in repr(receiver.store.spans())
    free.set()


def test_a_message_that_blocks_costs_its_record_alone_and_that_is_said(
    instrumented, stand_in, receiver, monkeypatch, caplog
):
    monkeypatch.setattr(watch, "_TIMEOUT_S", 0.2)
    asked, free = threading.Event(), threading.Event()

    class Message(dict):
        """Reads itself from somewhere, which does not answer our thread."""

        def items(self):
            if threading.current_thread() is not threading.main_thread():
                asked.set()
                free.wait(30)
            return super().items()

        def get(self, *args):
            self.items()
            return super().get(*args)

    handle = instrumented()
    chat("sync", stand_in.base_url, model="blocked", messages=[Message(role="user", content="Hello")])
    assert asked.wait(10)
    time.sleep(0.3)
    chat("sync", stand_in.base_url, model="free")
    assert not handle.flush(10)
    assert names(receiver) == ["chat free"]
    free.set()
    until(lambda: not handle.status().destinations[0].queued_records)
    (books,) = handle.status().destinations
    assert (books.dropped, books.delivered) == ({"unreadable": 1}, 1)
    assert "blocks while a record is rendered" in caplog.text


def test_on_generation_that_blocks_adds_nothing_and_holds_up_nobody(
    both, stand_in, receiver, other, monkeypatch, caplog
):
    monkeypatch.setattr(on_generation, "TIMEOUT_S", 0.2)
    free = threading.Event()

    def look(generation):
        if generation.model == "blocked":
            free.wait(30)
        generation.attributes["team"] = generation.model

    caplog.set_level(logging.WARNING, "llm_otel_broadcast")
    handle = both(on_generation=look)
    for model in ("first", "blocked", "later"):
        chat("sync", stand_in.base_url, model=model)
    assert handle.flush(10)
    free.set()
    until(lambda: not handle.status().destinations[0].queued_records)
    chat("sync", stand_in.base_url, model="last")
    assert handle.flush(10)
    for to in (receiver, other):
        teams = {span.name: span.attributes.get("team") for span in to.store.spans()}
        assert teams == {"chat first": "first", "chat blocked": None, "chat later": None, "chat last": "last"}
    assert handle.status().internal_errors["on_generation"] >= 1
    assert caplog.text.count("it has not returned within") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_does_not_wait_for_an_object_that_blocks(instrumented, stand_in, stuck):
    instrumented()
    with a_blocked_lane(stand_in, stuck):
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        assert time.monotonic() - began < 2


def test_an_end_leaves_a_record_that_blocks_behind_and_sends_the_others(instrumented, stand_in, receiver, stuck):
    handle = instrumented(redact=lambda text: text, exit_timeout=3.0)
    with a_blocked_lane(stand_in, stuck):
        chat("sync", stand_in.base_url, model="free")
        began = time.monotonic()
        handle.shutdown(3.0)
        assert time.monotonic() - began < 5
        assert {"chat free", "chat blocked"} <= set(names(receiver))
        assert balanced(handle.status().destinations[0])
