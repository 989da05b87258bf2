"""Asking a server over HTTP, and waiting with a deadline."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

T = TypeVar("T")


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


def eventually(question: Callable[[], T], seconds: float, wanted: str) -> T:
    """Ask until the answer is truthy, and return it; after `seconds`: TimeoutError, naming what was wanted."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {wanted}; the last answer was {answer!r}")
        time.sleep(0.05)
    return answer
