"""Reading the responses API: the arguments of `create`, `parse` and `retrieve`, and what comes back.

How an answer ended is told as chat completions tell it: `completed` is `stop`, or `tool_calls` when the caller has to run a
tool; `incomplete` is its reason; `failed` is an error with the provider's code. A response that is still being made in the
background has ended in none of these ways.

Fetching a response (`retrieve`) is an operation of its own, which reports no tokens: they are those of another call. The one
exception is a background response of this process that is seen finished for the first time (`background`).
"""

from __future__ import annotations

import json
from typing import Any, Final

from llm_otel_broadcast.clients.arguments import keep_argument
from llm_otel_broadcast.clients.openai.requested_output import name_requested_output
from llm_otel_broadcast.clients.openai.responses.background import Background
from llm_otel_broadcast.clients.openai.responses.events import ResponseFold
from llm_otel_broadcast.clients.openai.responses.whole import FETCH, UNFINISHED, conversation_of, read_answer
from llm_otel_broadcast.clients.openai.tool_calls import id_of
from llm_otel_broadcast.clients.openai.tools import note_tools
from llm_otel_broadcast.clients.reader import (
    Members,
    all_members_of,
    is_set,
    members_of,
    note,
    parameters_of,
    text_of,
)
from llm_otel_broadcast.record.generation import Generation

PARAMETERS: Final = {
    "max_output_tokens": "max_tokens",
    "modalities": "modalities",
    "output_modalities": "modalities",
    "service_tier": "service_tier",
    "temperature": "temperature",
    "tool_choice": "tool_choice",
    "top_k": "top_k",
    "top_p": "top_p",
}
"""Arguments that go on the span, and what the record calls them; the modalities are realtime's."""


class ResponsesReader:
    """Reads responses as they are made.

    Args:
        background: where responses are noted that are not finished when the call ends.
    """

    operation = "chat"
    api: str | None = "responses"

    def __init__(self, background: Background) -> None:
        self._background = background

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.stream = kwargs.get("stream") is True
        record.parameters = _parameters(kwargs)
        note(record, previous_response_id=text_of(kwargs.get("previous_response_id")))
        note(record, conversation_id=conversation_of(kwargs))
        note(record, background=kwargs.get("background") is True or None)
        if "prompt" in kwargs:
            _note_prompt(record, members_of(kwargs["prompt"]))
        if _is_compacted(kwargs.get("input")):
            note(record, is_compacted=True)
        if content:
            record.wants_content = True
            record.instructions = text_of(kwargs.get("instructions"))
            record.size += len(record.instructions or "")
            if not hasattr(kwargs.get("input"), "__next__"):  # the client refuses iterators here, and names their type
                record.messages, size = keep_argument(kwargs, "input")
                record.size += size
        if "tools" in kwargs:
            note_tools(record, kwargs, content=content)

    def read_response(self, record: Generation, response: Any) -> None:
        read_answer(record, all_members_of(response))
        self.settle(record)

    def read_body(self, record: Generation, body: bytes) -> None:
        self.read_response(record, json.loads(body))

    def fold(self, record: Generation) -> ResponseFold:
        return ResponseFold(record, self.settle)

    def settle(self, record: Generation) -> None:
        """Note a response that goes on in the background."""
        told = record.details
        if (
            told is not None
            and told.get("background")
            and told.get("response_status") in UNFINISHED
            and record.response_id
        ):
            self._background.await_end(record.response_id)


class CompactReader(ResponsesReader):
    """Reads the compaction of a conversation, for which the model is called and paid as for an answer."""

    operation = "compact_response"


class FetchReader(ResponsesReader):
    """Reads responses that are fetched."""

    operation = FETCH
    positional: Final = ("response_id",)

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.stream = kwargs.get("stream") is True
        record.wants_content = content
        record.response_id = text_of(kwargs.get("response_id"))
        after = kwargs.get("starting_after")
        note(record, stream_cursor=str(after) if type(after) is int else None)

    def settle(self, record: Generation) -> None:
        """Leave tokens and failure to whoever sees the end of one of our background responses first."""
        status = (record.details or {}).get("response_status")
        awaited = status is not None and status not in UNFINISHED and self._background.end(record.response_id or "")
        if awaited:
            return
        record.usage = None
        if status == "failed":
            record.failure = None


def _note_prompt(record: Generation, prompt: Members) -> None:
    """Note which of the prompts kept at the provider is used; what it is filled with is content, and not kept."""
    name, version = text_of(prompt.get("id")), prompt.get("version")
    if name:
        note(record, prompt_name=name, prompt_version=id_of(version))


def _is_compacted(items: Any) -> bool:
    """Return whether the input holds a summary that the provider made of earlier turns."""
    if not isinstance(items, list | tuple):
        return False
    return any((item if type(item) is dict else members_of(item)).get("type") == "compaction" for item in items)


def _parameters(kwargs: dict[str, Any]) -> dict[str, object]:
    asked = parameters_of(kwargs, PARAMETERS)
    reasoning, text, wanted = kwargs.get("reasoning"), kwargs.get("text"), kwargs.get("text_format")
    effort = None if reasoning is None else members_of(reasoning).get("effort")
    if effort is not None:
        asked["reasoning_effort"] = effort
    if wanted is not None and is_set(wanted):
        asked["response_format"] = wanted
    elif text is not None:
        form = members_of(members_of(text).get("format"))
        asked["response_format"] = {"type": form.get("type"), "name": form.get("name")}
    if asked:
        name_requested_output(asked)
    return asked
