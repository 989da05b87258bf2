"""What goes wrong: at the API, on the way, or in what the host asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llm_otel_broadcast.stand_in.answers import Answer, error
from tests.support.scenarios import Scenario

SOON = {"retry-after-ms": "1", "x-request-id": "req_refused"}
EACH_OPERATION = ("none", "refused", "tried_again", "no_json", "cut_short", "unknown_argument")
"""Those that every operation is put through; the rest only the commonest one."""


@dataclass(frozen=True)
class Fault:
    """What differs from a call that goes well.

    Attributes:
        answers: what the API answers instead, made from what it would answer.
        more: further arguments of the call.
        retries: how often the client tries again by itself.
        only: forms that it makes sense for: `whole`, `streamed` or any (None).
    """

    answers: Callable[[Answer], tuple[Answer, ...]] = lambda answer: (answer,)
    more: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 0
    only: str | None = None

    def suits(self, scenario: Scenario) -> bool:
        return self.only in (None, "streamed" if scenario.is_streamed else "whole")


def _cut(answer: Answer, *, after: int = 1) -> Answer:
    """Break the connection in the middle of the body."""
    if answer.events is None:
        headers = {**answer.headers, "Content_Type": "application/json"}
        return Answer(events=(answer.body[: len(answer.body) // 2],), headers=headers, cut=True)
    return replace(answer, events=answer.events[:after], cut=True)


def _put(answer: Answer, *events: bytes, at: int = 1) -> Answer:
    told = answer.events or ()
    return replace(answer, events=(*told[:at], *events, *told[at:]))


def _raw(body: bytes, kind: str = "application/json", status: int = 200) -> Callable[[Answer], tuple[Answer, ...]]:
    return lambda _answer: (Answer(status, body, headers={"Content_Type": kind}),)


ERROR_EVENT = b'data: {"error": {"message": "overloaded", "type": "server_error", "code": "oh"}}\n\n'


class Unfit:
    """Nothing that goes into JSON."""

    def __repr__(self) -> str:
        return "<Unfit>"


FAULTS: dict[str, Fault] = {
    "none": Fault(),
    "refused": Fault(lambda _: (error(400, "No.", code="no", headers={"x-request-id": "req_no"}),)),
    "unauthorized": Fault(lambda _: (error(401, "Who?"),)),
    "tried_again": Fault(
        lambda answer: (error(500, "Wait", headers=SOON), error(429, "W", headers=SOON), answer), {}, 3
    ),
    "given_up": Fault(lambda _: (error(503, "Wait", headers=SOON),) * 3, retries=2),
    "no_json": Fault(_raw(b"<html>hello</html>", "application/json"), only="whole"),
    "html": Fault(_raw(b"<html>hello</html>", "text/html")),
    "html_refusal": Fault(_raw(b"<html>bad gateway</html>", "text/html", 502)),
    "empty": Fault(_raw(b"")),
    "null": Fault(_raw(b"null"), only="whole"),
    "number": Fault(_raw(b"5"), only="whole"),
    "list": Fault(_raw(b"[1, [2], {}]"), only="whole"),
    "odd_members": Fault(
        _raw(b'{"id": 5, "model": [], "choices": {"a": 1}, "usage": "much", "output": 7, "data": null}'), only="whole"
    ),
    "hung_up": Fault(lambda answer: (replace(answer, events=None, cut=True),)),
    "cut_short": Fault(lambda answer: (_cut(answer),)),
    "too_slow": Fault(lambda answer: (answer.slower(delay=0.3),), {"timeout": 0.08}),
    "unknown_argument": Fault(more={"no_such_argument": 1}),
    "unfit_argument": Fault(more={"extra_body": {"unfit": Unfit()}}),
    "odd_body": Fault(more={"extra_body": 5}),
    "odd_headers": Fault(more={"extra_headers": 5}),
    "error_event": Fault(lambda answer: (_put(answer, ERROR_EVENT),), only="streamed"),
    "broken_event": Fault(lambda answer: (_put(answer, b"data: {not json\n\n"),), only="streamed"),
    "no_text_event": Fault(lambda answer: (_put(answer, b"data: \xff\xfe\n\n"),), only="streamed"),
    "null_event": Fault(lambda answer: (_put(answer, b"data: null\n\n"),), only="streamed"),
    "odd_event": Fault(
        lambda answer: (_put(answer, b'data: {"choices": [{"index": [], "delta": 5}], "usage": 1}\n\n'),),
        only="streamed",
    ),
    "no_events": Fault(lambda answer: (replace(answer, events=()),), only="streamed"),
    "no_end": Fault(lambda answer: (replace(answer, events=(answer.events or ())[:-1]),), only="streamed"),
    "stalled": Fault(lambda answer: (answer.slower(pause=0.3),), {"timeout": 0.08}, only="streamed"),
}
