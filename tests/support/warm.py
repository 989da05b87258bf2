"""For programs that fork for each of their cases: what a first call loads is loaded once, before they fork."""

from __future__ import annotations

import importlib
import pkgutil

ROOMS = ("app", "clients", "delivery", "dialects", "fields", "record", "runtime", "settings", "tracing", "wire")


def load() -> None:
    """Import what a call and its delivery need."""
    for room in ROOMS:
        package = importlib.import_module(f"llm_otel_broadcast.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    from llm_otel_broadcast.delivery.price_list import price_list

    price_list()
