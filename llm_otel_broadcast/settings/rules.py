"""What a destination may ask for: the shapes of `api_keys` and `filter_rules`, checked and made plain data. Pure.

Fields and operators are those of OpenRouter's destinations, so that their JSON can be taken over as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llm_otel_broadcast.settings.validators import Kind, read_json

FIELDS: Final = (
    "model",
    "provider",
    "session_id",
    "user_id",
    "api_key_name",
    "finish_reason",
    "input",
    "output",
    "total_cost",
    "total_tokens",
    "prompt_tokens",
    "completion_tokens",
)
EXISTENCE: Final = ("exists", "not_exists")
COMPARISONS: Final = ("gt", "lt", "gte", "lte")
OPERATORS: Final = (
    "equals",
    "not_equals",
    "contains",
    "not_contains",
    "regex",
    "starts_with",
    "ends_with",
    *COMPARISONS,
    *EXISTENCE,
)
_LOGIC: Final = ("and", "or")
_LISTS: Final = ("include", "exclude")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}\Z")
_SHORTEST, _LONGEST = 4, 12


def is_digest(entry: str) -> bool:
    """Return whether an entry of `api_keys` is the sha256 of a key, else it is its end."""
    return _SHA256.match(entry) is not None


def _listed(value: object) -> bool:
    return isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes)


def _strange(where: str, value: Mapping[Any, Any], known: Sequence[str]) -> list[str]:
    strange = ", ".join(repr(key) for key in value if key not in known)
    return [f"{where} has {strange}: there are {', '.join(known)}"] if strange else []


def _key_faults(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, Mapping):
        return [f'{name} must be a mapping such as {{"include": ["AbCd"]}}, got {type(value).__name__}']
    faults = _strange(name, value, _LISTS)
    for kind in _LISTS:
        entries = value.get(kind) or ()
        if not _listed(entries):
            faults.append(f"{name} {kind} must be a list, got {type(entries).__name__}")
            continue
        faults += [
            f"{name} {kind}[{position}] must be the sha256 of a key (64 hexadecimal digits) or its last "
            f"{_SHORTEST} to {_LONGEST} characters; it is not shown here, as it may be a key"
            for position, entry in enumerate(entries)
            if not (isinstance(entry, str) and (_SHORTEST <= len(entry) <= _LONGEST or is_digest(entry)))
        ]
    return faults


def plain_keys(value: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return checked `api_keys` as plain data, digests in lower case."""
    made = {kind: [entry.lower() if is_digest(entry) else entry for entry in value.get(kind) or ()] for kind in _LISTS}
    return {kind: entries for kind, entries in made.items() if entries}


def _rule_faults(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, Mapping):
        return [f'{name} must be a mapping such as {{"groups": [...]}}, got {type(value).__name__}']
    faults = _strange(name, value, ("enabled", "groups"))
    if not isinstance(value.get("enabled", True), bool):
        faults.append(f"{name}.enabled must be True or False, got {value['enabled']!r}")
    groups = value.get("groups") or ()
    if not _listed(groups):
        return [*faults, f"{name}.groups must be a list, got {type(groups).__name__}"]
    return faults + [fault for at, group in enumerate(groups) for fault in _group_faults(f"{name}.groups[{at}]", group)]


def _group_faults(where: str, group: Any) -> list[str]:
    if not isinstance(group, Mapping):
        return [f'{where} must be a mapping such as {{"logic": "and", "rules": [...]}}, got {type(group).__name__}']
    faults = _strange(where, group, ("logic", "rules"))
    if group.get("logic", "and") not in _LOGIC:
        faults.append(f'{where}.logic must be "and" or "or", got {group["logic"]!r}')
    rules = group.get("rules") or ()
    if not _listed(rules):
        return [*faults, f"{where}.rules must be a list, got {type(rules).__name__}"]
    return faults + [fault for at, rule in enumerate(rules) for fault in _one_rule(f"{where}.rules[{at}]", rule)]


def _one_rule(where: str, rule: Any) -> list[str]:
    if not isinstance(rule, Mapping):
        return [f'{where} must be a mapping such as {{"field": "model", "operator": "exists"}}, got {rule!r}']
    faults = _strange(where, rule, ("field", "operator", "value"))
    for key, words in (("field", FIELDS), ("operator", OPERATORS)):
        if rule.get(key) not in words:
            faults.append(f"{where}.{key} must be one of {', '.join(words)}, got {rule.get(key)!r}")
    return faults or _value_faults(where, rule["operator"], rule.get("value"))


def _value_faults(where: str, operator: str, value: Any) -> list[str]:
    if operator in EXISTENCE:
        return []
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return [f"{where}.value must be a text or a number for {operator}, got {value!r}"]
    if operator in COMPARISONS and number_of(value) is None:
        return [f"{where}.value must be a number for {operator}, got {value!r}"]
    if operator == "regex":
        return _regex_faults(where, str(value))
    return []


def _regex_faults(where: str, pattern: str) -> list[str]:
    try:
        import regex
    except ImportError:
        return [f"{where}.operator regex needs the package `regex`: pip install regex, or use contains"]
    try:
        re.compile(pattern)
        regex.compile(pattern)
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        return [f"{where}.value {pattern!r} is not a regular expression of Python's: {error}"]
    return []


def number_of(value: object) -> float | None:
    """Return a number, also one written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if number == number else None  # noqa: PLR0124  # not a number is none


def plain_rules(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked `filter_rules` as plain data, defaults filled in: later changes of what was given change nothing."""
    groups = [
        {"logic": group.get("logic", "and"), "rules": [dict(rule) for rule in group.get("rules") or ()]}
        for group in value.get("groups") or ()
    ]
    return {"enabled": value.get("enabled", True), "groups": groups}


API_KEYS: Final = Kind(_key_faults, read_json, 'a JSON object: `{"include": ["AbCd"], "exclude": [...]}`')
FILTER_RULES: Final = Kind(_rule_faults, read_json, "a JSON object, as OpenRouter's `filter_rules`")
