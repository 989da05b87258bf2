"""What a collector answers cannot send credentials elsewhere, write to the terminal, or be followed."""

from __future__ import annotations

import json

import pytest

from llm_otel_broadcast import Destination, instrument, test_connection
from llm_otel_broadcast.receiver import OtlpReceiver, Reply

SECRET = "s3cr3t-of-the-first"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202etxt.exe\r\nERROR forged line"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_credential_and_no_span_follows_a_redirect_to_another_host(receiver, client, status, caplog):
    with OtlpReceiver() as elsewhere:
        moved = Reply(status, {"Location": elsewhere.endpoint.replace("127.0.0.1", "localhost")})
        receiver.script(*[moved] * 20)
        with instrument(endpoint=receiver.endpoint, headers={"Authorization": f"Bearer {SECRET}"}) as handle:
            client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi."}])
            handle.flush(5)
        assert receiver.requests[0].headers["authorization"] == f"Bearer {SECRET}"
        assert elsewhere.requests == []
        assert SECRET not in caplog.text


def test_a_connection_test_follows_no_redirect_to_another_host_either(receiver):
    with OtlpReceiver() as elsewhere:
        receiver.script(*[Reply(307, {"Location": elsewhere.endpoint.replace("127.0.0.1", "localhost")})] * 20)
        test_connection(Destination(endpoint=receiver.endpoint, headers={"Authorization": f"Bearer {SECRET}"}))
        assert elsewhere.requests == []


@pytest.mark.parametrize("status", [200, 400, 401, 503])
def test_what_a_collector_says_cannot_write_control_characters_into_the_log(receiver, client, status, caplog):
    page = f"<html><title>{ESCAPES}</title>".encode()
    refusal = Reply(
        status, {}, page if status == 200 else json.dumps({"message": ESCAPES}).encode(), "application/json"
    )
    receiver.script(*[refusal] * 20)
    with instrument(endpoint=receiver.endpoint, exit_timeout=0.5) as handle:
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi."}])
        handle.flush(1)
        status = handle.status()
    texts = [*(record.getMessage() for record in caplog.records), str(status)]
    assert any(str(refusal.status) in text for text in texts)
    for text in texts:
        assert not set(text) & set("\x1b\x07\x9b\u202e\r")
        assert "\nERROR forged" not in text


def test_of_a_collectors_endless_words_little_is_shown(receiver, client, caplog):
    receiver.script(*[Reply(400, {"X-Long": "x" * 60_000, "Location": "y" * 60_000}, b"z" * 10_000_000)] * 5)
    with instrument(endpoint=receiver.endpoint) as handle:
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hi."}])
        handle.flush(5)
        assert len(str(handle.status())) < 10_000
    assert caplog.records
    assert all(len(record.getMessage()) < 2_000 for record in caplog.records)
