"""The environment of a program to be traced, for settings so plain that they are right for sure.

`environment.traced` checks settings and reads the settings file, which takes 30 ms to import. This takes none: it knows the
few things that most people say, and leaves everything else to that one. Where both have an answer it is the same.
"""

from __future__ import annotations

import os
import sys

from llm_otel_broadcast.zero_code.path import PATH, path_with_ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "LLM_OTEL_BROADCAST_"
_SERVICE_NAME = "LLM_OTEL_BROADCAST_SERVICE_NAME"
_PRIVACY_MODE = "LLM_OTEL_BROADCAST_PRIVACY_MODE"
_ENDPOINT = "LLM_OTEL_BROADCAST_ENDPOINT"
_FILE_NAME = "llm-otel-broadcast.toml"
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")
_PATH_CHARACTERS = _HOST_CHARACTERS | frozenset("/_")
_MAX_PORT_DIGITS = 4


def plainly_traced(environ: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str] | None:
    """Return what `environment.traced` returns, None where it takes that to tell.

    Args:
        environ: the environment as it is.
        options: as texts; `endpoint`, `service_name` and `privacy_mode` (`true`) can be told.
    """
    stated = {_PREFIX + name.upper(): text for name, text in options.items()}
    ours = {name: text for name, text in environ.items() if name.startswith(_PREFIX)}
    # With an endpoint on the command line, what the environment says of another is to be taken out.
    if _ENDPOINT in stated and _ENDPOINT in ours:
        return None
    if not all(_is_plain(name, text) for name, text in (*ours.items(), *stated.items())) or _may_have_file(environ):
        return None
    return {**environ, **stated, PATH: path_with_ours(environ)}


def _is_plain(name: str, text: str) -> bool:
    """Return whether a variable is surely right."""
    if name == _ENDPOINT:
        return is_plain_endpoint(text)
    if name == _PRIVACY_MODE:
        return text in ("true", "false")
    return name == _SERVICE_NAME and text.isascii() and text.isprintable()


def is_plain_endpoint(text: str) -> bool:
    """Return whether a text is surely a URL: host, port and path of letters and digits, no user, no query."""
    scheme, _, rest = text.partition("://")
    authority, _, path = rest.partition("/")
    host, colon, port = authority.partition(":")
    return (
        scheme in ("http", "https")
        and bool(host)
        and _HOST_CHARACTERS.issuperset(host)
        and _PATH_CHARACTERS.issuperset(path)
        and (not colon or (port.isascii() and port.isdigit() and len(port) <= _MAX_PORT_DIGITS))
    )


def _may_have_file(environ: Mapping[str, str]) -> bool:
    """Return whether there may be a settings file, which then is to be read and checked."""
    home = environ.get("HOME", "")
    # Elsewhere it is in other places (`settings.locations`).
    if sys.platform in ("win32", "darwin") or not home.startswith("/"):
        return True
    stated = environ.get("XDG_CONFIG_HOME", "")
    directory = stated if stated.startswith("/") else home + "/.config"
    return os.path.lexists(_FILE_NAME) or os.path.lexists(f"{directory}/llm-otel-broadcast/{_FILE_NAME}")
