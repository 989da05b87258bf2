"""Keeps what we do ourselves, and what the program's functions do for us, from being traced. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context as otel_context

# The API has the key under a private name only. Without it our own requests would be traced by others, no worse.
_KEY: Final[str | None] = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", None)


@contextmanager
def untraced() -> Iterator[None]:
    """Have instrumentations, ours and others (urllib3, requests), pass over what happens inside."""
    if _KEY is None:
        yield
        return
    token = otel_context.attach(otel_context.set_value(_KEY, value=True))
    try:
        yield
    finally:
        otel_context.detach(token)
