"""What a record may hold of an answer, whoever sent it: a server may state anything, and what is held has to fit a queue.

Runs on the host's thread at the end of each call: of an ordinary answer it only looks at lengths.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from llm_otel_broadcast.clients.answer_texts import CUT, MAX_CALL_CHARACTERS, Allowance
from llm_otel_broadcast.clients.reader import MAX_CHOICES, MAX_NAME_CHARACTERS, note_unread
from llm_otel_broadcast.record.generation import Generation, ToolCall

_NAMES: Final = (
    "generation_id",
    "response_id",
    "response_model",
    "response_service_tier",
    "served_model",
    "serving_provider",
    "system_fingerprint",
)
_names_of: Final = attrgetter(*_NAMES)
_TEXTS: Final = ("content", "reasoning", "refusal")


def needs_no_limit(record: Generation) -> bool:
    """Return whether an answer whose texts are cut already has nothing else to be cut: one choice, no calls, short names."""
    choices = record.choices
    if len(choices) != 1 or record.tool_call_count or record.attempts or record.details is not None:
        return False
    choice = choices[0]
    characters = 0
    for name in (*_names_of(record), choice.finish_reason, choice.native_finish_reason):
        if name is not None:
            characters += len(name)
    return not choice.media and characters <= MAX_NAME_CHARACTERS


def limit_answer(record: Generation) -> None:
    """Cut what an answer states to what can be sent: names, lists, texts. What was left out is counted."""
    _limit_facts(record)
    choices = record.choices
    if len(choices) > MAX_CHOICES:
        note_unread(f"more than {MAX_CHOICES:,} choices")
        del choices[MAX_CHOICES:]
    texts, characters, has_media = 0, 0, False
    call_room = MAX_CALL_CHARACTERS
    for choice in choices:
        for text in (choice.content, choice.reasoning, choice.refusal):
            if type(text) is str:
                texts += 1
                characters += len(text)
        if choice.finish_reason or choice.native_finish_reason:
            choice.finish_reason = _limited(choice.finish_reason)
            choice.native_finish_reason = _limited(choice.native_finish_reason)
        if len(choice.role) > MAX_NAME_CHARACTERS:
            choice.role = _limited(choice.role) or ""
        if choice.tool_calls:
            call_room = _limit_calls(choice.tool_calls, call_room)
            texts += len(choice.tool_calls)
            characters += sum(len(call.arguments) for call in choice.tool_calls if type(call.arguments) is str)
        has_media = has_media or bool(choice.media)
    # the queue counts bytes as they are held (`max_queue_bytes`): an answer that could never be sent must not fill it.
    # What a stream has cut already bears a mark in each text, beyond the limit.
    if characters > record.max_characters + len(CUT) * texts:
        _limit_texts(record)
    if has_media or record.server_calls:
        _limit_parts(record)


def _limited(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_NAME_CHARACTERS else text[:MAX_NAME_CHARACTERS] + CUT


def _limit_facts(record: Generation) -> None:
    for name in _NAMES:
        text = getattr(record, name)
        if text is not None and len(text) > MAX_NAME_CHARACTERS:
            setattr(record, name, _limited(text))
    if record.details:
        for name, value in record.details.items():
            if type(value) is str and len(value) > MAX_NAME_CHARACTERS:
                record.details[name] = _limited(value) or ""
            elif type(value) is list:
                record.details[name] = [(_limited(item) or "") if type(item) is str else item for item in value]
    if record.attempts:
        record.attempts = [
            attempt._replace(
                provider=_limited(attempt.provider) or "",
                model=_limited(attempt.model),
                status=_limited(attempt.status) if isinstance(attempt.status, str) else attempt.status,
            )
            for attempt in record.attempts
        ]
    failure = record.failure
    if failure is not None:
        record.failure = failure._replace(
            type=_limited(failure.type) or "",
            code=_limited(failure.code),
            request_id=_limited(failure.request_id),
        )


def _limit_calls(calls: list[ToolCall], room: int) -> int:
    """Cut ids and names; return how many characters of them there is room for in further choices."""
    for position, call in enumerate(calls):
        call.id, call.name = _limited(call.id), _limited(call.name)
        room -= len(call.id or "") + len(call.name or "")
        if room < 0:
            note_unread("too many tool calls")
            del calls[position:]
            break
        if call.details:
            # where the tool is from: names again
            texts = {name: _limited(text) if isinstance(text, str) else text for name, text in call.details.items()}
            call.details = texts
    return max(room, 0)


def _limit_texts(record: Generation) -> None:
    """Give each text of the answer an equal share of what can be sent, both its ends kept."""
    holders: list[tuple[object, str, str]] = []
    for choice in record.choices:
        text_holders: list[tuple[object, str, str]] = [(choice, name, getattr(choice, name)) for name in _TEXTS]
        text_holders += [(call, "arguments", call.arguments) for call in choice.tool_calls]
        holders += [holder for holder in text_holders if holder[2] and type(holder[2]) is str]
    omitted_before = record.omitted_characters
    allowance = Allowance(record.max_characters)
    texts = [allowance.new_text() for _ in holders]
    for text, (_, _, whole) in zip(texts, holders, strict=True):
        text.append(whole)
    for _, _, whole in holders:
        allowance.count(whole)
    allowance.note_omitted(record)
    for text, (holder, name, _) in zip(texts, holders, strict=True):
        setattr(holder, name, text.joined() or "")
    record.size -= record.omitted_characters - omitted_before


def _limit_parts(record: Generation) -> None:
    """Leave out parts that are no text and cannot be cut, where there are too many or they are too large."""
    allowance = Allowance(record.max_characters)
    record.server_calls = [
        call._replace(
            kind=_limited(call.kind) or "",
            id=_limited(call.id),
            status=_limited(call.status),
            details=call.details if not call.details or allowance.admits_part(call.details) else None,
        )
        for call in record.server_calls[:MAX_CHOICES]
    ]
    for choice in record.choices:
        choice.media = [part for part in choice.media if allowance.admits_part(part)]
    allowance.note_omitted(record)
