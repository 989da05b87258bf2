"""Reading the output items of the responses API (and of realtime, which has the same): what they add up to is one choice.

TextPieces are taken as they are, calls of built-in tools as a shallow copy, media as a description; encrypted reasoning never.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llm_otel_broadcast.clients.answer_texts import Allowance
from llm_otel_broadcast.clients.openai.responses.item_types import (
    FUNCTION_CALLS,
    ORIGINS,
    is_output,
    is_server_call,
    tool_of,
    waits_for_caller,
)
from llm_otel_broadcast.clients.openai.tool_calls import id_of
from llm_otel_broadcast.clients.reader import (
    Members,
    all_members_of,
    items_of,
    json_text,
    members_of,
    text_of,
    text_within,
)
from llm_otel_broadcast.record.generation import Choice, ServerCall, ToolCall
from llm_otel_broadcast.record.media import base64_size, blob

_NO_DETAIL: Final = frozenset(
    {"id", "type", "status", "result", "encrypted_content", "fingerprint", "partial_image_b64"}
)
"""Members of a built-in call that are said elsewhere, or are media."""
_NO_ARGUMENTS: Final = _NO_DETAIL | {"call_id", "caller", "created_by", "environment", "execution", *ORIGINS}
"""Members of a call that waits for the caller which say nothing of what to do."""
_MAX_ITEMS: Final = 64
_MAX_DEPTH: Final = 3
_BETWEEN_PARTS: Final = "\n\n"


class Output:
    """Items as they come, whole or in pieces."""

    __slots__ = (
        "_returned",
        "is_compacted",
        "media",
        "reasoning",
        "refusal",
        "server_calls",
        "text",
        "tool_calls",
        "wanted",
    )

    def __init__(self, allowance: Allowance, *, wanted: bool) -> None:
        self.wanted = wanted
        """Whether content may be kept."""
        self.text = allowance.new_text()
        self.reasoning = allowance.new_text()
        self.refusal = allowance.new_text()
        self.tool_calls: list[ToolCall] = []
        self.server_calls: list[ServerCall] = []
        self.media: list[Mapping[str, object]] = []
        """Media, and items of other kinds, described."""
        self.is_compacted = False
        """The provider replaced earlier turns by a summary."""
        self._returned: set[str] = set()
        """Ids of calls whose result is in the answer: nobody waits for that."""

    def take(self, item: Any) -> None:
        """Take a whole item."""
        said = members_of(item)
        kind = said.get("type")
        if kind == "message":
            if self.wanted and said.get("role") in (None, "assistant"):
                self._take_message(said)
        elif kind == "reasoning":
            if self.wanted:
                # openai 1.66 does not know `summary` and keeps it apart
                self._take_reasoning(all_members_of(item))
        elif waits_for_caller(all_members_of(item)):
            self.tool_calls.append(tool_call(item, content=self.wanted))
        elif is_server_call(kind):
            self.server_calls.append(server_call(item, content=self.wanted))
            if self.wanted and kind == "image_generation_call":
                self._take_image(all_members_of(item))
        else:
            self.take_other(item)

    def take_other(self, item: Any) -> None:
        """Take an item that is neither text nor call: a tool's result, a compaction, what nobody knows here yet."""
        said = all_members_of(item)
        kind = text_of(said.get("type"))
        if kind is None:
            return
        self.is_compacted = self.is_compacted or kind == "compaction"
        identity = text_of(said.get("call_id")) or text_of(said.get("id"))
        named = {"id": identity} if identity else {}
        if is_output(kind):
            self._returned.add(identity or "")
            if self.wanted:
                result = {"type": tool_of(kind), **_details_of(said, _NO_DETAIL - {"result"} | {"call_id"})}
                part = {"type": "server_tool_call_response", **named, "server_tool_call_response": result}
                self.media.append(part)
        elif self.wanted:
            self.media.append({"type": kind, **named, **_details_of(said, _NO_DETAIL | {"call_id"})})

    def _take_message(self, said: Members) -> None:
        content = said.get("content")
        if isinstance(content, str):
            self.text += [content] if content else []
        for part in items_of(said, "content"):
            self._take_part(members_of(part))

    def _take_part(self, part: Members) -> None:
        """Take a part of a message; of spoken ones the transcript."""
        refusal = text_of(part.get("refusal"))
        if refusal:
            self.refusal.append(refusal)
        text = text_within(part.get("text")) or text_of(part.get("transcript"))
        if text:
            self.text.append(text)

    def _take_reasoning(self, said: Members) -> None:
        """Take summaries, and the reasoning itself where a provider shows it."""
        for name in ("summary", "content"):
            parts = said.get(name)
            for part in (parts,) if isinstance(parts, str) else items_of(said, name):
                text = text_within(part)
                if text:
                    self.reasoning += (_BETWEEN_PARTS, text) if self.reasoning else (text,)

    def _take_image(self, said: Members) -> None:
        data = said.get("result")
        if isinstance(data, str) and data:
            kind = text_of(said.get("output_format"))
            self.media.append(blob("image", f"image/{kind}" if kind else None, base64_size(data)))

    def part_of_reasoning(self) -> None:
        """Begin another part of the reasoning, which comes in pieces."""
        if self.reasoning:
            self.reasoning.append(_BETWEEN_PARTS)

    @property
    def waits_for_caller(self) -> bool:
        """Whether the answer ends because the caller has to run a tool."""
        return any(call.id not in self._returned for call in self.tool_calls)

    @property
    def size(self) -> int:
        """The length of the texts kept."""
        pieces = (*self.text, *self.reasoning, *self.refusal, *(call.arguments for call in self.tool_calls))
        return sum(map(len, pieces)) + sum(_length(call.details) for call in self.server_calls)

    @property
    def says_something(self) -> bool:
        return bool(self.text or self.reasoning or self.refusal or self.tool_calls or self.server_calls or self.media)

    def close(self, finish_reason: str | None) -> Choice:
        """Return the answer that the items are."""
        return Choice(
            finish_reason=finish_reason,
            content=self.text.joined(),
            reasoning=self.reasoning.joined(),
            refusal=self.refusal.joined(),
            tool_calls=self.tool_calls,
            media=self.media,
        )


