"""What a test found, as values."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried.

    Attributes:
        name: `URL`, `name`, `connect`, `proxy`, `TLS`, `probe`; `try`: a probe with other settings, after one that failed.
        ok: whether it worked.
        seconds: how long it took.
        detail: what was found, or what is wrong and what can be done.
    """

    name: str
    ok: bool
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """How a connection test went. No text in it holds a header's value, a query or a password.

    Attributes:
        ok: whether a span was sent and taken.
        steps: what was tried, in order; the first that failed ends it, but for what is tried after it.
        message: the verdict in a sentence.
        suggestion: fields of the destination to change, for instance `{"encoding": "protobuf"}`; `dataclasses.replace` takes
            them.
        trace_id: of the last probe that was sent, to look for it; empty when none was.
    """

    ok: bool
    steps: tuple[Step, ...]
    message: str
    suggestion: Mapping[str, object] = field(default_factory=dict)
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class SentTrace:
    """What became of a test trace.

    Attributes:
        ok: whether all of it was taken.
        trace_id: to look for it.
        message: what the destination said.
        look: where it can be seen, where that is known.
    """

    ok: bool
    trace_id: str
    message: str
    look: str | None = None


class StepError(Exception):
    """A step failed; the text says what is wrong and what can be done."""

    def __init__(self, detail: str, suggestion: Mapping[str, object] | None = None) -> None:
        self.suggestion = suggestion or {}
        super().__init__(detail)


def timed(name: str, action: Callable[[], str]) -> tuple[Step, StepError | None]:
    """Run a step; return it, and why it failed."""
    start = time.monotonic()
    try:
        detail, failure = action(), None
    except StepError as error:
        detail, failure = str(error), error
    return Step(name, failure is None, time.monotonic() - start, detail), failure
