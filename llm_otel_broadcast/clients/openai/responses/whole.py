"""Reading a whole response of the responses API, or of realtime: what it is, what it cost, how it ended."""

from __future__ import annotations

from typing import Any, Final

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
_REASONS: Final = {"max_output_tokens": "length"}
"""Why a response is incomplete, as chat completions call it; other reasons keep their names."""


def read_response_head(record: Generation, said: Members) -> None:
    """Read what is known as soon as the response exists."""
    record.response_id = text_of(said.get("id")) or record.response_id
    record.response_model = record.served_model or text_of(said.get("model")) or record.response_model
    record.serving_provider = text_of(said.get("provider")) or record.serving_provider
    note(record, response_status=text_of(said.get("status")))
    note(record, conversation_id=conversation_of(said))
    if record.operation == FETCH and record.wants_content and record.instructions is None:
        # only of a response that is fetched: of any other the request has them
        record.instructions = text_of(said.get("instructions"))
        record.size += len(record.instructions or "")


def read_answer(record: Generation, said: Members) -> Output:
    """Read the whole response; return its items, which are the record's one choice, if it has come to that."""
    read_response_head(record, said)
    record.response_service_tier = text_of(said.get("service_tier")) or record.response_service_tier
    usage = said.get("usage")
    if usage is not None:
        record.usage = read_usage(usage)
    if "openrouter_metadata" in said:
        note_routing(record, said["openrouter_metadata"])
    output = Output(Allowance(record.max_characters), wanted=record.wants_answer)
    for item in items_of(said, "output"):
        output.take(item)
    if output.is_compacted:
        note_compaction(record)
    put_choice(record, output, _finish_reason(said, output))
    note_error(record, said)
    if record.failure is None and said.get("status") == "failed":
        record.failure = _failure(said)
    return output


def put_choice(record: Generation, output: Output, finish_reason: str | None) -> None:
    """Make items the record's choice; a response that has neither said anything nor ended has none yet."""
    if finish_reason is None and not output.says_something:
        record.choices = []
        return
    record.choices = [output.close(finish_reason)]
    record.tool_call_count = len(output.tool_calls)
    record.server_calls = output.server_calls
    record.size += output.size


def note_compaction(record: Generation) -> None:
    """Note that earlier turns were replaced by a summary: what is fetched, or being compacted, was not answered from it."""
    if record.operation == "chat":
        note(record, is_compacted=True)


def conversation_of(said: Members) -> str | None:
    """Return the conversation's id: given as it is, as an object, or as realtime gives it."""
    given = said.get("conversation")
    named = text_of(given) or text_of(members_of(given).get("id")) if given is not None else None
    return named or text_of(said.get("conversation_id"))


def _finish_reason(said: Members, output: Output) -> str | None:
    status = said.get("status")
    if status == "completed":
        return "tool_calls" if output.waits_for_caller else "stop"
    if status == "incomplete":
        reason = _because(said, "incomplete_details", "status_details") or "incomplete"
        return _REASONS.get(reason, reason)
    if status == "failed":
        return "error"
    return "cancelled" if status == "cancelled" else None


def _because(said: Members, *places: str) -> str | None:
    return next((reason for place in places if (reason := text_of(members_of(said.get(place)).get("reason")))), None)


def _failure(said: Members) -> Failure:
    """Return why a response failed where its `error` does not say it: realtime has it one level down."""
    error = members_of(members_of(said.get("status_details")).get("error"))
    code = text_of(error.get("code")) or text_of(error.get("type"))
    message = text_of(error.get("message")) or "the response failed; the provider does not say why"
    return Failure(code or "failed", message, code=code)


def error_of(event: Any) -> Members:
    """Return what an `error` event says: itself, or one level down."""
    said = all_members_of(event)
    return members_of(said.get("error")) or said


def failure_of(error: Members) -> Failure:
    """Return an `error` event's error as a failure."""
    code = text_of(error.get("code")) or text_of(error.get("type"))
    return Failure(code or "error", text_of(error.get("message")) or "", code=code)
