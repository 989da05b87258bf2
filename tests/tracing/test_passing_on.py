"""What of a block goes out: to the gateway in a request, and by hand to another process."""

from __future__ import annotations

import json

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as some
from opentelemetry import trace

from llm_otel_broadcast import current_trace_fields, trace_context, traced_generation
from tests.support.client_calls import MESSAGES, chat
from tests.tracing.trees import by_name


@pytest.fixture
def openrouter(stand_in, monkeypatch):
    """A client that believes it talks to openrouter.ai: the stand-in is its proxy."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, stand_in.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with openai.OpenAI(api_key="sk-test", base_url="http://openrouter.ai/api/v1", max_retries=0) as client:
        yield client


def test_the_gateways_spans_hang_below_ours_inside_a_block(openrouter, stand_in, instrumented, arrived):
    instrumented(link_gateway=True)

    @traced_generation(span_name="own")
    def ask() -> None:
        openrouter.chat.completions.create(model="openai/gpt-4o", messages=MESSAGES)

    with trace_context(trace_name="Request"):
        ask()
    spans = by_name(arrived(3))
    call = spans["chat openai/gpt-4o"]
    assert call.parent_span_id == spans["own"].span_id
    assert stand_in.requests[0].json["trace"] == {"trace_id": call.trace_id, "parent_span_id": call.span_id}


def test_what_a_context_says_stays_here_unless_it_is_to_be_forwarded(client, stand_in, instrumented):
    instrumented()
    with trace_context(trace_name="Request", session_id="s", user="u", team="red"):
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert stand_in.requests[0].json.keys() == {"model", "messages"}


def test_forwarding_sends_the_merged_fields_of_context_decorator_and_call(client, stand_in, instrumented):
    instrumented(forward_trace_fields=True)

    @traced_generation(generation_name="Generate", tier=lambda tier: tier)
    def ask(tier: int) -> None:
        client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, extra_body={"trace": {"team": "blue"}, "provider": {"order": ["Azure"]}}
        )

    with trace_context(trace_id="order-1", trace_name="Request", session_id="s", user="u", team="red", odd=object):
        ask(3)
    sent = stand_in.requests[0].json
    assert (sent["session_id"], sent["user"], sent["provider"]) == ("s", "u", {"order": ["Azure"]})
    assert "class" in sent["trace"].pop("odd")
    assert sent["trace"] == {
        "trace_id": "order-1",
        "trace_name": "Request",
        "generation_name": "Generate",
        "team": "blue",
        "tier": 3,
    }


def test_forwarding_and_linking_go_together_in_a_block(openrouter, stand_in, instrumented, arrived):
    instrumented(forward_trace_fields=True, link_gateway=True)
    with trace_context(trace_name="Request", team="red"):
        openrouter.chat.completions.create(model="openai/gpt-4o", messages=MESSAGES)
    call = by_name(arrived(2))["chat openai/gpt-4o"]
    told = stand_in.requests[0].json["trace"]
    assert (told["trace_id"], told["parent_span_id"]) == (call.trace_id, call.span_id)
    assert (told["trace_name"], told["team"]) == ("Request", "red")


def test_the_fields_passed_on_may_be_a_calls_own(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Request", span_name="Step", team="red"):
        carried = current_trace_fields()
    chat("sync", stand_in.base_url, extra_body={"trace": carried})
    spans = by_name(arrived(3))
    call = spans["chat gpt-4o-mini"]
    assert (call.trace_id, call.parent_span_id) == (spans["Step"].trace_id, spans["Step"].span_id)
    assert call.attributes["trace.metadata.team"] == "red"


def test_given_ids_without_a_span_of_ours_are_passed_on_as_they_are():
    with trace_context(trace_id="order-1", parent_span_id="step-2"):
        assert current_trace_fields() == {"trace_id": "order-1", "parent_span_id": "step-2"}
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    with trace_context(traceparent=parent):
        assert current_trace_fields() == {"traceparent": parent}


def test_the_apps_current_span_is_passed_on_too():
    above = trace.SpanContext(int("a" * 32, 16), int("b" * 16, 16), is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(above)), trace_context(team="red"):
        assert current_trace_fields() == {"team": "red", "trace_id": "a" * 32, "parent_span_id": "b" * 16}


def test_a_decorated_function_is_what_is_passed_on_in_it(instrumented, arrived):
    instrumented()

    @traced_generation(span_name="own")
    def carry() -> dict[str, str]:
        return current_trace_fields()

    carried = carry()
    own = by_name(arrived(1))["own"]
    assert (carried["trace_id"], carried["parent_span_id"]) == (own.trace_id, own.span_id)


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


anything = some.recursive(
    some.none() | some.booleans() | some.floats() | some.integers() | some.text() | some.binary() | some.builds(Broken),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(some.dictionaries(some.sampled_from(["trace_name", "session_id", "user", "privacy", "a", "b"]), anything))
def test_whatever_is_said_can_be_passed_on_as_json(said):
    with trace_context(**said):
        carried = json.dumps(current_trace_fields(), allow_nan=False)
    with trace_context(**json.loads(carried)):
        assert json.loads(json.dumps(current_trace_fields())).get("trace_id") == json.loads(carried).get("trace_id")
