"""An environment in which a program's calls go to the stand-in and its traces to the receiver."""

from __future__ import annotations

import pytest

from tests.zero_code.programs import plainly


@pytest.fixture
def calling(stand_in) -> dict[str, str]:
    """The environment without a word about traces."""
    return plainly(OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=stand_in.base_url)


@pytest.fixture
def environment(calling, receiver) -> dict[str, str]:
    """The environment that says where traces go."""
    return {**calling, "LLM_OTEL_BROADCAST_ENDPOINT": receiver.endpoint}
