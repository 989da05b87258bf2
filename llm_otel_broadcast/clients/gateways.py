"""What gateways state of a call outside its answer: in headers, in the envelope of an error, in OpenRouter's metadata.

OpenRouter and Azure's model router, which may stand behind a host that nobody knows. Of other
servers no header is looked at but the client's own count of its retries.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from llm_otel_broadcast.clients.reader import (
    NOTHING,
    all_members_of,
    items_of,
    members_of,
    note,
    parse_json,
    text_of,
)
from llm_otel_broadcast.clients.tracebacks import variables_of
from llm_otel_broadcast.host.deferred import Deferred
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.record.generation import Attempt, Generation

_GENERATION_ID: Final = "x-generation-id"
"""OpenRouter's id of the generation: on all its routes, failed calls too. The body of `/responses` has another id."""
_SERVED_MODEL: Final = "x-ms-served-model"
"""Azure's model router and its responses API: the snapshot that answered, where the body repeats the name of the deployment
(openai-python#3271)."""
_AZURE: Final = "azure.ai.openai"
_RETRY_COUNT: Final = "x-stainless-retry-count"
_NOT_RETRIED: Final = (_RETRY_COUNT.encode(), _RETRY_COUNT.encode(), b"0")
_MAX_ATTEMPTS: Final = 64
_MAX_STAGES: Final = 32
_MAX_LATENCY_MS: Final = 86_400_000
_MAX_ENVELOPE_BYTES: Final = 1_000_000
_STREAM_READER: Final = "__stream__"
"""The client's generator that turns events into chunks, and raises where one has an `error`."""


def note_transport(record: Generation, result: Any) -> None:
    """Take what headers say of a call, by a raw response, a stream, an HTTP response or an error of the client."""
    record.retries = or_else(partial(_retries_of, result), None)
    server = record.server
    if server.is_openrouter:
        record.generation_id = or_else(partial(_header, result, _GENERATION_ID), None)
    elif server.provider == _AZURE or not server.is_known:
        record.served_model = or_else(partial(_header, result, _SERVED_MODEL), None)
        record.response_model = record.served_model or record.response_model


def note_refusal(record: Generation, error: BaseException) -> None:
    """Take what OpenRouter says of a failed call: its id, who refused it, and which providers were tried."""
    if not record.server.is_openrouter:
        return
    record.response_id = record.response_id or record.generation_id
    note_error_metadata(record, members_of(error).get("body"))
    response = members_of(error).get("response")
    if response is not None:
        record.pending = Deferred(_read_envelope, record, response)
        return
    # the event of a stream for which the client raised the error, which carries its `error` member only
    event = (variables_of(error, _STREAM_READER) or NOTHING).get("data")
    if isinstance(event, Mapping):
        note_routing(record, event.get("openrouter_metadata"))


def note_error_metadata(record: Generation, error: Any) -> None:
    """Take the provider that an `error` member names (`metadata.provider_name`)."""
    metadata = members_of(members_of(error).get("metadata"))
    record.serving_provider = record.serving_provider or text_of(metadata.get("provider_name"))


def note_routing(record: Generation, metadata: Any) -> None:
    """Take `openrouter_metadata`, which the request header `X-OpenRouter-Metadata` asks for.

    Of the stages of the pipeline only their names: what they say of themselves may quote the prompt.
    """
    if metadata is None:
        return
    stated = all_members_of(metadata)
    # bounded: they come from a server, and each becomes a span event
    attempts = [members_of(attempt) for attempt in list(items_of(stated, "attempts"))[:_MAX_ATTEMPTS]]
    record.attempts = [
        Attempt(
            provider=text_of(attempt.get("provider")) or "unknown",
            model=text_of(attempt.get("model")),
            status=status if isinstance(status := attempt.get("status"), int | str) else None,
            latency_ms=_milliseconds(attempt.get("latency")),
        )
        for attempt in attempts
    ] or record.attempts
    stages = [members_of(stage) for stage in list(items_of(stated, "pipeline"))[:_MAX_STAGES]]
    names = [text_of(stage.get("name")) or text_of(stage.get("type")) for stage in stages]
    note(
        record,
        routing_strategy=text_of(stated.get("strategy")),
        routing_pipeline=[name for name in names if name] or None,
    )


def _milliseconds(value: object) -> float | None:
    """Return a time that a server states, None where it is none: not a number, or no time that a call can take."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value < _MAX_LATENCY_MS else None


def _read_envelope(record: Generation, response: Any) -> None:
    """Read the whole body of an error: the client keeps its `error` member only. In the background."""
    # what httpx has read of a response; asking for `content` would raise where it has read nothing
    body = getattr(response, "_content", None)
    if isinstance(body, bytes) and len(body) <= _MAX_ENVELOPE_BYTES:
        try:
            envelope = parse_json(body)
        except ValueError:
            return
        note_routing(record, members_of(envelope).get("openrouter_metadata"))


def _header(result: Any, name: str) -> str | None:
    # raw responses call it `http_response`, streams and errors `response`; else it is the HTTP response itself
    response = getattr(result, "http_response", None)
    if response is None:
        response = getattr(result, "response", None)
    headers = getattr(result if response is None else response, "headers", NOTHING)
    return text_of(headers.get(name))


def _retries_of(result: Any) -> int | None:
    """Return how often the client tried again by itself, by a raw response, a stream or an error; None: it does not say.

    Stainless-made clients count in a header of the request they send (`x-stainless-retry-count`, openai 1.49 and newer).
    """
    stated = getattr(result, "retries_taken", None)
    if type(stated) is int:
        return stated or None
    response = getattr(result, "response", None)
    request = getattr(result, "request", None) if response is None else response.request
    headers = getattr(request, "headers", NOTHING)
    # Where httpx keeps them: its own look-up takes 17 thousand instructions, a tenth of what a stream takes beside its chunks.
    if _NOT_RETRIED in members_of(headers).get("_list", ()):
        return None
    text = headers.get(_RETRY_COUNT)
    return (int(text) or None) if isinstance(text, str) and text.isdecimal() else None
