"""A real collector as an agent beside the app, which alone knows the key of the backend behind it."""

from __future__ import annotations

import pytest

from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.receiver.server import _RefusedError
from tests.backends.broadcasts import broadcast, reference_call
from tests.support.installed_programs import free_port, running

pytestmark = pytest.mark.backend

KEY = "Bearer of-the-backend"


class Guarded(OtlpReceiver):
    """A receiver that takes nothing without the key."""

    def _accept(self, request, fault):
        if request.headers.get("authorization") != KEY:
            raise _RefusedError(401, "wrong or missing key")
        return super()._accept(request, fault)


@pytest.fixture
def backend():
    with Guarded() as receiver:
        yield receiver


@pytest.fixture
def agent(rotel_agent, backend, tmp_path):
    """Return what runs the agent with a key for the length of a `with` block, and its traces URL."""

    def run(key):
        port = free_port()
        command = [rotel_agent, "start", "--otlp-http-endpoint", f"127.0.0.1:{port}"]
        command += ["--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}", "--exporter", "otlp"]
        command += [
            "--otlp-exporter-protocol",
            "http",
            "--otlp-exporter-endpoint",
            backend.endpoint.removesuffix("/v1/traces"),
        ]
        environment = {
            "ROTEL_OTLP_EXPORTER_CUSTOM_HEADERS": f"Authorization={key}"
        }  # not on the command line, as with us
        address = f"http://127.0.0.1:{port}"
        return running(command, address, tmp_path, environment, status=404), f"{address}/v1/traces"

    return run


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_the_agent_shows_the_key_and_the_app_needs_none(agent, backend, encoding):
    process, endpoint = agent(KEY)
    with process:
        sent = broadcast(endpoint, reference_call, encoding=encoding, compression="gzip")
        arrived = backend.store.wait_for(len(sent.spans), 30.0)
    assert {span.span_id: span for span in arrived} == {span.span_id: span for span in sent.spans}
    assert len(arrived) == 2
    assert all("authorization" not in request.headers for request in sent.requests)


def test_the_app_does_not_learn_that_the_agents_key_is_wrong(agent, backend):
    """Why the check of a destination cannot stop at the agent: what it says is about the agent."""
    process, endpoint = agent("Bearer something-else")
    with process:
        sent = broadcast(endpoint, reference_call)
        backend.wait_for_requests(1, 30.0)
    assert (sent.books.delivered, sent.books.dropped) == (1, {})
    assert backend.store.spans() == []
