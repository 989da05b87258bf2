"""Who wins: arguments over `LLM_OTEL_BROADCAST_*` over `OTEL_EXPORTER_OTLP_*`; and what stays with its endpoint."""

from __future__ import annotations

import pytest

from llm_otel_broadcast import ConfigError, Destination
from llm_otel_broadcast.settings.environment import PREFIX
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.settings.precedence import resolve_options, resolve_settings

ARGUMENT, VARIABLE, OTLP = "http://argument/v1/traces", "http://variable/v1/traces", "http://otlp/v1/traces"
PUT_IT = "put the {} into the destination that it is for"
SECRET = {"Authorization": "secret"}
FROM_OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otlp", "OTEL_EXPORTER_OTLP_HEADERS": "otlp=1"}


def settled(given=None, otlp=None, **variables) -> Options:
    return resolve_options(given or {}, {**(otlp or {}), **{PREFIX + name: text for name, text in variables.items()}})


def one(*args, **kwargs) -> Destination:
    (destination,) = settled(*args, **kwargs).destinations
    return destination


def faults(*args, **kwargs) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settled(*args, **kwargs)
    assert "secret" not in str(caught.value)
    return list(caught.value.faults)


def test_nothing_said_is_all_defaults():
    assert settled() == Options()


def test_an_argument_beats_a_variable_beats_the_default():
    assert settled(SERVICE_NAME="variable").service_name == "variable"
    assert settled({"service_name": "argument"}, SERVICE_NAME="variable").service_name == "argument"
    assert settled({"service_name": None}, SERVICE_NAME="variable").service_name == "variable"
    assert settled({"capture_content": True}, CAPTURE_CONTENT="false").capture_content is True
    assert settled({"trace_defaults": {}}, TRACE_DEFAULTS="a=1").trace_defaults == {}


def test_the_endpoint_comes_from_the_strongest_that_names_one():
    assert one(None, FROM_OTLP).endpoint == OTLP
    assert one(None, FROM_OTLP, ENDPOINT=VARIABLE).endpoint == VARIABLE
    assert one({"endpoint": ARGUMENT}, FROM_OTLP, ENDPOINT=VARIABLE).endpoint == ARGUMENT
    assert one(None, FROM_OTLP, DESTINATIONS=f'[{{"endpoint": "{VARIABLE}"}}]').endpoint == VARIABLE
    assert settled({"destinations": []}, FROM_OTLP, ENDPOINT=VARIABLE).destinations == ()


def test_the_apps_spans_stop_only_where_the_apps_own_sdk_sends_to_the_same_place():
    assert settled(None, FROM_OTLP).from_environment
    assert settled({"timeout": 5}, FROM_OTLP).from_environment
    assert not settled(None, FROM_OTLP, ENDPOINT=VARIABLE).from_environment
    assert not settled({"endpoint": ARGUMENT}, FROM_OTLP).from_environment


def test_headers_go_to_the_endpoint_that_they_were_given_for_and_to_no_other():
    """A credential never follows to a host that a stronger source names."""
    headers = {"HEADERS": "Authorization=secret"}
    assert one(ENDPOINT=VARIABLE, **headers).headers == SECRET
    assert one({"endpoint": ARGUMENT}, ENDPOINT=VARIABLE, TIMEOUT="5", **headers) == Destination(endpoint=ARGUMENT)
    assert one(None, FROM_OTLP, ENDPOINT=VARIABLE).headers == {}
    assert one({"destinations": [Destination(endpoint=ARGUMENT)]}, **headers).headers == {}
    assert one({"exporter": Exporter()}, **headers).headers == {}


def test_headers_without_an_endpoint_complete_the_one_that_another_source_names():
    headers = {"HEADERS": "Authorization=secret"}
    assert one({"endpoint": ARGUMENT}, **headers).headers == SECRET
    assert one({"headers": SECRET}, ENDPOINT=VARIABLE).headers == SECRET
    assert one({"headers": SECRET}, FROM_OTLP) == Destination(endpoint=OTLP, headers=SECRET)
    assert one(None, FROM_OTLP, **headers) == Destination(endpoint=OTLP, headers=SECRET)


@pytest.mark.parametrize(
    ("said", "otlp"),
    [
        ({"given": {"privacy_mode": True}}, True),
        ({"PRIVACY_MODE": "true"}, True),
        ({"given": {"privacy_mode": True}, "ENDPOINT": VARIABLE}, False),
        ({"given": {"endpoint": ARGUMENT}, "PRIVACY_MODE": "true"}, False),
        ({"given": {"endpoint": ARGUMENT}, "ENDPOINT": VARIABLE, "PRIVACY_MODE": "true"}, False),
        ({"given": {"destinations": [Destination(endpoint=ARGUMENT)]}, "PRIVACY_MODE": "true"}, False),
        ({"given": {"destinations": [Destination(endpoint=ARGUMENT)], "privacy_mode": True}}, False),
        ({"DESTINATIONS": f'[{{"endpoint": "{VARIABLE}"}}]', "PRIVACY_MODE": "true"}, False),
        ({"given": {"privacy_mode": True}, "DESTINATIONS": f'[{{"endpoint": "{VARIABLE}"}}]'}, False),
    ],
)
def test_privacy_counts_wherever_it_was_said_and_whoever_names_the_destination(said, otlp):
    assert one(otlp=FROM_OTLP if otlp else None, **said).privacy_mode


