"""The spool through the whole product: processes that are killed, that leave, that fork, and those that come after them."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import llm_otel_broadcast
from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.receiver import OtlpReceiver
from tests.support.broken_backends import refusing
from tests.support.client_calls import chat
from tests.support.deadlines import until
from tests.support.installed_programs import free_port
from tests.support.lanes import shelf_at

HEAD = """
import os, signal, sys, time, openai, llm_otel_broadcast
endpoint, base_url, spool = sys.argv[1:]

def call(name):
    # a connection of its own each time: children must not share one
    with openai.OpenAI(api_key="x", base_url=base_url) as client:
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
"""


@pytest.fixture
def start(tmp_path, stand_in):
    """Starts a program with a destination and the spool; the programs that still run are killed at the end."""
    running = []

    def start_program(endpoint: str, program: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HEAD + program, endpoint, stand_in.base_url, str(tmp_path / "spool")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start_program
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture
def later(tmp_path):
    """A destination that is not there yet: its endpoint, and a function that starts it."""
    port = free_port()
    return f"http://127.0.0.1:{port}", lambda: OtlpReceiver(port=port)


def arrived(receiver):
    return sorted(span.name.removeprefix("chat ") for span in receiver.store.spans())


def test_what_had_returned_a_second_before_a_kill_is_delivered_by_the_next_process_once(
    start, later, tmp_path, stand_in
):
    endpoint, receiver = later
    process = start(
        endpoint,
        """
llm_otel_broadcast.instrument(endpoint=endpoint, spool=spool, durable=True)
call("warm")
time.sleep(3)
for number in range(5):
    call(f"model-{number}")
time.sleep(1)
print("ready", flush=True)
call("in the last moment")
time.sleep(60)
""",
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    with receiver() as running:
        llm_otel_broadcast.instrument(endpoint=endpoint, spool=tmp_path / "spool")
        expected = ["model-0", "model-1", "model-2", "model-3", "model-4", "warm"]
        until(lambda: set(expected) <= set(arrived(running)), 40.0)
        time.sleep(0.5)
        assert [name for name in arrived(running) if name != "in the last moment"] == expected


@pytest.mark.parametrize("leaving", ["os._exit(3)", "sys.exit(3)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_a_process_that_leaves_while_its_destination_is_away_leaves_it_all_on_disk(start, later, tmp_path, leaving):
    endpoint, receiver = later
    process = start(
        endpoint, f"llm_otel_broadcast.instrument(endpoint=endpoint, spool=spool)\ncall('last')\n{leaving}\n"
    )
    process.wait(30)
    assert process.returncode in (3, -signal.SIGTERM)
    with receiver() as running:
        llm_otel_broadcast.instrument(endpoint=endpoint, spool=tmp_path / "spool")
        until(lambda: arrived(running) == ["last"], 40.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_parent_and_children_share_one_spool_and_nothing_is_sent_twice(start, later, tmp_path):
    endpoint, receiver = later
    process = start(
        endpoint,
        """
llm_otel_broadcast.instrument(endpoint=endpoint, spool=spool, durable=True)
call("parent")
children = []
for number in range(4):
    time.sleep(0.3)
    child = os.fork()
    if not child:
        call(f"child-{number}")
        os._exit(0)
    children.append(child)
call("parent again")
for child in children:
    assert os.waitpid(child, 0)[1] == 0
""",
    )
    errors = process.communicate(timeout=60)[1]
    assert (process.returncode, "Traceback" in errors) == (0, False), errors
    with receiver() as running:
        llm_otel_broadcast.instrument(endpoint=endpoint, spool=tmp_path / "spool")
        expected = sorted(["parent", "parent again", *(f"child-{number}" for number in range(4))])
        until(lambda: len(arrived(running)) >= len(expected), 40.0)
        time.sleep(0.5)
        assert arrived(running) == expected


def test_a_private_destination_has_no_content_on_disk(stand_in, tmp_path):
    llm_otel_broadcast.instrument(
        endpoint=refusing(), headers={"x-key": "my-secret-key"}, privacy_mode=True, spool=tmp_path / "spool"
    )
    chat("sync", stand_in.base_url, messages=[{"role": "user", "content": "a very private prompt"}])
    llm_otel_broadcast.shutdown(5)
    content = b"".join(file.read_bytes() for file in (tmp_path / "spool").iterdir())
    assert b"resourceSpans" in content
    assert b"private prompt" not in content
    assert b"my-secret-key" not in content


def test_the_variable_and_the_file_name_a_spool_too(monkeypatch, tmp_path, stand_in):
    monkeypatch.setenv("LLM_OTEL_BROADCAST_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("LLM_OTEL_BROADCAST_DURABLE", "true")
    llm_otel_broadcast.instrument(endpoint=refusing())
    chat("sync", stand_in.base_url)
    until((tmp_path / "spool").is_dir, 10.0)


def test_without_a_spool_sqlite_is_not_imported(stand_in, receiver):
    program = (
        "import sys, llm_otel_broadcast\n"
        f"llm_otel_broadcast.instrument(endpoint={receiver.endpoint!r})\n"
        "print(sorted(name for name in sys.modules if 'sqlite' in name or 'broadcast.spool' in name))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout.strip() == "[]"


def test_a_fork_waits_while_openssl_looks_algorithms_up(tmp_path, monkeypatch):
    """A child that was forked in that moment would wait for ever for OpenSSL's lock, at its first TLS context for instance."""
    kept_out = []

    def slow_hash(*arguments):
        def try_to_fork():
            with importing.within(0.05) as is_free:
                kept_out.append(not is_free)

        forking = threading.Thread(target=try_to_fork)
        forking.start()
        forking.join()
        return original(*arguments)

    original = hashlib.pbkdf2_hmac
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", slow_hash)
    assert shelf_at(tmp_path / "spool", "http://localhost").identity
    assert kept_out == [True]
