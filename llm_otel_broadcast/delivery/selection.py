"""Which generations a destination is sent: hosts, API keys, then filter rules, then sampling. Pure.

Asked in the background, before privacy takes anything away: a rule may look at content that is not sent. The time that a
regular expression may take is bounded, and other threads run meanwhile.
"""

from __future__ import annotations

import hashlib
import logging
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple, TypeAlias, TypedDict, cast

from llm_otel_broadcast.delivery.regex_search import SEARCH_TIMEOUT_S, Searches, prepare
from llm_otel_broadcast.host.logs import log
from llm_otel_broadcast.host.reminders import Reminder
from llm_otel_broadcast.settings.destination import Destination
from llm_otel_broadcast.settings.rules import number_of

RuleValues: TypeAlias = Callable[[str], Sequence[object]]
"""Returns the values of a rule's field: none, one, or several (two names of a model, a reason for each choice)."""

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_DIGEST_RANGE: Final = 2**64
_TIMEOUT_TEXT: Final = (
    'destination "%s": the regex rule on `%s` took longer than %s s and was stopped. What it cannot decide is not sent there '
    "(left out as rule_timeout). Simplify the expression. status() counts further ones."
)


class Candidate(NamedTuple):
    """A generation that may be sent.

    Attributes:
        key: what is sent or left out together: the session, else the trace.
        failed: whether it ended in an error.
        api_keys: those entries of any destination's `api_keys` that name its key.
        values: of the fields that rules look at.
        host: that the call went to; empty: it is not known.
    """

    key: str
    failed: bool
    api_keys: frozenset[str]
    values: RuleValues
    host: str = ""


def is_sampled(name: str, key: str, rate: float) -> bool:
    """Return whether what has this key is sent to a destination: the same in every process and at any time.

    Args:
        name: the destination's, so that each has a sample of its own.
        key: the session, else the trace.
        rate: the share that is sent, 0 to 1.
    """
    if rate >= 1:
        return True
    digest = hashlib.sha256(f"{name}\0{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < rate * _DIGEST_RANGE


class Selection:
    """What one destination asks for.

    Attributes:
        fields: the fields that its rules look at.
        takes_all: every generation is sent.
    """

    def __init__(self, destination: Destination) -> None:
        self._name = destination.name
        self._rate = destination.sampling_rate
        self._errors_always = destination.errors_always
        self._hosts = destination.hosts
        keys = destination.api_keys or {}
        self._included, self._excluded = frozenset(keys.get("include", ())), frozenset(keys.get("exclude", ()))
        self._groups = groups_of(destination.filter_rules)
        self._timeout_reminder = Reminder()
        # Here and not in a lane's thread: what they need is imported with the first of them.
        for group in self._groups:
            for rule in group["rules"]:
                if rule["operator"].endswith("regex"):
                    prepare(str(rule["value"]))
        self.fields = frozenset(rule["field"] for group in self._groups for rule in group["rules"])
        self.takes_all = not (self._hosts or self._included or self._excluded or self._groups) and self._rate >= 1

    def reason_against(self, candidate: Candidate) -> str | None:
        """Return why the destination is not sent a generation, None when it is."""
        if self._hosts:
            host = candidate.host.lower().rstrip(".")
            if not any(fnmatchcase(host, pattern) for pattern in self._hosts):
                return "host"
        if self._excluded & candidate.api_keys or (self._included and not self._included & candidate.api_keys):
            return "api_key"
        timeouts: list[str] = []
        searches = Searches()

        def holds(rule: Rule) -> bool:
            try:
                return rule_holds(rule, candidate.values(rule["field"]), searches)
            except TimeoutError:
                # A rule that cannot be decided in time does not hold.
                timeouts.append(rule["field"])
                return False

        if self._groups and not any(
            (all if group["logic"] == "and" else any)(map(holds, group["rules"])) for group in self._groups
        ):
            if timeouts and self._timeout_reminder.occurs(time.monotonic()):
                log(logging.WARNING, _TIMEOUT_TEXT, self._name, timeouts[0], SEARCH_TIMEOUT_S)
            return "rule_timeout" if timeouts else "filtered"
        # Last, so that a sample is one of what the rules let through.
        if not ((candidate.failed and self._errors_always) or self.samples(candidate.key)):
            return "sampled"
        return None

    def samples(self, key: str) -> bool:
        """Return whether what has this key is in the sample."""
        return is_sampled(self._name, key, self._rate)

    def chooses_alone(self, key: str) -> bool:
        """Return whether a span is sent below which no call was made: not where only calls to certain hosts are."""
        return not self._hosts and self.samples(key)


class Rule(TypedDict):
    """One condition, as `settings.rules` has checked it."""

    field: str
    operator: str
    value: object


class RuleGroup(TypedDict):
    """Rules of which all (`logic` is `and`) or any have to hold."""

    logic: str
    rules: Sequence[Rule]


def groups_of(filter_rules: Mapping[str, object] | None) -> Sequence[RuleGroup]:
    """Return the groups that count, of which one has to hold; none: everything is sent. A group without rules says nothing."""
    if filter_rules is None or not filter_rules["enabled"]:
        return ()
    return [group for group in cast("Sequence[RuleGroup]", filter_rules["groups"]) if group["rules"]]


def rule_holds(rule: Rule, values: Sequence[object], searches: Searches | None = None) -> bool:
    """Return whether a rule holds: of several values one has to fit, and for `not_` none may.

    What is missing does not exist, equals nothing and contains nothing; empty text is missing.

    Args:
        rule: the condition.
        values: of its field.
        searches: the time that the rules of one generation share for their regular expressions; None: it has that to itself.

    Raises:
        TimeoutError: a regular expression took too long.
    """
    searches = searches or Searches()
    comparison = rule["operator"]
    present = [value for value in values if value is not None and value != ""]
    positive = comparison.removeprefix("not_")
    fits = (
        bool(present)
        if positive == "exists"
        else any(_fits(positive, value, rule["value"], searches) for value in present)
    )
    return fits if positive == comparison else not fits


def _fits(comparison: str, value: object, rule_value: object, searches: Searches) -> bool:
    if comparison in _COMPARE:
        number, bound = number_of(value), number_of(rule_value)
        return number is not None and bound is not None and _COMPARE[comparison](number, bound)
    # A cost or a count: `0.5` and `0.50` are one number, and a rule may have either as text.
    if comparison == "equals" and not isinstance(value, str):
        return number_of(value) is not None and number_of(value) == number_of(rule_value)
    text, sought = str(value), str(rule_value)
    if comparison == "equals":
        return text == sought
    if comparison == "contains":
        return sought in text
    if comparison == "starts_with":
        return text.startswith(sought)
    if comparison == "ends_with":
        return text.endswith(sought)
    return searches.finds(sought, text)
