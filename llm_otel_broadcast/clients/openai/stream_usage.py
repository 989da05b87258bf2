"""Asking for token counts in a stream whose caller has left that open (`instrument(request_stream_usage=True)`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llm_otel_broadcast.clients.reader import NOTHING, is_set
from llm_otel_broadcast.record.generation import Generation

_OPTIONS: Final = "stream_options"
_USAGE: Final = "include_usage"
_BODY: Final = "extra_body"


def request_usage(record: Generation, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments to call the client with: those of a stream that takes `stream_options` ask for usage.

    Left open are options that are absent, None, `omit` or `NOT_GIVEN`, and such as have no `include_usage`. What `extra_body`
    has wins over the keyword on the wire; options that it removes or sets to null stay as they are. The caller's own dicts are
    never changed.
    """
    # only these two APIs know `stream_options`: others refuse an argument they do not know, or always tell their usage
    if not record.stream or (record.api != "chat_completions" and record.operation != "text_completion"):
        return arguments
    body = arguments.get(_BODY)
    in_body = isinstance(body, Mapping) and _OPTIONS in body
    holder: Mapping[str, Any] = body if in_body and body is not None else arguments
    options = holder.get(_OPTIONS)
    if not is_set(options):
        if in_body:
            return arguments
        options = NOTHING
    if not isinstance(options, Mapping) or is_set(options.get(_USAGE)):
        return arguments
    # the API adds a chunk without choices, on which the host's `chunk.choices[0]` would fail: it is kept from the host
    record.hides_usage_chunk = True
    completed = {**options, _USAGE: True}
    if in_body:
        return {**arguments, _BODY: {**holder, _OPTIONS: completed}}
    return {**arguments, _OPTIONS: completed}
