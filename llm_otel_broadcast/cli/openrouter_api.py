"""Asks OpenRouter's destination management API for all destinations, with a management key. Shows no key, follows no redirect."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.client import HTTPException
from typing import Final
from urllib.parse import urlsplit

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import endpoint_faults, redact_url
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.validators import read_json
from llm_otel_broadcast.version import __version__
from llm_otel_broadcast.wire.connection import Connection
from llm_otel_broadcast.wire.network_errors import reason_of
from llm_otel_broadcast.wire.proxies import proxy_for
from llm_otel_broadcast.wire.tls import Certificates

# A few at a time: each may have long rules, and of an answer only the beginning is read.
_PAGE_DESTINATIONS: Final = 10
_MAX_PAGES: Final = 100
_TIMEOUT_S: Final = 10.0
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def fetch_export(api: str, key: str) -> str:
    """Return what the API lists, as one JSON document that `read_export` reads.

    Args:
        api: URL of the API, `https://openrouter.ai/api/v1`.
        key: a management key.

    Raises:
        ConfigError: it cannot be asked, or answers something else.
    """
    faults = endpoint_faults(api)
    if not faults and urlsplit(api).scheme == "http" and urlsplit(api).hostname not in _LOOPBACK:
        faults = [f"{redact_url(api)} is not encrypted: the key is not sent there"]
    if faults:
        raise ConfigError([fault.replace("endpoint ", "", 1) for fault in faults])
    entries: list[object] = []
    for page in range(_MAX_PAGES):
        url = f"{api.rstrip('/')}/observability/destinations?offset={page * _PAGE_DESTINATIONS}&limit={_PAGE_DESTINATIONS}"
        document = _fetch(url, key)
        listed = document.get("data") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            raise ConfigError([f"{redact_url(url)}: its answer has no list of destinations"])
        entries += listed
        if len(listed) < _PAGE_DESTINATIONS:
            break
    return json.dumps({"data": entries})


def _fetch(url: str, key: str) -> object:
    address = redact_url(url)
    headers = {
        "Authorization": f"Bearer {key}",
        "Accept": "application/json",
        "User-Agent": f"llm-otel-broadcast/{__version__}",
    }
    try:
        connection = Connection(url, proxy_for(url), Certificates(Destination(endpoint=url)))
        try:
            response = connection.send(b"", headers, _TIMEOUT_S, "GET")
        finally:
            connection.close()
    except (HTTPException, OSError, ValueError) as error:
        raise ConfigError([f"{address} cannot be reached ({reason_of(error).replace(key, '***')})"]) from None
    if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise ConfigError([f"{address} answered {response.status}: it wants a management key, not one for inference"])
    if response.status != HTTPStatus.OK or not response.is_whole:
        raise ConfigError([f"{address} answered {response.status}" + ("" if response.is_whole else ", not to its end")])
    try:
        return read_json(response.content.decode("utf-8"))
    except ValueError:
        raise ConfigError([f"{address}: its answer is no JSON"]) from None
