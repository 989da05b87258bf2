"""The host comes first on the responses API too: same objects, same errors, same requests, and content only where it may go."""

from __future__ import annotations

import inspect
import traceback

import openai
import pytest
from opentelemetry import context

import llm_otel_broadcast
from llm_otel_broadcast.clients.openai.responses.background import Background
from llm_otel_broadcast.clients.openai.responses.reader import ResponsesReader
from llm_otel_broadcast.host import guard
from llm_otel_broadcast.record.generation import Generation, GenerationFacts
from llm_otel_broadcast.stand_in.routes import ERROR_WORDS
from tests.support.client_calls import needs_responses, respond
from tests.support.stand_in import responses

pytestmark = needs_responses

SECRET = "the launch code is 0000"
TOOLS = [
    {"type": "function", "name": "look_up", "description": SECRET, "parameters": {"type": "object"}, "strict": False},
    {
        "type": "mcp",
        "server_label": "wiki",
        "server_url": "https://wiki.example/mcp",
        "headers": {"Authorization": "Bearer mcp-secret"},
        "authorization": "mcp-secret",
    },
]
ANSWER = (
    responses.reasoning(SECRET),
    responses.text(SECRET, refusal=SECRET),
    responses.function_call("call_1", "look_up", f'{{"what": "{SECRET}"}}'),
    responses.item("web_search_call", action={"type": "search", "query": SECRET}),
)


def resources() -> list:
    with openai.OpenAI(api_key="sk-test") as client:
        made = [client.responses]
        if hasattr(client.beta, "responses"):
            made.append(client.beta.responses)
        return [type(resource) for resource in made]


def test_uninstrument_puts_the_very_same_functions_back(instrumented):
    before = [dict(vars(owner)) for owner in resources()]
    instrumented()
    assert all(vars(owner)["create"] is not known["create"] for owner, known in zip(resources(), before, strict=True))
    llm_otel_broadcast.uninstrument()
    for owner, known in zip(resources(), before, strict=True):
        assert all(vars(owner)[name] is value for name, value in known.items())


def test_name_signature_and_kind_of_the_methods_stay(instrumented):
    def facts():
        made = (owner.__dict__[name] for owner in resources() for name in ("create", "retrieve"))
        return [(inspect.signature(one), one.__name__, inspect.iscoroutinefunction(one)) for one in made]

    before = facts()
    instrumented()
    assert facts() == before


@pytest.mark.parametrize("method", ["create", "retrieve"])
def test_the_answer_equals_that_of_an_unpatched_client(kind, stand_in, instrumented, method):
    answer = responses.whole(*ANSWER, usage=responses.spent(1, 2))
    stand_in.script(answer, answer)
    given = ("resp_1",) if method == "retrieve" else ()
    plain = respond(kind, stand_in.base_url, *given, method=method)
    instrumented()
    traced = respond(kind, stand_in.base_url, *given, method=method)
    assert type(traced) is type(plain)
    assert traced == plain


def test_the_request_equals_that_of_an_unpatched_client(kind, stand_in, instrumented):
    respond(kind, stand_in.base_url, tools=TOOLS)
    instrumented()
    respond(kind, stand_in.base_url, tools=TOOLS)
    plain, traced = stand_in.requests
    assert (traced.path, traced.body) == (plain.path, plain.body)


def test_tools_that_can_be_iterated_once_reach_the_server_and_the_span(client, stand_in, instrumented, arrived):
    """A tracer must not consume what the client is to send."""
    instrumented()
    client.responses.create(model="gpt-4o", input="Hello!", tools=(dict(tool) for tool in TOOLS[:1]))
    assert stand_in.requests[-1].json["tools"] == TOOLS[:1]
    assert "look_up" in arrived(1)[0].attributes["gen_ai.tool.definitions"]


def test_input_that_the_client_refuses_is_refused_alike(client, instrumented):
    def refused() -> str:
        with pytest.raises(TypeError) as raised:
            client.responses.create(model="gpt-4o", input=(said for said in [{"role": "user", "content": "Hello!"}]))
        return str(raised.value)

    plain = refused()
    instrumented()
    assert refused() == plain


def test_the_fields_of_a_call_are_taken_out_of_the_request(stand_in, instrumented, arrived):
    instrumented()
    respond("sync", stand_in.base_url, extra_body={"trace": {"generation_name": "Ask"}, "session_id": "s"}, user="u")
    assert not {"trace", "session_id"} & stand_in.requests[0].json.keys()
    (span,) = arrived(1)
    assert span.name == "Ask"
    assert span.attributes["session.id"] == "s"
    assert span.attributes["user.id"] == "u"


