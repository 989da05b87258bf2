"""A web page in the developer's browser can reach whatever listens on the loop-back address; nothing of ours lets it in."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.stand_in.server import StandIn

FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "evil.example:80@127.0.0.1.evil.example"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
]
OWN = [
    {"Host": "localhost:80"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Host": "[::1]:1"},
    {"Sec-Fetch-Site": "same-site"},
]
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi."}]}
SERVERS = {
    "receiver": (OtlpReceiver, "/v1/traces", {"resourceSpans": []}),
    "stand-in": (StandIn, "/v1/chat/completions", CHAT),
}


def ask(server, path, document, head):
    address = server.endpoint if isinstance(server, OtlpReceiver) else server.url
    with closing(http.client.HTTPConnection("127.0.0.1", urlsplit(address).port, timeout=10)) as connection:
        connection.request("POST", path, json.dumps(document), {"Content-Type": "application/json", **head})
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("head", FOREIGN, ids=str)
@pytest.mark.parametrize("name", SERVERS)
def test_a_page_of_another_site_is_refused(name, head):
    """A browser sends simple requests without asking; a name that was pointed at this machine shows in Host."""
    kind, path, document = SERVERS[name]
    with kind() as server:
        status, body = ask(server, path, document, head)
        assert status == 403
        assert b"evil" not in body
        assert not server.requests or name == "receiver"


@pytest.mark.parametrize("head", OWN, ids=str)
@pytest.mark.parametrize("name", SERVERS)
def test_programs_and_pages_of_this_machine_are_served(name, head):
    kind, path, document = SERVERS[name]
    with kind() as server:
        assert ask(server, path, document, head)[0] == 200


def test_a_page_cannot_pass_for_a_program_that_asks_a_proxy():
    """What a client sends to a proxy is a whole URL; one inside a path or a query is none."""
    with StandIn() as server:
        assert ask(server, "/v1/chat/completions?a=http://b", CHAT, {"Host": "evil.example"})[0] == 403


@pytest.mark.parametrize("kind", [OtlpReceiver, StandIn])
def test_what_listens_does_so_on_the_loopback_address_alone(kind):
    with kind() as server:
        assert server._server.server_address[0] == "127.0.0.1"
