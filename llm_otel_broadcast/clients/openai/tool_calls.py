"""Tool calls in a chat completion: whole ones, and the pieces of streamed ones, added up.

The rule for pieces, in constant time each:

1. The index says which call a piece belongs to; one that has not been seen opens a call. Without an index it is the call
   that the last piece belonged to.
2. Within an index the id says it, where it is one that a call began with: some servers give all calls the index 0
   (vLLM, SGLang, Gemini). An id that nobody knows says nothing: some servers make a new one for each piece
   (vllm-project/vllm pull 23522).
3. A piece that names a function while the open call has its name begins another call, unless it repeats that call's id and
   name. Before any arguments, with an index and without a member `id`, it goes on with the name, as the client reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llm_otel_broadcast.clients.answer_texts import Allowance
from llm_otel_broadcast.clients.reader import (
    MAX_ITEMS,
    MAX_NAME_CHARACTERS,
    Members,
    all_members_of,
    json_text,
    members_of,
    text_of,
)
from llm_otel_broadcast.record.generation import ToolCall


class OpenCall:
    """One call, still coming in."""

    __slots__ = ("_allowance", "arguments", "call", "has_arguments", "index", "is_empty_object")

    def __init__(self, allowance: Allowance) -> None:
        self.call = ToolCall()
        self._allowance = allowance
        self.arguments = allowance.new_text()
        self.index: int | None = None
        """That the last piece had."""
        self.has_arguments = False
        """Some have come, whether they are kept or not."""
        self.is_empty_object = False
        """They began as the object `{}`: where more follows, that only announced that they would be an object."""

    def add(self, name: str | None, arguments: object, *, content: bool) -> None:
        """Add a piece of the function's name and arguments."""
        # A name in pieces goes on until the arguments begin; repeated whole with each piece it is still one name.
        if name and not self.has_arguments and name != self.call.name:
            # A name that never ends would be copied at each piece.
            if len(self.call.name or "") < MAX_NAME_CHARACTERS:
                self.call.name = f"{self.call.name or ''}{name}"
        elif name and not self.call.name:
            self.call.name = name
        if arguments is None or arguments == "":
            return
        self.has_arguments = True
        if not content:
            return
        # Some servers send arguments as an object instead of JSON text.
        if isinstance(arguments, dict) and not arguments:
            self.is_empty_object = True
        else:
            text = json_text(arguments)
            self.arguments.append(text)
            self._allowance.count(text)

    def close(self) -> ToolCall:
        """Return the call."""
        self.call.arguments = self.arguments.joined() or ("{}" if self.is_empty_object else "")
        return self.call


class CallPieces:
    """The calls of one streamed choice.

    Args:
        allowance: how much their arguments may hold, together with all texts of the answer.
    """

    __slots__ = ("_allowance", "_by_id", "_by_index", "_calls", "_function_call", "_last")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._calls: list[OpenCall] = []
        self._by_index: dict[int | None, OpenCall] = {}
        """The call that each index had last."""
        self._by_id: dict[tuple[int | None, str], OpenCall] = {}
        """The call that began with an id, for its index and for pieces without one."""
        self._last: OpenCall | None = None
        self._function_call: OpenCall | None = None

    def add(self, pieces: Iterable[Any], *, content: bool) -> None:
        """Add the pieces of one chunk."""
        for piece in pieces:
            members = members_of(piece)
            function = _function_of(piece, members)
            index, raw_id, name = members.get("index"), members.get("id"), text_of(function.get("name"))
            # `type`, because `True` is an `int`.
            index = index if type(index) is int else None
            identity = id_of(raw_id)
            open_call = self._find(index, identity, name, may_go_on=raw_id is None and index is not None)
            if open_call is None:
                if not self._allowance.admits_call(len(identity or "") + len(name or "")):
                    continue
                open_call = OpenCall(self._allowance)
                self._calls.append(open_call)
            # An id may come later than the call begins.
            if identity and open_call.call.id is None:
                open_call.call.id = identity
                self._by_id[index, identity] = open_call
                self._by_id.setdefault((None, identity), open_call)
            # A server that counts pieces instead of calls has ever new indexes: the id finds the call as well.
            if index is not None and len(self._by_index) < MAX_ITEMS:
                self._by_index[index] = open_call
            self._last = open_call
            open_call.index = index
            open_call.add(name, _arguments_of(function), content=content)

    @property
    def next_call(self) -> OpenCall | None:
        """The call that a further piece belongs to if it has no id, no name and the index of the last piece."""
        call = self._last
        return call if call is not None and self._by_index.get(call.index) is call else None

    def add_function_call(self, piece: object, *, content: bool) -> None:
        """Add a piece of the one call that the deprecated functions API knows."""
        members = members_of(piece)
        if self._function_call is None:
            self._function_call = OpenCall(self._allowance)
        self._function_call.add(text_of(members.get("name")), _arguments_of(members), content=content)

    def close(self) -> list[ToolCall]:
        """Return the calls, in the order in which they began; a `function_call` only where there is no other."""
        calls = self._calls or ([self._function_call] if self._function_call else [])
        return [call.close() for call in calls]

    def _find(self, index: int | None, identity: str | None, name: str | None, *, may_go_on: bool) -> OpenCall | None:
        """Return the call that a piece belongs to, None when it begins one."""
        open_call = self._last if index is None else self._by_index.get(index)
        if open_call is None:
            # A new index, an old id and no name: the server counts pieces instead of calls.
            return None if name or not identity else self._by_id.get((None, identity))
        # Rule 2: calls that share the index 0 are told apart by their ids.
        if identity and identity != open_call.call.id:
            same_id = self._by_id.get((index, identity))
            if same_id is not None:
                return same_id
        elif identity and (not open_call.has_arguments or name == open_call.call.name):
            return open_call
        # Rule 3: a name while the open call has one.
        begins_another = name and open_call.call.name and (open_call.has_arguments or not may_go_on)
        return None if begins_another else open_call


def read_call(call: object, *, content: bool) -> ToolCall:
    """Return a whole call: of a function, of a custom tool, or one whose name and arguments stand beside its id."""
    members = members_of(call)
    function = _function_of(call, members)
    return ToolCall(
        id=id_of(members.get("id")),
        name=text_of(function.get("name")),
        arguments=json_text(_arguments_of(function)) if content else "",
    )


def read_function_call(call: object, *, content: bool) -> list[ToolCall]:
    """Return the one call of the deprecated functions API, nothing when there is none."""
    function = members_of(call)
    if not function:
        return []
    arguments = json_text(_arguments_of(function)) if content else ""
    return [ToolCall(name=text_of(function.get("name")), arguments=arguments)]


def id_of(value: object) -> str | None:
    """Return an id as text; some servers number their calls."""
    text = str(value) if type(value) is int else text_of(value)
    return text if text is None or len(text) <= MAX_NAME_CHARACTERS else text[:MAX_NAME_CHARACTERS]


def _function_of(call: object, members: Members) -> Members:
    """Return the members that name the tool: openai knows `custom` in whole answers only (openai/openai-python#2530)."""
    function = members.get("function")
    if function is not None:
        return members_of(function)
    # In a delta `custom` is an unknown member; without either, name and arguments stand beside the id.
    members = all_members_of(call)
    custom = members.get("custom")
    return members if custom is None else members_of(custom)


def _arguments_of(function: Members) -> Any:
    arguments = function.get("arguments")
    # A custom tool takes free text, in `input`.
    return function.get("input") if arguments is None else arguments
