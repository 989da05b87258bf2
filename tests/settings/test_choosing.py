"""Settings of what goes where: checked where they are given, by field, value and fix, and said in text as well."""

from __future__ import annotations

import json
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast import ConfigError, Destination, instrument
from llm_otel_broadcast.settings.environment import PREFIX
from llm_otel_broadcast.settings.precedence import resolve_options
from llm_otel_broadcast.settings.privacy import PARTS

URL = "http://backend.example:4318"
RULE = {"field": "model", "operator": "equals", "value": "gpt-4o"}


def fault(**given):
    with pytest.raises(ConfigError) as caught:
        Destination(endpoint=URL, name="axiom", **given)
    (said,) = caught.value.faults
    assert said.startswith('destination "axiom": ')
    return said


def of(*rules, **more):
    return {"groups": [{"rules": list(rules), **more}]}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("sampling_rate", 0, "sampling_rate must be a number from 0.0001 to 1, got 0"),
        ("sampling_rate", 1.5, "from 0.0001 to 1, got 1.5"),
        ("sampling_rate", "half", "got 'half'"),
        ("sampling_rate", True, "got True"),
        ("sampling_rate", float("nan"), "got nan"),
        ("errors_always", 1, "errors_always must be True or False"),
        ("hash_user", "yes", "hash_user must be True or False"),
        ("hide", "inputs", "hide must be a set of parts such as {'inputs', 'urls'}, got 'inputs'"),
        ("hide", {"prompts"}, "hide has 'prompts', which is no part of the content: there are inputs, outputs"),
        ("hide", 5, "hide must be a set of parts"),
        ("metadata_deny", "email", "metadata_deny must be a list of texts"),
        ("metadata_allow", [5], "metadata_allow must be a list of texts"),
        ("redact", "me", "redact must be a function, got str"),
        ("dialect", "opentracing", 'dialect must be "semconv"'),
        ("dialect", "otlp", "got 'otlp'"),
        ("ids", "gateway", 'ids must be "own" or "openrouter", got \'gateway\''),
        ("generation_metadata", "cost", "generation_metadata must be a set of cost, identity, request_context"),
        ("generation_metadata", ["price"], "generation_metadata must be a set of cost, identity, request_context"),
        ("generation_metadata", ["cost"], 'generation_metadata needs dialect="openrouter"'),
        ("aliases", ["tags"], 'aliases must be a mapping such as {"operation.cost": "total_cost"}, got list'),
        (
            "aliases",
            {"a": "tag"},
            'aliases "a" stands for "tag", which is no fact (did you mean "tags"?): there are metadata.KEY, model',
        ),
        ("aliases", {"a": "tags | metadata."}, 'stands for "metadata.", which is no fact'),
        ("aliases", {"a": ""}, 'stands for "", which is no fact'),
        ("aliases", {"a": 5}, 'aliases "a" must be the name of a fact, got int'),
        ("aliases", {"": "tags"}, "aliases has '', which is no name of an attribute"),
        ("aliases", {"a.*": "tags"}, 'aliases "a.*": a name that ends in * stands for metadata.*, and only such a one'),
        ("aliases", {"a": "metadata.*"}, "and only such a one"),
        ("resource_attributes", "a=b", 'resource_attributes must be a mapping such as {"team": "search"}, got str'),
        (
            "resource_attributes",
            {"a": None},
            'resource_attributes "a" must be a text, a number of 64 bits, True or False, got NoneType',
        ),
        ("resource_attributes", {"a": 2**63}, 'resource_attributes "a" must be a text, a number of 64 bits, True'),
        ("resource_attributes", {5: "a"}, "resource_attributes has 5, which is no name"),
        (
            "max_content_chars",
            100,
            "max_content_chars must be a whole number of characters from 256 to 10000000, got 100",
        ),
        ("hosts", "api.openai.com", "hosts must be a list of texts"),
        ("hosts", ["https://api.openai.com"], 'hosts has "https://api.openai.com": give a host alone'),
        ("hosts", ["api.openai.com:443"], 'hosts has "api.openai.com:443": give a host alone'),
        ("method", "PATCH", 'method must be "POST" or "PUT", got \'PATCH\''),
        ("api_keys", ["AbCd"], 'api_keys must be a mapping such as {"include": ["AbCd"]}, got list'),
        ("api_keys", {"only": ["AbCd"]}, "api_keys has 'only': there are include, exclude"),
        ("api_keys", {"include": "AbCd"}, "api_keys include must be a list, got str"),
        ("api_keys", {"include": ["Cd"]}, "api_keys include[0] must be the sha256 of a key (64 hexadecimal digits)"),
        ("api_keys", {"exclude": ["AbCd", 5]}, "api_keys exclude[1] must be the sha256"),
        ("filter_rules", [RULE], 'filter_rules must be a mapping such as {"groups": [...]}, got list'),
        ("filter_rules", {"rules": [RULE]}, "filter_rules has 'rules': there are enabled, groups"),
        ("filter_rules", {"enabled": "no"}, "filter_rules.enabled must be True or False, got 'no'"),
        ("filter_rules", {"groups": RULE}, "filter_rules.groups must be a list"),
        (
            "filter_rules",
            {"groups": [RULE]},
            "filter_rules.groups[0] has 'field', 'operator', 'value': there are logic, rules",
        ),
        ("filter_rules", of(RULE, logic="xor"), 'filter_rules.groups[0].logic must be "and" or "or", got \'xor\''),
        ("filter_rules", of("model"), "filter_rules.groups[0].rules[0] must be a mapping"),
        ("filter_rules", of(RULE, {**RULE, "field": "temperature"}), "groups[0].rules[1].field must be one of model,"),
        ("filter_rules", of({**RULE, "operator": "is"}), "rules[0].operator must be one of equals,"),
        ("filter_rules", of({**RULE, "negate": True}), "rules[0] has 'negate': there are field, operator, value"),
        ("filter_rules", of({"field": "model", "operator": "equals"}), "rules[0].value must be a text or a number"),
        ("filter_rules", of({**RULE, "operator": "gt"}), "rules[0].value must be a number for gt, got 'gpt-4o'"),
        ("filter_rules", of({**RULE, "operator": "regex", "value": "("}), "is not a regular expression of Python's"),
    ],
)
def test_a_wrong_setting_is_named_with_the_fix(field, value, said):
    told = fault(**{field: value})
    assert said in told
    assert field in told


