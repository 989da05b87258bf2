"""Where the tests of delivery with a spool keep it, and a destination that nobody serves."""

from __future__ import annotations

import pytest

from tests.support.installed_programs import free_port


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def nowhere():
    """The endpoint of a server that is not there."""
    return f"http://127.0.0.1:{free_port()}"
