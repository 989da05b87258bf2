"""Reading the output items of the responses API (and of realtime, which has the same): what they add up to is one choice.

Texts are taken as they are, calls of built-in tools as a shallow copy, media as a description; encrypted reasoning never.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llm_otel_broadcast.clients.reading import Members, all_members_of, items_of, members_of, text_of
from llm_otel_broadcast.clients.texts import Allowance
from llm_otel_broadcast.generation import Choice, ServerCall, ToolCall

_FOR_THE_CALLER: Final = frozenset({"apply_patch_call", "computer_call", "local_shell_call"})
"""Built-in tools that the caller has to run: the answer stops for them, as it does for functions."""
_NO_DETAIL: Final = frozenset({"id", "type", "status", "result", "encrypted_content", "partial_image_b64"})
"""Members of a built-in call that are said elsewhere, or are media."""
_MAX_ITEMS: Final = 64
_MAX_DEPTH: Final = 3
_BETWEEN_PARTS: Final = "\n\n"


class Output:
    """Items as they come, whole or in pieces."""

    __slots__ = ("media", "reasoning", "refusal", "server_calls", "text", "tool_calls", "wanted")

    def __init__(self, allowance: Allowance, *, wanted: bool) -> None:
        self.wanted = wanted
        """Whether content may be kept."""
        self.text = allowance.texts()
        self.reasoning = allowance.texts()
        self.refusal = allowance.texts()
        self.tool_calls: list[ToolCall] = []
        self.server_calls: list[ServerCall] = []
        self.media: list[Mapping[str, object]] = []

    def take(self, item: Any) -> None:
        """Take a whole item."""
        said = members_of(item)
        kind = said.get("type")
        if kind == "message":
            if self.wanted and said.get("role") in (None, "assistant"):
                for part in items_of(said, "content"):
                    self._take_part(members_of(part))
        elif kind == "reasoning":
            if self.wanted:
                self._take_reasoning(said)
        elif kind in ("function_call", "custom_tool_call"):
            self.tool_calls.append(tool_call(said, content=self.wanted))
        elif is_server_call(kind):
            self.server_calls.append(server_call(item, content=self.wanted))
            if self.wanted and kind == "image_generation_call":
                self._take_image(all_members_of(item))

    def _take_part(self, part: Members) -> None:
        """Take a part of a message; of spoken ones the transcript."""
        refusal = text_of(part.get("refusal"))
        if refusal:
            self.refusal.append(refusal)
        text = text_of(part.get("text")) or text_of(part.get("transcript"))
        if text:
            self.text.append(text)

    def _take_reasoning(self, said: Members) -> None:
        """Take summaries, and the reasoning itself where a provider shows it."""
        for name in ("summary", "content"):
            for part in items_of(said, name):
                text = text_of(members_of(part).get("text"))
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
        return bool(self.tool_calls) or any(f"{call.kind}_call" in _FOR_THE_CALLER for call in self.server_calls)

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


def tool_call(said: Members, *, content: bool) -> ToolCall:
    """Return the call of a function or a custom tool."""
    arguments = said.get("arguments", said.get("input"))
    return ToolCall(
        id=text_of(said.get("call_id")) or text_of(said.get("id")),
        name=text_of(said.get("name")),
        arguments=arguments if content and isinstance(arguments, str) else "",
    )


def is_server_call(kind: object) -> bool:
    """Return whether items of this type are calls of a built-in tool."""
    return isinstance(kind, str) and (kind.endswith("_call") or kind.startswith("mcp_"))


def server_call(item: Any, *, content: bool) -> ServerCall:
    """Return the call of a built-in tool: a `web_search_call` is one of `web_search`."""
    said = all_members_of(item)
    details = None
    if content:
        details = {
            name: _shallow(value) for name, value in said.items() if name not in _NO_DETAIL and value is not None
        }
    return ServerCall(
        kind=str(said.get("type")).removesuffix("_call"),
        id=text_of(said.get("id")),
        status=text_of(said.get("status")),
        details=details or None,
    )


def base64_size(data: str) -> int:
    """Return how many bytes a base64 text stands for."""
    return max(0, len(data) * 3 // 4 - data[-2:].count("="))


def _shallow(value: Any, depth: int = 0) -> object:
    """Copy what a built-in call says of itself: texts and numbers, a few levels down; inline media are left out."""
    if isinstance(value, str):
        return "<data>" if value[:5].lower() == "data:" else value
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == _MAX_DEPTH:
        return f"<{type(value).__name__}>"
    if isinstance(value, list | tuple):
        return [_shallow(one, depth + 1) for one in value[:_MAX_ITEMS]]
    members = list(all_members_of(value).items())[:_MAX_ITEMS]
    return {str(name): _shallow(one, depth + 1) for name, one in members if one is not None}


def _length(kept: object) -> int:
    if isinstance(kept, str):
        return len(kept)
    if isinstance(kept, Mapping):
        return sum(map(_length, kept.values()))
    return sum(map(_length, kept)) if isinstance(kept, list) else 0


def blob(modality: str, mime_type: str | None, size: int) -> Mapping[str, object]:
    """Describe inline media instead of carrying them."""
    named = {"mime_type": mime_type} if mime_type else {}
    return {"type": "blob", "modality": modality, **named, "stripped": True, "bytes": size}
