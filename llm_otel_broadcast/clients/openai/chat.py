"""Reading `chat.completions`: the arguments of `create` and `parse`, the answer, its chunks."""

from __future__ import annotations

import time
from typing import Any, Final

from llm_otel_broadcast.clients.answer_limits import needs_no_limit
from llm_otel_broadcast.clients.answer_texts import Allowance
from llm_otel_broadcast.clients.arguments import keep_argument
from llm_otel_broadcast.clients.gateways import note_routing
from llm_otel_broadcast.clients.openai.answers import read_head, read_tail
from llm_otel_broadcast.clients.openai.chat_media import Media, is_media
from llm_otel_broadcast.clients.openai.content_parts import MessageTexts
from llm_otel_broadcast.clients.openai.openrouter import (
    native_reason_of,
    note_broken_choice,
    note_error,
    reasoning_of,
)
from llm_otel_broadcast.clients.openai.requested_output import OUTPUT_ARGUMENTS, name_requested_output
from llm_otel_broadcast.clients.openai.tool_calls import CallPieces, read_call, read_function_call
from llm_otel_broadcast.clients.openai.tools import note_tools
from llm_otel_broadcast.clients.openai.typical_answers import read_typical_answer
from llm_otel_broadcast.clients.openai.typical_chunk import StreamedChoice, TypicalChunk
from llm_otel_broadcast.clients.openai.usage import keep_usage, usage_in
from llm_otel_broadcast.clients.reader import (
    MAX_CHOICES,
    MAX_ITEMS,
    Members,
    Reader,
    all_members_of,
    extras_of,
    is_set,
    items_of,
    json_text,
    members_of,
    note,
    parameters_of,
    text_of,
    text_within,
)
from llm_otel_broadcast.record.generation import Choice, Generation

PARAMETERS: Final = {
    "frequency_penalty": "frequency_penalty",
    "max_completion_tokens": "max_completion_tokens",
    "max_tokens": "max_tokens",
    "modalities": "modalities",
    "n": "n",
    "presence_penalty": "presence_penalty",
    "reasoning_effort": "reasoning_effort",
    "response_format": "response_format",
    "seed": "seed",
    "service_tier": "service_tier",
    "stop": "stop",
    "temperature": "temperature",
    "tool_choice": "tool_choice",
    "top_k": "top_k",
    "top_p": "top_p",
}
"""Arguments that go on the span, and what the record calls them."""
_ODD_ARGUMENTS: Final = OUTPUT_ARGUMENTS | {"audio", "function_call", "functions", "reasoning", "tools"}
"""Arguments that are read apart, because the record has another form of them."""
_TOOL_CALL_BYTES: Final = 200
"""What a tool call takes in the queue beside its arguments: the object, its id and name."""


class ChatReader(Reader):
    """Reads chat completions."""

    operation = "chat"
    api = "chat_completions"

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.stream = kwargs.get("stream") is True
        if content:
            # Copied now: programs append to the same list for the next call while this one waits to be sent.
            record.wants_content = True
            record.messages, size = keep_argument(kwargs, "messages")
            record.size += size
        parameters = parameters_of(kwargs, PARAMETERS)
        if _ODD_ARGUMENTS.isdisjoint(kwargs):
            record.parameters = parameters
            return
        # OpenRouter's spelling of `reasoning_effort`.
        if "reasoning" in kwargs:
            effort = members_of(kwargs["reasoning"]).get("effort")
            if effort is not None:
                parameters.setdefault("reasoning_effort", effort)
        # The deprecated spelling of `tool_choice`.
        if "function_call" in kwargs and is_set(kwargs["function_call"]):
            parameters.setdefault("tool_choice", kwargs["function_call"])
        name_requested_output(parameters)
        record.parameters = parameters
        # Voice and format are of the request alone: the answer in audio does not repeat them.
        if "audio" in kwargs:
            audio = members_of(kwargs["audio"])
            note(record, voice=text_of(audio.get("voice")), audio_format=text_of(audio.get("format")))
        if "tools" in kwargs or "functions" in kwargs:
            note_tools(record, kwargs, content=content)

    def read_response(self, record: Generation, response: object) -> None:
        if not read_typical_answer(record, response, _size_of):
            self.read_any_response(record, response)

    def read_any_response(self, record: Generation, response: object) -> None:
        """Do what `read_response` does, whatever the answer is."""
        members = all_members_of(response)
        read_head(record, members)
        read_tail(record, members)
        choices = items_of(members, "choices")
        record.choices = [_read_choice(record, choice, position) for position, choice in enumerate(choices)]
        for choice in record.choices:
            record.tool_call_count += len(choice.tool_calls)
            record.size += _size_of(choice)
        # Servers answer 200 and say in the body what went wrong, as a whole or of one choice.
        note_error(record, members)
        note_broken_choice(record, choices)

    def fold(self, record: Generation) -> ChatFold:
        return ChatFold(record)


