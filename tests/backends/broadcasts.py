"""Real calls, sent to a backend and at the same time to our own receiver, which witnesses what was sent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import openai

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from llm_otel_broadcast.delivery.lane import DestinationStatus
from llm_otel_broadcast.receiver import OtlpReceiver, ReceivedSpan
from llm_otel_broadcast.receiver.requests import ReceivedRequest
from llm_otel_broadcast.stand_in.routes import ERROR_WORDS
from tests.support.stand_in.server import StandIn

TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What the calls gave and what left the program.

    Attributes:
        result: what the calls returned.
        spans: as the witness received them.
        requests: what the witness was sent.
        books: the backend's.
    """

    result: Any
    spans: list[ReceivedSpan]
    requests: list[ReceivedRequest]
    books: DestinationStatus

    def span(self, name: str) -> ReceivedSpan:
        (found,) = (span for span in self.spans if span.name == name)
        return found


def broadcast(endpoint: str, calls: Callable[[openai.OpenAI], Any], **settings: Any) -> Broadcast:
    """Make calls with the real client; return when everything has been delivered."""
    with (
        OtlpReceiver() as witness,
        StandIn() as api,
        openai.OpenAI(api_key="sk-test", base_url=api.base_url, max_retries=0) as client,
        llm_otel_broadcast.instrument(
            destinations=[
                Destination(name="backend", endpoint=endpoint, timeout=60.0, **settings),
                Destination(name="witness", endpoint=witness.endpoint, encoding="json"),
            ],
            service_name="shop",
        ) as handle,
    ):
        result = calls(client)
        assert handle.flush(60.0), handle.status()
        status = handle.status()
        assert not status.internal_errors
        return Broadcast(result, witness.store.spans(), list(witness.requests), status.destinations[0])


def hashed(trace_id: str) -> str:
    """Return the id that OpenRouter derives from a text."""
    return sha256(trace_id.encode()).hexdigest()[:32]


def reference_call(client: openai.OpenAI, trace_id: str = "app_trace_001") -> Any:
    """Make the call of the reference page."""
    return client.chat.completions.create(
        model="openai/gpt-4o",
        messages=[{"role": "user", "content": "Hello!"}],
        user="user_12345",
        extra_body={
            "session_id": "session_abc",
            "trace": {
                "trace_id": trace_id,
                "trace_name": "Chat Handler",
                "generation_name": "Generate Response",
                "environment": "staging",
                "deployment": "us-east-1",
            },
        },
    )


def varied_calls(client: openai.OpenAI, trace_id: str) -> None:
    """Make calls whose spans hold every type of value, characters of all planes, an error, and a span between the others."""
    trace = {
        "trace_id": trace_id,
        "trace_name": "Zürich 東京 🌍",
        "span_name": "Between",
        "generation_name": "Varied",
        "retries": 3,
        "big": 2**53 + 1,
        "beta": True,
        "ratio": 0.25,
        "tags": ["a", "ü"],
    }
    asked = {"role": "user", "content": 'Grüße, 世界 🌍\n"quoted" \\ and <tags>'}
    client.chat.completions.create(
        model="openai/gpt-4o",
        messages=[{"role": "system", "content": "Be kind."}, asked],
        temperature=1,
        max_tokens=100,
        stop=["END", "ENDE"],
        tools=[TOOL],
        extra_body={"trace": trace},
    )
    with suppress(openai.BadRequestError):
        client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": ERROR_WORDS}],
            extra_body={"trace": {**trace, "generation_name": "Failed"}},
        )