def test_privacy_said_to_be_off_by_an_argument_is_off():
    assert not one({"endpoint": ARGUMENT, "privacy_mode": False}, PRIVACY_MODE="true").privacy_mode


class Exporter:
    def export(self, spans): ...


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"given": {"endpoint": ARGUMENT, "destinations": []}},
            [f"endpoint and destinations are both given: {PUT_IT.format('endpoint')}"],
        ),
        (
            {"given": {"exporter": Exporter(), "timeout": 5, "destinations": []}},
            [
                f"exporter and destinations are both given: {PUT_IT.format('exporter')}",
                f"timeout and destinations are both given: {PUT_IT.format('timeout')}",
            ],
        ),
        (
            {"ENDPOINT": VARIABLE, "DESTINATIONS": "[]"},
            [f"{PREFIX}ENDPOINT and {PREFIX}DESTINATIONS are both given: {PUT_IT.format('endpoint')}"],
        ),
        (
            {"given": {"headers": SECRET}, "DESTINATIONS": "[]"},
            [f"headers and {PREFIX}DESTINATIONS are both given: {PUT_IT.format('headers')}"],
        ),
        ({"given": {"destinations": "http://x"}}, ["destinations must be a list of Destination, got str"]),
        ({"given": {"destinations": [5]}}, ["destinations[0] must be a Destination, got int"]),
        (
            {"given": {"destinations": [], "privacy_mode": "yes"}},
            ["privacy_mode must be True or False, got 'yes'"],
        ),
    ],
)
def test_what_contradicts_itself_is_refused_by_the_names_it_was_given_under(said, told):
    assert faults(**said) == told


def test_headers_without_any_endpoint_are_refused():
    assert "endpoint is missing" in faults({"headers": SECRET})[0]
    assert "endpoint is missing" in faults(HEADERS="Authorization=secret")[0]


def test_every_fault_is_told_at_once_whatever_its_source():
    told = faults(
        {"endpoint": "nowhere", "max_queue_bytes": 1, "timeout": 0, "service_name": ""},
        CAPTURE_CONTENT="maybe",
        TRACE_DEFAULTS="staging",
    )
    assert sorted(fault.split()[0] for fault in told) == [
        "LLM_OTEL_BROADCAST_CAPTURE_CONTENT:",
        "LLM_OTEL_BROADCAST_TRACE_DEFAULTS:",
        "destination:",
        "destination:",
        "max_queue_bytes",
        "service_name",
    ]


def test_a_wrong_variable_that_an_argument_overrides_harms_nobody():
    assert one({"endpoint": ARGUMENT}, ENDPOINT="nowhere", HEADERS="secret").endpoint == ARGUMENT
    assert settled({"exit_timeout": 1}, EXIT_TIMEOUT="soon").exit_timeout == 1
    assert settled({"destinations": []}, DESTINATIONS="secret").destinations == ()


def test_a_wrong_endpoint_is_told_once_and_not_as_missing():
    assert len(faults(ENDPOINT="nowhere", HEADERS="Authorization=secret")) == 1


def test_a_wrong_otlp_variable_is_no_error_and_said_beside_what_results():
    wrong = {"OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere"}
    assert [fault.split()[0] for fault in faults({"max_queue_bytes": 1}, wrong)] == ["max_queue_bytes"]
    found = resolve_settings({}, wrong)
    assert found.options == Options()
    (warning,) = found.warnings
    assert warning.startswith("OTEL_EXPORTER_OTLP_ENDPOINT: ")


def test_otlp_variables_say_nothing_where_something_stronger_names_the_destination():
    wrong = {"OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere", "OTEL_TRACES_EXPORTER": "none"}
    found = resolve_settings({"endpoint": ARGUMENT}, wrong)
    assert [made.endpoint for made in found.options.destinations] == [ARGUMENT]
    assert found.warnings == ()


def test_headers_without_an_endpoint_stop_nothing_where_otlps_endpoint_was_left_out():
    """Variables of OpenTelemetry's are never the reason why a program stops."""
    assert settled({"headers": SECRET}, {**FROM_OTLP, "OTEL_TRACES_EXPORTER": "none"}).destinations == ()
