"""What of the trace fields goes out in the request, on the wire, for OpenRouter and for everybody else."""

from __future__ import annotations

import openai
import pytest

from tests.support.client_calls import MESSAGES

FIELDS = {"trace_id": "app_trace_001", "trace_name": "Chat Handler", "environment": "staging"}
BODY = {"session_id": "session_abc", "trace": FIELDS, "provider": {"order": ["Azure"]}}


@pytest.fixture
def openrouter(stand_in, monkeypatch):
    """A client that believes it talks to openrouter.ai: the stand-in is its proxy."""
    monkeypatch.setenv("HTTP_PROXY", stand_in.url)
    monkeypatch.setenv("http_proxy", stand_in.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with openai.OpenAI(api_key="sk-test", base_url="http://openrouter.ai/api/v1", max_retries=0) as client:
        yield client


def call(client, **more):
    return client.chat.completions.create(model="openai/gpt-4o", messages=MESSAGES, **more)


def test_openrouter_gets_what_the_call_carries_unchanged(openrouter, stand_in, instrumented, arrived):
    instrumented()
    call(openrouter, user="u", extra_body=BODY)
    sent = stand_in.requests[0]
    assert sent.host == "openrouter.ai"
    assert {key: sent.json[key] for key in ("trace", "session_id", "provider", "user")} == {**BODY, "user": "u"}
    generation = arrived(2)[0]
    assert generation.attributes["gen_ai.provider.name"] == "openrouter"
    assert generation.attributes["server.address"] == "openrouter.ai"


def test_any_other_host_gets_the_rest_of_the_body_only(client, stand_in, instrumented):
    instrumented()
    call(client, user="u", extra_body=BODY)
    assert stand_in.requests[0].json == {
        "model": "openai/gpt-4o",
        "messages": MESSAGES,
        "user": "u",
        "provider": {"order": ["Azure"]},
    }


def test_the_callers_own_dicts_are_not_touched(client, instrumented):
    instrumented()
    body = {"session_id": "s", "trace": {"trace_name": "Root"}}
    call(client, extra_body=body)
    assert body == {"session_id": "s", "trace": {"trace_name": "Root"}}


def test_after_uninstrument_the_body_goes_out_whole(client, stand_in, instrumented):
    import llm_otel_broadcast

    instrumented()
    llm_otel_broadcast.uninstrument()
    call(client, extra_body=BODY)
    assert stand_in.requests[0].json["trace"] == FIELDS


def test_defaults_are_never_written_into_a_request(openrouter, stand_in, instrumented):
    instrumented(trace_defaults={"environment": "prod", "session_id": "d"})
    call(openrouter)
    assert stand_in.requests[0].json.keys() == {"model", "messages"}


def test_forwarding_sends_the_merged_fields_to_any_host(client, stand_in, instrumented):
    instrumented(forward_trace_fields=True, trace_defaults={"team": "red", "session_id": "d"})
    call(client, extra_body={"trace": FIELDS})
    sent = stand_in.requests[0].json
    assert sent["trace"] == {**FIELDS, "team": "red"}
    assert sent["session_id"] == "d"


def test_forwarding_turned_off_sends_none_to_openrouter(openrouter, stand_in, instrumented):
    instrumented(forward_trace_fields=False)
    call(openrouter, user="u", extra_body=BODY)
    assert stand_in.requests[0].json.keys() == {"model", "messages", "provider", "user"}


def test_linking_hangs_openrouters_own_spans_below_ours(openrouter, stand_in, instrumented, arrived):
    instrumented(link_gateway=True)
    call(openrouter, extra_body=BODY)
    generation = next(span for span in arrived(2) if span.kind == 3)
    sent = stand_in.requests[0].json["trace"]
    assert sent == {**FIELDS, "trace_id": generation.trace_id, "parent_span_id": generation.span_id}


def test_linking_leaves_other_hosts_alone(client, stand_in, instrumented):
    instrumented(link_gateway=True)
    call(client, extra_body=BODY)
    assert "trace" not in stand_in.requests[0].json


def test_the_session_header_is_read_and_goes_out_untouched(client, stand_in, instrumented, arrived):
    instrumented()
    call(client, extra_headers={"X-Session-Id": "from-header"})
    assert stand_in.requests[0].headers["x-session-id"] == "from-header"
    assert arrived(1)[0].attributes["session.id"] == "from-header"


def test_the_bodys_session_beats_the_headers(client, instrumented, arrived):
    instrumented()
    call(client, extra_headers={"X-Session-Id": "from-header"}, extra_body={"session_id": "from-body"})
    assert arrived(1)[0].attributes["session.id"] == "from-body"
