"""Asking a server over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def ask(url: str) -> Any:
    """Return the JSON that a GET answers with."""
    with urlopen(url, timeout=30) as response:
        return json.load(response)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Post a body and return the status of the answer."""
    try:
        with urlopen(Request(url, body, dict(headers)), timeout=30) as response:
            return int(response.status)
    except HTTPError as refused:
        with refused:
            return refused.code
