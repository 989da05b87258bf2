"""Reads destinations as OpenRouter's destination management API gives them, for those types that take OTLP over HTTP."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.endpoints import TRACES_PATH
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.file import make_destination, name_of
from llm_otel_broadcast.settings.headers import shown_name
from llm_otel_broadcast.settings.references import AllSet
from llm_otel_broadcast.settings.validators import kinds_of, read_json

# What takes OTLP but is described there by keys of its own, and has a preset.
_BY_PRESET: Final = {"newrelic": "new-relic", "grafana": "grafana-cloud"} | {
    name: name
    for name in (
        "arize",
        "braintrust",
        "datadog",
        "elastic",
        "langfuse",
        "langsmith",
        "opik",
        "posthog",
        "sentry",
        "weave",
    )
}
# What takes OTLP, is described there by keys of its own, and has no preset; from the vendors' pages, November 2026.
_BY_HEADERS: Final = {
    "ramp": "--endpoint URL -H 'Authorization: Bearer ...' (https://openrouter.ai/docs/guides/features/broadcast/ramp)",
}
# Kinds whose endpoint is one of OTLP; that of another may be a bucket's or a database's.
_BY_ENDPOINT: Final = frozenset({"otel-collector", "webhook", "elastic"})
_STORES: Final = frozenset({"bigquery", "clickhouse", "huggingface", "s3", "snowflake"})
_SAME: Final = ("enabled", "privacy_mode", "sampling_rate", "filter_rules")
# What neither restricts what is sent nor adds to it.
_DESCRIPTIVE: Final = frozenset({"id", "name", "type", "config", "workspace_id", "created_at", "updated_at"})
# How the switches for additional metadata begin.
_OPT_IN: Final = "broadcast_generation_"
_CONFIG: Final = frozenset({"endpoint", "url", "headers", "method"})
# The region of all traffic that is not bound to a region; the default.
_UNRESTRICTED: Final = "global"
_HOSTS: Final = {"europe": "eu.openrouter.ai", "eu": "eu.openrouter.ai", "us": "us.openrouter.ai"}
"""The hosts to which traffic of each region goes."""
_CATEGORIES: Final = ("cost", "identity", "request_context")
"""What a client knows of the additional metadata, in part."""
_MASKED: Final = re.compile(r"\S{0,16}(?:\.\.\.|…|\*{3,})\S{0,16}\Z")
_SCHEME: Final = re.compile(r"(?i)(?:bearer|basic|apikey|api-token) ")


@dataclass(frozen=True, slots=True)
class Imported:
    """One destination of the export: its table, or the word why it is skipped; and what differs from what it was."""

    name: str
    table: Mapping[str, object] | None = None
    skipped: str = ""
    notes: tuple[str, ...] = ()


def read_export(text: str, used_names: Collection[str]) -> list[Imported]:
    """Read one object, an array of them, or `{"data": [...]}`.

    Args:
        text: the JSON.
        used_names: names of destinations that exist.

    Raises:
        ConfigError: it is something else.
    """
    try:
        export = read_json(text)
    except ValueError as error:
        raise ConfigError([str(error)]) from None
    if isinstance(export, dict) and isinstance(export.get("data"), list | dict):
        export = export["data"]
    entries = [export] if isinstance(export, dict) else export
    if not isinstance(entries, list) or not all(
        isinstance(destination, dict) and "type" in destination for destination in entries
    ):
        raise ConfigError(
            ['it must be a destination such as {"type": "otel-collector", "config": {...}}, or a list of them']
        )
    names = set(used_names)
    destinations = []
    for entry in entries:
        destination = _import(entry, names)
        names |= {destination.name} if destination.table is not None else set()
        destinations.append(destination)
    return destinations


def _import(entry: Mapping[str, object], used_names: Collection[str]) -> Imported:
    service, config = str(entry["type"]), entry.get("config")
    config = config if isinstance(config, dict) else {}
    stated_name = entry.get("name")
    endpoint = config.get("url") if service == "webhook" else config.get("endpoint")
    name = stated_name if isinstance(stated_name, str) else ""
    name = name or name_of({"endpoint": endpoint}) or service
    why_not = _why_not(service, endpoint, name)
    if why_not:
        return Imported(name, skipped=why_not)
    if name in used_names:
        return Imported(name, skipped="there is one of that name already (--replace replaces it)")
    notes: list[str] = []
    table: dict[str, object] = {"endpoint": _endpoint(service, endpoint, notes)}
    headers = _headers(name, config.get("headers") or {}, notes)
    if headers:
        table["headers"] = headers
    other_keys = [key for key in config if key not in _CONFIG and config[key]]
    # The header that the key belongs into is known.
    if service == "elastic" and "apiKey" in other_keys and isinstance(config["apiKey"], str):
        other_keys.remove("apiKey")
        added = _headers(name, {"Authorization": f"ApiKey {config['apiKey']}"}, notes)
        table["headers"] = {
            **(headers if isinstance(headers, Mapping) else {}),
            **(added if isinstance(added, Mapping) else {}),
        }
    if other_keys:
        preset = f": destinations add {name!r} --preset {_BY_PRESET[service]}" if service in _BY_PRESET else ""
        notes.append(f"its {' and '.join(map(shown_name, other_keys))} cannot be taken over{preset}")
    if service == "webhook":
        # A program of one's own that reads what it was written for.
        table |= {"encoding": "json", "dialect": "openrouter"}
        method = str(config.get("method") or "POST").upper()
        table |= {"method": method} if method != "POST" else {}
    table |= _settings(entry, notes)
    try:
        make_destination(table, AllSet(), f'"{name}"')
    except ConfigError as wrong:
        return Imported(name, skipped="; ".join(fault.removeprefix(f'"{name}": ') for fault in wrong.faults))
    return Imported(name, table, notes=tuple(notes))


def _why_not(kind: str, endpoint: object, label: str) -> str:
    if endpoint and (kind in _BY_ENDPOINT or str(endpoint).rstrip("/").endswith(TRACES_PATH)):
        return ""
    if kind in _BY_PRESET:
        return f"only its own keys are given, no endpoint: destinations add {label!r} --preset {_BY_PRESET[kind]}"
    if kind in _BY_HEADERS:
        return f"only its own keys are given, and there is no preset: destinations add {label!r} {_BY_HEADERS[kind]}"
    if kind in ("otel-collector", "webhook"):
        return "its config names no endpoint"
    if kind in _STORES:
        return f"{kind} takes no OTLP"
    return f"no OTLP endpoint of {kind} is known here: if it has one, destinations add {label!r} --endpoint URL"


def _endpoint(kind: str, endpoint: object, notes: list[str]) -> object:
    """Return the endpoint as spans are posted to it there; a difference that cannot be helped is noted."""
    try:
        # A malformed endpoint is reported with the other faults when the table is checked.
        parts = urlsplit(str(endpoint))
    except ValueError:
        return endpoint
    if kind == "elastic":
        # The service takes a base URL, one that ends in /v1, and the whole.
        path = parts.path.rstrip("/").removesuffix(TRACES_PATH).removesuffix("/v1") + TRACES_PATH
        return urlunsplit(parts._replace(path=path))
    if parts.path in ("", "/"):
        notes.append(f"its endpoint has no path: spans are posted to {TRACES_PATH} from here, there to / as it stands")
    return endpoint


def _headers(label: str, headers: object, notes: list[str]) -> object:
    """Return the headers; a value that the API has masked becomes a variable, for it is lost."""
    if not isinstance(headers, Mapping):
        return headers
    converted = {}
    for name, value in headers.items():
        scheme = _SCHEME.match(value) if isinstance(value, str) else None
        secret = value[scheme.end() :] if scheme else value
        if isinstance(value, str) and _MASKED.match(secret):
            variable = re.sub(r"\W+", "_", f"{label}_{name}", flags=re.ASCII).upper().strip("_")
            variable = variable if variable[:1].isalpha() else f"H_{variable}"
            converted[name] = f"{scheme[0] if scheme else ''}${{{variable}}}"
            notes.append(f"its {name} is masked there: set {variable} in the environment")
        else:
            converted[name] = value.replace("${", "$${") if isinstance(value, str) else value
    return converted


def _settings(entry: Mapping[str, object], notes: list[str]) -> dict[str, object]:
    """Return the settings that both sides have; one that would send less than we can say leaves the destination off."""
    field_names = kinds_of(Destination)
    shared = {name: entry[name] for name in _SAME if entry.get(name) is not None}
    settings: dict[str, object] = {name: value for name, value in shared.items() if name in field_names}
    # What may keep traces back there and cannot here; of a key that is not known, that is taken for granted.
    lost = []
    for name, value in entry.items():
        if name in (*_SAME, *_DESCRIPTIVE) or name.startswith(_OPT_IN) or not value:
            continue
        if name != "regions":
            lost.append(shown_name(name))
            continue
        regions = [str(region) for region in value] if isinstance(value, list) else [str(value)]
        hosts = list(dict.fromkeys(_HOSTS[region] for region in regions if region in _HOSTS))
        if hosts and _UNRESTRICTED not in regions:
            settings["hosts"] = hosts
            notes.append(f"of its regions only the hosts are known here, so only calls to {', '.join(hosts)} are sent")
        unknown = [region for region in regions if region not in (_UNRESTRICTED, *_HOSTS)]
        lost += [f"regions ({', '.join(unknown)})"] if unknown else []
    if lost:
        settings["enabled"] = False
        notes.append(f"it is off, for {' and '.join(lost)} cannot be taken over: enable it when that is settled")
    opt_ins = [name.removeprefix(_OPT_IN) for name in entry if name.startswith(_OPT_IN) and entry[name]]
    categories = [name for name in opt_ins if name in _CATEGORIES]
    if categories:
        settings |= {"dialect": "openrouter", "generation_metadata": categories}
        notes.append(f"of its additional generation metadata ({', '.join(categories)}) what a client knows is sent")
    others = [f"{_OPT_IN}{name}" for name in opt_ins if name not in _CATEGORIES]
    if others:
        notes.append(f"its additional generation metadata is not sent from here ({', '.join(others)})")
    # Defaults are left out, so that the file stays short.
    if settings.get("enabled") is True:
        del settings["enabled"]
    if settings.get("privacy_mode") is False:
        del settings["privacy_mode"]
    return settings
