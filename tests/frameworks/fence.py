"""Keeps a process on its own machine: whatever asks for another one is refused, and noted on standard error and in `strays`.

`python -m tests.frameworks.fence PROGRAM` runs a program inside the fence.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

strays: list[str] = []
"""Where somebody wanted to go."""
_HOME = ("", "localhost", "::1", "0.0.0.0", "::")


def put_up() -> None:
    """Keep this process at home from now on; an audit hook cannot be taken off again."""
    sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        _check(arguments[0])
    elif event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        if isinstance(address, tuple) and address:  # anything else stays on the machine by its nature
            _check(address[0])


def _check(host: Any) -> None:
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host or "")
    if name in _HOME or name.startswith("127."):
        return
    strays.append(name)
    print(f"out of bounds: {name}", file=sys.stderr)  # noqa: T201
    raise OSError(f"{name} is out of bounds")


if __name__ == "__main__":
    sys.path[0] = str(Path(sys.argv[1]).parent)  # as `python PROGRAM` has it
    put_up()
    runpy.run_path(sys.argv[1], run_name="__main__")
