"""Reading the tools that a request offers: their names always, their definitions only where content is wanted."""

from __future__ import annotations

from typing import Any, Final

from llm_otel_broadcast.clients.arguments import keep_argument
from llm_otel_broadcast.clients.reader import is_set, members_of, text_of
from llm_otel_broadcast.record.generation import Generation

_MAX_TOOL_NAMES: Final = 128


def note_tools(record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
    """Note names and number of the tools; of a one-time iterator neither, because it is the client's to consume.

    Where no `tools` are given, the deprecated `functions` are the tools.
    """
    name = "tools" if is_set(kwargs.get("tools")) else "functions"
    tools = kwargs.get(name)
    if isinstance(tools, list | tuple):
        record.tool_count = len(tools)
        record.tool_names = []
        for tool in tools[:_MAX_TOOL_NAMES]:
            members = members_of(tool)
            # Some servers take tools without a type: those with a `function` are functions, others are what their only
            # member names (`{"google_search": {}}`).
            kind = text_of(members.get("type"))
            kind = kind or ("function" if "function" in members else text_of(next(iter(members), None)))
            # Chat completions have the name one level down, the responses API beside `type`; built-in tools are one.
            tool_name = text_of(members.get("name"))
            tool_name = tool_name or text_of(members_of(members.get(kind or "")).get("name")) or kind
            if tool_name:
                record.tool_names.append(tool_name)
    if content:
        record.tools, size = keep_argument(kwargs, name)
        record.size += size
