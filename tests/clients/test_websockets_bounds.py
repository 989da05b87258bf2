"""Web sockets: what is not ours to watch, or not there, and bounds of what is kept."""

from __future__ import annotations

import subprocess
import sys

from tests.clients.socket_server import (
    SocketServer,
    client_of,
    connect,
    converse,
)
from tests.clients.test_websockets import ASK, pytestmark, tell  # noqa: F401  # the mark holds for these, too
from tests.support.garbage import collect


def test_without_the_websockets_package_the_client_says_so_itself(receiver):
    program = f"""
import sys
sys.modules["websockets"] = None
import llm_otel_broadcast, openai
llm_otel_broadcast.instrument(endpoint={receiver.endpoint!r})
try:
    openai.OpenAI(api_key="x").responses.connect().enter()
except openai.OpenAIError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert "openai[realtime]" in done.stdout, done.stderr


def test_only_the_watched_client_is_recorded(instrumented, arrived):
    with SocketServer(lambda _event: tell()) as server, client_of(server) as mine, client_of(server) as other:
        instrumented(client=mine)
        for client in (mine, other):
            with connect(client, "responses") as connection:
                connection.send(ASK)
                while connection.recv().type != "response.completed":
                    pass
    arrived(1)


def test_unanswered_requests_are_bounded(instrumented, arrived):
    """A program that asks and never reads must not fill the memory."""
    instrumented()
    with (
        SocketServer(lambda _event: ()) as server,
        client_of(server) as client,
        client.responses.connect() as connection,
    ):
        for _ in range(300):
            connection.send({"type": "response.create", "model": "gpt-4o"})
    assert len(arrived()) == 256


def test_many_responses_leave_nothing_behind(instrumented):
    from llm_otel_broadcast.clients.openai.sockets import connection as sockets

    instrumented()
    with SocketServer(lambda _event: tell()) as server:
        for _ in range(3):
            converse("sync", server, "responses", *[ASK] * 3)
    collect()
    assert not list(sockets._unopened)
