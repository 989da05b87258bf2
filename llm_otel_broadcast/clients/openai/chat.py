"""Reading `chat.completions.create`: its arguments, its answer, its chunks.

Objects are taken as they come, by attribute, so that every version of the client and every gateway's odd answer reads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Final

from llm_otel_broadcast.clients.openai.usage import read_usage
from llm_otel_broadcast.generation import Choice, Failure, Generation, ToolCall

_PARAMETERS: Final = frozenset(
    {
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "modalities",
        "n",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "service_tier",
        "stop",
        "temperature",
        "top_p",
    }
)
_UNSET: Final = frozenset({"NotGiven", "Omit", "NoneType"})
_NOTHING: Final[Mapping[str, Any]] = {}


class ChatReader:
    """Reads chat completions."""

    operation = "chat"

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        model = kwargs.get("model")
        if isinstance(model, str) and model:
            record.request_model = model
        record.stream = kwargs.get("stream") is True
        asked = {}
        for key in _PARAMETERS.intersection(kwargs):
            value = kwargs[key]
            if type(value).__name__ not in _UNSET:
                asked[key] = value
        extra_body = kwargs.get("extra_body")
        if extra_body is not None:
            effort = _member(_member(extra_body, "reasoning"), "effort")
            if effort is not None:  # OpenRouter's spelling
                asked.setdefault("reasoning_effort", effort)
        record.parameters = asked
        if content:
            record.wants_content = True
            messages, tools = kwargs.get("messages"), kwargs.get("tools")
            record.messages, size = _keep(messages)
            if record.messages is None and hasattr(messages, "__next__"):
                kwargs["messages"], record.messages = _tee(messages)
            record.tools, _ = _keep(tools)
            if record.tools is None and hasattr(tools, "__next__"):
                kwargs["tools"], record.tools = _tee(tools)
            record.size += size

    def read_response(self, record: Generation, response: Any) -> None:
        _read_head(record, response)
        _read_tail(record, response)
        record.choices = [
            _read_choice(choice, position, content=record.wants_content)
            for position, choice in enumerate(_items(response, "choices"))
        ]
        record.size += sum(len(choice.content or "") + len(choice.reasoning or "") for choice in record.choices)
        _note_error(record, response)

    def read_body(self, record: Generation, body: bytes) -> None:
        document = json.loads(body, object_hook=lambda members: _Document(**members))
        self.read_response(record, document)

    def fold(self, record: Generation) -> ChatFold:
        return ChatFold(record)


class _Document(SimpleNamespace):
    """A JSON object read like the client's own objects: members are attributes, unknown ones absent."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class ChatFold:
    """Adds up the chunks of a streamed chat completion, the way the whole answer would have read."""

    __slots__ = ("_content", "_headed", "_open", "_record", "_started", "hide_usage_chunk")

    def __init__(self, record: Generation) -> None:
        self._record = record
        self._started = record.started
        self._content = record.wants_content
        self._open: dict[int, _OpenChoice] = {}
        self._headed = False
        self.hide_usage_chunk = record.hides_usage_chunk

    def add(self, chunk: Any) -> bool:
        record = self._record
        if not self._headed:
            _read_head(record, chunk)
            self._headed = bool(record.response_id and record.response_model)
        choices = getattr(chunk, "choices", None)
        if choices:
            for choice in choices:
                self._add_choice(choice)
        if getattr(chunk, "usage", None) is not None:
            _read_tail(record, chunk)
            return self.hide_usage_chunk and not choices
        return False

    def _add_choice(self, choice: Any) -> None:
        index = getattr(choice, "index", 0)
        mine = self._open.get(index)
        if mine is None:
            mine = self._open[index] = _OpenChoice(index if isinstance(index, int) else len(self._open))
        reason = getattr(choice, "finish_reason", None)
        if reason:
            mine.finish_reason = str(reason)
        delta = getattr(choice, "delta", None)
        if delta is None:
            return
        text = getattr(delta, "content", None)
        extra = getattr(delta, "__pydantic_extra__", None) or _NOTHING
        reasoning = _reasoning_of(extra) if extra else None
        calls = getattr(delta, "tool_calls", None)
        refusal = getattr(delta, "refusal", None)
        if self._record.first_chunk_ns is None and (text or reasoning or calls or refusal):
            self._record.first_chunk_ns = time.perf_counter_ns() - self._started
        if not self._content:
            return
        if text:
            mine.content.append(text)
        if reasoning:
            mine.reasoning.append(reasoning)
        if refusal:
            mine.refusal.append(refusal)
        if calls:
            mine.add_calls(calls)

    def finish(self) -> None:
        record = self._record
        record.choices = [self._open[index].close() for index in sorted(self._open, key=str)]
        for choice in record.choices:
            record.size += len(choice.content or "") + len(choice.reasoning or "")
            if choice.finish_reason == "error" and record.failure is None:
                record.failure = Failure("error", "the provider ended the stream with an error")


