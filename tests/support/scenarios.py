"""What is called: one row an operation. Answers are fixed bytes, so that two runs get the same."""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from struct import pack
from typing import Any

import openai
from pydantic import BaseModel

from llm_otel_broadcast.stand_in.answers import Answer, completion, message, stream, usage_of
from tests.support.client_calls import MESSAGES

HEADERS = {"x-request-id": "req_parity"}
_NOTHING = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "look", "strict": True, "parameters": _NOTHING}}]
PICTURE = ("picture.png", b"\x89PNG not really", "image/png")
SOUND = ("sound.wav", b"RIFF not really", "audio/wav")
WHOLE = ("plain", "raw", "streaming")
STREAMED = ("stream", "raw_stream", "streaming_stream")


class City(BaseModel):
    """What `parse` is asked for."""

    name: str
    people: int


@dataclass(frozen=True)
class Operation:
    """One method of the client.

    Attributes:
        method: its path from the client.
        asked: its arguments.
        whole: what the API answers; None: it only streams.
        events: what it answers to `stream=True`; None: it does not stream.
        helper: the method returns a manager of its own, which streams.
    """

    name: str
    method: str
    asked: Mapping[str, Any]
    whole: Answer | None = None
    events: Answer | None = None
    helper: bool = False

    @property
    def forms(self) -> tuple[str, ...]:
        """How it can be called; see `using`."""
        if self.helper:
            return ("helper",)
        forms = (WHOLE if self.whole else ()) + (STREAMED if self.events else ())
        return tuple(form for form in forms if _has_form(self.method, form))


@dataclass(frozen=True)
class Scenario:
    """An operation in one of its forms."""

    operation: Operation
    form: str
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asked(self) -> dict[str, Any]:
        streamed = {"stream": True} if self.form in STREAMED else {}
        return {**self.operation.asked, **streamed, **self.more}

    @property
    def answer(self) -> Answer:
        answer = self.operation.events if self.is_streamed else self.operation.whole
        assert answer is not None
        return answer

    @property
    def is_streamed(self) -> bool:
        return self.form in (*STREAMED, "helper")

    def __str__(self) -> str:
        return f"{self.operation.name}-{self.form}"


def reach(client: Any, path: str) -> Any:
    """Return what stands at a path below a client."""
    for name in path.split("."):
        client = getattr(client, name)
    return client


@cache
def _has(path: str) -> bool:
    """Return whether the installed client has it."""
    try:
        return reach(_any_client("sync"), path) is not None
    except AttributeError:
        return False


@cache
def _any_client(kind: str) -> Any:
    if kind == "sync":
        return openai.OpenAI(api_key="x", http_client=openai.DefaultHttpxClient(verify=False))
    return openai.AsyncOpenAI(api_key="x", http_client=openai.DefaultAsyncHttpxClient(verify=False))


@cache
def owner_of(method: str, kind: str = "sync") -> type:
    """Return the class that has a method."""
    return type(reach(_any_client(kind), method.rpartition(".")[0]))


def _has_form(method: str, form: str) -> bool:
    owner, name = method.rsplit(".", 1)
    if form in STREAMED and "stream" not in inspect.signature(reach(_any_client("sync"), method)).parameters:
        return False
    wrapper = {"raw": "with_raw_response", "streaming": "with_streaming_response"}.get(form.removesuffix("_stream"))
    return wrapper is None or _has(f"{owner}.{wrapper}.{name}")


def body(document: Any, **headers: str) -> Answer:
    return Answer(body=document if isinstance(document, bytes) else json.dumps(document).encode(), headers=headers)


def events(*documents: dict[str, Any], named: bool = True, done: bool = False) -> Answer:
    """Return server-sent events; `named`: each tells its type, as the responses API does."""
    lines = [
        (f"event: {document['type']}\n" if named else "") + f"data: {json.dumps(document)}\n\n"
        for document in documents
    ]
    return Answer(events=tuple(line.encode() for line in [*lines, *(["data: [DONE]\n\n"] if done else [])]))


