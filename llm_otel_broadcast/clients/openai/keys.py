"""Which API key a call is made with. It is looked at, never kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_otel_broadcast.clients.reading import text_of

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


def learns_late(client: Any) -> bool:
    """Return whether the client asks somebody for its key at each request: what it has before may be an older one."""
    return getattr(client, "_api_key_provider", None) is not None