def test_several_faults_of_rules_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        Destination(endpoint=URL, filter_rules=of({"field": "x", "operator": "y"}, {**RULE, "operator": "lt"}))
    assert len(caught.value.faults) == 3


def test_a_key_given_in_full_is_refused_and_not_shown():
    told = fault(api_keys={"include": ["sk-or-v1-canary-0123456789"]})
    assert "canary" not in told
    assert "include[0]" in told


def test_what_is_given_is_copied_and_made_plain():
    rules, keys, hidden = of(dict(RULE)), {"include": ["AbCd"], "exclude": ()}, {"urls", "inputs"}
    made = Destination(endpoint=URL, filter_rules=rules, api_keys=keys, hide=hidden)
    rules["groups"][0]["rules"][0]["value"] = "o1"
    keys["include"].append("ffff")
    hidden.clear()
    assert made.filter_rules == {"enabled": True, "groups": [{"logic": "and", "rules": [RULE]}]}
    assert made.api_keys == {"include": ["AbCd"]}
    assert made.hide == ("inputs", "urls")
    assert json.loads(json.dumps([made.filter_rules, made.api_keys, made.hide]))


TEXTS = {
    "SAMPLING_RATE": ("0.25", "sampling_rate", 0.25),
    "ERRORS_ALWAYS": ("true", "errors_always", True),
    "API_KEYS": ('{"exclude": ["AbCd"]}', "api_keys", {"exclude": ["AbCd"]}),
    "FILTER_RULES": (
        json.dumps(of(RULE)),
        "filter_rules",
        {"enabled": True, "groups": [{"logic": "and", "rules": [RULE]}]},
    ),
    "HIDE": ("urls, inputs", "hide", ("inputs", "urls")),
    "METADATA_ALLOW": ("environment,team_*", "metadata_allow", ["environment", "team_*"]),
    "METADATA_DENY": ("email", "metadata_deny", ["email"]),
    "HASH_USER": ("true", "hash_user", True),
    "DIALECT": ("semconv", "dialect", "semconv"),
    "ALIASES": ("acme.tags=tags,acme.meta.*=metadata.*", "aliases", {"acme.tags": "tags", "acme.meta.*": "metadata.*"}),
    "RESOURCE_ATTRIBUTES": ('{"team": "search", "tier": 1}', "resource_attributes", {"team": "search", "tier": 1}),
    "HOSTS": ("api.openai.com, *.openrouter.ai", "hosts", ("api.openai.com", "*.openrouter.ai")),
    "METHOD": ("PUT", "method", "PUT"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_each_can_be_said_in_a_variable(name):
    text, field, value = TEXTS[name]
    (made,) = resolve_options({}, {PREFIX + "ENDPOINT": URL, PREFIX + name: text}).destinations
    assert getattr(made, field) == value


@pytest.mark.parametrize("name", TEXTS)
def test_each_can_be_said_in_the_list_of_destinations(name):
    _, field, value = TEXTS[name]
    listed = json.dumps([{"endpoint": URL, field: value}])
    (made,) = resolve_options({}, {PREFIX + "DESTINATIONS": listed}).destinations
    assert getattr(made, field) == value


@pytest.mark.parametrize("name", TEXTS)
def test_each_is_a_shorthand_of_instrument(name):
    _, field, value = TEXTS[name]
    (made,) = resolve_options({"endpoint": URL, field: value}, {}).destinations
    assert getattr(made, field) == value


@pytest.mark.parametrize(
    ("said", "own", "result"),
    [
        ({"hide": {"urls"}}, {"hide": {"inputs"}}, {"hide": ("inputs", "urls")}),
        ({"hash_user": False}, {"hash_user": True}, {"hash_user": True}),
        ({"hash_user": True}, {}, {"hash_user": True}),
        ({"privacy_mode": False}, {"privacy_mode": True}, {"privacy_mode": True}),
        ({"metadata_deny": ["a"]}, {"metadata_deny": ["b"]}, {"metadata_deny": ("b", "a")}),
        ({"metadata_allow": ["a", "b"]}, {"metadata_allow": ["b", "c"]}, {"metadata_allow": ("b",)}),
        ({"metadata_allow": ["a"]}, {}, {"metadata_allow": ("a",)}),
        ({"redact": str.upper}, {"redact": str.lower}, {"redact": str.lower}),
        ({"redact": str.upper}, {}, {"redact": str.upper}),
    ],
)
def test_what_keeps_things_back_counts_for_every_destination_and_never_takes_back_its_own(said, own, result):
    made = resolve_options({**said, "destinations": [Destination(endpoint=URL, **own)]}, {}).destinations
    assert {name: getattr(made[0], name) for name in result} == result


def test_a_variable_that_keeps_things_back_stays_when_the_code_names_the_destinations():
    environ = {
        PREFIX + "HIDE": "inputs",
        PREFIX + "ENDPOINT": "http://other.example:4318",
        PREFIX + "HASH_USER": "true",
    }
    for said in ({"endpoint": URL}, {"destinations": [Destination(endpoint=URL)]}):
        (made,) = resolve_options(said, environ).destinations
        assert (made.endpoint, made.hide, made.hash_user) == (URL + "/v1/traces", ("inputs",), True)


def test_what_selects_belongs_to_the_destination_that_it_is_for():
    with pytest.raises(ConfigError, match="put the sampling_rate into the destination that it is for"):
        resolve_options({"sampling_rate": 0.5, "destinations": [Destination(endpoint=URL)]}, {})


def test_a_wrong_variable_is_named():
    with pytest.raises(ConfigError, match="LLM_OTEL_BROADCAST_HIDE: hide has 'prompts'"):
        resolve_options({}, {PREFIX + "ENDPOINT": URL, PREFIX + "HIDE": "prompts"})


def test_what_only_code_can_give_must_be_a_function():
    with pytest.raises(ConfigError, match="on_generation must be a function, got dict"):
        instrument(endpoint=URL, on_generation={})


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["groups", "rules", "logic", "field", "operator", "value", "include"]), inner)
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(
        [
            "filter_rules",
            "api_keys",
            "hide",
            "metadata_allow",
            "metadata_deny",
            "aliases",
            "resource_attributes",
            "max_content_chars",
            "hosts",
            "method",
        ]
    ),
    ANY,
)
def test_no_value_makes_anything_but_a_clear_error(field, value):
    told = None
    try:
        made = Destination(endpoint=URL, **{field: value})
    except ConfigError as error:
        told = error
    assert told.faults if told else getattr(made, field) is None or json.dumps(getattr(made, field)) is not None


@given(st.sets(st.sampled_from(PARTS)))
def test_any_parts_can_be_hidden(parts):
    assert set(Destination(endpoint=URL, hide=parts).hide) == parts


class Level(IntEnum):
    HIGH = 3


@pytest.mark.timeout(20)
def test_a_resource_attribute_may_be_an_integer_of_a_class_of_its_own():
    destination = Destination(endpoint="http://127.0.0.1:9", resource_attributes={"level": Level.HIGH})
    assert destination.resource_attributes == {"level": 3}
