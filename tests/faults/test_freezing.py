"""A program that is frozen at any moment, for longer than any time-out, and thawed: nothing is lost, nothing sent twice."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from tests.faults.frozen_program import calling_program
from tests.faults.server import HEALTHY, Fault, FaultServer
from tests.support import broken_backends
from tests.support.deadlines import until
from tests.support.stand_in.server import StandIn

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")

TIMEOUT_S = 1.5
LONGER_S = 1.7
FLUSH_S = 20.0
HANGS = Fault("hangs", broken_backends.hangs)


@pytest.fixture(scope="module")
def program():
    with StandIn() as stand_in, calling_program(stand_in.base_url) as program:
        yield program


@pytest.fixture
def destination():
    with FaultServer() as server:
        yield server


@pytest.fixture
def instrumented_program(program, destination):
    def instrument(**settings):
        program.run("instrument", **{"endpoint": destination.endpoint, "batch_delay": 0.0, **settings})
        return program

    return instrument


def names(destination):
    return sorted(span.name for span in destination.store.spans())


def freeze_for_longer_than_the_timeout():
    time.sleep(LONGER_S)


def test_what_was_queued_when_it_froze_is_sent_by_one_flush(instrumented_program, destination):
    program = instrumented_program(batch_delay=60.0, timeout=TIMEOUT_S)
    program.run("call", model="before")
    with program.frozen():
        freeze_for_longer_than_the_timeout()
        assert names(destination) == []
    program.run("call", model="after")
    assert program.run("flush", seconds=FLUSH_S)
    assert names(destination) == ["chat after", "chat before"]


def test_an_answer_that_came_while_it_was_frozen_counts_however_late_it_is_read(instrumented_program, destination):
    """Timed out, the request would be sent again, and the destination would have its spans twice."""
    free = threading.Event()

    def answers_when_it_is_told(seen, connection):
        if not seen.read(connection):
            return False
        free.wait(30.0)
        connection.sendall(broken_backends.OK)
        return True

    destination.become(Fault("waits", answers_when_it_is_told, takes=True))
    program = instrumented_program(timeout=TIMEOUT_S)
    program.run("call", model="under way")
    until(lambda: destination.requests)
    with program.frozen():
        free.set()
        freeze_for_longer_than_the_timeout()
    assert program.run("flush", seconds=FLUSH_S)
    assert names(destination) == ["chat under way"]
    assert program.run("books")["retried"] == 0


def test_a_request_that_was_lost_while_it_was_frozen_is_sent_again(instrumented_program, destination):
    destination.become(HANGS)
    program = instrumented_program(timeout=30.0)
    program.run("call", model="under way")
    until(lambda: destination.requests)
    with program.frozen():
        # It ends, its connections with it, and comes up again.
        destination.become(Fault("is down", broken_backends.hangs, listens=False))
        destination.heal()
    assert program.run("flush", seconds=FLUSH_S)
    assert names(destination) == ["chat under way"]
    assert program.run("books") == {"produced": 1, "delivered": 1, "retried": 1, "dropped": {}, "queued_records": 0}


def test_a_connection_that_was_closed_while_it_was_frozen_costs_no_retry(instrumented_program, destination):
    """Load balancers close idle connections after a minute; a frozen program hears of it when it sends."""
    program = instrumented_program()
    program.run("call", model="before")
    assert program.run("flush", seconds=FLUSH_S)
    with program.frozen():
        destination.become(Fault("is down", broken_backends.hangs, listens=False))
        destination.become(HEALTHY)
    program.run("call", model="after")
    assert program.run("flush", seconds=FLUSH_S)
    assert names(destination) == ["chat after", "chat before"]
    assert program.run("books")["retried"] == 0


def test_a_flush_that_was_frozen_beyond_its_deadline_ends_and_the_next_one_sends_everything(
    instrumented_program, destination
):
    destination.become(HANGS)
    program = instrumented_program(timeout=TIMEOUT_S)
    program.run("call", model="under way")
    program.begin("flush", seconds=0.5)
    until(lambda: destination.requests)
    with program.frozen():
        freeze_for_longer_than_the_timeout()
        destination.heal()
    thawed = time.monotonic()
    program.end()
    assert time.monotonic() - thawed < 5.0
    assert program.run("flush", seconds=FLUSH_S)
    assert names(destination) == ["chat under way"]


def test_a_record_that_was_being_rendered_when_it_froze_is_not_taken_for_one_that_blocks(
    instrumented_program, destination
):
    """The clock goes on while nobody can run: to whoever looks first the thread seems to have been at it for ages."""
    program = instrumented_program(redaction_s=0.1, blocked_after_s=1.0)
    program.run("call", model="in hand")
    assert program.run("wait_until_redacting")
    with program.frozen():
        freeze_for_longer_than_the_timeout()
    assert program.run("books")["dropped"] == {}
    assert program.run("flush", seconds=FLUSH_S)
    (span,) = destination.store.spans()
    assert "Hi" in span.attributes["gen_ai.input.messages"]


def test_the_time_for_which_it_was_frozen_is_no_part_of_that_in_which_a_request_is_tried_again(
    instrumented_program, destination
):
    def fails_twice(seen, connection):
        if not seen.read(connection):
            return False
        is_answered = destination.requests > 2
        connection.sendall(broken_backends.OK if is_answered else broken_backends.OK.replace(b"200 OK", b"503 No"))
        if is_answered:
            destination.heal()
        return True

    destination.become(Fault("fails twice", fails_twice))
    program = instrumented_program(retries_s=1.2)
    program.run("call", model="waits")
    until(lambda: program.run("has_failed"))
    with program.frozen():
        freeze_for_longer_than_the_timeout()
    program.run("flush", seconds=FLUSH_S)
    assert program.run("books")["dropped"] == {}
    assert program.run("books")["delivered"] == 1
