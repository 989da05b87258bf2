"""The measured host: a real client whose transport answers from memory, so that nothing but Python runs on its thread."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import openai
from openai.types.chat import ChatCompletionChunk

from llm_otel_broadcast.stand_in.answers import Answer, completion, message, stream, usage_of

http = import_module("httpx2" if importlib.util.find_spec("httpx2") else "httpx")

MODEL = "gpt-4o"
TEXT = "It depends on what you measure, and on how often."
CHUNKS = 200
BACKGROUND_CHARS = 2_000
FIELDS = {
    "session_id": "session_abc",
    "trace": {
        "trace_name": "Chat Handler",
        "generation_name": "Answer",
        "environment": "staging",
        "deployment": "us-1",
    },
}
Work = Callable[[openai.OpenAI], object]


def _response(text: str) -> dict[str, object]:
    part = {"type": "output_text", "text": text, "annotations": []}
    output = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    usage = {
        "input_tokens": 400,
        "output_tokens": 12,
        "total_tokens": 412,
        "input_tokens_details": {"cached_tokens": 128},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    common = {"id": "resp_1", "object": "response", "created_at": 1_700_000_000, "model": MODEL, "tools": []}
    rest = {"tool_choice": "auto", "parallel_tool_calls": True, "status": "completed", "output": [output]}
    return {**common, **rest, "usage": usage}


def _answers() -> dict[str, bytes]:
    embedding = {"object": "embedding", "index": 0, "embedding": "AACAPw=="}
    embeddings = {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [embedding],
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }
    whole: Answer = completion(message(TEXT), model=MODEL, usage=usage_of(400, 12, cached_tokens=128))
    return {
        "/chat/completions": whole.body,
        "/responses": json.dumps(_response(TEXT)).encode(),
        "/embeddings": json.dumps(embeddings).encode(),
    }


def _transport_answer() -> Callable[[Any], Any]:
    answers = _answers()
    events = b"".join(stream(message("word " * CHUNKS), model=MODEL, usage=usage_of(400, CHUNKS)).events or ())

    def answer(request: Any) -> Any:
        if b'"stream":true' in request.content:
            return http.Response(200, content=events, headers={"content-type": "text/event-stream"})
        content = next(body for path, body in answers.items() if request.url.path.endswith(path))
        return http.Response(200, content=content, headers={"content-type": "application/json"})

    return answer


def client() -> openai.OpenAI:
    transport = http.MockTransport(_transport_answer())
    return openai.OpenAI(api_key="x", http_client=http.Client(transport=transport), max_retries=0)


def async_client() -> openai.AsyncOpenAI:
    transport = http.MockTransport(_transport_answer())
    return openai.AsyncOpenAI(api_key="x", http_client=http.AsyncClient(transport=transport), max_retries=0)


def conversation(messages: int, characters: int) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[number % 2], "content": "x" * characters} for number in range(messages)]


SHORT = conversation(3, 100)
LONG = conversation(200, 1000)
MEDIUM = conversation(2, BACKGROUND_CHARS // 2)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{number}",
            "description": "Looks something up. " * 5,
            "parameters": {"type": "object", "properties": {"name": {"type": "string"}, "count": {"type": "integer"}}},
        },
    }
    for number in range(64)
]


def nothing(_made: openai.OpenAI) -> None:
    pass


def chat(made: openai.OpenAI) -> None:
    made.chat.completions.create(model=MODEL, messages=SHORT, temperature=0.5, max_tokens=100, user="user_1")


def chat_fields(made: openai.OpenAI) -> None:
    made.chat.completions.create(model=MODEL, messages=SHORT, temperature=0.5, max_tokens=100, extra_body=FIELDS)


def chat_long(made: openai.OpenAI) -> None:
    made.chat.completions.create(model=MODEL, messages=LONG)


def chat_medium(made: openai.OpenAI) -> None:
    made.chat.completions.create(model=MODEL, messages=MEDIUM, temperature=0.5, max_tokens=100, user="user_1")


def chat_tools(made: openai.OpenAI) -> None:
    made.chat.completions.create(model=MODEL, messages=SHORT, tools=TOOLS)


def responses(made: openai.OpenAI) -> None:
    made.responses.create(model=MODEL, input="x" * 300, instructions="Be short.", temperature=0.5)


def embeddings(made: openai.OpenAI) -> None:
    made.embeddings.create(model="text-embedding-3-small", input="x" * 300)


_read_chunks: list[ChatCompletionChunk] = []


def streamed(made: openai.OpenAI) -> None:
    """Stream chunks that were read before: to read them takes a hundred times what is to be measured, and varies by that."""
    if not _read_chunks:
        _read_chunks.extend(made.chat.completions.create(model=MODEL, messages=SHORT, stream=True))

        def again(stream: openai.Stream[Any]) -> Iterator[ChatCompletionChunk]:
            try:
                # A loop, as in the client: `yield from` would go round what is around it.
                for chunk in _read_chunks:  # noqa: UP028
                    yield chunk
            finally:
                stream.response.close()

        setattr(openai.Stream, "__stream__", again)  # noqa: B010
    for _ in made.chat.completions.create(model=MODEL, messages=SHORT, stream=True):
        pass


WORK: dict[str, Work] = {
    "nothing": nothing,
    "chat": chat,
    "chat_fields": chat_fields,
    "chat_long": chat_long,
    "chat_medium": chat_medium,
    "chat_tools": chat_tools,
    "responses": responses,
    "embeddings": embeddings,
    "stream": streamed,
}
MESSAGES = {"chat_long": LONG, "chat_medium": MEDIUM}
