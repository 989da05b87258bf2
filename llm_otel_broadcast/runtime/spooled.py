"""Sends what lies in the spool for destinations, without a program that records anything."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from llm_otel_broadcast.runtime.assembly import assemble, shelf_for
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.spool.identity import is_same_address
from llm_otel_broadcast.spool.shelf import Shelf

_POLL_INTERVAL_S: Final = 0.05


class Sent(NamedTuple):
    """What became of one destination's backlog: records sent, records that are still there, and why."""

    name: str
    records: int
    remaining: int
    error: str | None


def shelves_of(options: Options) -> dict[str, Shelf]:
    """Return the enabled destinations' parts of the spool, by their names."""
    shelves = {
        destination.name: shelf_for(destination, options) for destination in options.destinations if destination.enabled
    }
    return {name: shelf for name, shelf in shelves.items() if shelf is not None}


def take_over(shelf: Shelf) -> None:
    """Let a destination send what was stored for the same name and address with other headers, such as a key of before.

    Raises:
        SpoolError: the disk does not let it.
    """
    for backlog in shelf.store.backlogs():
        if backlog.identity != shelf.identity and is_same_address(backlog.identity, shelf.identity):
            shelf.store.hand_over(backlog.identity, shelf.identity)


def send_spooled(options: Options, timeout_s: float) -> list[Sent]:
    """Send what lies in the spool for the enabled destinations, until it is empty, a destination fails, or time is up.

    Args:
        options: the settings, with a spool.
        timeout_s: for how many seconds, at most.

    Raises:
        SpoolError: the disk does not let it.
    """
    shelves = shelves_of(options)
    for shelf in shelves.values():
        # Somebody asks for it now.
        shelf.pause(0.0)
    broadcaster = assemble(options, lambda _: False).broadcaster
    broadcaster.start_early()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        statuses = broadcaster.status()
        if not any(
            shelves[status.name].count() and not status.last_error for status in statuses if status.name in shelves
        ):
            break
        time.sleep(_POLL_INTERVAL_S)
    broadcaster.stop(0.5)
    results = []
    for status in broadcaster.status():
        if status.name in shelves:
            shelf = shelves[status.name]
            remaining = sum(backlog.records for backlog in shelf.store.backlogs() if backlog.identity == shelf.identity)
            results.append(Sent(status.name, status.recovered, remaining, status.last_error if remaining else None))
    return results
