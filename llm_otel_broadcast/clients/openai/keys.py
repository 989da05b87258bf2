"""What a call is made with besides its arguments: the API key, looked at and never kept, and the client's own headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_otel_broadcast.clients.reader import NOTHING, ask_for, text_of

_SCHEMES = ("bearer ", "basic ")


def key_of(client: Any, headers: Any) -> str | None:
    """Return the key: of the call's own `Authorization` or `api-key` header, else the client's; None while there is none."""
    if isinstance(headers, Mapping):
        for name, value in headers.items():
            if isinstance(value, str) and str(name).lower() in ("authorization", "api-key"):
                scheme, _, credentials = value.partition(" ")
                return credentials.strip() if credentials and f"{scheme.lower()} " in _SCHEMES else value
    return text_of(getattr(client, "api_key", None))


def client_of(resource: Any) -> Any:
    """Return the client that a resource belongs to."""
    return getattr(resource, "_client", None)


def default_headers_of(client: Any) -> Mapping[str, Any]:
    """Return the headers that the client was given for all its requests."""
    # not `default_headers`: it puts the client's own description of itself together at each look
    headers = getattr(client, "_custom_headers", None)
    if headers is None:
        headers = ask_for(client, "default_headers")
    return headers if headers and isinstance(headers, Mapping) else NOTHING


def learns_late(client: Any) -> bool:
    """Return whether the client asks somebody for its key at each request: what it has before may be an older one."""
    return getattr(client, "_api_key_provider", None) is not None
