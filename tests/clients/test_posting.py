"""`client.post("/chat/completions")`, which LiteLLM calls in place of `create`: the same call, recorded the same way."""

from __future__ import annotations

import asyncio
import sys
import traceback
from operator import attrgetter

import openai
import pytest
import wrapt
from openai import AsyncStream, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from opentelemetry import context

import llm_otel_broadcast
from llm_otel_broadcast.stand_in.answers import message, stream, usage_of
from tests.support.client_calls import KINDS, MESSAGES

BODY = {"model": "gpt-4o-mini", "messages": MESSAGES}
_MAX_FRAMES_UNWATCHED = 12
RAW = {"headers": {"X-Stainless-Raw-Response": "true"}}


@pytest.fixture(params=KINDS)
def post(request, stand_in):
    """Return what posts with a client and gives the result; of a stream the list of its chunks."""

    def call(path="/chat/completions", *, cast_to=ChatCompletion, body=BODY, base_url=stand_in.base_url, **more):
        if request.param == "sync":
            with openai.OpenAI(api_key="sk-test", base_url=base_url, max_retries=0) as client:
                kind = {"stream_cls": Stream[ChatCompletionChunk]} if more.get("stream") else {}
                result = client.post(path, cast_to=cast_to, body=body, **kind, **more)
                return list(result) if isinstance(result, Stream) else result

        async def wait():
            async with openai.AsyncOpenAI(api_key="sk-test", base_url=base_url, max_retries=0) as client:
                kind = {"stream_cls": AsyncStream[ChatCompletionChunk]} if more.get("stream") else {}
                result = await client.post(path, cast_to=cast_to, body=body, **kind, **more)
                return [chunk async for chunk in result] if isinstance(result, AsyncStream) else result

        return asyncio.run(wait())

    return call


def test_it_is_recorded_like_create(post, client, instrumented, arrived):
    instrumented()
    assert post().choices[0].message.content.startswith("Hello!")
    client.chat.completions.create(**BODY)
    posted, created = arrived(2)
    changing = ("gen_ai.response.id",)
    facts = [
        {key: value for key, value in span.attributes.items() if key not in changing} for span in (posted, created)
    ]
    assert facts[0] == facts[1]
    assert posted.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert posted.name == created.name


@pytest.mark.parametrize("path", ["/chat/completions", "chat/completions"])
def test_the_path_may_be_written_as_the_client_takes_it(post, instrumented, arrived, path):
    instrumented()
    post(path)
    arrived(1)


def test_a_raw_response_is_recorded_from_its_bytes(post, instrumented, arrived):
    instrumented()
    assert post(options=RAW).status_code == 200
    assert "Hello!" in arrived(1)[0].attributes["gen_ai.output.messages"]


def test_the_http_response_itself_is_recorded_from_its_bytes(post, client, instrumented, arrived):
    instrumented()
    response = post(cast_to=type(client.chat.completions.with_raw_response.create(**BODY).http_response))
    assert response.json()["choices"]
    assert ["Hello!" in span.attributes["gen_ai.output.messages"] for span in arrived(2)] == [True, True]


def test_a_stream_is_recorded_when_it_ends(post, stand_in, instrumented, arrived):
    stand_in.script(stream(message("Posted words."), usage=usage_of(3, 2)))
    instrumented()
    assert post(body={**BODY, "stream": True}, stream=True)
    (span,) = arrived(1)
    assert "Posted words." in span.attributes["gen_ai.output.messages"]
    assert span.attributes["gen_ai.usage.input_tokens"] == 3


def test_a_raw_stream_is_recorded_through_its_own_parse(client, stand_in, instrumented, arrived):
    """The way of LiteLLM's streams."""
    stand_in.script(stream(message("Posted words."), usage=usage_of(3, 2)))
    instrumented()
    kind = Stream[ChatCompletionChunk]
    body = {**BODY, "stream": True}
    raw = client.post("/chat/completions", cast_to=ChatCompletion, body=body, options=RAW, stream=True, stream_cls=kind)
    assert len(list(raw.parse())) > 2
    (span,) = arrived(1)
    assert "Posted words." in span.attributes["gen_ai.output.messages"]
    assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]


def test_usage_can_be_asked_for_in_the_callers_place(post, stand_in, instrumented, arrived):
    instrumented(request_stream_usage=True)
    assert all(chunk.choices for chunk in post(body={**BODY, "stream": True}, stream=True))
    assert stand_in.requests[0].json["stream_options"] == {"include_usage": True}
    assert arrived(1)[0].attributes["gen_ai.usage.total_tokens"] > 0


FIELDS = {"session_id": "session_abc", "trace": {"generation_name": "Posted", "team": "red"}}


@pytest.mark.parametrize("given", [{"options": {"extra_json": FIELDS}}, {"body": {**BODY, **FIELDS}}], ids=str)
def test_trace_fields_are_read_and_stay_out_of_the_request(post, stand_in, instrumented, arrived, given):
    instrumented()
    post(**given)
    (span,) = arrived(1)
    assert (span.name, span.attributes["session.id"]) == ("Posted", "session_abc")
    assert span.attributes["trace.metadata.team"] == "red"
    assert stand_in.requests[0].json == BODY
    assert FIELDS["session_id"] == "session_abc"


