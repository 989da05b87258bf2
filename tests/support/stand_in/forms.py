"""Reading `multipart/form-data`, the bodies of calls that upload files."""

from __future__ import annotations

import json
import re
from typing import Any, Final

_NAME: Final = re.compile(rb'name="([^"]*)"')
_FILE: Final = re.compile(rb'filename="([^"]*)"')


def is_form(body: bytes) -> bool:
    """Return whether a body is a form; JSON never begins like one."""
    return body.startswith(b"--")


def read_form(body: bytes) -> dict[str, Any]:
    """Return the fields by name: text as text, a file as its name and its bytes; a name that repeats has a list."""
    fields: dict[str, Any] = {}
    boundary, _, _ = body.partition(b"\r\n")
    for part in body.split(boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
        name, file = _NAME.search(head), _FILE.search(head)
        if name is None:
            continue
        value: Any = content.decode() if file is None else (file[1].decode(), content)
        key = name[1].decode()
        fields[key] = value if key not in fields else [*_listed(fields[key]), value]
    return fields


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def read_members(body: bytes) -> Any:
    """Return what a body holds, a form or JSON."""
    return read_form(body) if is_form(body) else json.loads(body or b"{}")
