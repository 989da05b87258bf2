"""What was sent is read back from backends that are not ours, through their own query APIs, once sent as JSON and once as protobuf."""

from __future__ import annotations

from hashlib import sha256

import pytest

from tests.backends.broadcasts import broadcast, hashed, reference_call, varied_calls
from tests.backends.stored_spans import READERS, plain

pytestmark = pytest.mark.backend

CASES = {
    # The page's own trace id once for each backend: a second call with it would land in the same trace.
    "agentmesh-json": "app_trace_001",
    "mlflow-json": "app_trace_001",
    "mlflow-protobuf": "app_trace_002",
    "phoenix-protobuf": "app_trace_001",
}
HEADERS = {"mlflow": {"x-mlflow-experiment-id": "0"}}
NOT_SHOWN = {
    "agentmesh": ("gen_ai.tool.definitions", "input.value", "output.value"),
    "phoenix": ("openinference.span.kind",),
}
"""What a backend's API does not give back among the attributes, whoever sends it; of some it makes fields of its own."""
MICROSECOND = 1_000


class Case:
    """One backend with one encoding."""

    def __init__(self, name, address):
        self.backend, self.encoding = name.split("-")
        self.address = address
        self.trace_id = CASES[name]

    def broadcast(self, calls):
        headers = HEADERS.get(self.backend, {})
        return broadcast(f"{self.address}/v1/traces", calls, encoding=self.encoding, headers=headers)

    def read(self, trace_id):
        return READERS[self.backend](self.address, hashed(trace_id))


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return Case(request.param, request.getfixturevalue(request.param.split("-")[0]))


@pytest.fixture(scope="module")
def sent(case):
    return case.broadcast(lambda client: reference_call(client, case.trace_id))


@pytest.fixture(scope="module")
def stored(case, sent):
    return {span.name: span for span in case.read(case.trace_id)}


def test_everything_is_delivered_at_the_first_try(sent):
    assert (sent.books.produced, sent.books.delivered, sent.books.retried) == (1, 1, 0)
    assert not sent.books.dropped
    assert sent.books.last_error is None


def test_both_spans_are_in_the_trace_that_openrouter_derives(case, stored):
    assert set(stored) == {"Chat Handler", "Generate Response"}
    assert {span.trace_id for span in stored.values()} == {sha256(case.trace_id.encode()).hexdigest()[:32]}


def test_the_generation_hangs_below_the_root(case, stored):
    root, generation = stored["Chat Handler"], stored["Generate Response"]
    assert root.parent_span_id == ""
    assert root.span_id == sha256(f"{hashed(case.trace_id)}/Chat Handler".encode()).hexdigest()[:16]
    assert generation.parent_span_id == root.span_id


@pytest.mark.parametrize("name", ["Chat Handler", "Generate Response"])
def test_user_session_and_metadata_are_on_every_span(case, stored, name):
    expected = {
        "user.id": "user_12345",
        "session.id": "session_abc",
        "trace.name": "Chat Handler",
        "trace.id": case.trace_id,
        "trace.metadata.environment": "staging",
        "trace.metadata.deployment": "us-east-1",
    }
    assert expected.items() <= stored[name].attributes.items()


def test_model_tokens_and_cost_are_what_the_answer_said(sent, stored):
    attributes, usage = stored["Generate Response"].attributes, sent.result.usage
    assert attributes["gen_ai.request.model"] == attributes["gen_ai.response.model"] == "openai/gpt-4o"
    assert attributes["gen_ai.usage.input_tokens"] == usage.prompt_tokens
    assert attributes["gen_ai.usage.output_tokens"] == usage.completion_tokens
    assert attributes["gen_ai.usage.total_tokens"] == usage.total_tokens
    assert attributes["gen_ai.usage.total_cost"] == usage.cost
    assert attributes["gen_ai.usage.cost.source"] == "response"


def test_prompt_and_answer_are_there(sent, stored):
    attributes = stored["Generate Response"].attributes
    (asked,), (answered,) = attributes["gen_ai.input.messages"], attributes["gen_ai.output.messages"]
    assert asked["parts"] == [{"type": "text", "content": "Hello!"}]
    assert answered["parts"] == [{"type": "text", "content": sent.result.choices[0].message.content}]


def test_every_kind_of_value_comes_back_as_it_left(case):
    """Numbers stay numbers of their kind, texts keep every character, errors are errors, times and links are right."""
    trace_id = f"varied {case.encoding}"
    sent = case.broadcast(lambda client: varied_calls(client, trace_id))
    stored = {span.span_id: span for span in case.read(trace_id)}
    assert set(stored) == {span.span_id for span in sent.spans}
    for span in sent.spans:
        found = stored[span.span_id]
        assert (found.name, found.trace_id, found.parent_span_id) == (span.name, span.trace_id, span.parent_span_id)
        assert found.failed == (span.status_code == 2)
        assert abs(found.start_ns - span.start_ns) <= MICROSECOND  # agentmesh and Phoenix keep microseconds
        assert abs(found.end_ns - span.end_ns) <= MICROSECOND
        wanted = plain(span.attributes)
        for lost in NOT_SHOWN.get(case.backend, ()):
            wanted.pop(lost, None)
        assert typed({key: found.attributes.get(key) for key in wanted}) == typed(wanted)


def typed(attributes):
    return {key: (type(value), value) for key, value in attributes.items()}