def tool_call(item: Any, *, content: bool) -> ToolCall:
    """Return a call that waits for the caller: of a function, a custom tool or a built-in one, or a request for approval.

    A built-in tool's arguments are the members that say what to do (`action`, `operation`).
    """
    said = all_members_of(item)
    kind = str(said.get("type"))
    arguments = said.get("arguments", said.get("input"))
    if arguments is None and content and kind not in FUNCTION_CALLS:
        arguments = _details_of(said, _NO_ARGUMENTS)
    return ToolCall(
        id=id_of(said.get("call_id")) or id_of(said.get("id")),
        name=text_of(said.get("name")) or (None if kind in FUNCTION_CALLS else tool_of(kind)),
        arguments=json_text(arguments) if content else "",
        details={name: text for name in ORIGINS if (text := text_of(said.get(name)))} or None if content else None,
    )


def server_call(item: Any, *, content: bool) -> ServerCall:
    """Return the call of a built-in tool that the provider runs: a `web_search_call` is one of `web_search`."""
    said = all_members_of(item)
    return ServerCall(
        kind=tool_of(str(said.get("type"))),
        id=text_of(said.get("id")),
        status=text_of(said.get("status")),
        details=(_details_of(said, _NO_DETAIL) or None) if content else None,
    )


def _details_of(said: Members, left_out: frozenset[str]) -> dict[str, object]:
    return {name: shallow(value) for name, value in said.items() if name not in left_out and value not in (None, [])}


def shallow(value: Any, depth: int = 0) -> object:
    """Copy what a part or a built-in call says of itself: texts and numbers, a few levels down; inline media are left out."""
    if isinstance(value, str):
        return "<data>" if value[:5].lower() == "data:" else value
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == _MAX_DEPTH:
        return f"<{type(value).__name__}>"
    if isinstance(value, list | tuple):
        return [shallow(one, depth + 1) for one in value[:_MAX_ITEMS]]
    members = list(all_members_of(value).items())[:_MAX_ITEMS]
    return {str(name): shallow(one, depth + 1) for name, one in members if one is not None}


def _length(kept: object) -> int:
    if isinstance(kept, str):
        return len(kept)
    if isinstance(kept, Mapping):
        return sum(map(_length, kept.values()))
    return sum(map(_length, kept)) if isinstance(kept, list) else 0
