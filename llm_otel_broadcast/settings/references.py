"""`${VARIABLE}` in the header values of the settings file, and which values are secrets that stand there in plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from llm_otel_broadcast.settings.headers import shown_name

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^}]*)(\})?")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SECRET_NAME: Final = re.compile(r"auth|token|key|secret|passw|cookie|credential", re.IGNORECASE)
_PLAIN_NAME: Final = re.compile(
    r"dataset|project|org|tenant|version|source|stream|parent|experiment|environment|region|index|agent", re.IGNORECASE
)


class AllSet(dict[str, str]):
    """An environment in which every variable is set: it may well be set where the programs run, and not here."""

    def get(self, _key: str, _default: object = None) -> str:
        return "set"

    def __missing__(self, _key: str) -> str:
        return "set"


def expanded(
    headers: Mapping[str, object], environ: Mapping[str, str]
) -> tuple[dict[str, object], tuple[str, ...], list[str]]:
    """Put the variables' values into header values; `$${` stands for a plain `${`.

    Returns:
        The headers without those that cannot be completed, the variables that are missing (or empty), and what is wrong
        with the way they are written.
    """
    expanded_headers: dict[str, object] = {}
    missing: list[str] = []
    faults: list[str] = []
    for name, value in headers.items():
        if not isinstance(value, str):
            expanded_headers[name] = value
            continue
        unset = [variable for variable in references(value) if not environ.get(variable)]
        missing += unset
        if any(match[1] is not None and not _is_reference(match) for match in _REFERENCE.finditer(value)):
            faults.append(
                f'header "{shown_name(name)}": ${{...}} takes the name of a variable (write $${{ for a plain ${{)'
            )
        # With a variable missing the header would be sent with a hole in it, and the key refused: it is left out.
        elif not unset:
            expanded_headers[name] = _REFERENCE.sub(
                lambda match: "${" if match[1] is None else environ[match[1]], value
            )
    return expanded_headers, tuple(missing), faults


def references(value: object) -> list[str]:
    """Return the variables that a header value names."""
    if not isinstance(value, str):
        return []
    return [match[1] for match in _REFERENCE.finditer(value) if _is_reference(match)]


def _is_reference(match: re.Match[str]) -> bool:
    return match[1] is not None and match[2] is not None and bool(_NAME.match(match[1]))


def holds_plain_secrets(table: Mapping[str, object]) -> bool:
    """Return whether a destination's table holds a secret itself, not as a variable. What a header is for is told by its name."""
    endpoint = table.get("endpoint")
    try:
        has_password = isinstance(endpoint, str) and "@" in urlsplit(endpoint).netloc
    except ValueError:
        # No URL at all: that is a fault, which is reported elsewhere.
        has_password = False
    headers = table.get("headers")
    pairs = headers.items() if isinstance(headers, Mapping) else ()
    return has_password or any(
        isinstance(value, str)
        and not references(value)
        and bool(_SECRET_NAME.search(name) or not _PLAIN_NAME.search(name))
        for name, value in pairs
    )
