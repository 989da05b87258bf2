"""The variables `LLM_OTEL_BROADCAST_*`, one by one, and their table in the README."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from llm_otel_broadcast import ConfigError, Destination, instrument
from llm_otel_broadcast.instrumentation import argument_names
from llm_otel_broadcast.settings.destination_fields import DestinationFields
from llm_otel_broadcast.settings.environment import DISABLED, PREFIX, disabling, misspelt, read_variables, variables

README = Path(__file__).parent.parent.parent / "README.md"
URL = "http://backend.example:4318"
ONLY_IN_CODE = {"client", "exporter", "on_generation", "redact", "tracer_provider"}


def read(**variables):
    return read_variables({PREFIX + name: text for name, text in variables.items()})


def fault(**variables):
    """Read one variable that is wrong, and return what is said about it."""
    (wrong,) = read(**variables).values()
    assert isinstance(wrong, ConfigError)
    (said,) = wrong.faults
    return said


def test_every_option_has_a_variable_but_for_objects():
    options = set(argument_names())
    assert {variable.option for variable in variables()} == options - ONLY_IN_CODE


def test_every_default_is_none_in_the_signature_so_that_a_variable_can_say_it():
    own = [made for made in inspect.signature(instrument).parameters.values() if made.kind is made.KEYWORD_ONLY]
    assert {made.default for made in own} == {None}
    assert set(DestinationFields.__annotations__) == DestinationFields.__optional_keys__


def table() -> str:
    """Return the README's table as the settings have it."""
    rows = [
        f"| `{variable.name}` | {variable.kind.written} | {default_of(variable.default)} |" for variable in variables()
    ]
    return "\n".join(["| variable | value | default |", "|---|---|---|", *rows])


