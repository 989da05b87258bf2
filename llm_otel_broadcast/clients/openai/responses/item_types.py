"""Items of the responses API: which of them are calls, and who runs them. Imports nothing of ours.

Read from the types of openai-python 3.57 (`types/responses/response_output_item.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FUNCTION_CALLS: Final = frozenset({"custom_tool_call", "function_call"})
APPROVAL_REQUEST: Final = "mcp_approval_request"
APPROVAL_RESPONSE: Final = "mcp_approval_response"
ORIGINS: Final = ("namespace", "server_label")
"""Members of a call that name where its tool is from."""
STATED_ELSEWHERE: Final = frozenset({"id", "type", "status", "result", "encrypted_content", "fingerprint"})
"""Members of a built-in call that the span has elsewhere, or that are media or can be read by the provider only."""
CALL_CONTEXT: Final = frozenset({"caller", "created_by", "environment", "execution", *ORIGINS})
"""Members of a call that waits for the caller which do not describe what is to be done."""
_CALLER_TOOLS: Final = frozenset({"apply_patch_call", "computer_call", "local_shell_call"})
_SERVER_ITEMS: Final = frozenset({"mcp_call", "mcp_list_tools", "program"})


def waits_for_caller(item: Mapping[str, Any]) -> bool:
    """Return whether an item is a call that the caller has to run, or to approve, before the model goes on.

    A shell runs at the caller unless its environment is a container of the provider's; a tool search says who executes it.
    """
    kind = item.get("type")
    if not isinstance(kind, str):
        return False
    if kind in FUNCTION_CALLS or kind in _CALLER_TOOLS or kind == APPROVAL_REQUEST:
        return True
    if kind == "shell_call":
        environment = item.get("environment")
        # A mapping in a raw body, an object of the client otherwise; this file imports no reader for it.
        if isinstance(environment, Mapping):
            return bool(environment.get("type") == "local")
        return environment is None or getattr(environment, "type", None) == "local"
    return kind == "tool_search_call" and item.get("execution") == "client"


def is_server_call(kind: object) -> bool:
    """Return whether items of this type are calls of a built-in tool, unless they wait for the caller."""
    # By the ending, so that a tool which the API gets tomorrow is counted as well.
    return isinstance(kind, str) and (kind.endswith("_call") or kind in _SERVER_ITEMS)


def tool_of(kind: str) -> str:
    """Return the built-in tool that an item is a call or an output of: `web_search` for `web_search_call`."""
    return kind.removesuffix("_output").removesuffix("_call")


def is_output(kind: object) -> bool:
    """Return whether items of this type are what a tool returned."""
    return isinstance(kind, str) and kind.endswith("_output")
