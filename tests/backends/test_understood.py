"""Session, user, model and tokens are not only stored: each backend finds them by itself, under the names it knows."""

from __future__ import annotations

import json

import pytest

from tests.backends.broadcasts import TOOL, broadcast, hashed, reference_call
from tests.backends.http_requests import ask
from tests.backends.stored_spans import read_phoenix
from tests.support.deadlines import eventually

pytestmark = pytest.mark.backend


def test_agentmesh_shows_the_session_with_its_user_and_the_model_call(agentmesh):
    usage = broadcast(f"{agentmesh}/v1/traces", lambda client: reference_call(client, "understood")).result.usage
    trace_id = hashed("understood")
    session = ask(f"{agentmesh}/api/sessions/session_abc")
    assert session["user_id"] == "user_12345"
    assert trace_id in [trace["trace_id"] for trace in session["traces"]]
    (call,) = (call for call in ask(f"{agentmesh}/api/model-calls") if call["trace_id"] == trace_id)
    assert (call["model"], call["status"]) == ("openai/gpt-4o", "succeeded")
    assert (call["prompt_tokens"], call["completion_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)


@pytest.mark.parametrize("encoding", ["json", "protobuf"])
def test_mlflow_shows_the_session_the_user_and_the_tokens(mlflow, encoding):
    name = f"understood {encoding}"
    usage = broadcast(
        f"{mlflow}/v1/traces",
        lambda client: reference_call(client, name),
        encoding=encoding,
        headers={"x-mlflow-experiment-id": "0"},
    ).result.usage
    found = ask(f"{mlflow}/api/3.0/mlflow/traces/get?trace_id=tr-{hashed(name)}")["trace"]["trace_info"]
    assert found["state"] == "OK"
    told = found["trace_metadata"]
    assert (told["mlflow.trace.session"], told["mlflow.trace.user"]) == ("session_abc", "user_12345")
    tokens = json.loads(told["mlflow.trace.tokenUsage"])
    assert (tokens["input_tokens"], tokens["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)


def test_phoenix_shows_an_llm_span_with_model_and_tokens_in_the_session(phoenix):
    sent = broadcast(f"{phoenix}/v1/traces", lambda client: reference_call(client, "understood"), encoding="protobuf")
    trace_id, usage = hashed("understood"), sent.result.usage
    assert read_phoenix(phoenix, trace_id)  # it has stored them
    (span,) = ask(f"{phoenix}/v1/projects/default/spans?trace_id={trace_id}&span_kind=LLM")["data"]
    assert span["name"] == "Generate Response"
    found = span["attributes"]
    assert found["llm.model_name"] == "openai/gpt-4o"
    assert found["llm.token_count.prompt"] == usage.prompt_tokens
    assert found["llm.token_count.completion"] == usage.completion_tokens
    sessions = ask(f"{phoenix}/v1/projects/default/sessions")["data"]
    (session,) = (session for session in sessions if session["session_id"] == "session_abc")
    assert trace_id in [trace["trace_id"] for trace in session["traces"]]


def test_phoenix_shows_input_output_tools_user_and_metadata_of_the_openinference_dialect(phoenix):
    def calls(client):
        trace = {
            "trace_name": "Chat Handler",
            "generation_name": "Generate Response",
            "team": "red",
            "tags": ["a", "b"],
        }
        return client.chat.completions.create(
            model="openai/gpt-4o",
            messages=[{"role": "user", "content": "Hello!"}],
            tools=[TOOL],
            user="user_12345",
            extra_body={"session_id": "session_openinference", "trace": trace},
        )

    # Phoenix files by this header.
    settings = {"encoding": "protobuf", "dialect": "openinference", "headers": {"x-project-name": "shop"}}
    sent = broadcast(f"{phoenix}/v1/traces", calls, **settings)
    usage, answer = sent.result.usage, sent.result.choices[0].message.content
    eventually(
        lambda: "shop" in [project["name"] for project in ask(f"{phoenix}/v1/projects")["data"]], 30, "Phoenix to store"
    )
    stored = eventually(lambda: ask(f"{phoenix}/v1/projects/shop/spans")["data"], 30, "Phoenix to store")
    root, generation = (
        next(span for span in stored if span["name"] == name) for name in ("Chat Handler", "Generate Response")
    )
    assert (root["span_kind"], root["status_code"]) == ("CHAIN", "OK")
    assert (generation["span_kind"], generation["status_code"]) == ("LLM", "OK")
    expected = {
        "llm.input_messages.0.message.content": "Hello!",
        "llm.output_messages.0.message.content": answer,
        "output.value": answer,
        "llm.tools.0.tool.name": "get_weather",
        "llm.token_count.prompt": usage.prompt_tokens,
        "llm.token_count.completion": usage.completion_tokens,
        "metadata.team": "red",
        "tag.tags": ["a", "b"],
        "user.id": "user_12345",
    }
    assert expected.items() <= generation["attributes"].items()
    assert json.loads(generation["attributes"]["input.value"])["messages"][0]["role"] == "user"
    (session,) = ask(f"{phoenix}/v1/projects/shop/sessions")["data"]
    assert session["session_id"] == "session_openinference"
