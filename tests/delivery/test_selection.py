"""Which generations a destination asks for: sampling, API keys and filter rules, decided the same everywhere."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast import Destination
from llm_otel_broadcast.delivery.key_watch import KeyWatch
from llm_otel_broadcast.delivery.selection import Candidate, Selection, is_sampled, rule_holds
from llm_otel_broadcast.settings.rules import FIELDS, OPERATORS

URL = "http://backend.example:4318"
KEY = "sk-or-v1-0123456789abcdef"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def selection(**given):
    return Selection(Destination(endpoint=URL, name="backend", **given))


def candidate(*, key="session", failed=False, api_keys=(), **facts):
    def known(field):
        value = facts.get(field, ())
        return value if isinstance(value, tuple | list) else (value,)

    return Candidate(key, failed, frozenset(api_keys), known)


def against(made, **given):
    return made.reason_against(candidate(**given))


# -- sampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0001, 0.01, 0.25, 0.5, 0.9, 1.0])
def test_the_share_that_is_kept_is_the_rate(rate):
    """Within five standard deviations of the binomial distribution, which one run in two million leaves."""
    count = 40_000
    kept = sum(is_sampled("backend", f"session {number}", rate) for number in range(count))
    assert abs(kept - count * rate) <= 5 * math.sqrt(count * rate * (1 - rate)) + 1e-9


def test_destinations_keep_different_sessions():
    """What two destinations with a half each keep together is a quarter: neither decides for the other."""
    count = 20_000
    both = sum(is_sampled("one", str(number), 0.5) and is_sampled("two", str(number), 0.5) for number in range(count))
    assert abs(both - count / 4) <= 5 * math.sqrt(count * 3 / 16)


@given(st.text(), st.text(), st.floats(0.0001, 1), st.floats(0.0001, 1))
def test_what_a_low_rate_keeps_a_higher_one_keeps_too(name, key, one, other):
    low, high = sorted((one, other))
    assert is_sampled(name, key, high) or not is_sampled(name, key, low)


@given(st.text(), st.text())
def test_everything_is_kept_at_rate_one(name, key):
    assert is_sampled(name, key, 1.0)


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")), st.floats(0.0001, 0.9999))
def test_the_decision_is_the_documented_hash(name, key, rate):
    number = int(hashlib.sha256(f"{name}\0{key}".encode()).hexdigest()[:16], 16)
    assert is_sampled(name, key, rate) is (number / 2**64 < rate)


def test_every_process_decides_alike():
    program = (
        "from llm_otel_broadcast.delivery.selection import is_sampled\n"
        "print(''.join('01'[is_sampled('b', str(n), 0.5)] for n in range(200)))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("0", "1", "random")
    }
    assert told == {"".join("01"[is_sampled("b", str(number), 0.5)] for number in range(200)) + "\n"}


def test_failed_generations_are_kept_whatever_the_rate_if_asked_for():
    rare = selection(sampling_rate=0.0001)
    always = selection(sampling_rate=0.0001, errors_always=True)
    left_out = next(str(number) for number in range(100) if not rare.samples(str(number)))
    assert against(rare, key=left_out, failed=True) == "sampled"
    assert against(always, key=left_out, failed=True) is None
    assert against(always, key=left_out, failed=False) == "sampled"


def test_errors_always_does_not_pass_by_the_rules():
    made = selection(
        errors_always=True,
        filter_rules={"groups": [{"rules": [{"field": "model", "operator": "equals", "value": "gpt-4o"}]}]},
    )
    assert against(made, failed=True, model="o1") == "filtered"


# -- API keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "key", "reason"),
    [
        ({"include": ["cdef"]}, KEY, None),
        ({"include": ["456789abcdef"]}, KEY, None),
        ({"include": [DIGEST]}, KEY, None),
        ({"include": [DIGEST.upper()]}, KEY, None),
        ({"include": ["ffff", "cdef"]}, KEY, None),
        ({"include": ["CDEF"]}, KEY, "api_key"),
        ({"include": ["ffff"]}, KEY, "api_key"),
        ({"include": ["cdef"]}, None, "api_key"),
        ({"exclude": ["cdef"]}, KEY, "api_key"),
        ({"exclude": [DIGEST]}, KEY, "api_key"),
        ({"exclude": ["ffff"]}, KEY, None),
        ({"exclude": ["cdef"]}, None, None),
        ({"include": ["cdef"], "exclude": [DIGEST]}, KEY, "api_key"),
        ({"include": [], "exclude": []}, KEY, None),
        ({}, None, None),
    ],
)
def test_api_keys_are_included_and_excluded_by_their_end_or_their_hash(asked, key, reason):
    destination = Destination(endpoint=URL, api_keys=asked)
    names = KeyWatch([destination]).names_of(key) if key else frozenset()
    assert Selection(destination).reason_against(candidate(api_keys=names)) == reason


def test_keys_are_looked_at_only_if_somebody_asks():
    assert not KeyWatch([Destination(endpoint=URL), Destination(endpoint=URL, api_keys={})]).asks
    assert KeyWatch([Destination(endpoint=URL), Destination(endpoint=URL, api_keys={"exclude": ["abcd"]})]).asks


def test_the_key_itself_is_in_nothing_that_is_kept():
    watch = KeyWatch([Destination(endpoint=URL, api_keys={"include": ["cdef", DIGEST]})])
    assert watch.names_of(KEY) == {"cdef", DIGEST}


# -- filter rules -----------------------------------------------------------------------------------------------------


def holds(operator, value, *values):
    return rule_holds({"field": "model", "operator": operator, "value": value}, values)


@pytest.mark.parametrize(
    ("operator", "value", "known", "expected"),
    [
        ("equals", "gpt-4o", "gpt-4o", True),
        ("equals", "gpt-4o", "GPT-4o", False),
        ("equals", "gpt-4", "gpt-4o", False),
        ("equals", 150, 150, True),
        ("equals", "150", 150, True),
        ("equals", "0.5", 0.5, True),
        ("equals", "much", 150, False),
        ("equals", 7, "7", True),
        ("not_equals", "gpt-4o", "o1", True),
        ("not_equals", "gpt-4o", "gpt-4o", False),
        ("contains", "4o", "gpt-4o-mini", True),
        ("contains", "4O", "gpt-4o-mini", False),
        ("contains", 5, 150, True),
        ("not_contains", "4o", "o1", True),
        ("not_contains", "4o", "gpt-4o", False),
        ("regex", "^gpt-(4o|5)", "gpt-5-nano", True),
        ("regex", "4o$", "gpt-4o-mini", False),
        ("regex", "mini", "gpt-4o-mini", True),
        ("starts_with", "openai/", "openai/gpt-4o", True),
        ("starts_with", "gpt", "openai/gpt-4o", False),
        ("ends_with", ":free", "x/y:free", True),
        ("ends_with", "free", "x/y:paid", False),
        ("gt", 100, 150, True),
        ("gt", 150, 150, False),
        ("gte", "150", 150, True),
        ("lt", 0.01, 0.002, True),
        ("lt", 0.002, 0.002, False),
        ("lte", 0.002, 0.002, True),
        ("gt", 1, "2", True),
        ("gt", 1, "many", False),
        ("exists", None, 0, True),
        ("exists", None, "x", True),
        ("exists", None, "", False),
        ("not_exists", None, "x", False),
    ],
)
def test_operators(operator, value, known, expected):
    assert holds(operator, value, known) is expected


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("missing", [(), (None,), ("",), (None, None)])
def test_what_is_missing_fits_only_what_says_not(operator, missing):
    assert holds(operator, 1, *missing) is operator.startswith("not_")


def test_of_several_values_one_has_to_fit_and_none_may_fit_what_is_denied():
    assert holds("equals", "b", "a", "b")
    assert not holds("not_equals", "b", "a", "b")
    assert holds("not_equals", "c", "a", "b")


def rules(*groups, **more):
    return {"groups": [{"logic": logic, "rules": list(made)} for logic, *made in groups], **more}


IS_GPT = {"field": "model", "operator": "starts_with", "value": "gpt"}
IS_DEAR = {"field": "total_cost", "operator": "gte", "value": 1}
OF_ANN = {"field": "user_id", "operator": "equals", "value": "ann"}


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (None, True),
        ({}, True),
        ({"groups": []}, True),
        (rules(("and",)), True),
        (rules(("and", IS_GPT)), True),
        (rules(("and", IS_GPT, IS_DEAR)), False),
        (rules(("or", IS_GPT, IS_DEAR)), True),
        (rules(("or", IS_DEAR, OF_ANN)), False),
        (rules(("and", IS_DEAR), ("and", IS_GPT)), True),
        (rules(("and", IS_DEAR), ("and", OF_ANN)), False),
        (rules(("and", IS_DEAR), enabled=False), True),
        (rules(("and",), ("and", IS_DEAR)), False),
    ],
)
def test_groups_are_alternatives_and_rules_in_them_are_joined(asked, kept):
    made = selection(filter_rules=asked)
    assert (against(made, model=("gpt-4o",), total_cost=(0.2,), user_id=("bob",)) is None) is kept


def test_keys_come_before_rules_and_rules_before_the_sample():
    made = selection(api_keys={"exclude": ["cdef"]}, filter_rules=rules(("and", IS_DEAR)), sampling_rate=0.0001)
    assert against(made, api_keys=["cdef"]) == "api_key"
    assert against(made, total_cost=(0.1,)) == "filtered"
    assert against(made, total_cost=(2,), key="1") == "sampled"


# Not one that RE2 reads, where that is installed.
BACKTRACKING = {"field": "input", "operator": "regex", "value": r"^(a|aa)+\Z"}
PROMPT = "a" * 60 + "!"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (rules(("and", BACKTRACKING)), "rule_timeout"),
        (rules(("or", BACKTRACKING, IS_DEAR)), "rule_timeout"),
        (rules(("or", BACKTRACKING, IS_GPT)), None),
        (rules(("and", IS_DEAR, BACKTRACKING)), "filtered"),
        (rules(("and", BACKTRACKING), ("and", IS_GPT)), None),
    ],
)
def test_a_rule_that_takes_too_long_does_not_hold_and_is_told_once(asked, reason, caplog):
    """A prompt of 28 letters stopped every thread of the program."""
    made = selection(filter_rules=asked)
    for _ in range(2):
        begun = time.monotonic()
        assert against(made, input=PROMPT, model="gpt-4o", total_cost=0.1) == reason
        assert time.monotonic() - begun < 5
    assert against(made, input="aaa", model="gpt-4o", total_cost=0.1) == (None if reason != "filtered" else reason)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (reason == "rule_timeout")
    assert PROMPT not in "".join(said)


def test_other_threads_run_while_a_rule_is_searched_for():
    made = selection(filter_rules=rules(("and", BACKTRACKING)))
    against(made, input="a")  # what is imported with the first one is imported
    ended = threading.Event()
    beats = []

    def beat():
        while not ended.wait(0.001):
            beats.append(time.monotonic())

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    reason = against(made, input=PROMPT)
    ended.set()
    thread.join()
    assert reason == "rule_timeout"
    assert len(beats) > 20


def test_the_search_for_regular_expressions_is_imported_only_where_a_rule_needs_it():
    program = (
        "import sys, llm_otel_broadcast as lob\n"
        "rule = {'field': 'model', 'operator': sys.argv[1], 'value': 'x'}\n"
        "lob.instrument(destinations=[lob.Destination(endpoint='http://127.0.0.1:9', filter_rules={'groups': [{'rules': [rule]}]})])\n"
        "print('regex' in sys.modules)"
    )
    environment = {**os.environ, "LLM_OTEL_BROADCAST_CONFIG": os.devnull}
    for operator, expected in (("contains", "False"), ("regex", "True")):
        command = [sys.executable, "-c", program, operator]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        assert told.strip() == expected


VALUES = st.one_of(st.none(), st.text(max_size=5), st.integers(), st.floats(allow_nan=True))
RULES = st.fixed_dictionaries(
    {
        "field": st.sampled_from(FIELDS),
        "operator": st.sampled_from([one for one in OPERATORS if one != "regex"]),
        "value": st.integers(-5, 5) | st.floats(-5, 5) | st.sampled_from(["1", "2.5"]),
    }
)
GROUPS = st.lists(
    st.fixed_dictionaries({"logic": st.sampled_from(["and", "or"]), "rules": st.lists(RULES, max_size=3)})
)


@given(GROUPS, st.dictionaries(st.sampled_from(FIELDS), st.lists(VALUES, max_size=2).map(tuple)))
def test_any_rules_decide_on_any_facts_without_an_error(groups, facts):
    reason = selection(filter_rules={"groups": groups}).reason_against(
        Candidate("key", failed=False, api_keys=frozenset(), values=lambda field: facts.get(field, ()))
    )
    assert reason in (None, "filtered")


@given(RULES, st.lists(VALUES, max_size=3))
def test_what_says_not_is_the_contrary(rule, values):
    for positive, negative in (("equals", "not_equals"), ("contains", "not_contains"), ("exists", "not_exists")):
        assert rule_holds({**rule, "operator": positive}, values) is not rule_holds(
            {**rule, "operator": negative}, values
        )