def test_the_exception_is_the_clients_own_with_its_own_traceback(client, instrumented):
    def frames() -> list:
        with pytest.raises(openai.BadRequestError) as raised:
            client.responses.create(model="gpt-4o", input=ERROR_WORDS)
        return [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]

    plain = frames()
    instrumented()
    assert frames() == plain


def test_wrong_arguments_raise_the_clients_own_error(client, instrumented):
    for method, asked in (("create", {"no_such_argument": 1}), ("retrieve", {})):
        with pytest.raises(TypeError) as plain:
            getattr(client.responses, method)(**asked)
        instrumented()
        with pytest.raises(TypeError) as traced:
            getattr(client.responses, method)(**asked)
        assert str(traced.value) == str(plain.value)
        llm_otel_broadcast.uninstrument()


def test_the_context_is_clean_after_a_call(client, instrumented):
    instrumented()
    before = context.get_current()
    client.responses.create(model="gpt-4o", input="Hello!")
    client.responses.retrieve("resp_1")
    assert context.get_current() == before


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "settings", [{"privacy_mode": True}, {"capture_content": False}], ids=["privacy_mode", "capture_content"]
)
def test_no_content_leaves_when_nobody_may_have_it(kind, stand_in, receiver, instrumented, arrived, settings, streamed):
    answer = responses.streamed if streamed else responses.whole
    problem = {"code": "invalid_prompt", "message": SECRET}
    stand_in.script(answer(*ANSWER), answer(*ANSWER, status="failed", error=problem), answer(*ANSWER))
    instrumented(**settings)
    for _ in range(2):
        respond(kind, stand_in.base_url, input=SECRET, instructions=SECRET, tools=TOOLS, stream=streamed)
    respond(kind, stand_in.base_url, "resp_1", method="retrieve", stream=streamed)
    spans = arrived(3)
    assert not [request for request in receiver.requests if b"launch" in request.body]
    assert spans[0].attributes["gen_ai.response.tool_calls.count"] == 1
    assert spans[0].attributes["gen_ai.response.server_tool_calls.web_search"] == 1
    assert spans[1].attributes["error.type"] == "invalid_prompt"


@pytest.mark.parametrize("streamed", [False, True])
def test_what_nobody_wants_is_not_even_kept(streamed):
    record = Generation("chat")
    reader = ResponsesReader(Background())
    reader.read_request(record, {"input": SECRET, "instructions": SECRET, "tools": TOOLS}, content=False)
    if streamed:
        fold = reader.fold(record)
        for event in responses.events(responses.response(*ANSWER)):
            fold.add(event)
            if event["type"] == "response.output_item.done":
                assert "launch" not in str([getattr(fold, name, None) for name in ("_calls", "_server_calls")])
        fold.finish()
    else:
        reader.read_response(record, responses.response(*ANSWER))
    kept = [getattr(record, name) for name in (*GenerationFacts.__slots__, *Generation.__slots__)]
    assert record.tool_call_count == len(record.server_calls) == 1
    assert "launch" not in str(kept)


def test_what_a_remote_tool_is_called_with_for_the_provider_alone_is_never_recorded(
    stand_in, receiver, instrumented, arrived
):
    instrumented()
    respond("sync", stand_in.base_url, tools=TOOLS)
    assert "wiki.example" in arrived(1)[0].attributes["gen_ai.tool.definitions"]
    assert not [request for request in receiver.requests if b"mcp-secret" in request.body]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_of_ours_reaches_nobody(kind, stand_in, instrumented, monkeypatch, arrived, streamed):
    from llm_otel_broadcast.clients.openai.responses.events import ResponseFold
    from llm_otel_broadcast.clients.openai.responses.reader import ResponsesReader

    def broken(*_args, **_kwargs):
        raise RuntimeError("broken")

    plain = respond(kind, stand_in.base_url, stream=streamed)
    monkeypatch.setattr(guard, "raise_again", False)
    for owner, name in ((ResponsesReader, "read_request"), (ResponsesReader, "read_response"), (ResponseFold, "add")):
        monkeypatch.setattr(owner, name, broken)
    handle = instrumented()
    traced = respond(kind, stand_in.base_url, stream=streamed)
    assert [type(one) for one in traced] == [type(one) for one in plain]
    arrived(1)
    assert sum(handle.status().internal_errors.values()) >= 2


def test_a_single_client_can_be_watched(client, stand_in, receiver, instrumented, arrived):
    instrumented(client=client.responses)
    client.responses.create(model="gpt-4o", input="Hello!")
    respond("sync", stand_in.base_url)
    arrived(1)