def default_of(value: object) -> str:
    if value in (None, (), {}):
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{str(value).lower()}`"


def test_the_readme_has_the_table_of_variables():
    assert table() in README.read_text(encoding="utf-8"), f"the README's table should be:\n{table()}"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ENDPOINT", f" {URL} ", URL),
        ("HEADERS", "Authorization=Bearer%20abc%3D, x-team = red ,", {"Authorization": "Bearer abc=", "x-team": "red"}),
        ("HEADERS", '{"Authorization": "Bearer a,b=c%20"}', {"Authorization": "Bearer a,b=c%20"}),
        ("ENCODING", "protobuf", "protobuf"),
        ("COMPRESSION", "gzip", "gzip"),
        ("PRIVACY_MODE", "true", True),
        ("PRIVACY_MODE", "NO", False),
        ("CAPTURE_CONTENT", "0", False),
        ("ESTIMATE_COST", "off", False),
        ("LINK_GATEWAY", "On", True),
        ("TIMEOUT", "2.5", 2.5),
        ("EXIT_TIMEOUT", "0", 0.0),
        ("MAX_QUEUE_BYTES", "2097152", 2_097_152),
        ("MAX_CONTENT_CHARS", "5000", 5000),
        ("APP_SPANS", "auto", "auto"),
        ("APP_SPANS", "False", False),
        ("FORWARD_TRACE_FIELDS", "false", False),
        ("SERVICE_NAME", "checkout", "checkout"),
        ("TRACE_DEFAULTS", "environment=staging,team=red", {"environment": "staging", "team": "red"}),
        ("TRACE_DEFAULTS", '{"environment": "staging", "canary": true}', {"environment": "staging", "canary": True}),
        ("DESTINATIONS", "[]", []),
    ],
)
def test_a_variable_says_what_the_argument_would(name, text, value):
    (read_value,) = read(**{name: text}).values()
    assert read_value == value
    assert type(read_value) is type(value)


def test_an_empty_variable_says_nothing():
    assert read(ENDPOINT="  ", PRIVACY_MODE="") == {}


def test_destinations_are_made_from_a_json_array():
    text = f"""[
        {{"endpoint": "{URL}", "name": "axiom", "headers": {{"X-Axiom-Dataset": "d"}}, "privacy_mode": true}},
        {{"endpoint": "http://other", "enabled": false, "batch_delay": 0}}
    ]"""
    assert read(DESTINATIONS=text)["destinations"] == [
        Destination(name="axiom", endpoint=URL, headers={"X-Axiom-Dataset": "d"}, privacy_mode=True),
        Destination(endpoint="http://other", enabled=False, batch_delay=0),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("ENDPOINT", "backend:4318", 'endpoint "backend:4318" needs http:// or https:// in front'),
        ("TIMEOUT", "soon", "timeout must be a number of seconds from 0.001 to 3600, got 'soon'"),
        ("TIMEOUT", "nan", "timeout must be a number of seconds from 0.001 to 3600, got nan"),
        ("PRIVACY_MODE", "maybe", "privacy_mode must be true or false, got 'maybe'"),
        ("APP_SPANS", "always", "app_spans must be \"auto\", true or false, got 'always'"),
        ("FORWARD_TRACE_FIELDS", "some", "forward_trace_fields must be true or false, got 'some'"),
        ("ENCODING", "xml", 'encoding must be "auto", "json" or "protobuf", got \'xml\''),
        ("MAX_QUEUE_BYTES", "64MiB", "max_queue_bytes must be a whole number of bytes, at least 1048576, got '64MiB'"),
        ("TRACE_DEFAULTS", "staging", "entry 1 is not key=value"),
        ("TRACE_DEFAULTS", '{"a": }', "it is not JSON: Expecting value at character 7"),
        ("TRACE_DEFAULTS", '{"a": ' * 100_000, "it is nested too deeply"),
        ("HEADERS", "a=1,secret", "entry 2 is not key=value"),
        ("HEADERS", '{"a": "secret"', "it is not JSON: Expecting ',' delimiter at character 15"),
        ("HEADERS", '{"a": 5}', 'header "a" must be a string, got int 5'),
        ("HEADERS", '{"a b": "secret"}', 'header name "a..." is not a valid HTTP header name'),
        ("HEADERS", '{"Authorization: Basic secret": ""}', 'header name "Authorization..." is not'),
        ("HEADERS", "Basic secret==", 'header name "Basic..." is not a valid HTTP header name'),
        ("DESTINATIONS", '[{"endpoint": "http://x", "header": {"a": "secret"}}]', 'did you mean "headers"?'),
        ("DESTINATIONS", URL, "it is not JSON"),
        ("DESTINATIONS", '{"endpoint": "secret"}', "it must be a JSON array of objects, got an object"),
        ("DESTINATIONS", '["secret"]', "entry 1: it must be an object"),
        ("DESTINATIONS", '[{"endpoint": "http://x", "token": "secret"}]', "entry 1: 'token' is no field"),
        ("DESTINATIONS", '[{"endpoint": "http://x", "exporter": "secret"}]', "entry 1: 'exporter' is no field"),
        ("DESTINATIONS", '[{"name": "axiom", "headers": {"a": "secret"}}]', 'destination "axiom": endpoint is missing'),
        ("DESTINATIONS", '[{"endpoint": "http://x"}, {"endpoint": "http://x"}]', 'destination "x" is there twice'),
    ],
)
def test_a_wrong_variable_is_named_with_the_fix_and_without_secrets(name, text, said):
    told = fault(**{name: text})
    assert told.startswith(f"{PREFIX}{name}: ")
    assert said in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("variable", "likely"),
    [("PRIVATE_MODE", "PRIVACY_MODE"), ("ENDPONT", "ENDPOINT"), ("HEADER", "HEADERS"), ("DISABLE", "DISABLED")],
)
def test_a_misspelt_variable_is_told_with_the_likely_name(variable, likely):
    assert misspelt({PREFIX + variable: "x"}) == [f"{PREFIX}{variable} is no setting: did you mean {PREFIX}{likely}?"]


def test_variables_of_other_versions_and_of_others_are_no_misspelling():
    known = {variable.name: "x" for variable in variables()}
    assert misspelt({**known, DISABLED: "true", f"{PREFIX}CONFIG": "x", "LLM_OTEL": "x"}) == []


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({DISABLED: ""}, None),
        ({DISABLED: "true"}, DISABLED),
        ({DISABLED: "1"}, DISABLED),
        ({DISABLED: "false"}, None),
        ({"OTEL_SDK_DISABLED": "True"}, "OTEL_SDK_DISABLED"),
        ({"OTEL_SDK_DISABLED": "1"}, None),
        ({"OTEL_SDK_DISABLED": "false", DISABLED: "yes"}, DISABLED),
    ],
)
def test_two_variables_turn_everything_off(environ, found):
    assert disabling(environ) == found


def test_off_or_not_off_is_told_when_it_is_neither():
    with pytest.raises(ConfigError, match=f"{DISABLED} must be true or false, got 'maybe'"):
        disabling({DISABLED: "maybe"})
