"""Reading the output items of the responses API (and of realtime, which has the same): what they add up to is one choice.

TextPieces are taken as they are, calls of built-in tools as a shallow copy, media as a description; encrypted reasoning never.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llm_otel_broadcast.clients.answer_texts import Allowance
from llm_otel_broadcast.clients.openai.responses.item_types import (
    CALL_CONTEXT,
    FUNCTION_CALLS,
    ORIGINS,
    STATED_ELSEWHERE,
    is_output,
    is_server_call,
    tool_of,
    waits_for_caller,
)
from llm_otel_broadcast.clients.openai.tool_calls import id_of
from llm_otel_broadcast.clients.reader import (
    MAX_ITEMS,
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

_NOT_DETAILS: Final = STATED_ELSEWHERE | {"partial_image_b64"}
_NOT_ARGUMENTS: Final = _NOT_DETAILS | CALL_CONTEXT | {"call_id"}
_MAX_COPIED_ITEMS: Final = 64
_MAX_COPIED_LEVELS: Final = 3
_BETWEEN_PARTS: Final = "\n\n"


class Output:
    """What the items of one response add up to; they come whole or in pieces.

    Args:
        allowance: how much the texts may hold, together with all texts of the answer.
        wants_content: whether content may be kept.
    """

    __slots__ = (
        "_allowance",
        "_part_begins",
        "_returned_ids",
        "is_compacted",
        "media",
        "reasoning",
        "refusal",
        "server_calls",
        "text",
        "tool_calls",
        "wants_content",
    )

    def __init__(self, allowance: Allowance, *, wants_content: bool) -> None:
        self._allowance = allowance
        self.wants_content = wants_content
        self.text = allowance.new_text()
        self.reasoning = allowance.new_text()
        self.refusal = allowance.new_text()
        self._part_begins = (0, 0)
        """How long the reasoning was when its last part began, and what had been left out by then."""
        self.tool_calls: list[ToolCall] = []
        self.server_calls: list[ServerCall] = []
        self.media: list[Mapping[str, object]] = []
        """Media, and items of other kinds, described."""
        self.is_compacted = False
        """The provider replaced earlier turns by a summary."""
        self._returned_ids: set[str] = set()
        """Ids of calls whose result is in the answer: nobody waits for that."""

    def add(self, item: object) -> None:
        """Add a whole item."""
        members = members_of(item)
        kind = members.get("type")
        if kind == "message":
            # Compaction returns the user's messages as well.
            if self.wants_content and members.get("role") in (None, "assistant"):
                self._add_message(members)
        elif kind == "reasoning":
            if self.wants_content:
                # openai 1.66 does not know `summary` and keeps it apart.
                self._add_reasoning(all_members_of(item))
        # Who runs a call may be an unknown member for an older client.
        elif waits_for_caller(all_members_of(item)):
            self.tool_calls.append(tool_call(item, content=self.wants_content))
        elif is_server_call(kind):
            self.server_calls.append(server_call(item, content=self.wants_content))
            if self.wants_content and kind == "image_generation_call":
                image = all_members_of(item)
                data, image_format = image.get("result"), text_of(image.get("output_format"))
                mime_type = f"image/{image_format}" if image_format else None
                if isinstance(data, str) and data:
                    self.media.append(blob("image", mime_type, base64_size(data)))
        else:
            self.add_other(item)

    def add_other(self, item: object) -> None:
        """Add an item that is neither text nor call: a tool's result, a compaction, a type that is not known here yet."""
        members = all_members_of(item)
        kind = text_of(members.get("type"))
        if kind is None:
            return
        self.is_compacted = self.is_compacted or kind == "compaction"
        # An output has the `call_id` of the call that it answers, besides an id of its own.
        identity = text_of(members.get("call_id")) or text_of(members.get("id"))
        id_member = {"id": identity} if identity else {}
        if is_output(kind):
            self._returned_ids.add(identity or "")
            if self.wants_content:
                result = {"type": tool_of(kind), **_details_of(members, _NOT_DETAILS - {"result"} | {"call_id"})}
                self._add_part({"type": "server_tool_call_response", **id_member, "server_tool_call_response": result})
        elif self.wants_content:
            self._add_part({"type": kind, **id_member, **_details_of(members, _NOT_DETAILS | {"call_id"})})

    def _add_part(self, part: Mapping[str, object]) -> None:
        if len(self.media) < MAX_ITEMS and self._allowance.admits_part(part):
            self.media.append(part)

    def _add_message(self, message: Members) -> None:
        content = message.get("content")
        # A text where a list of parts belongs: open servers that build the item from a chat message.
        if isinstance(content, str):
            self.text.append(content)
        for part in items_of(message, "content"):
            members = members_of(part)
            refusal = text_of(members.get("refusal"))
            if refusal:
                self.refusal.append(refusal)
            # Of spoken parts (realtime) the transcript.
            text = text_within(members.get("text")) or text_of(members.get("transcript"))
            if text:
                self.text.append(text)

    def _add_reasoning(self, item: Members) -> None:
        """Add summaries, and the reasoning itself where a provider shows it."""
        for name in ("summary", "content"):
            parts = item.get(name)
            for part in (parts,) if isinstance(parts, str) else items_of(item, name):
                text = text_within(part)
                if text:
                    self.begin_reasoning_part()
                    self.reasoning.append(text)

    def begin_reasoning_part(self) -> None:
        """Begin another part of the reasoning, which comes in pieces."""
        # The same separator as between whole parts, so that a streamed answer reads like a whole one.
        reasoning = self.reasoning
        # Nothing has come since: an empty part is none.
        if reasoning and (reasoning.size, reasoning.omitted) != self._part_begins:
            reasoning.append(_BETWEEN_PARTS)
            self._part_begins = (reasoning.size, reasoning.omitted)

    @property
    def waits_for_caller(self) -> bool:
        """Whether the answer ends because the caller has to run a tool."""
        # A call whose result is in the same answer was run by the provider after all.
        return any(call.id not in self._returned_ids for call in self.tool_calls)

    @property
    def size(self) -> int:
        """The length of the texts kept."""
        # Read at the end of the call, for the queue's bound: not the bytes, but what grows with them.
        texts = self.text.size + self.reasoning.size + self.refusal.size
        return (
            texts
            + sum(len(call.arguments) for call in self.tool_calls)
            + sum(_length(call.details) for call in self.server_calls)
        )

    @property
    def says_something(self) -> bool:
        return bool(self.text or self.reasoning or self.refusal or self.tool_calls or self.server_calls or self.media)

    def to_choice(self, finish_reason: str | None) -> Choice:
        """Return the answer that the items are."""
        return Choice(
            finish_reason=finish_reason,
            content=self.text.joined(),
            reasoning=self.reasoning.joined(),
            refusal=self.refusal.joined(),
            tool_calls=self.tool_calls,
            media=self.media,
        )