TEXT = {"type": "output_text", "text": "Hello you!", "annotations": []}
SAID = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [TEXT]}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_790_000_000,
    "status": "completed",
    "model": "gpt-4o-mini",
    "output": [SAID],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    },
}
_STARTED = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
_AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
RESPONSE_EVENTS = [
    {"type": "response.created", "response": _STARTED},
    {"type": "response.output_item.added", "output_index": 0, "item": {**SAID, "status": "in_progress", "content": []}},
    {"type": "response.content_part.added", **_AT, "part": {**TEXT, "text": ""}},
    {"type": "response.output_text.delta", **_AT, "delta": "Hello ", "logprobs": []},
    {"type": "response.output_text.delta", **_AT, "delta": "you!", "logprobs": []},
    {"type": "response.output_text.done", **_AT, "text": "Hello you!", "logprobs": []},
    {"type": "response.content_part.done", **_AT, "part": TEXT},
    {"type": "response.output_item.done", "output_index": 0, "item": SAID},
    {"type": "response.completed", "response": RESPONSE},
]
_IMAGE = base64.b64encode(b"a picture").decode()
_IMAGE_USAGE = {
    "total_tokens": 30,
    "input_tokens": 10,
    "output_tokens": 20,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
}
IMAGES = {"created": 1_790_000_000, "data": [{"b64_json": _IMAGE}], "usage": _IMAGE_USAGE}
_IMAGE_EVENT = {
    "b64_json": _IMAGE,
    "created_at": 1,
    "size": "1024x1024",
    "quality": "low",
    "background": "opaque",
    "output_format": "png",
}
IMAGE_EVENTS = [
    {"type": "image_generation.partial_image", **_IMAGE_EVENT, "partial_image_index": 0},
    {"type": "image_generation.completed", **_IMAGE_EVENT, "usage": _IMAGE_USAGE},
]
_TEXT_COMPLETION = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "gpt-3.5-turbo-instruct"}
_VECTOR = base64.b64encode(pack("<3f", 0.25, -0.5, 1.0)).decode()
_MODERATION = {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
_CHAT = {"model": "gpt-4o-mini", "messages": MESSAGES, "temperature": 0.5, "tools": TOOLS}
_PARSED = message('{"name": "Paris", "people": 2100000}')

ROWS = (
    Operation(
        "chat",
        "chat.completions.create",
        _CHAT,
        whole=completion(message("Hello!"), usage=usage_of(9, 3)),
        events=stream(message("Hello to all of you!"), usage=usage_of(9, 3)),
    ),
    Operation(
        "chat_tools",
        "chat.completions.create",
        {**_CHAT, "n": 2},
        whole=completion(message(tool_calls=[("call_1", "look", '{"at": "this"}')]), message("Or so.")),
        events=stream(message(tool_calls=[("call_1", "look", '{"at": "this one"}')]), message("Or so.")),
    ),
    Operation(
        "openrouter",
        "chat.completions.create",
        {**_CHAT, "model": "openai/gpt-4o"},
        whole=completion(
            message("Hm.", reasoning="Let me see."), model="openai/gpt-4o", usage=usage_of(9, 3, model="openai/gpt-4o")
        ),
        events=stream(
            message("Hm.", reasoning="Let me see."), model="openai/gpt-4o", usage=usage_of(9, 3, model="openai/gpt-4o")
        ),
    ),
    Operation("parse", "chat.completions.parse", {**_CHAT, "tools": [], "response_format": City}, completion(_PARSED)),
    Operation(
        "beta_parse",
        "beta.chat.completions.parse",
        {**_CHAT, "tools": [], "response_format": City},
        completion(_PARSED),
    ),
    Operation("helper", "chat.completions.stream", _CHAT, events=stream(message("Hello to you!")), helper=True),
    Operation(
        "beta_helper", "beta.chat.completions.stream", _CHAT, events=stream(message("Hello to you!")), helper=True
    ),
    Operation(
        "responses",
        "responses.create",
        {"model": "gpt-4o-mini", "input": "Hello?"},
        whole=body(RESPONSE),
        events=events(*({**event, "sequence_number": number} for number, event in enumerate(RESPONSE_EVENTS))),
    ),
    Operation(
        "responses_parse",
        "responses.parse",
        {"model": "gpt-4o-mini", "input": "Hello?", "text_format": City},
        whole=body({**RESPONSE, "output": [{**SAID, "content": [{**TEXT, "text": _PARSED["content"]}]}]}),
    ),
    Operation(
        "responses_helper",
        "responses.stream",
        {"model": "gpt-4o-mini", "input": "Hello?"},
        events=events(*({**event, "sequence_number": number} for number, event in enumerate(RESPONSE_EVENTS))),
        helper=True,
    ),
    Operation(
        "completions",
        "completions.create",
        {"model": "gpt-3.5-turbo-instruct", "prompt": "Once"},
        whole=body(
            {
                **_TEXT_COMPLETION,
                "choices": [{"index": 0, "text": " upon", "finish_reason": "stop", "logprobs": None}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        ),
        events=events(
            *(
                {**_TEXT_COMPLETION, "choices": [{"index": 0, "text": text, "finish_reason": why, "logprobs": None}]}
                for text, why in ((" upon", None), (" a time", None), ("", "length"))
            ),
            named=False,
            done=True,
        ),
    ),
    Operation(
        "embeddings",
        "embeddings.create",
        {"model": "text-embedding-3-small", "input": ["one", "two"]},
        whole=body(
            {
                "object": "list",
                "model": "text-embedding-3-small",
                "data": [{"object": "embedding", "index": index, "embedding": _VECTOR} for index in range(2)],
                "usage": {"prompt_tokens": 2, "total_tokens": 2},
            }
        ),
    ),
    Operation(
        "images_generate",
        "images.generate",
        {"model": "gpt-image-1", "prompt": "A cat"},
        whole=body(IMAGES),
        events=events(*IMAGE_EVENTS),
    ),
    Operation(
        "images_edit", "images.edit", {"model": "gpt-image-1", "prompt": "A hat", "image": PICTURE}, body(IMAGES)
    ),
    Operation("images_vary", "images.create_variation", {"image": PICTURE}, body(IMAGES)),
    Operation(
        "speech",
        "audio.speech.create",
        {"model": "tts-1", "voice": "alloy", "input": "Hi"},
        whole=body(b"\xff\xfbnot quite mp3", Content_Type="audio/mpeg"),
    ),
    Operation(
        "transcriptions",
        "audio.transcriptions.create",
        {"model": "gpt-4o-transcribe", "file": SOUND},
        whole=body({"text": "Hi", "usage": {"type": "duration", "seconds": 2}}),
        events=events({"type": "transcript.text.delta", "delta": "Hi"}, {"type": "transcript.text.done", "text": "Hi"}),
    ),
    Operation(
        "transcriptions_text",
        "audio.transcriptions.create",
        {"model": "whisper-1", "file": SOUND, "response_format": "text"},
        whole=body(b"Hi\n", Content_Type="text/plain"),
    ),
    Operation(
        "translations", "audio.translations.create", {"model": "whisper-1", "file": SOUND}, whole=body({"text": "Hi"})
    ),
    Operation(
        "moderations",
        "moderations.create",
        {"input": "Nice words"},
        whole=body({"id": "modr-1", "model": "omni-moderation-latest", "results": [_MODERATION]}),
    ),
    Operation(
        "decisions",
        "decisions.create",
        {
            "model": "gpt-6-luna",
            "input": "You have won!",
            "questions": [{"type": "predicate", "name": "spam", "question": "Is it spam?"}],
        },
        whole=body(
            {
                "model": "gpt-6-luna",
                "answers": [{"type": "predicate", "name": "spam", "probability": 0.9}],
                "usage": {"input_tokens": 50, "output_tokens": 3, "total_tokens": 53},
            }
        ),
    ),
)


def _with_headers(answer: Answer | None) -> Answer | None:
    return answer and replace(answer, headers={**HEADERS, **answer.headers})


OPERATIONS = tuple(
    replace(row, whole=_with_headers(row.whole), events=_with_headers(row.events)) for row in ROWS if _has(row.method)
)
SCENARIOS = tuple(Scenario(operation, form) for operation in OPERATIONS for form in operation.forms)
CHAT = {form: Scenario(OPERATIONS[0], form) for form in OPERATIONS[0].forms}
"""The forms of the commonest call."""