class _OpenChoice:
    """One choice of a stream, still coming in."""

    __slots__ = ("_last", "calls", "content", "finish_reason", "index", "reasoning", "refusal")

    def __init__(self, index: int) -> None:
        self.index = index
        self.finish_reason: str | None = None
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: list[tuple[object, ToolCall, list[str]]] = []
        self._last: tuple[object, ToolCall, list[str]] | None = None

    def add_calls(self, calls: Iterable[Any]) -> None:
        """Take pieces of tool calls: by id first, then by index, then to the last open one (pains P20)."""
        for piece in calls:
            identity, index = getattr(piece, "id", None), getattr(piece, "index", None)
            entry = self._find(identity, index)
            if entry is None:
                entry = (index, ToolCall(id=identity or None), [])
                self.calls.append(entry)
            self._last = entry
            function = getattr(piece, "function", None)
            name, arguments = getattr(function, "name", None), getattr(function, "arguments", None)
            if name and not entry[1].name:
                entry[1].name = name
            if arguments:
                entry[2].append(arguments)

    def _find(self, identity: object, index: object) -> tuple[object, ToolCall, list[str]] | None:
        if identity:
            return next((entry for entry in self.calls if entry[1].id == identity), None)
        if index is not None:
            return next((entry for entry in reversed(self.calls) if entry[0] == index), self._last)
        return self._last

    def close(self) -> Choice:
        for _, call, pieces in self.calls:
            call.arguments = "".join(map(str, pieces))
        return Choice(
            index=self.index,
            finish_reason=self.finish_reason,
            content=_joined(self.content),
            reasoning=_joined(self.reasoning),
            refusal=_joined(self.refusal),
            tool_calls=[call for _, call, _ in self.calls],
        )


def _joined(pieces: list[str]) -> str | None:
    return "".join(map(str, pieces)) if pieces else None


def _reasoning_of(extra: Mapping[str, Any]) -> str | None:
    """Return reasoning text as OpenRouter (`reasoning`) or DeepSeek and vLLM (`reasoning_content`) spell it."""
    text = extra.get("reasoning") or extra.get("reasoning_content")
    return text if isinstance(text, str) else None


def _keep(value: Any) -> tuple[list[object] | None, int]:
    """Copy a list of dicts as deep as the caller may change it: the list, each dict, each list of parts.

    Returns the copy and the length of its texts; None for what is no list, because it may be iterated only once.
    """
    if not isinstance(value, list | tuple):
        return None, 0
    kept: list[object] = []
    size = 0
    for item in value:
        if type(item) is not dict:
            kept.append(item)
            continue
        copy = item.copy()
        text = copy.get("content")
        if type(text) is str:
            size += len(text)
        elif type(text) is list:
            copy["content"] = [part.copy() if type(part) is dict else part for part in text]
            size += sum(len(str(part)) for part in text)
        kept.append(copy)
    return kept, size


def _tee(value: Any) -> tuple[Any, list[object]]:
    """Let the client consume a one-time iterator while we note what passes."""
    noted: list[object] = []

    def passing() -> Iterator[object]:
        for item in value:
            noted.append(item.copy() if type(item) is dict else item)
            yield item

    return passing(), noted


def _items(thing: Any, name: str) -> Iterable[Any]:
    value = getattr(thing, name, None)
    return value if isinstance(value, list | tuple) else ()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _read_head(record: Generation, response: Any) -> None:
    """Read what every chunk carries; blank values (Azure's first chunk) do not overwrite."""
    record.response_id = _text(getattr(response, "id", None)) or record.response_id
    record.response_model = _text(getattr(response, "model", None)) or record.response_model
    tier = _text(getattr(response, "service_tier", None))
    record.response_service_tier = tier or record.response_service_tier
    fingerprint = _text(getattr(response, "system_fingerprint", None))
    record.system_fingerprint = fingerprint or record.system_fingerprint
    record.serving_provider = _text(_extra(response, "provider")) or record.serving_provider


def _read_tail(record: Generation, response: Any) -> None:
    """Read what comes with the last chunk or the whole answer."""
    usage = getattr(response, "usage", None)
    if usage is not None:
        record.usage = read_usage(usage)
    record.response_service_tier = _text(getattr(response, "service_tier", None)) or record.response_service_tier


def _extra(thing: Any, name: str) -> Any:
    """Read a member the client does not know: its models keep such members apart, and asking by attribute is slow."""
    extra = getattr(thing, "__pydantic_extra__", None)
    return extra.get(name) if extra is not None else getattr(thing, name, None)


def _read_choice(choice: Any, position: int, *, content: bool) -> Choice:
    index = getattr(choice, "index", None)
    reason = getattr(choice, "finish_reason", None)
    read = Choice(index=index if isinstance(index, int) else position, finish_reason=str(reason) if reason else None)
    message = getattr(choice, "message", None)
    if message is None or not content:
        return read
    read.role = _text(getattr(message, "role", None)) or "assistant"
    read.content = _text(getattr(message, "content", None))
    read.refusal = _text(getattr(message, "refusal", None))
    read.reasoning = _text(_extra(message, "reasoning")) or _text(_extra(message, "reasoning_content"))
    read.tool_calls = [_read_call(call) for call in _items(message, "tool_calls")]
    return read


def _read_call(call: Any) -> ToolCall:
    part = getattr(call, "function", None) or getattr(call, "custom", None)
    arguments = getattr(part, "arguments", None)
    if arguments is None:
        arguments = getattr(part, "input", None)
    return ToolCall(
        id=_text(getattr(call, "id", None)),
        name=_text(getattr(part, "name", None)),
        arguments=arguments if isinstance(arguments, str) else "",
    )


def _note_error(record: Generation, response: Any) -> None:
    """OpenRouter answers 200 with an `error` member when the provider failed late."""
    error = _extra(response, "error")
    if error is None:
        return
    code, message = (_member(error, name) for name in ("code", "message"))
    record.failure = Failure(str(code or "error"), str(message or ""), code=str(code) if code else None)


def _member(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
