"""Reading the responses API: the arguments of `create`, `parse` and `retrieve`, and what comes back.

How an answer ended is told as chat completions tell it: `completed` is `stop`, or `tool_calls` when the caller has to run a
tool; `incomplete` is its reason; `failed` is an error with the provider's code. A response that is still being made in the
background has ended in none of these ways.

Fetching a response (`retrieve`) is an operation of its own, which reports no tokens: they are those of another call. The one
exception is a background response of this process that is seen finished for the first time (`background`).
"""

from __future__ import annotations

from typing import Any, Final

from llm_otel_broadcast.clients.arguments import keep_argument
from llm_otel_broadcast.clients.openai.requested_output import name_requested_output
from llm_otel_broadcast.clients.openai.responses.background import Background
from llm_otel_broadcast.clients.openai.responses.events import ResponseFold
from llm_otel_broadcast.clients.openai.responses.typical_responses import read_typical_response
from llm_otel_broadcast.clients.openai.responses.whole import FETCH, UNFINISHED, conversation_of, read_whole
from llm_otel_broadcast.clients.openai.tool_calls import id_of
from llm_otel_broadcast.clients.openai.tools import note_tools
from llm_otel_broadcast.clients.reader import (
    Reader,
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
_ODD_ARGUMENTS: Final = frozenset(
    {
        "background",
        "conversation",
        "conversation_id",
        "modalities",
        "output_modalities",
        "previous_response_id",
        "prompt",
        "reasoning",
        "text",
        "text_format",
        "tool_choice",
    }
)
"""Arguments that are read apart, because the record has another form of them."""


class ResponsesReader(Reader):
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
        parameters = parameters_of(kwargs, PARAMETERS)
        if not _ODD_ARGUMENTS.isdisjoint(kwargs):
            _read_odd_arguments(record, kwargs, parameters)
        record.parameters = parameters
        # A summary that the provider made of earlier turns. Most items are dicts of the caller's: no call for those.
        items = kwargs.get("input")
        if isinstance(items, (list, tuple)) and any(
            (item if type(item) is dict else members_of(item)).get("type") == "compaction" for item in items
        ):
            note(record, is_compacted=True)
        if content:
            record.wants_content = True
            record.instructions = text_of(kwargs.get("instructions"))
            record.size += len(record.instructions or "")
            # The client refuses an iterator here and names its type in the error: it must not see one of ours.
            if type(items) is str or not hasattr(items, "__next__"):
                record.messages, size = keep_argument(kwargs, "input")
                record.size += size
        if "tools" in kwargs:
            note_tools(record, kwargs, content=content)

    def read_response(self, record: Generation, response: object) -> None:
        if not read_typical_response(record, response):
            self.read_any_response(record, response)
        self.follow_background(record)

    def read_any_response(self, record: Generation, response: object) -> None:
        """Do what `read_response` does, whatever the answer is."""
        read_whole(record, all_members_of(response))

    def fold(self, record: Generation) -> ResponseFold:
        return ResponseFold(record, self.follow_background)

    def follow_background(self, record: Generation) -> None:
        """Note a response that goes on in the background after the call has ended."""
        details = record.details
        if (
            details is not None
            and details.get("background")
            and details.get("response_status") in UNFINISHED
            and record.response_id
        ):
            self._background.await_end(record.response_id)


class CompactReader(ResponsesReader):
    """Reads the compaction of a conversation, for which the model is called and paid as for an answer."""

    operation = "compact_response"


class FetchReader(ResponsesReader):
    """Reads responses that are fetched."""

    operation = FETCH
    # `retrieve(response_id)`: the one method of ours whose argument is usually given by position.
    positional = ("response_id",)

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.stream = kwargs.get("stream") is True
        record.wants_content = content
        record.response_id = text_of(kwargs.get("response_id"))
        cursor = kwargs.get("starting_after")
        note(record, stream_cursor=str(cursor) if type(cursor) is int else None)

    def follow_background(self, record: Generation) -> None:
        """Leave tokens and failure out, unless this is the first to see the end of one of our background responses."""
        status = (record.details or {}).get("response_status")
        is_first = status is not None and status not in UNFINISHED and self._background.end(record.response_id or "")
        if is_first:
            return
        # Another span has the same tokens: they would be counted and billed twice.
        record.usage = None
        if status == "failed":
            record.failure = None


def _read_odd_arguments(record: Generation, kwargs: dict[str, Any], parameters: dict[str, object]) -> None:
    """Read the arguments that the record has another form of than the request: into `parameters`, and the record's details."""
    reasoning, text, text_format = kwargs.get("reasoning"), kwargs.get("text"), kwargs.get("text_format")
    effort = None if reasoning is None else members_of(reasoning).get("effort")
    if effort is not None:
        parameters["reasoning_effort"] = effort
    # `text_format` is the class given to `parse`; `create` has the format inside `text`.
    if text_format is not None and is_set(text_format):
        parameters["response_format"] = text_format
    elif text is not None:
        form = members_of(members_of(text).get("format"))
        # Not the schema: it can be large, and its descriptions are content.
        parameters["response_format"] = {"type": form.get("type"), "name": form.get("name")}
    name_requested_output(parameters)
    # The conversation's earlier turns are at the provider: these ids are all that leads to them.
    previous, conversation = text_of(kwargs.get("previous_response_id")), conversation_of(kwargs)
    is_background = kwargs.get("background") is True
    if previous or conversation or is_background:
        note(
            record,
            previous_response_id=previous,
            conversation_id=conversation,
            background=is_background or None,
        )
    if "prompt" in kwargs:
        prompt = members_of(kwargs["prompt"])
        name = text_of(prompt.get("id"))
        # A prompt kept at the provider. What its variables are filled with is content, and not kept.
        if name:
            note(record, prompt_name=name, prompt_version=id_of(prompt.get("version")))
