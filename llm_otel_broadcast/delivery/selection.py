"""Which generations a destination is sent: API keys, then filter rules, then sampling. Pure.

Asked in the background, before privacy takes anything away: a rule may look at content that is not sent. The time that a
regular expression may take is bounded, and other threads run meanwhile.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from llm_otel_broadcast.host.logs import log
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.rules import COMPARISONS, is_digest, number_of

Facts: TypeAlias = Callable[[str], Sequence[object]]
"""Returns what is known of a rule's field: nothing, one value, or several (two names of a model, a reason for each choice)."""

_ALL: Final = 2**64
_REGEX_TIMEOUT_S: Final = 0.25
"""A sensible expression takes some milliseconds for a million characters; one that backtracks never ends."""
_TIMEOUT_TEXT: Final = (
    'destination "%s": the regex rule on `%s` took longer than %s s and was stopped. What it cannot decide is not sent there '
    "(left out as rule_timeout). Simplify the expression. Said once; status() counts further ones."
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A generation that may be sent.

    Attributes:
        key: what is kept or left out together: the session, else the trace.
        failed: whether it ended in an error.
        api_keys: those entries of anybody's `api_keys` that name its key.
        facts: what rules ask for.
    """

    key: str
    failed: bool
    api_keys: frozenset[str]
    facts: Facts


def is_sampled(name: str, key: str, rate: float) -> bool:
    """Return whether what has this key is sent to the destination of this name: the same in every process and at any time."""
    if rate >= 1:
        return True
    digest = hashlib.sha256(f"{name}\0{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < rate * _ALL


class Selection:
    """What one destination asks for.

    Attributes:
        fields: the fields that its rules look at.
    """

    def __init__(self, destination: Destination) -> None:
        self._name = destination.name
        self._rate = destination.sampling_rate
        self._errors_always = destination.errors_always
        keys = destination.api_keys or {}
        self._included, self._excluded = frozenset(keys.get("include", ())), frozenset(keys.get("exclude", ()))
        self._groups = groups_of(destination.filter_rules)
        self._has_told_timeout = False
        self.fields = frozenset(rule["field"] for group in self._groups for rule in group["rules"])

    def reason_against(self, candidate: Candidate) -> str | None:
        """Return why the destination is not sent it, None when it is."""
        if self._excluded & candidate.api_keys or (self._included and not self._included & candidate.api_keys):
            return "api_key"
        timeouts: list[str] = []
        if self._groups and not any(_holds(group, candidate.facts, timeouts) for group in self._groups):
            if timeouts:
                self._tell_timeout(timeouts[0])
            return "rule_timeout" if timeouts else "filtered"
        if not ((candidate.failed and self._errors_always) or self.samples(candidate.key)):
            return "sampled"
        return None

    def _tell_timeout(self, field: str) -> None:
        if not self._has_told_timeout:
            self._has_told_timeout = True
            log(logging.WARNING, _TIMEOUT_TEXT, self._name, field, _REGEX_TIMEOUT_S)

    def samples(self, key: str) -> bool:
        """Return whether what has this key is in the sample."""
        return is_sampled(self._name, key, self._rate)


def groups_of(filter_rules: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    """Return the groups that count, of which one has to hold; none: everything is sent. A group without rules says nothing."""
    if filter_rules is None or not filter_rules["enabled"]:
        return ()
    return [group for group in filter_rules["groups"] if group["rules"]]


def _holds(group: Mapping[str, Any], facts: Facts, timeouts: list[str]) -> bool:
    """Return whether a group holds. A rule that cannot be decided in time does not, and its field is added to `timeouts`."""

    def holds(rule: Mapping[str, Any]) -> bool:
        try:
            return rule_holds(rule, facts(rule["field"]))
        except TimeoutError:
            timeouts.append(rule["field"])
            return False

    every = all if group["logic"] == "and" else any
    return every(map(holds, group["rules"]))


def rule_holds(rule: Mapping[str, Any], values: Sequence[object]) -> bool:
    """Return whether a rule holds: of several values one has to fit, and for `not_` none may.

    What is missing does not exist, equals nothing and contains nothing; empty text is missing.

    Raises:
        TimeoutError: a regular expression took too long.
    """
    operator = rule["operator"]
    known = [value for value in values if value is not None and value != ""]
    positive = operator.removeprefix("not_")
    fits = bool(known) if positive == "exists" else any(_fits(positive, value, rule["value"]) for value in known)
    return fits if positive == operator else not fits


def _fits(operator: str, value: object, wanted: Any) -> bool:
    if operator in COMPARISONS:
        return _compares(operator, number_of(value), number_of(wanted))
    if operator == "equals" and not isinstance(value, str):
        return number_of(value) is not None and number_of(value) == number_of(wanted)
    text, sought = str(value), str(wanted)
    if operator == "equals":
        return text == sought
    if operator == "contains":
        return sought in text
    if operator == "starts_with":
        return text.startswith(sought)
    if operator == "ends_with":
        return text.endswith(sought)
    return _matches(sought, text)


def _matches(pattern: str, text: str) -> bool:
    """Search for a regular expression, for a bounded time and without keeping other threads from running.

    Python's own `re` can do neither. `regex` has the same syntax; it is imported only where there is such a rule.
    """
    import regex

    return regex.search(pattern, text, timeout=_REGEX_TIMEOUT_S, concurrent=True) is not None


def _compares(operator: str, number: float | None, bound: float | None) -> bool:
    if number is None or bound is None:
        return False
    if operator.startswith("g"):
        return number > bound or (operator == "gte" and number == bound)
    return number < bound or (operator == "lte" and number == bound)


class KeyWatch:
    """Tells which entries of the destinations' `api_keys` name a key. The key itself is kept nowhere."""

    def __init__(self, destinations: Sequence[Destination]) -> None:
        entries = {entry for one in destinations for listed in (one.api_keys or {}).values() for entry in listed}
        self._digests = frozenset(entry for entry in entries if is_digest(entry))
        self._ends = tuple(entries - self._digests)
        self.asks = bool(entries)

    def names_of(self, key: str) -> frozenset[str]:
        """Return the entries that name this key. On the host's thread: a hash takes a microsecond, and only if one is asked for."""
        found = {end for end in self._ends if key.endswith(end)}
        if self._digests:
            found |= self._digests & {hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()}
        return frozenset(found)
