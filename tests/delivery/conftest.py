"""Where the tests of delivery with a spool keep it, and a destination that nobody serves."""

from __future__ import annotations

import socket

import pytest


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def nowhere():
    """The endpoint of a server that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"