def tool_call(item: object, *, content: bool) -> ToolCall:
    """Return a call that waits for the caller: of a function, a custom tool or a built-in one, or a request for approval.

    A built-in tool's arguments are the members that say what to do (`action`, `operation`).
    """
    members = all_members_of(item)
    kind = str(members.get("type"))
    # A custom tool takes free text, in `input`.
    arguments = members.get("arguments", members.get("input"))
    if arguments is None and content and kind not in FUNCTION_CALLS:
        arguments = _details_of(members, _NOT_ARGUMENTS)
    return ToolCall(
        # The caller answers with the `call_id`; a request for approval has an `id` only.
        id=id_of(members.get("call_id")) or id_of(members.get("id")),
        name=text_of(members.get("name")) or (None if kind in FUNCTION_CALLS else tool_of(kind)),
        arguments=json_text(arguments) if content else "",
        details={name: text for name in ORIGINS if (text := text_of(members.get(name)))} or None if content else None,
    )


def server_call(item: object, *, content: bool) -> ServerCall:
    """Return the call of a built-in tool that the provider runs: a `web_search_call` is one of `web_search`."""
    members = all_members_of(item)
    return ServerCall(
        kind=tool_of(str(members.get("type"))),
        id=text_of(members.get("id")),
        status=text_of(members.get("status")),
        # Queries and results are content; kind and status are not.
        details=(_details_of(members, _NOT_DETAILS) or None) if content else None,
    )


def _details_of(members: Members, excluded: frozenset[str]) -> dict[str, object]:
    return {name: shallow(value) for name, value in members.items() if name not in excluded and value not in (None, [])}


def shallow(value: object, depth: int = 0) -> object:
    """Copy what a part or a built-in call says of itself: texts and numbers, a few levels down; inline media are left out."""
    # A data URL can be megabytes (a screenshot): it is looked at by its scheme alone.
    if isinstance(value, str):
        return "<data>" if value[:5].lower() == "data:" else value
    if value is None or isinstance(value, bool | int | float):
        return value
    # Runs on the host's thread: what a tool returned may be a tree of any size.
    if depth == _MAX_COPIED_LEVELS:
        return f"<{type(value).__name__}>"
    if isinstance(value, list | tuple):
        return [shallow(item, depth + 1) for item in value[:_MAX_COPIED_ITEMS]]
    members = list(all_members_of(value).items())[:_MAX_COPIED_ITEMS]
    return {str(name): shallow(member, depth + 1) for name, member in members if member is not None}


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_length, value.values()))
    return sum(map(_length, value)) if isinstance(value, list) else 0
