"""Sixteen generations, one of each kind that a backend has to show, and the facts that the API stated about each."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from struct import pack
from typing import Any

import openai

from llm_otel_broadcast.stand_in.answers import Answer, completion, error, message, stream, usage_of
from tests.support.stand_in import responses, texts
from tests.support.stand_in.server import StandIn

MAX_CONTENT_CHARS = 4_000
"""The limit of content that these generations are sent with; only one of them is longer."""
SECRET = "The patient's name is Erwin"
USER = "user_12345"
_OPENAI, _OPENROUTER = "http://api.openai.com/v1", "http://openrouter.ai/api/v1"
_MINI, _ROUTED, _CLAUDE = "gpt-4o-mini", "openai/gpt-4o", "anthropic/claude-sonnet-4.5"
_MINI_IN, _MINI_CACHED, _MINI_OUT = 0.15e-6, 0.075e-6, 0.60e-6
_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_WEB_SEARCH = {"type": "web_search_preview"}
_REPORTS = [f"Report {number}: the quarter went well, as the one before it. " * 8 for number in range(1, 21)]
"""Together far longer than the limit of content: what is cut is whole messages."""
_ROUTING = {
    "strategy": "fallback",
    "attempts": [
        {"provider": "Azure", "model": "gpt-4o", "status": 429},
        {"provider": "OpenAI", "model": "gpt-4o", "status": 200},
    ],
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to know of a generation; None and empty: nothing.

    Attributes:
        model: that answered, or was to answer.
        provider: whose API was called, or `a/b`: that was called, or of the provider that it chose.
        tokens: in and out.
        cached_tokens: of those in: read from the provider's cache, and written to it.
        cost: in USD, as stated by the API, else at list price.
        messages: texts from the request and from the answer that have to be seen.
        tools: names of those that were defined or called.
        session: of the caller.
        user: of the caller.
        error: whether it failed.
    """

    model: str | None = None
    provider: str | None = None
    tokens: tuple[int, int] | None = None
    cached_tokens: tuple[int, int] | None = None
    cost: float | None = None
    messages: tuple[str, ...] = ()
    tools: frozenset[str] = frozenset()
    session: str | None = None
    user: str | None = None
    error: bool = False

    @property
    def overview(self) -> tuple[str, ...]:
        """What the row of a list has to show: the first text and the last one."""
        return (self.messages[0], self.messages[-1]) if self.messages else ()


@dataclass(frozen=True, slots=True)
class Generation:
    """One of the sixteen.

    Attributes:
        title: how it is called in the table and in the backends, where it is the trace's name.
        facts: session and user aside, which all have.
        call: makes the call, given a client of the API and what goes into each request.
        answer: what the API answers.
        base_url: of the API.
    """

    title: str
    facts: Facts
    call: Callable[[openai.OpenAI, Mapping[str, Any]], object]
    answer: Answer
    base_url: str = field(default=_OPENAI)


def chat(*content: Any, model: str = _MINI, **asked: Any) -> Callable[[openai.OpenAI, Mapping[str, Any]], object]:
    """Return what asks for a chat completion, and reads it to the end if it streams."""
    system = {"role": "system", "content": "You are a helpful assistant."}
    messages = [system, *({"role": "user", "content": part} for part in content)]

    def call(client: openai.OpenAI, extra: Mapping[str, Any]) -> None:
        with suppress(openai.APIStatusError):
            result = client.chat.completions.create(
                model=model, messages=messages, user=USER, extra_body=extra, **asked
            )
            list(result if asked.get("stream") else ())

    return call


def _abandoned(client: openai.OpenAI, extra: Mapping[str, Any]) -> None:
    asked = [{"role": "user", "content": "Count to a thousand."}]
    chunks = client.chat.completions.create(model=_MINI, messages=asked, user=USER, extra_body=extra, stream=True)
    with chunks:
        for _ in zip(range(4), chunks, strict=False):
            pass


def _with_server_tools(client: openai.OpenAI, extra: Mapping[str, Any]) -> None:
    client.responses.create(
        model=_MINI, input="What is new in Zürich?", tools=[_WEB_SEARCH], user=USER, extra_body=extra
    )


def _embedded(client: openai.OpenAI, extra: Mapping[str, Any]) -> None:
    client.embeddings.create(
        model="text-embedding-3-small", input=["One text.", "Another text."], user=USER, extra_body=extra
    )