def test_forwarded_fields_go_out_once(post, stand_in, instrumented):
    instrumented(forward_trace_fields=True)
    post(body={**BODY, **FIELDS}, options={"extra_json": {"top_k": 1}})
    assert stand_in.requests[0].json == {**BODY, **FIELDS, "top_k": 1}


def test_a_session_in_a_header_is_read(post, instrumented, arrived):
    instrumented()
    post(options={"headers": {"x-session-id": "from_header"}})
    assert arrived(1)[0].attributes["session.id"] == "from_header"


@pytest.mark.parametrize("body", [{"model": "m"}, {5: "five"}, {"messages": [], "self": 2}, [1], None], ids=str)
def test_any_body_goes_out_as_it_would(post, stand_in, instrumented, body):
    post(body=body, cast_to=object)
    instrumented()
    post(body=body, cast_to=object)
    plain, traced = stand_in.requests
    assert traced.body == plain.body


def test_other_paths_are_not_recorded(post, instrumented, arrived):
    instrumented()
    with pytest.raises(openai.NotFoundError):
        post("/files")
    arrived(0)


def test_an_error_leaves_as_it_would(post, instrumented, arrived):
    body = {**BODY, "messages": [{"role": "user", "content": "trigger error"}]}
    with pytest.raises(openai.BadRequestError) as plain:
        post(body=body)
    instrumented()
    with pytest.raises(openai.BadRequestError) as traced:
        post(body=body)
    assert _frames(traced.value) == _frames(plain.value)
    assert arrived(1)[0].attributes["http.response.status_code"] == 400


def test_a_post_of_the_clients_own_method_leaves_no_frame_in_an_error(client, stand_in, instrumented, arrived):
    body = {**BODY, "messages": [{"role": "user", "content": "trigger error"}]}
    with pytest.raises(openai.BadRequestError) as plain:
        client.chat.completions.create(**body)
    instrumented()
    with (
        openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url, max_retries=0) as other,
        pytest.raises(openai.BadRequestError) as traced,
    ):
        other.chat.completions.create(**body)
    assert _frames(traced.value) == _frames(plain.value)
    arrived(1)


def _frames(error):
    return [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)][1:]


def test_a_call_inside_a_generator_of_messages_is_recorded_too(client, stand_in, instrumented, arrived):
    instrumented()

    def thoughts():
        yield {"role": "user", "content": client.chat.completions.create(**BODY).id}

    client.chat.completions.create(model="gpt-4o", messages=thoughts())
    assert len(stand_in.requests) == 2
    arrived(2)


def _itself(client):
    return client


@pytest.mark.parametrize(
    ("watched", "posting"),
    [
        (_itself, _itself),
        (wrapt.ObjectProxy, _itself),
        (_itself, lambda client: client.with_options(timeout=5)),
        (attrgetter("chat"), _itself),
        (attrgetter("chat.completions"), _itself),
        (attrgetter("embeddings"), None),
    ],
    ids=["client", "proxy", "copy", "package", "resource", "another resource"],
)
def test_it_is_recorded_for_a_single_client(client, stand_in, instrumented, arrived, watched, posting):
    instrumented(client=watched(client))
    (posting or _itself)(client).post("/chat/completions", cast_to=ChatCompletion, body=BODY)
    with openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url) as other:
        other.post("/chat/completions", cast_to=ChatCompletion, body=BODY)
    arrived(0 if posting is None else 1)


def _suppressed(call):
    key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")
    token = context.attach(context.set_value(key, True))
    try:
        call()
    finally:
        context.detach(token)


def test_suppressed_it_is_not_recorded(post, instrumented, arrived):
    instrumented()
    _suppressed(post)
    arrived(0)


@pytest.mark.parametrize("way", ["filtered", "suppressed"])
def test_next_to_nothing_of_ours_runs_in_a_call_that_nobody_watches(client, stand_in, instrumented, arrived, way):
    """A look at who watches in `create`, and one in `request`: the request is not read."""
    entered: list[str] = []

    def note(frame, event, _argument):
        if event == "call" and frame.f_globals.get("__name__", "").startswith("llm_otel_broadcast"):
            entered.append(frame.f_code.co_name)

    def call():
        sys.setprofile(note)
        try:
            client.chat.completions.create(**BODY)
        finally:
            sys.setprofile(None)

    with openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url) as other:
        instrumented(**({"client": other} if way == "filtered" else {}))
        # The first call imports what the client has for chats, which is patched then.
        for _ in range(2):
            entered.clear()
            call() if way == "filtered" else _suppressed(call)
    # the two functions that stand for the client's are among them
    assert "create" in entered
    assert len(entered) <= _MAX_FRAMES_UNWATCHED, " ".join(entered)
    arrived(0)


def test_azure_is_named(stand_in, instrumented, arrived):
    instrumented()
    with openai.AzureOpenAI(api_key="x", api_version="2024-10-21", azure_endpoint=stand_in.url) as client:
        client.post("/chat/completions", cast_to=ChatCompletion, body=BODY)
    assert arrived(1)[0].attributes["gen_ai.provider.name"] == "azure.ai.openai"


def test_uninstrument_leaves_the_client_as_it_was(instrumented):
    before = [dict(vars(kind)) for kind in (openai.OpenAI, openai.AsyncOpenAI)]
    instrumented()
    assert "request" in vars(openai.OpenAI)
    llm_otel_broadcast.uninstrument()
    assert [dict(vars(kind)) for kind in (openai.OpenAI, openai.AsyncOpenAI)] == before
