"""Destinations in trouble while there is a spool: what they do not take waits on disk, and arrives once they are back."""

from __future__ import annotations

from dataclasses import dataclass, field

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.delivery.ledger import DestinationStatus
from llm_otel_broadcast.spool.store import SpoolStore
from tests.faults.server import FAULTS, HEALTHY, FaultServer
from tests.support.books import balanced
from tests.support.deadlines import until
from tests.support.stand_in.server import StandIn

# One of each kind: no connection, no answer, an answer that refuses for now, and a broken one. Memory alone goes through all.
TROUBLES = tuple(
    fault
    for fault in FAULTS
    if fault.name in {"refuses", "hangs before the answer", "answers 502", "resets before the answer"}
)
TIMEOUT_S = 1.5
CALLS = 5


@dataclass
class Outage:
    """What was seen while and after all destinations but one were in trouble.

    Attributes:
        on_disk: the destinations that had something on disk, still in the trouble.
        books: of each destination, still in the trouble.
        settled: the books of each destination afterwards.
        taken: how often each span was taken, by destination.
    """

    on_disk: set[str] = field(default_factory=set)
    books: dict[str, DestinationStatus] = field(default_factory=dict)
    settled: dict[str, DestinationStatus] = field(default_factory=dict)
    taken: dict[str, list[int]] = field(default_factory=dict)


def books() -> dict[str, DestinationStatus]:
    return {destination.name: destination for destination in llm_otel_broadcast.status().destinations}


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    """Go through an outage of all destinations but one."""
    spool = tmp_path_factory.mktemp("spool")
    servers = {fault.name: FaultServer() for fault in (*TROUBLES, HEALTHY)}
    outage = Outage()
    for server in servers.values():
        server.start()
    # Loading certificates takes longer than a call.
    http = openai.DefaultHttpxClient(verify=False)
    try:
        with StandIn() as stand_in, openai.OpenAI(api_key="k", base_url=stand_in.base_url, http_client=http) as client:
            for fault in TROUBLES:
                servers[fault.name].become(fault)
            handle = llm_otel_broadcast.instrument(
                destinations=[
                    Destination(
                        name=name, endpoint=server.endpoint, encoding="json", timeout=TIMEOUT_S, batch_delay=0.0
                    )
                    for name, server in servers.items()
                ],
                spool=spool,
            )
            for _ in range(CALLS):
                client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}])
                # A request each: two wait in memory, what comes then is put on disk.
                until(lambda: not any(lane.queued_records for lane in books().values()), 20.0)
            until(lambda: books()[HEALTHY.name].delivered == CALLS, 20.0)
            store = SpoolStore(spool, 1_000_000_000, 3600.0)
            until(lambda: {backlog.name for backlog in store.backlogs()} >= {fault.name for fault in TROUBLES}, 20.0)
            outage.on_disk = {backlog.name for backlog in store.backlogs()}
            outage.books = books()
            for server in servers.values():
                server.heal()
            until(lambda: handle.flush(0.5) and not any(lane.spooled for lane in books().values()), 40.0)
            outage.settled = books()
    finally:
        llm_otel_broadcast.shutdown(0.2)
        for server in servers.values():
            server.stop()
    outage.taken = {name: list(server.taken().values()) for name, server in servers.items()}
    return outage


by_name = pytest.mark.parametrize("name", [fault.name for fault in TROUBLES])


@by_name
def test_what_a_destination_in_trouble_does_not_take_waits_on_disk_and_in_the_books(outage, name):
    lane = outage.books[name]
    assert name in outage.on_disk
    assert (lane.produced, lane.delivered, lane.dropped, lane.spooled) == (CALLS, 0, {}, CALLS)
    assert balanced(lane)


def test_a_destination_that_works_has_everything_meanwhile_and_nothing_on_disk(outage):
    assert outage.books[HEALTHY.name].delivered == CALLS
    assert HEALTHY.name not in outage.on_disk


@by_name
def test_what_waited_on_disk_is_delivered_once_it_works_again_and_nothing_twice(outage, name):
    lane = outage.settled[name]
    assert (lane.produced, lane.delivered, lane.dropped, lane.spooled) == (CALLS, CALLS, {}, 0)
    assert outage.taken[name] == [1] * CALLS