class ChatFold(TypicalChunk):
    """Adds up the chunks of a streamed chat completion, the way the whole answer would have read."""

    __slots__ = (
        "_ends",
        "_has_head",
        "_hides_usage",
        "_is_openrouter",
        "_open_choices",
        "_record",
        "_started",
        "_usage",
        "_wants_content",
    )

    def __init__(self, record: Generation) -> None:
        self._record = record
        # Copied from the record, so that a chunk needs one look-up less for each.
        self._started = record.started
        self._wants_content = record.wants_answer
        self._hides_usage = record.hides_usage_chunk
        self._is_openrouter = record.server.is_openrouter
        super().__init__(Allowance(record.max_characters), keeps_text=record.wants_answer)
        self._open_choices: dict[int, _OpenChoice] = {}
        self._has_head = False
        self._ends = False
        """The chunk that is read has a finish reason: there may be more than a delta."""
        self._usage: Any = None

    def add_any(self, chunk: object) -> bool:
        members = members_of(chunk)
        record = self._record
        self._index = None
        self._ends = False
        choices = members.get("choices")
        if type(choices) is not list or len(choices) > MAX_ITEMS:
            choices = items_of(members, "choices")
        open_choice = None
        # Before the rest, so that the time of the first piece is not late by our own reading.
        for position, choice in enumerate(choices):
            open_choice = self._add_choice(choice, position)
        usage = members.get("usage")
        # Nearly all chunks carry nothing but a delta: what else a chunk may say is read only where there may be some.
        if (
            usage is not None
            or self._ends
            or not self._has_head
            # What a later chunk is the first to state: vLLM's fingerprint, OpenRouter's provider.
            or (record.system_fingerprint is None and members.get("system_fingerprint"))
            or (record.response_service_tier is None and members.get("service_tier"))
            or (self._is_openrouter and record.serving_provider is None and extras_of(chunk).get("provider"))
            # Azure's filter results, the last chunk with usage, errors.
            or not choices
        ):
            extras = extras_of(chunk)
            if extras:
                members = all_members_of(chunk)
            read_head(record, members)
            self._has_head = bool(record.response_id and record.response_model)
            # Read at the end: some servers state the counts so far in each chunk.
            if usage is not None:
                self._usage = usage
            elif extras or (choices and extras_of(choices[0])):
                self._usage = usage_in(members) or self._usage
            if "openrouter_metadata" in members:
                note_routing(record, members["openrouter_metadata"])
            # Status 200 and an error in the middle of the stream.
            if extras or members.get("object") == "error":
                note_error(record, members)
        if (
            open_choice is not None
            and record.first_chunk_ns is not None
            and self._has_head
            and not self._ends
            and (not self._is_openrouter or record.serving_provider is not None)
        ):
            self.expect(open_choice, choices, record)
        # Only the chunk that our own request for usage made: OpenRouter's has choices, and reaches the caller.
        return usage is not None and self._hides_usage and not choices

    def _add_choice(self, piece: object, position: int) -> _OpenChoice:
        """Add a piece to its choice; return that."""
        members: Members
        delta_members: Members
        try:
            members = piece.__dict__
            delta_members, extras = members["delta"].__dict__, members["delta"].__pydantic_extra__
        except (AttributeError, KeyError):
            members = members_of(piece)
            delta = members.get("delta")
            # Azure's filter chunks have choices without a delta (pydantic-ai#164).
            delta_members, extras = members_of(_message_of(piece) if delta is None else delta), extras_of(delta)
        index = members.get("index")
        choice = self._open_choices.get(index) if type(index) is int else None
        if choice is None:
            choice = self._find(index, position)
        if members.get("finish_reason"):
            self._ends = True
            choice.finish_reason = json_text(members["finish_reason"])
            choice.native_finish_reason = native_reason_of(piece) or choice.native_finish_reason
        get = delta_members.get
        text, tool_calls, function_call = get("content"), get("tool_calls"), get("function_call")
        refusal, audio = get("refusal"), get("audio")
        reasoning = reasoning_of(extras) if extras else None
        media = (audio is not None or extras) and choice.add_media(audio, extras, content=self._wants_content)
        # The first piece of any answer: a role alone, or a blank text, is what servers send before the model begins.
        if self._record.first_chunk_ns is None and (
            text or reasoning or tool_calls or function_call or refusal or media
        ):
            self._record.first_chunk_ns = time.perf_counter_ns() - self._started
        if tool_calls or function_call:
            choice.add_calls(items_of(delta_members, "tool_calls"), function_call, content=self._wants_content)
        if self._wants_content:
            if text:
                choice.add(text)
            if reasoning:
                choice.reasoning.append(reasoning)
                self._allowance.count(reasoning)
            if refusal:
                refusal = text_within(refusal)
                choice.refusal.append(refusal)
                self._allowance.count(refusal)
        return choice

    def _find(self, index: object, position: int) -> _OpenChoice:
        """Return the choice that a piece belongs to; without a usable index its place among the pieces tells."""
        number = index if type(index) is int else position
        choice = self._open_choices.get(number)
        if choice is None:
            if len(self._open_choices) >= MAX_CHOICES:
                # The last one takes what is beyond: its text is then wrong, and bounded.
                return next(reversed(self._open_choices.values()))
            choice = self._open_choices[number] = _OpenChoice(self._allowance)
            choice.index = number
        return choice

    def finish(self) -> None:
        record = self._record
        if self._usage is not None:
            keep_usage(record, self._usage)
        audio_format = _audio_format_of(record)
        self._allowance.note_omitted(record)
        # By index: the choices of `n > 1` come interleaved.
        record.choices = [self._open_choices[index].close(audio_format) for index in sorted(self._open_choices)]
        for choice in record.choices:
            record.tool_call_count += len(choice.tool_calls)
            record.size += _size_of(choice)
        note_broken_choice(record)
        record.is_limited = needs_no_limit(record)


