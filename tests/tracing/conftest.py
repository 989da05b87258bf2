"""Fixtures for what is only about the program, not about what arrives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import llm_otel_broadcast


@pytest.fixture
def quietly() -> Callable[[], llm_otel_broadcast.Handle]:
    """Instrument without a destination: everything happens but the sending, and a test's end has nothing to wait for."""
    return lambda: llm_otel_broadcast.instrument(destinations=[])
