"""What is said of delivery: when a problem begins, now and then while it lasts, and when it is over; never a secret."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.delivery import sender
from llm_otel_broadcast.receiver import OtlpReceiver, Reply
from llm_otel_broadcast.wire import retry
from tests.support import broken_backends
from tests.support.broken_backends import backend, refusing
from tests.support.client_calls import chat
from tests.support.clocks import Clock
from tests.support.deadlines import until
from tests.support.lanes import flushed, record, running

CANARIES = ("header-canary", "query-canary", "user-canary", "password-canary")


@pytest.fixture(autouse=True)
def _everything_is_heard(caplog):
    caplog.set_level(logging.DEBUG, "llm_otel_broadcast")


def said(caplog, level=logging.WARNING):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_an_outage_is_said_once_and_its_end_too(caplog):
    """A collector that is down flooded the log."""
    receiver = OtlpReceiver()
    receiver.start()
    receiver.stop()
    with running(receiver.endpoint) as lane:
        clock = lane._books.clock = Clock()
        for outage in (1, 2):
            for _ in range(3):
                lane.enqueue(record())
            until(lambda: lane.status().retried > 5)
            assert len(said(caplog)) == outage
            assert receiver.endpoint in said(caplog)[-1]
            assert "connection refused" in said(caplog)[-1]
            assert "generation(s) wait, trying again in 0.0 s, your calls are not affected" in said(caplog)[-1]
            clock.seconds += 200
            with receiver:
                assert flushed(lane)
                assert [text for text in said(caplog, logging.INFO) if "works again" in text] == [
                    'destination "backend": works again after 3 min 20 s: 3 generation(s) that waited are delivered late'
                ] * outage
            clock.seconds += 200
            lane._books.retried = 0
    assert not [record for record in caplog.records if record.exc_info]


def test_an_outage_that_lasts_is_said_again_with_how_long_it_has(receiver, caplog):
    clock = Clock()

    def delay_that_takes_40_s(*_):
        clock.seconds += 40
        return 0.01

    receiver.script(*[Reply(503)] * 4)
    with running(receiver.endpoint, delay=delay_that_takes_40_s) as lane:
        lane._books.clock = clock
        lane.enqueue(record())
        assert flushed(lane)
    first, again = said(caplog)
    assert "still" not in first
    assert "still failing after 1 min 20 s, 3 times: http://127.0.0.1" in again
    assert "answered 503" in again
    assert any("works again after 2 min 0 s" in text for text in said(caplog, logging.INFO))


def test_a_destination_that_fails_now_and_then_does_not_flood_the_log(receiver, caplog):
    with running(receiver.endpoint) as lane:
        clock = lane._books.clock = Clock()
        for _ in range(10):
            receiver.script(Reply(503))
            lane.enqueue(record())
            assert flushed(lane)
            clock.seconds += 10
        assert lane.status().retried == 10
    assert ["503" in text for text in said(caplog)] == [True, True]
    assert len([text for text in said(caplog, logging.INFO) if "works again" in text]) == 2


def test_a_second_outage_tells_its_losses_again(receiver, caplog):
    with running(receiver.endpoint) as lane:
        clock = lane._books.clock = Clock()
        for _ in (1, 2):
            receiver.script(*[Reply(401, body=b"no such key")] * 3)
            for _ in range(3):
                lane.enqueue(record())
                flushed(lane)
            lane.enqueue(record())
            assert flushed(lane)
            clock.seconds += 200
    refused, summary, refused_again, second_summary = said(caplog)
    assert "no such key" in refused
    assert refused.endswith("1 generation(s) lost")
    assert summary.endswith("1 generation(s) that waited are delivered late, 3 dropped (refused: 3)")
    assert (refused_again, second_summary) == (refused, summary)


def test_what_is_dropped_in_an_outage_is_said_once_besides(receiver, caplog, monkeypatch):
    monkeypatch.setattr(sender, "_MAX_RETRY_S", 0.1)
    with running(receiver.endpoint, delay=lambda *_: 61.0) as lane:
        clock = lane._books.clock = Clock()
        for _ in range(2):
            caplog.clear()
            receiver.script(*[Reply(503)] * 6)
            for _ in range(3):
                lane.enqueue(record())
                flushed(lane)
            outage, dropped = said(caplog)
            assert "trying again in 0.1 s, your calls are not affected" in outage
            assert "generation(s) dropped (retries_exhausted" in dropped
            lane.enqueue(record())
            assert flushed(lane)
            clock.seconds += 200
        assert lane.status().dropped == {"retries_exhausted": 6}


def test_what_is_dropped_is_said_again_and_at_the_end_without_a_success_in_between(caplog):
    """The first drop of a reason was the only one that the log ever had."""
    with running(refusing(), max_bytes=10_000) as lane:
        clock = lane._books.clock = Clock()
        for wait_s in (0, 30, 40, 30):
            clock.seconds += wait_s
            lane.enqueue(record(size=20_000))
            # the lane's thread logs what the caller's counted
            lane._books.log_drops()
    first, again, last = (text for text in said(caplog) if "too_large" in text)
    assert "1 generation(s) dropped (too_large); lower max_content_chars=" in first
    assert "2 more generation(s) dropped (too_large), 3 in all" in again
    assert "1 more generation(s) dropped (too_large), 4 in all" in last


def test_each_destination_speaks_for_itself(stand_in, receiver, caplog):
    receiver.script(Reply(404))
    handle = llm_otel_broadcast.instrument(
        destinations=[
            Destination(name="wrong path", endpoint=receiver.endpoint),
            Destination(name="down", endpoint=refusing()),
        ]
    )
    chat("sync", stand_in.base_url)
    assert not handle.flush(0.3)
    first, second = sorted(until(lambda: said(caplog) if len(said(caplog)) == 2 else None))
    assert first.startswith('destination "down": http://127.0.0.1:')
    assert second.startswith('destination "wrong path": http://127.0.0.1:')
    assert "it usually ends in /v1/traces" in second


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_log_handler_that_raises_stops_nothing(receiver, error):
    class Raising(logging.Handler):
        def emit(self, record):
            raise error("disk full")

    handler = Raising()
    logging.getLogger("llm_otel_broadcast").addHandler(handler)
    receiver.script(Reply(503), Reply(400))
    try:
        with running(receiver.endpoint, max_bytes=10_000) as lane:
            lane.enqueue(record(size=20_000))
            lane.enqueue(record())
            flushed(lane)
            lane.enqueue(record())
            assert flushed(lane)
            assert (lane.status().delivered, lane.status().dropped) == (1, {"too_large": 1, "refused": 1})
    finally:
        logging.getLogger("llm_otel_broadcast").removeHandler(handler)


def secretive(endpoint, **more):
    """Return a destination with a canary wherever a secret can be."""
    return Destination(
        name="backend",
        endpoint=endpoint.replace("http://", "http://user-canary:password-canary@") + "?key=query-canary",
        headers={"X-Key": "header-canary", "X-Token": "Bearer other-header-canary"},
        timeout=0.2,
        batch_delay=0.0,
        **more,
    )


def told(handle, caplog, capfd):
    until(lambda: handle.status().destinations[0].last_error)
    text = caplog.text + repr(handle.status()) + "".join(capfd.readouterr())
    return [canary for canary in CANARIES if canary in text]


@pytest.mark.parametrize("conduct", [broken_backends.hangs, broken_backends.resets_before_the_answer, None])
def test_no_secret_is_told_when_the_network_fails(stand_in, caplog, capfd, conduct):
    with backend(conduct or broken_backends.hangs) as seen:
        handle = llm_otel_broadcast.instrument(destinations=[secretive(seen.endpoint if conduct else refusing())])
        chat("sync", stand_in.base_url)
        until(lambda: handle.status().destinations[0].last_error)
        assert told(handle, caplog, capfd) == []


@pytest.mark.parametrize("status", [200, 400, 401, 413, 415, 503])
def test_no_secret_is_told_that_a_backend_repeats(stand_in, receiver, caplog, capfd, status):
    """Many a backend answers `invalid key: ...`, and proxies repeat the whole request."""
    echo = "invalid: other-header-canary header-canary /v1/traces?key=query-canary " * 10
    body = f'{{"partialSuccess":{{"rejectedSpans":"1","errorMessage":"{echo}"}}}}' if status == 200 else echo
    receiver.script(*[Reply(status, body=body.encode())] * 2)
    handle = llm_otel_broadcast.instrument(destinations=[secretive(receiver.endpoint)])
    chat("sync", stand_in.base_url)
    handle.flush(0.2)
    assert told(handle, caplog, capfd) == []
    assert "invalid: *** *** /v1/traces?key=***" in handle.status().destinations[0].last_error
    request = receiver.requests[0]
    assert request.path == "/v1/traces?key=query-canary"
    assert request.headers["authorization"] == "Basic dXNlci1jYW5hcnk6cGFzc3dvcmQtY2FuYXJ5"


def test_a_proxys_credentials_go_to_the_proxy_and_nowhere_else(receiver, monkeypatch, caplog):
    proxy = receiver.endpoint.removesuffix("/v1/traces").replace("http://", "http://user-canary:password-canary@")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    receiver.script(Reply(407))
    with running("http://backend.invalid:4318") as lane:
        lane.enqueue(record())
        flushed(lane)
        assert "canary" not in lane.status().last_error + caplog.text
    assert receiver.requests[0].headers["proxy-authorization"] == "Basic dXNlci1jYW5hcnk6cGFzc3dvcmQtY2FuYXJ5"


def test_retrying_with_the_real_policy_is_said_once(receiver, caplog):
    receiver.script(*[Reply(503)] * 2)
    with running(receiver.endpoint, delay=retry.delay) as lane:
        lane.enqueue(record())
        assert flushed(lane)
        assert lane.status().retried == 2
    assert len(said(caplog)) == 1


@pytest.mark.parametrize(
    ("configured", "line"),
    [
        ("", 'llm-otel-broadcast: destination "backend": gone'),
        ("logging.basicConfig(format='%(name)s|%(message)s')", 'llm_otel_broadcast|destination "backend": gone'),
        (
            "logging.getLogger('llm_otel_broadcast').propagate = False",
            'llm-otel-broadcast: destination "backend": gone',
        ),
    ],
)
def test_a_program_without_logging_sees_whose_a_warning_is(configured, line):
    """Python's last resort writes the bare message: nobody knew which library it came from."""
    program = f"""
import logging
{configured}
from llm_otel_broadcast.host.logs import logger
logger.warning('destination "%s": gone', "backend")
logger.info("not shown")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr.splitlines()) == ("", [line])


def test_what_was_not_answered_before_the_end_is_not_called_lost(caplog):
    """MLflow's first answer takes 7 s: what it had stored was told as dropped."""
    with backend(broken_backends.hangs) as seen, running(seen.endpoint) as lane:
        lane.enqueue(record())
        until(lambda: seen.requests)
        lane.stop(time.monotonic() + 0.1)
        seen.stopped.set()
        assert lane.status().dropped == {"unanswered": 1}
    assert any("no answer for 1 generation(s) before sending ended: they may have" in line for line in said(caplog))