class _OpenChoice(StreamedChoice):
    """One choice of a stream, still coming in."""

    finish_reason: str | None = None
    native_finish_reason: str | None = None
    media: Media | None = None

    def add_calls(self, tool_calls: Any, function_call: Any, *, content: bool) -> None:
        """Add pieces of tool calls, and of the deprecated `function_call`."""
        # Made at the first call: most answers have none.
        if self.calls is None:
            self.calls = CallPieces(self.allowance)
        self.calls.add(tool_calls, content=content)
        if function_call is not None:
            self.calls.add_function_call(function_call, content=content)

    def add_media(self, audio: object, extras: Members, *, content: bool) -> bool:
        """Add a piece of audio or an image; False when there is none."""
        if not is_media(audio, extras):
            return False
        if content:
            self.media = self.media or Media(self.allowance)
            self.media.add(audio, extras)
        return True

    def close(self, audio_format: object) -> Choice:
        content, reasoning, refusal = self.joined()
        choice = Choice(
            index=self.index,
            finish_reason=self.finish_reason,
            native_finish_reason=self.native_finish_reason,
            content=content,
            reasoning=reasoning,
            refusal=refusal,
            tool_calls=self.calls.close() if self.calls else [],
            media=list(self.other_parts),
        )
        if self.media is not None:
            self.media.close(choice, audio_format)
        return choice


def _size_of(choice: Choice) -> int:
    # For the queue's bound in bytes (`max_queue_bytes`): what grows with the answer, not what each object weighs.
    size = _TOOL_CALL_BYTES * len(choice.tool_calls)
    for text in (choice.content, choice.reasoning, choice.refusal):
        if text is not None:
            size += len(text)
    for call in choice.tool_calls:
        size += len(call.arguments)
    return size


def _read_choice(record: Generation, choice: object, position: int) -> Choice:
    members = members_of(choice)
    index, finish_reason = members.get("index"), members.get("finish_reason")
    answer = Choice(
        index=index if isinstance(index, int) else position,
        finish_reason=json_text(finish_reason) if finish_reason else None,
    )
    answer.native_finish_reason = native_reason_of(choice)
    message = members.get("message")
    # Old servers answer chat with a text instead of a message, or with `text` as the completions API has it.
    if message is None or isinstance(message, str):
        message = _message_of(choice, message)
    message_members = members_of(message)
    content = record.wants_answer
    answer.tool_calls = [read_call(call, content=content) for call in items_of(message_members, "tool_calls")]
    # Some servers send the deprecated `function_call` beside `tool_calls`: that is the same call twice.
    if not answer.tool_calls and message_members.get("function_call") is not None:
        answer.tool_calls = read_function_call(message_members["function_call"], content=content)
    if not content:
        return answer
    answer.role = text_of(message_members.get("role")) or "assistant"
    extras = extras_of(message)
    reasoning = reasoning_of(extras)
    texts = MessageTexts(Allowance(record.max_characters))
    texts.add(message_members.get("content"))
    texts.allowance.note_omitted(record)
    answer.content, part_reasoning, part_refusal = texts.joined()
    # A gateway's own member wins over parts of the content: both are the same reasoning.
    answer.reasoning = reasoning or part_reasoning
    answer.refusal = text_within(message_members.get("refusal")) or part_refusal
    answer.media += texts.other_parts
    if is_media(message_members.get("audio"), extras):
        media = Media(Allowance(record.max_characters))
        media.add(message_members.get("audio"), extras)
        media.close(answer, _audio_format_of(record))
    return answer


def _message_of(choice: object, message: str | None = None) -> Members:
    """Return what stands for a message where there is none: a bare text, or the `text` of the completions API (old servers)."""
    content = extras_of(choice).get("text") if message is None else message
    return {} if content is None else {"content": content}


def _audio_format_of(record: Generation) -> object:
    """Return the format in which the request asks for audio, None when it does not say."""
    return record.details.get("audio_format") if record.details else None
