"""Reading `chat.completions`: the arguments of `create` and `parse`, the answer, its chunks."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from llm_otel_broadcast.clients.answer_texts import Allowance
from llm_otel_broadcast.clients.arguments import keep_argument
from llm_otel_broadcast.clients.gateways import note_routing
from llm_otel_broadcast.clients.openai.chat_media import Media, is_media
from llm_otel_broadcast.clients.openai.content_parts import MessageTexts
from llm_otel_broadcast.clients.openai.openrouter import (
    native_reason_of,
    note_broken_choice,
    note_error,
    reasoning_of,
)
from llm_otel_broadcast.clients.openai.requested_output import name_requested_output
from llm_otel_broadcast.clients.openai.tool_calls import CallPieces, read_call, read_function_call
from llm_otel_broadcast.clients.openai.tools import note_tools
from llm_otel_broadcast.clients.openai.usage import read_usage, usage_in
from llm_otel_broadcast.clients.reader import (
    Members,
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
_WITHOUT_OUTPUT: Final = frozenset({"embeddings", "moderation"})
"""Operations whose total is that of the input."""
_CALL_SIZE: Final = 200
_MAX_CHOICES: Final = 1_024
"""The API allows 128; a stream with ever new numbers must not fill the memory."""


class ChatReader:
    """Reads chat completions."""

    operation = "chat"
    api = "chat_completions"

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        record.request_model = text_of(kwargs.get("model"))
        record.stream = kwargs.get("stream") is True
        asked = parameters_of(kwargs, PARAMETERS)
        if "reasoning" in kwargs:  # OpenRouter's spelling
            effort = members_of(kwargs["reasoning"]).get("effort")
            if effort is not None:
                asked.setdefault("reasoning_effort", effort)
        if "function_call" in kwargs and is_set(kwargs["function_call"]):
            asked.setdefault("tool_choice", kwargs["function_call"])
        if asked:
            name_requested_output(asked)
            record.parameters = asked
        if "audio" in kwargs:
            audio = members_of(kwargs["audio"])
            note(record, voice=text_of(audio.get("voice")), audio_format=text_of(audio.get("format")))
        if content:
            record.wants_content = True
            record.messages, size = keep_argument(kwargs, "messages")
            record.size += size
        if "tools" in kwargs or "functions" in kwargs:
            note_tools(record, kwargs, content=content)

    def read_response(self, record: Generation, response: Any) -> None:
        said = all_members_of(response)
        read_head(record, said)
        read_tail(record, said)
        record.choices = [_read_choice(record, choice, at) for at, choice in enumerate(items_of(said, "choices"))]
        for choice in record.choices:
            record.tool_call_count += len(choice.tool_calls)
            record.size += _size_of(choice)
        note_error(record, said)
        note_broken_choice(record, items_of(said, "choices"))

    def read_body(self, record: Generation, body: bytes) -> None:
        self.read_response(record, json.loads(body))

    def fold(self, record: Generation) -> ChatFold:
        return ChatFold(record)


class ChatFold:
    """Adds up the chunks of a streamed chat completion, the way the whole answer would have read."""

    __slots__ = (
        "_allowance",
        "_content",
        "_ends",
        "_headed",
        "_hides_usage",
        "_is_routed",
        "_open",
        "_record",
        "_started",
        "_usage",
    )

    def __init__(self, record: Generation) -> None:
        self._record = record
        self._started = record.started
        self._content = record.wants_answer
        self._allowance = Allowance(record.max_characters)
        self._open: dict[int, _OpenChoice] = {}
        self._headed = False
        self._ends = False
        self._usage: Any = None
        self._hides_usage = record.hides_usage_chunk
        self._is_routed = record.server.is_openrouter

    def add(self, chunk: Any) -> bool:
        said = members_of(chunk)
        record = self._record
        choices = items_of(said, "choices")
        for position, choice in enumerate(choices):
            self._add_choice(choice, position)
        usage = said.get("usage")
        if (
            usage is not None
            or self._ends
            or not self._headed
            # what a later chunk is the first to state: vLLM's fingerprint, OpenRouter's provider
            or (record.system_fingerprint is None and said.get("system_fingerprint"))
            or (record.response_service_tier is None and said.get("service_tier"))
            or (self._is_routed and record.serving_provider is None and extras_of(chunk).get("provider"))
            or not choices
        ):
            self._take_facts(all_members_of(chunk))
        return usage is not None and self._hides_usage and not choices

    def _take_facts(self, members: Members) -> None:
        """Take what a chunk says beside its choices. The counts are read at the end: some servers state them in each chunk."""
        record = self._record
        self._ends = False
        read_head(record, members)
        self._headed = bool(record.response_id and record.response_model)
        usage = usage_in(members)
        if usage is not None:
            self._usage = usage
        if "openrouter_metadata" in members:
            note_routing(record, members["openrouter_metadata"])
        note_error(record, members)

    def _add_choice(self, made: Any, position: int) -> None:
        choice = members_of(made)
        mine = self._find(choice.get("index"), position)
        reason = choice.get("finish_reason")
        if reason:
            self._ends = True
            mine.finish_reason = json_text(reason)
            mine.native_finish_reason = native_reason_of(made) or mine.native_finish_reason
        delta = choice.get("delta")
        said = members_of(delta if delta is not None else _message_of(made))
        text = said.get("content")
        extra = extras_of(delta)
        reasoning = reasoning_of(extra) if extra else None
        calls = said.get("tool_calls")
        function_call = said.get("function_call")
        refusal = said.get("refusal")
        audio = said.get("audio")
        media = (audio is not None or extra) and mine.add_media(audio, extra, content=self._content)
        if self._record.first_chunk_ns is None and (text or reasoning or calls or function_call or refusal or media):
            self._record.first_chunk_ns = time.perf_counter_ns() - self._started
        if calls or function_call:
            mine.add_calls(items_of(said, "tool_calls"), function_call, content=self._content)
        if not self._content:
            return
        if text:
            if type(text) is str:
                mine.content.append(text)
                self._allowance.take(text)
            else:
                mine.take(text)
        if reasoning:
            mine.reasoning.append(reasoning)
            self._allowance.take(reasoning)
        if refusal:
            refusal = text_within(refusal)
            mine.refusal.append(refusal)
            self._allowance.take(refusal)

    def _find(self, index: Any, position: int) -> _OpenChoice:
        """Return the choice that a piece belongs to; without a usable index its place among the pieces tells."""
        known = index if type(index) is int else position
        mine = self._open.get(known)
        if mine is None:
            if len(self._open) >= _MAX_CHOICES:
                return next(reversed(self._open.values()))
            mine = self._open[known] = _OpenChoice(known, self._allowance)
        return mine

    def finish(self) -> None:
        record = self._record
        if self._usage is not None:
            record.usage = read_usage(self._usage)
        audio_format = audio_format_of(record)
        self._allowance.note(record)
        record.choices = [self._open[index].close(audio_format) for index in sorted(self._open)]
        for choice in record.choices:
            record.tool_call_count += len(choice.tool_calls)
            record.size += _size_of(choice)
        note_broken_choice(record)


class _OpenChoice(MessageTexts):
    """One choice of a stream, still coming in."""

    __slots__ = ("calls", "finish_reason", "index", "media", "native_finish_reason")

    def __init__(self, index: int, allowance: Allowance) -> None:
        super().__init__(allowance)
        self.index = index
        self.finish_reason: str | None = None
        self.native_finish_reason: str | None = None
        self.media: Media | None = None
        self.calls: CallPieces | None = None

    def add_calls(self, calls: Any, function_call: Any, *, content: bool) -> None:
        """Take pieces of tool calls, and of the deprecated `function_call`."""
        if self.calls is None:
            self.calls = CallPieces(self.allowance)
        self.calls.add(calls, content=content)
        if function_call is not None:
            self.calls.add_function_call(function_call, content=content)

    def add_media(self, audio: object, extra: Members, *, content: bool) -> bool:
        """Take a piece of audio or an image; False when there is none."""
        if not is_media(audio, extra):
            return False
        if content:
            self.media = self.media or Media(self.allowance)
            self.media.add(audio, extra)
        return True

    def close(self, audio_format: object) -> Choice:
        choice = Choice(
            index=self.index,
            finish_reason=self.finish_reason,
            native_finish_reason=self.native_finish_reason,
            content=self.content.joined(),
            reasoning=self.reasoning.joined(),
            refusal=self.refusal.joined(),
            tool_calls=self.calls.close() if self.calls else [],
            media=list(self.others),
        )
        if self.media is not None:
            self.media.close(choice, audio_format)
        return choice


def _size_of(choice: Choice) -> int:
    texts = (choice.content, choice.reasoning, choice.refusal, *(call.arguments for call in choice.tool_calls))
    return sum(len(text) for text in texts if isinstance(text, str)) + _CALL_SIZE * len(choice.tool_calls)


def read_head(record: Generation, said: Members) -> None:
    """Read what every chunk carries; blank values (Azure's first chunk) do not overwrite."""
    record.response_id = text_of(said.get("id")) or record.response_id
    record.response_model = record.served_model or text_of(said.get("model")) or record.response_model
    record.response_service_tier = text_of(said.get("service_tier")) or record.response_service_tier
    record.system_fingerprint = text_of(said.get("system_fingerprint")) or record.system_fingerprint
    record.serving_provider = text_of(said.get("provider")) or record.serving_provider


def read_tail(record: Generation, said: Members) -> None:
    """Read what comes with the last chunk or the whole answer."""
    usage = usage_in(said)
    if usage is not None:
        record.usage = read_usage(usage, generates=record.operation not in _WITHOUT_OUTPUT)
    record.response_service_tier = text_of(said.get("service_tier")) or record.response_service_tier
    if "openrouter_metadata" in said:
        note_routing(record, said["openrouter_metadata"])


def _read_choice(record: Generation, choice: Any, position: int) -> Choice:
    said = members_of(choice)
    index = said.get("index")
    reason = said.get("finish_reason")
    read = Choice(
        index=index if isinstance(index, int) else position, finish_reason=json_text(reason) if reason else None
    )
    read.native_finish_reason = native_reason_of(choice)
    message = said.get("message")
    if message is None or isinstance(message, str):
        message = _message_of(choice, message)
    told = members_of(message)
    content = record.wants_answer
    read.tool_calls = [read_call(call, content=content) for call in items_of(told, "tool_calls")]
    if not read.tool_calls and told.get("function_call") is not None:
        read.tool_calls = read_function_call(told["function_call"], content=content)
    if not content:
        return read
    read.role = text_of(told.get("role")) or "assistant"
    extra = extras_of(message)
    reasoning = reasoning_of(extra)
    texts = MessageTexts(Allowance(record.max_characters))
    texts.take(told.get("content"))
    texts.allowance.note(record)
    read.content = texts.content.joined()
    read.reasoning = reasoning or texts.reasoning.joined()
    read.refusal = text_within(told.get("refusal")) or texts.refusal.joined()
    read.media += texts.others
    if is_media(told.get("audio"), extra):
        media = Media(Allowance(record.max_characters))
        media.add(told.get("audio"), extra)
        media.close(read, audio_format_of(record))
    return read


def _message_of(choice: Any, message: str | None = None) -> Members:
    """Return what stands for a message where there is none: a bare text, or the `text` of the completions API (old servers)."""
    content = extras_of(choice).get("text") if message is None else message
    return {} if content is None else {"content": content}


def audio_format_of(record: Generation) -> object:
    """Return the format in which the request asks for audio, None when it does not say."""
    return record.details.get("audio_format") if record.details else None
