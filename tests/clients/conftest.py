"""Fixtures of the client's tests: each promise is tested with the sync and the async client."""

from __future__ import annotations

import pytest

from tests.support.client_calls import KINDS


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param
