"""Reading `chat.completions`: the arguments of `create` and `parse`, the answer, its chunks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any, Final

from llm_otel_broadcast.clients.keeping import keep_argument
from llm_otel_broadcast.clients.openai.chat_media import Media, is_media
from llm_otel_broadcast.clients.openai.openrouter import (
    native_reason_of,
    note_broken_choice,
    note_error,
    read_attempts,
    reasoning_of,
)
from llm_otel_broadcast.clients.openai.tools import note_tools
from llm_otel_broadcast.clients.openai.usage import read_usage
from llm_otel_broadcast.clients.reading import (
    Members,
    all_members_of,
    extras_of,
    items_of,
    members_of,
    note,
    parameters_of,
    text_of,
)
from llm_otel_broadcast.clients.texts import Allowance, Texts
from llm_otel_broadcast.generation import Choice, Generation, ToolCall

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
    "top_p": "top_p",
}
"""Arguments that go on the span, and what the record calls them."""
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
        extra_body = kwargs.get("extra_body")
        if extra_body is not None:
            effort = members_of(members_of(extra_body).get("reasoning")).get("effort")
            if effort is not None:  # OpenRouter's spelling
                asked.setdefault("reasoning_effort", effort)
        record.parameters = asked
        if "audio" in kwargs:
            audio = members_of(kwargs["audio"])
            note(record, voice=text_of(audio.get("voice")), audio_format=text_of(audio.get("format")))
        if content:
            record.wants_content = True
            record.messages, size = keep_argument(kwargs, "messages")
            record.size += size
        if "tools" in kwargs:
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
        if "openrouter_metadata" in said:
            record.attempts = read_attempts(said["openrouter_metadata"])

    def read_body(self, record: Generation, body: bytes) -> None:
        self.read_response(record, json.loads(body))

    def fold(self, record: Generation) -> ChatFold:
        return ChatFold(record)


class ChatFold:
    """Adds up the chunks of a streamed chat completion, the way the whole answer would have read."""

    __slots__ = ("_allowance", "_content", "_headed", "_hides_usage", "_open", "_record", "_started")

    def __init__(self, record: Generation) -> None:
        self._record = record
        self._started = record.started
        self._content = record.wants_answer
        self._allowance = Allowance(record.max_characters)
        self._open: dict[int, _OpenChoice] = {}
        self._headed = False
        self._hides_usage = record.hides_usage_chunk

    def add(self, chunk: Any) -> bool:
        said = members_of(chunk)
        if not self._headed:
            record = self._record
            read_head(record, all_members_of(chunk))
            self._headed = bool(record.response_id and record.response_model)
        choices = items_of(said, "choices")
        for position, choice in enumerate(choices):
            self._add_choice(choice, position)
        if said.get("usage") is not None:
            read_tail(self._record, all_members_of(chunk))
            return self._hides_usage and not choices
        return False

    def _add_choice(self, made: Any, position: int) -> None:
        choice = members_of(made)
        mine = self._find(choice.get("index"), position)
        reason = choice.get("finish_reason")
        if reason:
            mine.finish_reason = str(reason)
            mine.native_finish_reason = native_reason_of(made) or mine.native_finish_reason
        delta = choice.get("delta")
        if delta is None:
            return
        said = members_of(delta)
        text = said.get("content")
        extra = extras_of(delta)
        reasoning = reasoning_of(extra) if extra else None
        calls = items_of(said, "tool_calls")
        refusal = said.get("refusal")
        audio = said.get("audio")
        media = (audio is not None or extra) and mine.add_media(audio, extra, content=self._content)
        if self._record.first_chunk_ns is None and (text or reasoning or calls or refusal or media):
            self._record.first_chunk_ns = time.perf_counter_ns() - self._started
        if calls:
            mine.add_calls(calls, content=self._content)
        if not self._content:
            return
        if text:
            mine.content.append(text)
            self._allowance.take(text)
        if reasoning:
            mine.reasoning.append(reasoning)
            self._allowance.take(reasoning)
        if refusal:
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
        audio_format = audio_format_of(record)
        self._allowance.note(record)
        record.choices = [self._open[index].close(audio_format) for index in sorted(self._open)]
        for choice in record.choices:
            record.tool_call_count += len(choice.tool_calls)
            record.size += _size_of(choice)
        note_broken_choice(record)


class _OpenChoice:
    """One choice of a stream, still coming in."""

    __slots__ = (
        "_allowance",
        "_by_id",
        "_by_index",
        "_last",
        "calls",
        "content",
        "finish_reason",
        "index",
        "media",
        "native_finish_reason",
        "reasoning",
        "refusal",
    )

    def __init__(self, index: int, allowance: Allowance) -> None:
        self._allowance = allowance
        self.index = index
        self.finish_reason: str | None = None
        self.native_finish_reason: str | None = None
        self.content = allowance.texts()
        self.reasoning = allowance.texts()
        self.refusal = allowance.texts()
        self.media: Media | None = None
        self.calls: list[tuple[object, ToolCall, Texts]] = []
        self._last: tuple[object, ToolCall, Texts] | None = None
        # a stream may have very many calls: looking through all of them for each piece costs their square
        self._by_id: dict[object, tuple[object, ToolCall, Texts]] = {}
        self._by_index: dict[object, tuple[object, ToolCall, Texts]] = {}

    def add_calls(self, calls: Iterable[Any], *, content: bool) -> None:
        """Take pieces of tool calls: by id first, then by index, then to the last open one (pains P20)."""
        for made in calls:
            piece = members_of(made)
            identity, index = piece.get("id"), piece.get("index")
            entry = self._find(identity, index)
            if entry is None:
                entry = (index, ToolCall(id=identity or None), self._allowance.texts())
                self.calls.append(entry)
                self._by_id.setdefault(_key(identity), entry)
                self._by_index[_key(index)] = entry
            self._last = entry
            function = members_of(piece.get("function"))
            name, arguments = function.get("name"), function.get("arguments")
            if name and not entry[1].name:
                entry[1].name = name
            if arguments and content:
                entry[2].append(arguments)
                self._allowance.take(arguments)

    def add_media(self, audio: object, extra: Members, *, content: bool) -> bool:
        """Take a piece of audio or an image; False when there is none."""
        if not is_media(audio, extra):
            return False
        if content:
            self.media = self.media or Media(self._allowance)
            self.media.add(audio, extra)
        return True

    def _find(self, identity: object, index: object) -> tuple[object, ToolCall, Texts] | None:
        if identity:
            return self._by_id.get(_key(identity))
        if index is not None:
            return self._by_index.get(_key(index), self._last)
        return self._last

    def close(self, audio_format: object) -> Choice:
        for _, call, pieces in self.calls:
            call.arguments = pieces.joined() or ""
        choice = Choice(
            index=self.index,
            finish_reason=self.finish_reason,
            native_finish_reason=self.native_finish_reason,
            content=self.content.joined(),
            reasoning=self.reasoning.joined(),
            refusal=self.refusal.joined(),
            tool_calls=[call for _, call, _ in self.calls],
        )
        if self.media is not None:
            self.media.close(choice, audio_format)
        return choice


def _size_of(choice: Choice) -> int:
    texts = (choice.content, choice.reasoning, choice.refusal, *(call.arguments for call in choice.tool_calls))
    return sum(len(text) for text in texts if isinstance(text, str)) + _CALL_SIZE * len(choice.tool_calls)


def _key(value: object) -> object:
    """Return what an id or an index is looked up by; a provider may send anything."""
    return value if isinstance(value, str | int | float) else str(value)


def read_head(record: Generation, said: Members) -> None:
    """Read what every chunk carries; blank values (Azure's first chunk) do not overwrite."""
    record.response_id = text_of(said.get("id")) or record.response_id
    record.response_model = text_of(said.get("model")) or record.response_model
    record.response_service_tier = text_of(said.get("service_tier")) or record.response_service_tier
    record.system_fingerprint = text_of(said.get("system_fingerprint")) or record.system_fingerprint
    record.serving_provider = text_of(said.get("provider")) or record.serving_provider


def read_tail(record: Generation, said: Members) -> None:
    """Read what comes with the last chunk or the whole answer."""
    usage = said.get("usage")
    if usage is not None:
        record.usage = read_usage(usage)
    record.response_service_tier = text_of(said.get("service_tier")) or record.response_service_tier


def _read_choice(record: Generation, choice: Any, position: int) -> Choice:
    said = members_of(choice)
    index = said.get("index")
    reason = said.get("finish_reason")
    read = Choice(index=index if isinstance(index, int) else position, finish_reason=str(reason) if reason else None)
    read.native_finish_reason = native_reason_of(choice)
    message = said.get("message")
    if message is None:
        return read
    told = members_of(message)
    content = record.wants_answer
    read.tool_calls = [_read_call(members_of(call), content=content) for call in items_of(told, "tool_calls")]
    if not content:
        return read
    read.role = text_of(told.get("role")) or "assistant"
    read.content = text_of(told.get("content"))
    read.refusal = text_of(told.get("refusal"))
    extra = extras_of(message)
    read.reasoning = reasoning_of(extra)
    if is_media(told.get("audio"), extra):
        media = Media(Allowance(record.max_characters))
        media.add(told.get("audio"), extra)
        media.close(read, audio_format_of(record))
    return read


def audio_format_of(record: Generation) -> object:
    """Return the format in which the request asks for audio, None when it does not say."""
    return record.details.get("audio_format") if record.details else None


def _read_call(call: Members, *, content: bool) -> ToolCall:
    part = members_of(call.get("function") or call.get("custom"))
    arguments = part.get("arguments")
    if arguments is None:
        arguments = part.get("input")
    return ToolCall(
        id=text_of(call.get("id")),
        name=text_of(part.get("name")),
        arguments=arguments if content and isinstance(arguments, str) else "",
    )
