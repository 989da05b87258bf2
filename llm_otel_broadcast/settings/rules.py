"""What a destination may ask for: the shapes of `api_keys` and `filter_rules`, checked and made plain data. Pure.

Fields and operators are those of OpenRouter's destinations, so that their JSON can be taken over as it is.
"""

from __future__ import annotations

import re
import string
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
_LIST_NAMES: Final = ("include", "exclude")
_SHA256_HEX_DIGITS: Final = 64
_HEX_DIGITS: Final = frozenset(string.hexdigits)
_MIN_KEY_END_CHARS, _MAX_KEY_END_CHARS = 4, 12


def is_digest(entry: str) -> bool:
    """Return whether an entry of `api_keys` is the sha256 of a key, else it is its end."""
    return len(entry) == _SHA256_HEX_DIGITS and _HEX_DIGITS.issuperset(entry)


def _listed(value: object) -> bool:
    return isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes)


def _unknown_key_faults(path: str, value: Mapping[str, object], allowed_keys: Sequence[str]) -> list[str]:
    unknown_keys = ", ".join(repr(key) for key in value if key not in allowed_keys)
    return [f"{path} has {unknown_keys}: there are {', '.join(allowed_keys)}"] if unknown_keys else []


def _key_faults(name: str, value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, Mapping):
        return [f'{name} must be a mapping such as {{"include": ["AbCd"]}}, got {type(value).__name__}']
    faults = _unknown_key_faults(name, value, _LIST_NAMES)
    for list_name in _LIST_NAMES:
        entries = value.get(list_name) or ()
        if not _listed(entries):
            faults.append(f"{name} {list_name} must be a list, got {type(entries).__name__}")
            continue
        faults += [
            f"{name} {list_name}[{position}] must be the sha256 of a key (64 hexadecimal digits) or its last "
            f"{_MIN_KEY_END_CHARS} to {_MAX_KEY_END_CHARS} characters; it is not shown here, as it may be a key"
            for position, entry in enumerate(entries)
            if not (
                isinstance(entry, str) and (_MIN_KEY_END_CHARS <= len(entry) <= _MAX_KEY_END_CHARS or is_digest(entry))
            )
        ]
    return faults


def plain_keys(value: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return checked `api_keys` as plain data, digests in lower case."""
    lists = {
        list_name: [entry.lower() if is_digest(entry) else entry for entry in value.get(list_name) or ()]
        for list_name in _LIST_NAMES
    }
    return {list_name: entries for list_name, entries in lists.items() if entries}


def _rule_faults(name: str, value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, Mapping):
        return [f'{name} must be a mapping such as {{"groups": [...]}}, got {type(value).__name__}']
    faults = _unknown_key_faults(name, value, ("enabled", "groups"))
    if not isinstance(value.get("enabled", True), bool):
        faults.append(f"{name}.enabled must be True or False, got {value['enabled']!r}")
    groups = value.get("groups") or ()
    if not _listed(groups):
        return [*faults, f"{name}.groups must be a list, got {type(groups).__name__}"]
    # Every fault of every group: a user mends all of them in one go.
    for group_index, group in enumerate(groups):
        path = f"{name}.groups[{group_index}]"
        if not isinstance(group, Mapping):
            example = '{"logic": "and", "rules": [...]}'
            faults.append(f"{path} must be a mapping such as {example}, got {type(group).__name__}")
            continue
        faults += _unknown_key_faults(path, group, ("logic", "rules"))
        if group.get("logic", "and") not in _LOGIC:
            faults.append(f'{path}.logic must be "and" or "or", got {group["logic"]!r}')
        rules = group.get("rules") or ()
        if not _listed(rules):
            faults.append(f"{path}.rules must be a list, got {type(rules).__name__}")
            continue
        for index, rule in enumerate(rules):
            faults += _rule_entry_faults(f"{path}.rules[{index}]", rule)
    return faults


def _rule_entry_faults(path: str, rule: object) -> list[str]:
    if not isinstance(rule, Mapping):
        return [f'{path} must be a mapping such as {{"field": "model", "operator": "exists"}}, got {rule!r}']
    faults = _unknown_key_faults(path, rule, ("field", "operator", "value"))
    for key, words in (("field", FIELDS), ("operator", OPERATORS)):
        if rule.get(key) not in words:
            faults.append(f"{path}.{key} must be one of {', '.join(words)}, got {rule.get(key)!r}")
    operator, value = rule.get("operator"), rule.get("value")
    if faults or operator in EXISTENCE:
        return faults
    # To Python True is the number 1.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return [f"{path}.value must be a text or a number for {operator}, got {value!r}"]
    if operator in COMPARISONS and number_of(value) is None:
        return [f"{path}.value must be a number for {operator}, got {value!r}"]
    if operator != "regex":
        return []
    # Python's `re` has no time limit: a pattern such as (a+)+$ could hold up a lane for ever.
    try:
        import regex
    except ImportError:
        return [f"{path}.operator regex needs the package `regex`: pip install regex, or use contains"]
    try:
        # Users are promised Python's syntax, and `regex` does the matching: both must take the pattern.
        re.compile(str(value))
        regex.compile(str(value))
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        return [f"{path}.value {str(value)!r} is not a regular expression of Python's: {error}"]
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
