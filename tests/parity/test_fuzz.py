"""Whatever comes over the wire: the host gets exactly what it gets without us, and one span of it arrives in both encodings.

Quickly, with the same examples each time; `FUZZ_EXAMPLES=2500` (nox session `fuzz`) tries so many, others each time.
"""

from __future__ import annotations

import asyncio
import json
import types
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.stand_in.answers import Answer
from tests.parity.observation import described
from tests.support.client_calls import KINDS, MESSAGES
from tests.support.fuzzing import TEXTS, fuzzed, json_values
from tests.support.host_usage import client_of, each, note_result, run, settled
from tests.support.scenarios import CHAT

COMPLETIONS = openai.resources.chat.completions
ORIGINAL = {"sync": COMPLETIONS.Completions.create, "async": COMPLETIONS.AsyncCompletions.create}
PLAIN = {
    "sync": type("Completions", (COMPLETIONS.Completions,), {"create": ORIGINAL["sync"]}),
    "async": type("AsyncCompletions", (COMPLETIONS.AsyncCompletions,), {"create": ORIGINAL["async"]}),
}
"""The client's classes with the client's own functions, whatever is instrumented."""
REQUEST = {"sync": openai.OpenAI.request, "async": openai.AsyncOpenAI.request}

KEYS = (
    *(
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "service_tier",
        "system_fingerprint",
        "provider",
        "error",
    ),
    *("index", "message", "delta", "finish_reason", "native_finish_reason", "logprobs", "role", "content", "refusal"),
    *(
        "tool_calls",
        "function",
        "custom",
        "type",
        "name",
        "arguments",
        "input",
        "audio",
        "annotations",
        "text",
        "summary",
    ),
    *(
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "code",
    ),
    *(
        "prompt_tokens_details",
        "completion_tokens_details",
        "cached_tokens",
        "reasoning_tokens",
        "cost",
        "cost_details",
    ),
    *("upstream_inference_cost", "is_byok", "openrouter_metadata", "attempts", "status"),
)
VALUES = json_values(KEYS)


def either(strategy: Any) -> Any:
    """Mostly what belongs there, now and then anything."""
    return st.one_of(strategy, strategy, strategy, VALUES)


def members(**known: Any) -> Any:
    return either(st.fixed_dictionaries({}, optional={name: either(value) for name, value in known.items()}))


COUNT = st.integers(0, 2**70)
USAGE = members(
    prompt_tokens=COUNT,
    completion_tokens=COUNT,
    total_tokens=COUNT,
    cost=st.floats(),
    prompt_tokens_details=members(cached_tokens=COUNT, audio_tokens=COUNT),
    completion_tokens_details=members(reasoning_tokens=COUNT),
    cost_details=members(upstream_inference_cost=st.floats(), upstream_inference_prompt_cost=st.floats()),
)
FUNCTION = members(name=TEXTS, arguments=TEXTS)
CALL = members(id=TEXTS, index=st.integers(-1, 3), type=st.just("function"), function=FUNCTION)
SAID = members(
    role=st.just("assistant"),
    content=TEXTS,
    refusal=TEXTS,
    reasoning=TEXTS,
    reasoning_details=st.lists(members(text=TEXTS, summary=TEXTS), max_size=2),
    tool_calls=st.lists(CALL, max_size=3),
)
CHOICE = members(
    index=st.integers(0, 3), message=SAID, delta=SAID, finish_reason=st.sampled_from(["stop", "length", ""])
)
DOCUMENT = members(
    id=TEXTS,
    model=TEXTS,
    provider=TEXTS,
    choices=st.lists(CHOICE, max_size=3),
    usage=USAGE,
    error=members(code=st.integers() | TEXTS, message=TEXTS),
    service_tier=TEXTS,
    openrouter_metadata=members(attempts=st.lists(members(provider=TEXTS, model=TEXTS, status=COUNT), max_size=2)),
)
KINDS_OF_CONTENT = st.sampled_from(
    ["application/json", "application/json; charset=utf-16", "text/html", "", "application/problem+json", "; ;"]
)
HEADERS = st.fixed_dictionaries(
    {"Content_Type": KINDS_OF_CONTENT},
    optional={
        "x-request-id": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
        "openai-processing-ms": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8),
        "x-ratelimit-remaining-tokens": st.sampled_from(["", "-1", "many"]),
    },
)


def written(value: Any) -> bytes:
    return json.dumps(value).encode()


def event(value: Any) -> bytes:
    return b"data: " + written(value) + b"\n\n"


EVENTS = st.lists(
    st.one_of(
        *[DOCUMENT.map(event)] * 5,
        st.binary(max_size=30),
        st.sampled_from(
            [b"data: [DONE]\n\n", b": comment\n\n", b"event: x\n", b"data:", b"\n\n", b"retry: 1\nid: \x00\n\n"]
        ),
    ),
    max_size=8,
).map(tuple)