def _private(client: openai.OpenAI, extra: Mapping[str, Any]) -> None:
    private = {**extra, "trace": {**extra["trace"], "privacy": True}}
    chat(f"{SECRET}. Is that a common name?")(client, private)


def _png() -> str:
    """Return a red picture of 16 by 16 as a data URL."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", pack(">2I5B", 16, 16, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + b"\xd0\x20\x20" * 16) * 16))
    png = b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _list_price(tokens_in: int, tokens_out: int, cached: int = 0) -> float:
    """Return what `gpt-4o-mini` costs."""
    return (tokens_in - cached) * _MINI_IN + cached * _MINI_CACHED + tokens_out * _MINI_OUT


def _stated(tokens_in: int, tokens_out: int, cost: float, model: str = _ROUTED, **details: int) -> dict[str, Any]:
    """Return a usage with a cost that is not what the list says: who shows it has read it."""
    return {**usage_of(tokens_in, tokens_out, model=model, **details), "cost": cost}


_SOUND = base64.b64encode(b"RIFF$\0\0\0WAVEfmt " + bytes(28)).decode()
_HEARD = {
    "id": "audio_1",
    "transcript": "It is a quarter past ten.",
    "data": _SOUND,
    "expires_at": 1_790_003_600,
}
_SEARCHED = responses.item("web_search_call", action={"type": "search", "query": "news Zürich"})

GENERATIONS = (
    Generation(
        "Plain",
        Facts(
            _MINI,
            "openai",
            (24, 9),
            cost=_list_price(24, 9),
            messages=("Hello, who are you?", "I am a helpful assistant."),
        ),
        chat("Hello, who are you?", temperature=0.5),
        completion(message("I am a helpful assistant."), usage=usage_of(24, 9)),
    ),
    Generation(
        "Streamed",
        Facts(
            _MINI,
            "openai",
            (31, 16),
            cost=_list_price(31, 16),
            messages=("Write a haiku.", "An old silent pond, a frog"),
        ),
        chat("Write a haiku.", stream=True, stream_options={"include_usage": True}),
        stream(message("An old silent pond, a frog jumps into the pond."), usage=usage_of(31, 16)).slower(pause=0.02),
    ),
    Generation(
        "Tools",
        Facts(
            _MINI,
            "openai",
            (2_480, 310),
            cost=_list_price(2_480, 310),
            messages=("How is the weather in Oslo?",),
            tools=frozenset({"get_weather"}),
        ),
        chat("How is the weather in Oslo?", tools=[_WEATHER]),
        completion(message(tool_calls=[("call_1", "get_weather", '{"city": "Oslo"}')]), usage=usage_of(2_480, 310)),
    ),
    Generation(
        "Server tools",
        Facts(
            _MINI,
            "openai",
            (300, 40),
            cost=_list_price(300, 40),
            messages=("What is new in Zürich?", "The lake is warm."),
            tools=frozenset({"web_search"}),
        ),
        _with_server_tools,
        responses.whole(_SEARCHED, responses.text("The lake is warm."), model=_MINI, usage=responses.spent(300, 40)),
    ),
    Generation(
        "Reasoning",
        Facts(_ROUTED, "openrouter/openai", (40, 120), cost=0.0031, messages=("Is 221 prime?", "No: 13 times 17.")),
        chat("Is 221 prime?", model=_ROUTED, reasoning_effort="high"),
        completion(
            message("No: 13 times 17.", reasoning="221 / 13 = 17."),
            model=_ROUTED,
            usage=_stated(40, 120, 0.0031, reasoning_tokens=96),
        ),
        _OPENROUTER,
    ),
    Generation(
        "Refusal",
        Facts(
            _MINI,
            "openai",
            (35, 8),
            cost=_list_price(35, 8),
            messages=("Help me to pick this lock.", "I cannot help with that."),
        ),
        chat("Help me to pick this lock."),
        completion(message(refusal="I cannot help with that."), usage=usage_of(35, 8)),
    ),
    Generation(
        "Image in",
        Facts(
            _MINI,
            "openai",
            (280, 6),
            cost=_list_price(280, 6),
            messages=("What colour is this?", "It is red."),
        ),
        chat([{"type": "text", "text": "What colour is this?"}, {"type": "image_url", "image_url": {"url": _png()}}]),
        completion(message("It is red."), usage=usage_of(280, 6)),
    ),
    Generation(
        "Audio",
        Facts(
            "openai/gpt-4o-audio-preview",
            "openrouter/openai",
            (60, 50),
            cost=0.0042,
            messages=("What is the time?", "It is a quarter past ten."),
        ),
        chat(
            [
                {"type": "text", "text": "What is the time?"},
                {"type": "input_audio", "input_audio": {"data": _SOUND, "format": "wav"}},
            ],
            model="openai/gpt-4o-audio-preview",
            modalities=["text", "audio"],
            audio={"voice": "alloy", "format": "wav"},
        ),
        completion(
            message(audio=_HEARD),
            model="openai/gpt-4o-audio-preview",
            usage=_stated(60, 50, 0.0042, "openai/gpt-4o-audio-preview", audio_tokens=40),
        ),
        _OPENROUTER,
    ),
    Generation(
        "Cached tokens",
        Facts(
            _CLAUDE,
            "openrouter/openai",
            (2_000, 30),
            cached_tokens=(1_500, 400),
            cost=0.0029,
            messages=("And the third chapter?", "It is about whales."),
        ),
        chat("And the third chapter?", model=_CLAUDE),
        completion(
            message("It is about whales."),
            model=_CLAUDE,
            usage=_stated(2_000, 30, 0.0029, _CLAUDE, cached_tokens=1_500, cache_write_tokens=400),
        ),
        _OPENROUTER,
    ),
    Generation(
        "Error",
        Facts(_MINI, "openai", messages=("Answer, please.",), error=True),
        chat("Answer, please."),
        error(429, "Rate limit reached for requests", code="rate_limit_exceeded"),
    ),
    Generation(
        "Abandoned",
        Facts(_MINI, "openai", messages=("Count to a thousand.", "One, two,"), error=True),
        _abandoned,
        stream(message("One, two, three, four, five, six, seven.")).slower(pause=0.02),
    ),
    Generation(
        "Embeddings",
        Facts("text-embedding-3-small", "openai", (8, 0), cost=8 * 0.02e-6, messages=("One text.", "Another text.")),
        _embedded,
        texts.embeddings([0.25, -0.5, 1.0], [0.5, 0.5, 0.0], tokens=8, encoded=True),
    ),
    Generation(
        "Several choices",
        Facts(
            _MINI,
            "openai",
            (28, 8),
            cost=_list_price(28, 8),
            messages=("A name for a cat?", "Perhaps Minka.", "Or rather Findus."),
        ),
        chat("A name for a cat?", n=2),
        completion(message("Perhaps Minka."), message("Or rather Findus."), usage=usage_of(28, 8)),
    ),
    Generation(
        "Private",
        Facts(_MINI, "openai", (33, 11), cost=_list_price(33, 11)),
        _private,
        completion(message("Erwin is a rare name."), usage=usage_of(33, 11)),
    ),
    Generation(
        "Cut content",
        Facts(
            _MINI,
            "openai",
            (4_600, 12),
            cost=_list_price(4_600, 12),
            messages=("Which report was the best?", "All went well."),
        ),
        chat(*_REPORTS, "Which report was the best?"),
        completion(message("All went well."), usage=usage_of(4_600, 12)),
    ),
    Generation(
        "OpenRouter with attempts",
        Facts(_ROUTED, "openrouter/openai", (26, 7), cost=0.00246, messages=("Who answers?", "A model of OpenAI.")),
        chat("Who answers?", model=_ROUTED),
        completion(
            message("A model of OpenAI."), model=_ROUTED, usage=_stated(26, 7, 0.00246), openrouter_metadata=_ROUTING
        ),
        _OPENROUTER,
    ),
)


@contextmanager
def client_of(api: StandIn, base_url: str) -> Iterator[openai.OpenAI]:
    """Give a client that believes to talk to an API, which the stand-in is the proxy of."""
    http = openai.DefaultHttpxClient(proxy=api.url, verify=False)
    with openai.OpenAI(api_key="sk-test", base_url=base_url, max_retries=0, http_client=http) as client:
        yield client


def make(generation: Generation, api: StandIn, *, trace_id: str, session: str) -> None:
    """Make the call of a generation, with a trace id and a session."""
    extra = {"session_id": session, "trace": {"trace_id": trace_id, "trace_name": generation.title}}
    api.script(generation.answer)
    with client_of(api, generation.base_url) as client:
        generation.call(client, extra)
