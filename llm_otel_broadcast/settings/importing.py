"""Reads destinations as OpenRouter's destination management API gives them, for those types that take OTLP over HTTP."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.expanding import AllSet
from llm_otel_broadcast.settings.file import make_destination, name_of
from llm_otel_broadcast.settings.kinds import kinds_of, read_json

_BY_PRESET: Final = {"newrelic": "new-relic", "grafana": "grafana-cloud"} | {
    name: name for name in ("arize", "braintrust", "datadog", "langfuse", "langsmith", "sentry", "weave")
}
"""What takes OTLP but is described there by keys of its own."""
_SAME: Final = ("enabled", "privacy_mode", "sampling_rate", "filter_rules")
_OPT_INS: Final = ("broadcast_generation_cost", "broadcast_generation_identity", "broadcast_generation_request_context")
_MASKED: Final = re.compile(r"\S{0,16}(?:\.\.\.|…|\*{3,})\S{0,16}\Z")
_SCHEME: Final = re.compile(r"(?i)(?:bearer|basic|apikey|api-token) ")


@dataclass(frozen=True, slots=True)
class Imported:
    """One destination of the export: its table, or the word why it is skipped; and what differs from what it was."""

    name: str
    table: Mapping[str, object] | None = None
    skipped: str = ""
    notes: tuple[str, ...] = ()


def read_export(text: str, taken: Collection[str]) -> list[Imported]:
    """Read one object, an array of them, or `{"data": [...]}`.

    Args:
        text: the JSON.
        taken: names that are not to be used.

    Raises:
        ConfigError: it is something else.
    """
    try:
        said = read_json(text)
    except ValueError as error:
        raise ConfigError([str(error)]) from None
    if isinstance(said, dict) and isinstance(said.get("data"), list | dict):
        said = said["data"]
    entries = [said] if isinstance(said, dict) else said
    if not isinstance(entries, list) or not all(isinstance(one, dict) and "type" in one for one in entries):
        raise ConfigError(
            ['it must be a destination such as {"type": "otel-collector", "config": {...}}, or a list of them']
        )
    names = set(taken)
    found = []
    for entry in entries:
        one = _import(entry, names)
        names |= {one.name} if one.table is not None else set()
        found.append(one)
    return found


def _import(entry: Mapping[str, Any], taken: Collection[str]) -> Imported:
    kind, config = str(entry["type"]), entry.get("config")
    config = config if isinstance(config, dict) else {}
    label = entry["name"] if isinstance(entry.get("name"), str) and entry["name"] else ""
    endpoint = config.get("url") if kind == "webhook" else config.get("endpoint")
    label = label or name_of({"endpoint": endpoint}) or kind
    why_not = _why_not(kind, config, endpoint, label)
    if why_not:
        return Imported(label, skipped=why_not)
    if label in taken:
        return Imported(label, skipped="there is one of that name already (--replace replaces it)")
    table: dict[str, object] = {"endpoint": endpoint}
    notes: list[str] = []
    if config.get("headers"):
        table["headers"] = _headers(label, config["headers"], notes)
    if kind == "webhook":
        table["encoding"] = "json"
    table |= _settings(entry, notes)
    try:
        make_destination(table, AllSet(), f'"{label}"')
    except ConfigError as wrong:
        return Imported(label, skipped="; ".join(fault.removeprefix(f'"{label}": ') for fault in wrong.faults))
    return Imported(label, table, notes=tuple(notes))


def _why_not(kind: str, config: Mapping[str, Any], endpoint: object, label: str) -> str:
    if endpoint:
        method = str(config.get("method") or "POST").upper()
        return "" if method == "POST" else f"it wants {method}, and OTLP is sent by POST"
    if kind in _BY_PRESET:
        return f"only its own keys are given, no endpoint: destinations add {label!r} --preset {_BY_PRESET[kind]}"
    if kind in ("otel-collector", "webhook"):
        return "its config names no endpoint"
    return f"{kind} takes no OTLP"


def _headers(label: str, headers: object, notes: list[str]) -> object:
    """Return the headers; a value that the API has masked becomes a variable, for it is lost."""
    if not isinstance(headers, Mapping):
        return headers
    made = {}
    for name, value in headers.items():
        scheme = _SCHEME.match(value) if isinstance(value, str) else None
        secret = value[scheme.end() :] if scheme else value
        if isinstance(value, str) and _MASKED.match(secret):
            variable = re.sub(r"\W+", "_", f"{label}_{name}", flags=re.ASCII).upper().strip("_")
            variable = variable if variable[:1].isalpha() else f"H_{variable}"
            made[name] = f"{scheme[0] if scheme else ''}${{{variable}}}"
            notes.append(f"its {name} is masked there: set {variable} in the environment")
        else:
            made[name] = value.replace("${", "$${") if isinstance(value, str) else value
    return made


def _settings(entry: Mapping[str, Any], notes: list[str]) -> dict[str, object]:
    """Return the settings that both sides have; one that would send less than we can say leaves the destination off."""
    known = kinds_of(Destination)
    said = {name: entry[name] for name in _SAME if entry.get(name) is not None}
    made: dict[str, object] = {name: value for name, value in said.items() if name in known}
    lost = [name for name, value in said.items() if name not in known and value not in (1, {})]
    if entry.get("api_key_hashes"):
        lost.append("api_key_hashes")
    if lost:
        made["enabled"] = False
        notes.append(f"it is off, for {' and '.join(lost)} cannot be taken over: enable it when that is settled")
    if any(entry.get(name) for name in _OPT_INS):
        notes.append("its additional generation metadata is not sent from here")
    if made.get("enabled") is True:
        del made["enabled"]
    if made.get("privacy_mode") is False:
        del made["privacy_mode"]
    return made
