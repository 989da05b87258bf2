"""Reading a whole response of the responses API, or of realtime: what it is, what it cost, how it ended."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.clients.answer_texts import Allowance
from llm_otel_broadcast.clients.gateways import note_routing
from llm_otel_broadcast.clients.openai.openrouter import note_error
from llm_otel_broadcast.clients.openai.responses.items import Output
from llm_otel_broadcast.clients.openai.usage import read_usage
from llm_otel_broadcast.clients.reader import Members, all_members_of, items_of, members_of, note, text_of
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Generation

FETCH: Final = "fetch_response"
"""The operation of fetching a response that another call has made."""
UNFINISHED: Final = frozenset({"queued", "in_progress"})
_FINISH_REASONS: Final = {"max_output_tokens": "length"}
"""Why a response is incomplete, in the words of chat completions; other reasons keep their names."""


def read_response_head(record: Generation, response: Members) -> None:
    """Read what is known as soon as the response exists."""
    record.response_id = text_of(response.get("id")) or record.response_id
    # The header of Azure's router names the snapshot, the body the deployment (openai-python#3271).
    record.response_model = record.served_model or text_of(response.get("model")) or record.response_model
    record.serving_provider = text_of(response.get("provider")) or record.serving_provider
    note(record, response_status=text_of(response.get("status")))
    note(record, conversation_id=conversation_of(response))
    # Of any other response the request has them.
    if record.operation == FETCH and record.wants_content and record.instructions is None:
        record.instructions = text_of(response.get("instructions"))
        record.size += len(record.instructions or "")


def read_whole(record: Generation, response: Members) -> Output:
    """Read the whole response; return its items, which are the record's one choice, if it has come to that."""
    read_response_head(record, response)
    # Not with the head: `response.created` echoes the tier that was asked for (`auto`), only the end has the one that served.
    record.response_service_tier = text_of(response.get("service_tier")) or record.response_service_tier
    usage = response.get("usage")
    if usage is not None:
        record.usage = read_usage(usage)
    if "openrouter_metadata" in response:
        note_routing(record, response["openrouter_metadata"])
    output = Output(Allowance(record.max_characters), wants_content=record.wants_answer)
    for item in items_of(response, "output"):
        output.add(item)
    if output.is_compacted:
        note_compaction(record)
    # The API has no finish reason: its status and what the items ask for say the same, in the words of chat completions.
    status = response.get("status")
    finish_reason: str | None = None
    if status == "completed":
        finish_reason = "tool_calls" if output.waits_for_caller else "stop"
    elif status == "incomplete":
        # `status_details` is realtime's.
        details = (members_of(response.get(name)) for name in ("incomplete_details", "status_details"))
        reason = next((reason for detail in details if (reason := text_of(detail.get("reason")))), "incomplete")
        finish_reason = _FINISH_REASONS.get(reason, reason)
    elif status in ("failed", "cancelled"):
        finish_reason = "error" if status == "failed" else "cancelled"
    set_choice(record, output, finish_reason)
    # A good response has `error: null`; some servers send an error with status 200 and no status of their own.
    note_error(record, response)
    if record.failure is None and status == "failed":
        # Realtime has the error one level down.
        error = members_of(members_of(response.get("status_details")).get("error"))
        failure = failure_of(error)
        unstated = "the response failed; the provider does not say why"
        record.failure = Failure(failure.code or "failed", failure.message or unstated, code=failure.code)
    return output


def set_choice(record: Generation, output: Output, finish_reason: str | None) -> None:
    """Make items the record's choice; a response that has neither said anything nor ended has none yet."""
    # A choice without a finish reason would read as an answer that broke off.
    if finish_reason is None and not output.says_something:
        record.choices = []
        return
    record.choices = [output.to_choice(finish_reason)]
    record.tool_call_count = len(output.tool_calls)
    record.server_calls = output.server_calls
    record.size += output.size


def note_compaction(record: Generation) -> None:
    """Note that earlier turns were replaced by a summary: what is fetched, or being compacted, was not answered from it."""
    if record.operation == "chat":
        note(record, is_compacted=True)


def conversation_of(members: Members) -> str | None:
    """Return the conversation's id from a request or a response: a text, an object with an id, or `conversation_id` (realtime)."""
    conversation = members.get("conversation")
    identity = (
        text_of(conversation) or text_of(members_of(conversation).get("id")) if conversation is not None else None
    )
    return identity or text_of(members.get("conversation_id"))


def error_of(event: object) -> Members:
    """Return the error of an `error` event: the event itself (streams), or one level down (web sockets, realtime)."""
    members = all_members_of(event)
    return members_of(members.get("error")) or members


def failure_of(error: Members) -> Failure:
    """Return an `error` event's error as a failure."""
    code = text_of(error.get("code")) or text_of(error.get("type"))
    return Failure(code or "error", text_of(error.get("message")) or "", code=code)