class Pair:
    """Two clients of one kind: one sees everything through us, the other past us."""

    def __init__(self, kind: str, stand_in: Any, runner: Any) -> None:
        self.calls = 0
        self.kind = kind
        self._stand_in = stand_in
        self._run = runner
        self._clients = [client_of(kind, stand_in.base_url) for _ in range(2)]
        self._clients[0].request = types.MethodType(REQUEST[kind], self._clients[0])
        self._resources = [PLAIN[kind](self._clients[0]), self._clients[1].chat.completions]

    def compare(self, answer: Answer, *, stream: bool, raw: bool, **more: Any) -> None:
        self.calls += 1
        plain, traced = (self._run(self._outcome(resource, answer, stream, raw, more)) for resource in self._resources)
        assert traced == plain

    async def _outcome(self, resource: Any, answer: Answer, stream: bool, raw: bool, more: dict[str, Any]) -> list[str]:
        self._stand_in.script(answer)
        notes: list[str] = []
        note = lambda *facts: notes.append(repr(facts))  # noqa: E731  # of what is no number, only the text is equal
        try:
            target = resource.with_raw_response if raw else resource
            got = await settled(target.create(**{"model": "m", "messages": MESSAGES, "stream": stream, **more}))
            if raw:
                note(got.status_code, got.retries_taken, got.request_id)
                got = await settled(got.parse())
            if stream:
                note(type(got))
                async for chunk in each(got):
                    note(chunk)
            else:
                note_result(got, note)
        except Exception as error:
            note(described(error))
        return notes

    def close(self) -> None:
        for client in self._clients:
            self._run(settled(client.close()))


@pytest.fixture(params=KINDS)
def pair(request, stand_in, receiver):
    """... and in the end every call has arrived once in each encoding, and no error of ours was stopped."""
    destinations = [
        Destination(name=encoding, endpoint=receiver.endpoint, encoding=encoding, batch_delay=0.01)
        for encoding in ("json", "protobuf")
    ]
    handle = llm_otel_broadcast.instrument(destinations=destinations)
    with asyncio.Runner() as runner:
        made = Pair(request.param, stand_in, runner.run if request.param == "async" else lambda work: run("sync", work))
        yield made
        made.close()
    assert handle.flush(30), handle.status()
    assert [lane.delivered for lane in handle.status().destinations] == [made.calls] * 2
    assert not handle.status().internal_errors


@fuzzed
@given(value=DOCUMENT, headers=HEADERS, raw=st.booleans())
def test_any_json_is_received_as_without_us(pair, value, headers, raw):
    pair.compare(Answer(body=written(value), headers=headers), stream=False, raw=raw)


@fuzzed
@given(
    body=st.binary(max_size=60), status=st.sampled_from([200, 201, 400, 404, 422]), headers=HEADERS, raw=st.booleans()
)
def test_any_bytes_and_any_status_are_received_as_without_us(pair, body, status, headers, raw):
    pair.compare(Answer(status, body, headers=headers), stream=False, raw=raw)


@fuzzed
@given(events=EVENTS, cut=st.booleans(), raw=st.booleans())
def test_any_stream_is_received_as_without_us(pair, events, cut, raw):
    sent = tuple(sent for sent in events if sent)
    pair.compare(Answer(events=sent, cut=cut), stream=True, raw=raw)


WHOLE_STREAM = b"".join(CHAT["stream"].answer.events or ())
WHOLE_BODY = CHAT["plain"].answer.body


@fuzzed
@given(at=st.integers(0, len(WHOLE_STREAM)), splits=st.lists(st.integers(1, 400), max_size=4), cut=st.booleans())
def test_a_stream_that_ends_anywhere_is_received_as_without_us(pair, at, splits, cut):
    kept, pieces = WHOLE_STREAM[:at], []
    for size in splits:
        pieces.append(kept[:size])
        kept = kept[size:]
    sent = tuple(piece for piece in (*pieces, kept) if piece)
    pair.compare(Answer(events=sent, cut=cut), stream=True, raw=False)


@fuzzed
@given(at=st.integers(0, len(WHOLE_BODY)), cut=st.booleans(), raw=st.booleans())
def test_a_body_that_ends_anywhere_is_received_as_without_us(pair, at, cut, raw):
    sent = (WHOLE_BODY[:at],) if at else ()
    pair.compare(Answer(events=sent, cut=cut, headers={"Content_Type": "application/json"}), stream=False, raw=raw)


@fuzzed
@given(
    more=st.dictionaries(
        st.sampled_from(
            ["temperature", "top_p", "stop", "seed", "n", "user", "tools", "response_format", "max_tokens"]
        ),
        VALUES,
        max_size=3,
    ),
    messages=st.lists(VALUES, max_size=3),
)
def test_any_arguments_go_out_as_without_us(pair, stand_in, more, messages):
    before = len(stand_in.requests)
    pair.compare(CHAT["plain"].answer, stream=False, raw=False, messages=messages, **more)
    stand_in.forget_script()  # of a request that was never made
    sent = stand_in.requests[before:]
    assert len(sent) in (0, 2)
    assert len({request.body for request in sent}) <= 1
