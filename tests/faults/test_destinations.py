"""Destinations in every kind of trouble, all at once: no call and no other destination notices, and nothing is lost."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.delivery.ledger import DestinationStatus
from tests.faults.server import FAULTS, HEALTHY, TLS_HANGS, FaultServer
from tests.support.books import balanced
from tests.support.certificates import Authority
from tests.support.deadlines import until
from tests.support.stand_in.server import StandIn

ALL = (*FAULTS, TLS_HANGS)
TIMEOUT_S = 4.0
MIN_CALLS = 30
MAX_REQUESTS_IN_TROUBLE = 8
"""With pauses from half a second on, of as long as the trouble lasts."""


@dataclass
class Outage:
    """What was seen before, while and after all destinations but one were in trouble.

    Attributes:
        calm: seconds of each call while all destinations were well.
        troubled: the same while they were not.
        reached: how many spans the healthy destination had of those calls, still in the trouble.
        books: of each destination, still in the trouble.
        requests: how many requests each destination read in the trouble.
        settled: the books of each destination afterwards.
        taken: how often each span was taken, by destination.
        unbalanced: books that did not balance, at any look.
    """

    calm: list[float] = field(default_factory=list)
    troubled: list[float] = field(default_factory=list)
    reached: int = 0
    books: dict[str, DestinationStatus] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    settled: dict[str, DestinationStatus] = field(default_factory=dict)
    taken: dict[str, list[int]] = field(default_factory=dict)
    unbalanced: list[DestinationStatus] = field(default_factory=list)

    def look(self) -> dict[str, DestinationStatus]:
        """Return the books of each destination, and note those that do not balance."""
        books = {destination.name: destination for destination in llm_otel_broadcast.status().destinations}
        self.unbalanced += [destination for destination in books.values() if not balanced(destination)]
        return books


# An outage of all destinations, and what comes after it, is one fixture.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("authority"), "authority")
    started = {fault.name: FaultServer() for fault in (*FAULTS, HEALTHY)}
    started[TLS_HANGS.name] = FaultServer(authority.issue("server").server_context())
    for server in started.values():
        server.start()
    yield started, authority.file
    for server in started.values():
        server.stop()


@pytest.fixture(scope="module")
def outage(servers):
    """Go through an outage of all destinations but one."""
    started, authority = servers
    outage = Outage()
    destinations = [
        Destination(
            name=name,
            endpoint=server.endpoint,
            encoding="json",
            timeout=TIMEOUT_S,
            batch_delay=0.0,
            certificate=authority if server.endpoint.startswith("https") else None,
        )
        for name, server in started.items()
    ]
    healthy = started[HEALTHY.name]
    # Loading certificates takes longer than a call.
    http = openai.DefaultHttpxClient(verify=False)
    with StandIn() as stand_in, openai.OpenAI(api_key="k", base_url=stand_in.base_url, http_client=http) as client:

        def call() -> float:
            began = time.monotonic()
            client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}])
            seconds = time.monotonic() - began
            outage.look()
            # As programs do: at full speed the lanes would compete with the calls for the interpreter.
            time.sleep(0.02)
            return seconds

        handle = llm_otel_broadcast.instrument(destinations=destinations)
        try:
            call()
            assert handle.flush(20.0)
            outage.calm = [call() for _ in range(MIN_CALLS)]
            assert handle.flush(20.0)
            before = {name: server.requests for name, server in started.items()}
            for fault in ALL:
                started[fault.name].become(fault)
            ends = time.monotonic() + 30.0
            while len(outage.troubled) < MIN_CALLS or not _are_all_in_trouble(outage.look()):
                outage.troubled.append(call())
                assert time.monotonic() < ends, "a destination has noticed nothing"
            total = 1 + len(outage.calm) + len(outage.troubled)
            # Not by what it has: that is counted as delivered a moment later.
            until(lambda: outage.look()[HEALTHY.name].delivered == total, 10.0)
            outage.reached = len(healthy.store.spans())
            outage.books = outage.look()
            outage.requests = {name: server.requests - before[name] for name, server in started.items()}
            for server in started.values():
                server.heal()
            until(lambda: handle.flush(1.0) and not any(lane.queued_records for lane in outage.look().values()), 100.0)
            outage.settled = outage.look()
        finally:
            llm_otel_broadcast.shutdown(0.2)
    outage.taken = {name: list(server.taken().values()) for name, server in started.items()}
    return outage


def _are_all_in_trouble(books: dict[str, DestinationStatus]) -> bool:
    """Return whether each destination that fails has failed; one that takes what it does not answer goes on."""
    return all(books[fault.name].last_error for fault in ALL if not fault.takes)


def by_name(*faults):
    return pytest.mark.parametrize("fault", faults, ids=lambda fault: fault.name)


def test_calls_take_no_longer_than_with_healthy_destinations(outage):
    """The bound leaves room for a busy machine; a call that waited for one of these destinations would take seconds."""
    calm, troubled = statistics.median(outage.calm), statistics.median(outage.troubled)
    assert troubled < 3 * calm + 0.01


def test_a_healthy_destination_has_everything_while_the_others_are_in_trouble(outage):
    assert outage.reached == outage.books["healthy"].delivered == 1 + len(outage.calm) + len(outage.troubled)
    assert outage.books["healthy"].retried == 0


@by_name(*ALL)
def test_what_waited_is_delivered_once_it_works_again_and_nothing_twice(outage, fault):
    books = outage.settled[fault.name]
    total = 1 + len(outage.calm) + len(outage.troubled)
    assert (books.produced, books.delivered, books.dropped) == (total, total, {})
    assert outage.taken[fault.name] == [1] * total


@by_name(*(fault for fault in ALL if not fault.takes))
def test_the_trouble_is_in_the_books_while_it_lasts(outage, fault):
    books = outage.books[fault.name]
    assert books.last_error
    assert books.dropped == {}
    assert books.queued_records > 0


@by_name(*ALL)
def test_a_destination_in_trouble_is_not_hammered(outage, fault):
    """But for one that takes what it does not answer properly: to it nothing has to be sent again."""
    if fault.takes:
        assert outage.settled[fault.name].retried == 0
    else:
        assert outage.requests[fault.name] <= MAX_REQUESTS_IN_TROUBLE


def test_the_books_balance_at_every_look(outage):
    assert outage.unbalanced == []
