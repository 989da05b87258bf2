"""No byte that a private destination is sent, and no line of a log, has a word of what was asked or answered.

Every operation in every form, with a canary in each of its texts; errors that quote it, streams that break, destinations that
have to be tried again. One destination may have it all, or the test would prove nothing.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination, trace_context
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.receiver.server import Reply
from llm_otel_broadcast.settings.privacy import PARTS
from llm_otel_broadcast.stand_in.answers import Answer, error, mid_stream_error
from tests.support.host_usage import client_of, run, settled, use
from tests.support.scenarios import OPERATIONS, Scenario

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
CANARY = "canary-tweet"
TEXTS = {
    "arguments",
    "content",
    "delta",
    "description",
    "input",
    "instructions",
    "prompt",
    "reasoning",
    "refusal",
    "revised_prompt",
    "text",
}
PRIVATE: dict[str, dict[str, Any]] = {
    "privacy_mode": {"privacy_mode": True},
    "hide": {"hide": PARTS},
    "redact": {"redact": lambda _text: "..."},
    "broken": {"redact": lambda text: 1 / 0},
}


def laced(value: Any, key: str = "") -> Any:
    """Return a request or an answer with the canary in each of its texts."""
    if isinstance(value, dict):
        return {name: laced(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [laced(inner, key) for inner in value]
    if not isinstance(value, str) or key not in TEXTS:
        return value
    if value.startswith("{") and value.endswith("}"):
        inner = json.loads(value)
        return json.dumps({name: f"{CANARY} {one}" if isinstance(one, str) else one for name, one in inner.items()})
    return f"{CANARY} {value}"


def laced_answer(answer: Answer | None) -> Answer | None:
    if answer is None:
        return None
    events = [laced_event(event) for event in answer.events] if answer.events else answer.events
    return replace(answer, body=laced_bytes(answer.body), events=events)


def laced_event(event: bytes) -> bytes:
    head, mark, data = event.partition(b"data: ")
    return event if not mark or data.startswith(b"[DONE]") else head + mark + laced_bytes(data.strip()) + b"\n\n"


def laced_bytes(body: bytes) -> bytes:
    return json.dumps(laced(json.loads(body))).encode() if body[:1] == b"{" else body


LACED = [
    replace(one, asked=laced(dict(one.asked)), whole=laced_answer(one.whole), events=laced_answer(one.events))
    for one in OPERATIONS
]


@pytest.fixture
def sent(receiver, caplog):
    """Instrument with an open and several private destinations; calling it flushes and returns what each was sent."""
    caplog.set_level(logging.DEBUG)
    private = {name: OtlpReceiver() for name in PRIVATE}
    for each in private.values():
        each.start()
        each.script(Reply(503), Reply(429, {"Retry-After": "0"}))
    handle = llm_otel_broadcast.instrument(
        destinations=[
            Destination(name="open", endpoint=receiver.endpoint, batch_delay=0.05),
            *(
                Destination(name=name, endpoint=each.endpoint, batch_delay=0.05, **PRIVATE[name])
                for name, each in private.items()
            ),
        ]
    )

    def read() -> dict[str, bytes]:
        assert handle.flush(20)
        count = len(receiver.store.spans())
        bodies = {"open": b"".join(request.body for request in receiver.requests)}
        for name, each in private.items():
            assert len(each.store.spans()) == count
            assert len(each.requests) >= 3
            bodies[name] = b"".join(request.body + repr(request.headers).encode() for request in each.requests)
        return bodies

    yield read
    for each in private.values():
        each.stop()


def assert_private(bodies: dict[str, bytes], caplog: Any) -> None:
    assert {name: body.count(CANARY.encode()) for name, body in bodies.items() if name != "open"} == dict.fromkeys(
        PRIVATE, 0
    )
    told = [record for record in caplog.records if record.name.startswith(("llm_otel_broadcast", "urllib3"))]
    assert told
    assert CANARY not in "".join(f"{record.getMessage()} {record.exc_info} {record.exc_text}" for record in told)
    assert CANARY not in repr(llm_otel_broadcast.status())


def forms():
    return [Scenario(operation, form) for operation in LACED for form in operation.forms]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_every_operation_in_every_form(stand_in, sent, caplog, kind):
    async def work() -> None:
        client = client_of(kind, stand_in.base_url)
        for scenario in forms():
            stand_in.script(scenario.answer)
            await use(client, scenario, lambda *_: None)
        await settled(client.close())

    run(kind, work())
    bodies = sent()
    assert bodies["open"].count(CANARY.encode()) > len(forms())
    assert_private(bodies, caplog)


def test_every_operations_errors(stand_in, sent, caplog):
    with client_of("sync", stand_in.base_url) as client:
        fail_all(client, stand_in)
    bodies = sent()
    assert bodies["open"].count(CANARY.encode()) > len(LACED)
    assert_private(bodies, caplog)


def fail_all(client, stand_in):
    for operation in LACED:
        for status in (400, 429, 500):
            stand_in.script(error(status, f"{CANARY}: your prompt is odd", code="odd"))
            with pytest.raises(openai.APIError):
                run("sync", use(client, Scenario(operation, operation.forms[0]), lambda *_: None))
    stand_in.script(mid_stream_error(f"{CANARY} half", f"{CANARY} broken"))
    with pytest.raises(openai.APIError):
        run("sync", use(client, Scenario(LACED[0], "stream"), lambda *_: None))


def test_an_exception_that_leaves_a_context(stand_in, sent, caplog):
    client = client_of("sync", stand_in.base_url)
    with client, pytest.raises(ValueError, match=CANARY), trace_context(trace_name="Work"):
        stand_in.script(LACED[0].whole)
        run("sync", use(client, Scenario(LACED[0], "plain"), lambda *_: None))
        raise ValueError(f"{CANARY} cannot be parsed")
    bodies = sent()
    assert bodies["open"].count(CANARY.encode()) > 2
    assert_private(bodies, caplog)
