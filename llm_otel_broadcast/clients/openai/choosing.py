"""Telling whether a call belongs to one client, or to one resource of it (`instrument(client=...)`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref


def covering(thing: Any) -> Callable[[Any], bool] | None:
    """Return a test for the resources that belong to a client or to a resource; None when it is neither.

    Copies that `with_options()` or `copy()` make of the client belong to it: they share its HTTP client. The client is not
    kept alive.
    """
    resource_module = ""
    client = thing
    if not hasattr(thing, "base_url"):
        client = getattr(thing, "_client", None)
        resource_module = _scope(type(thing).__module__)
    transport = getattr(client, "_client", None)
    if client is None or transport is None or not hasattr(client, "base_url"):
        return None
    kind, own, shared = client.__class__, ref(client), ref(transport)  # of a proxy: what it stands for

    def covers(resource: Any) -> bool:
        asked = getattr(resource, "_client", None)
        if asked is None or (resource_module and not type(resource).__module__.startswith(resource_module)):
            return False
        if asked is own():
            return True
        return type(asked) is kind and getattr(asked, "_client", asked) is shared()

    return covers


def _scope(module: str) -> str:
    """Return the package of a resource that has others below it (`...chat.chat`), else the module itself."""
    package, _, name = module.rpartition(".")
    return f"{package}." if package.endswith(f".{name}") else module
