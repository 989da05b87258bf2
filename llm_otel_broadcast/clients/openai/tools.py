"""Reading the tools that a request offers: their names always, their definitions only where content is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llm_otel_broadcast.clients.arguments import keep_whole
from llm_otel_broadcast.clients.reader import is_set, members_of, text_of
from llm_otel_broadcast.record.generation import Generation

_MAX_TOOL_NAMES: Final = 128


def note_tools(record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
    """Note names and number of the tools; of a one-time iterator neither, because it is the client's to consume.

    Where no `tools` are given, the deprecated `functions` are the tools.
    """
    name = "tools" if is_set(kwargs.get("tools")) else "functions"
    tools = kwargs.get(name)
    if isinstance(tools, (list, tuple)):
        record.tool_count = len(tools)
        record.tool_names = _names(tools[:_MAX_TOOL_NAMES])
    if content:
        record.tools, size = keep_whole(kwargs, name)
        record.size += size


def _names(tools: Sequence[Any]) -> list[str]:
    names: list[str] = []
    for tool in tools:
        # Functions as nearly all programs state them, in each of the APIs: a twentieth of what any tool takes.
        if type(tool) is dict:
            name = tool.get("name")
            if name is None and tool.get("type") == "function" and type(function := tool.get("function")) is dict:
                name = function.get("name")
            if type(name) is str and name:
                names.append(name)
                continue
        members = members_of(tool)
        # Some servers take tools without a type: those with a `function` are functions, others are what their only
        # member names (`{"google_search": {}}`).
        kind = text_of(members.get("type"))
        kind = kind or ("function" if "function" in members else text_of(next(iter(members), None)))
        # Chat completions have the name one level down, the responses API beside `type`; built-in tools are one.
        tool_name = text_of(members.get("name"))
        tool_name = tool_name or text_of(members_of(members.get(kind or "")).get("name")) or kind
        if tool_name:
            names.append(tool_name)
    return names
