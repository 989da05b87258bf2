"""Presets: one line of data each, and what goes over the wire for it."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from llm_otel_broadcast import ConfigError, Destination, send_test_trace
from llm_otel_broadcast.settings.presets import PRESETS, where_to_look
from tests.support.scripted_backends import Backend, serving

NAMES = [
    "axiom",
    "jaeger",
    "tempo",
    "grafana-cloud",
    "honeycomb",
    "lightstep",
    "collector",
    "phoenix",
    "langfuse",
    "langsmith",
    "datadog",
    "new-relic",
    "elastic",
    "signoz",
    "dash0",
    "logfire",
    "braintrust",
    "mlflow",
    "openobserve",
    "sentry",
    "arize",
    "weave",
    "opik",
    "posthog",
    "galileo",
    "honeyhive",
    "traceloop",
    "helicone",
    "portkey",
]


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


CASES = {
    "axiom": ({"token": "xaat-1", "dataset": "llm"}, "https://api.axiom.co/v1/traces", {"Authorization": "Bearer xaat-1", "X-Axiom-Dataset": "llm"}, "json"),
    "jaeger": ({}, "http://localhost:4318/v1/traces", {}, "json"),
    "tempo": ({"host": "tempo", "tenant": "me"}, "http://tempo:4318/v1/traces", {"X-Scope-OrgID": "me"}, "json"),
    "grafana-cloud": ({"zone": "prod-us-west-0", "instance_id": "7", "token": "glc_1"}, "https://otlp-gateway-prod-us-west-0.grafana.net/otlp/v1/traces", {"Authorization": basic("7:glc_1")}, "json"),
    "honeycomb": ({"token": "k"}, "https://api.honeycomb.io/v1/traces", {"x-honeycomb-team": "k"}, "json"),
    "lightstep": ({"token": "k"}, "https://ingest.lightstep.com:443/traces/otlp/v0.9", {"lightstep-access-token": "k"}, "json"),
    "collector": ({"authorization": "Bearer k"}, "http://localhost:4318/v1/traces", {"Authorization": "Bearer k"}, "json"),
    "phoenix": ({}, "http://localhost:6006/v1/traces", {}, "protobuf"),
    "langfuse": ({"public_key": "pk-lf-1", "secret_key": "sk-lf-2"}, "https://cloud.langfuse.com/api/public/otel/v1/traces", {"Authorization": basic("pk-lf-1:sk-lf-2"), "x-langfuse-ingestion-version": "4"}, "json"),
    "langsmith": ({"token": "lsv2_1", "project": "p"}, "https://api.smith.langchain.com/otel/v1/traces", {"x-api-key": "lsv2_1", "Langsmith-Project": "p"}, "json"),
    "datadog": ({"token": "k"}, "https://otlp.datadoghq.com/v1/traces", {"dd-api-key": "k", "dd-otlp-source": "llmobs"}, "protobuf"),
    "new-relic": ({"token": "k"}, "https://otlp.nr-data.net/v1/traces", {"api-key": "k"}, "protobuf"),
    "elastic": ({"host": "x.ingest.us-east-1.aws.elastic.cloud:443", "token": "k"}, "https://x.ingest.us-east-1.aws.elastic.cloud:443/v1/traces", {"Authorization": "ApiKey k"}, "json"),
    "signoz": ({"token": "k", "region": "eu"}, "https://ingest.eu.signoz.cloud:443/v1/traces", {"signoz-ingestion-key": "k"}, "json"),
    "dash0": ({"token": "auth_1", "region": "eu-west-1"}, "https://ingress.eu-west-1.aws.dash0.com/v1/traces", {"Authorization": "Bearer auth_1", "Dash0-Dataset": "default"}, "json"),
    "logfire": ({"token": "k"}, "https://logfire-us.pydantic.dev/v1/traces", {"Authorization": "k"}, "json"),
    "braintrust": ({"token": "k", "project": "my project"}, "https://api.braintrust.dev/otel/v1/traces", {"Authorization": "Bearer k", "x-bt-parent": "project_name:my project"}, "json"),
    "mlflow": ({}, "http://localhost:5000/v1/traces", {"x-mlflow-experiment-id": "0"}, "json"),
    "openobserve": ({"email": "a@b.c", "password": "p:1", "organization": "my org"}, "https://api.openobserve.ai/api/my%20org/v1/traces", {"Authorization": basic("a@b.c:p:1")}, "json"),
    "sentry": ({"host": "o1.ingest.us.sentry.io", "project_id": "42", "token": "abc"}, "https://o1.ingest.us.sentry.io/api/42/integration/otlp/v1/traces", {"x-sentry-auth": "sentry sentry_key=abc"}, "json"),
    "arize": ({"space": "U3", "token": "k", "project": "p"}, "https://otlp.arize.com/v1/traces", {"space_id": "U3", "api_key": "k"}, "protobuf"),
    "weave": ({"token": "k", "team": "t", "project": "p"}, "https://trace.wandb.ai/otel/v1/traces", {"wandb-api-key": "k"}, "protobuf"),
    "opik": ({"token": "k", "workspace": "w"}, "https://www.comet.com/opik/api/v1/private/otel/v1/traces", {"Authorization": "k", "Comet-Workspace": "w"}, "protobuf"),
    "posthog": ({"token": "phc_1", "host": "eu.i.posthog.com"}, "https://eu.i.posthog.com/i/v0/ai/otel", {"Authorization": "Bearer phc_1"}, "json"),
    "galileo": ({"token": "k", "project": "p"}, "https://api.galileo.ai/otel/traces", {"Galileo-API-Key": "k", "project": "p", "logstream": "default"}, "protobuf"),
    "honeyhive": ({"token": "k"}, "https://api.dp1.us.prod.honeyhive.ai/opentelemetry/v1/traces", {"Authorization": "Bearer k"}, "json"),
    "traceloop": ({"token": "k"}, "https://api.traceloop.com/v1/traces", {"Authorization": "Bearer k"}, "protobuf"),
    "helicone": ({"token": "k"}, "https://api.helicone.ai/v1/trace/log", {"Authorization": "Bearer k"}, "json"),
    "portkey": ({"token": "k"}, "https://api.portkey.ai/v1/otel/v1/traces", {"x-portkey-api-key": "k"}, "json"),
}  # fmt: skip


def test_all_presets_are_there_and_each_is_tried_here():
    assert list(PRESETS) == NAMES
    assert list(CASES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_makes_a_destination_and_its_headers_and_encoding_go_out(name):
    values, endpoint, headers, encoding = CASES[name]
    made = Destination.preset(name, **values)
    assert (made.endpoint, dict(made.headers), made.name) == (endpoint, headers, name)
    path = urlsplit(endpoint).path
    with serving(Backend(path=path)) as server:
        here = urlunsplit(urlsplit(endpoint)._replace(scheme="http", netloc=f"127.0.0.1:{server.port}"))
        assert send_test_trace(replace(made, endpoint=here)).ok
    (request,) = server.requests
    assert {key: request.headers[key.lower()] for key in headers} == headers
    assert request.media == f"application/{'x-protobuf' if encoding == 'protobuf' else 'json'}"
    assert request.headers.get("content-encoding", "none") == made.compression


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_a_preset_is_documented_and_asks_for_what_it_uses_and_nothing_else(preset):
    assert preset.docs.startswith("https://")
    assert re.fullmatch(r"20\d\d-\d\d", preset.checked)
    used = preset.endpoint + "".join([*preset.headers.values(), *preset.resource.values()])
    for parameter in preset.parameters:
        assert f"{{{parameter.name}}}" in used
        assert parameter.prompt


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("axiom", {"token": "t"}, 'preset "axiom": dataset is missing: dataset'),
        ("axiom", {}, "token is missing: API token (xaat-...)"),
        ("axiom", {"token": "", "dataset": "d"}, "token is missing"),
        ("axiom", {"token": 5, "dataset": "d"}, "token must be text, got int"),
        ("axiom", {"token": "t", "dataset": "d", "tokn": "x"}, '"tokn" is no value of the preset and no field of a destination (did you mean "token"?)'),
        ("axiom", {"token": "t", "dataset": "d", "host": "api.axiom.co/v1"}, 'host must be a host, host:port or a URL such as http://localhost:3000, got "api.axiom.co/v1"'),
        ("phoenix", {"host": "localhost:16006:6006"}, 'got "localhost:16006:6006"'),
        ("phoenix", {"host": "ftp://me:canary@localhost"}, 'got "ftp://localhost"'),
        ("phoenix", {"host": "http://localhost?key=canary"}, 'got "http://localhost"'),
        ("axiom", {"token": "canary\n", "dataset": "d"}, "line break"),
        ("axoim", {}, 'there is no preset "axoim" (did you mean "axiom"?): there are axiom, jaeger'),
    ],
)  # fmt: skip
def test_what_is_missing_unknown_or_wrong_is_named(name, values, said):
    with pytest.raises(ConfigError) as wrong:
        Destination.preset(name, **values)
    assert said in str(wrong.value)
    assert "canary" not in str(wrong.value)


README = Path(__file__).parents[2] / "README.md"


def table() -> str:
    """Return the README's table of presets."""
    rows = ["| preset | needs | and takes | gets |", "| --- | --- | --- | --- |"]
    for preset in PRESETS.values():
        needed = ", ".join(f"`{parameter.name}`" for parameter in preset.parameters if parameter.default is None)
        optional = ", ".join(f"`{parameter.name}`" for parameter in preset.parameters if parameter.default is not None)
        gets = [f"dialect `{preset.dialect}`"] if preset.dialect != "semconv" else []
        gets += [f"at most {preset.max_content_chars:,} characters of content"] if preset.max_content_chars else []
        gets += [f"`{name}`" for name in preset.aliases]
        rows.append(f"| [{preset.name}]({preset.docs}) | {needed} | {optional} | {', '.join(gets)} |")
    return "\n".join(rows)


def test_the_readme_has_the_table_of_presets():
    assert table() in README.read_text(encoding="utf-8"), f"the README's table should be:\n{table()}"


LANGFUSE = {"public_key": "pk", "secret_key": "sk"}


@pytest.mark.parametrize(
    ("name", "values", "endpoint"),
    [
        ("phoenix", {"host": "localhost:16006"}, "http://localhost:16006/v1/traces"),
        ("phoenix", {"host": "http://localhost"}, "http://localhost:6006/v1/traces"),
        ("phoenix", {"host": "https://phoenix.example.com"}, "https://phoenix.example.com/v1/traces"),
        ("phoenix", {"host": "https://example.com/phoenix/"}, "https://example.com/phoenix/v1/traces"),
        ("phoenix", {"host": "http://phoenix:6006/v1/traces"}, "http://phoenix:6006/v1/traces"),
        ("phoenix", {"host": "::1"}, "http://[::1]:6006/v1/traces"),
        ("phoenix", {"host": "[::1]:16006"}, "http://[::1]:16006/v1/traces"),
        ("jaeger", {"host": "jaeger:14318"}, "http://jaeger:14318/v1/traces"),
        ("mlflow", {"host": "localhost:5001"}, "http://localhost:5001/v1/traces"),
        ("langfuse", {**LANGFUSE, "host": "localhost:3000"}, "http://localhost:3000/api/public/otel/v1/traces"),
        ("langfuse", {**LANGFUSE, "host": "http://langfuse:3000"}, "http://langfuse:3000/api/public/otel/v1/traces"),
        ("langfuse", {**LANGFUSE, "host": "langfuse.example:8443"}, "https://langfuse.example:8443/api/public/otel/v1/traces"),
        ("langfuse", LANGFUSE, "https://cloud.langfuse.com/api/public/otel/v1/traces"),
        ("lightstep", {"token": "t"}, "https://ingest.lightstep.com:443/traces/otlp/v0.9"),
        ("opik", {"host": "http://localhost:5173/api"}, "http://localhost:5173/api/v1/private/otel/v1/traces"),
        ("openobserve", {"email": "e", "password": "p", "host": "http://localhost:5080"}, "http://localhost:5080/api/default/v1/traces"),
    ],
)  # fmt: skip
def test_a_backend_of_ones_own_may_have_another_port_and_scheme(name, values, endpoint):
    made = Destination.preset(name, **values)
    assert (made.endpoint, made.name) == (endpoint, name)


def test_every_fault_is_named_at_once():
    with pytest.raises(ConfigError) as wrong:
        Destination.preset("axiom", colour="red")
    assert len(wrong.value.faults) == 3


def test_fields_of_a_destination_win_over_the_presets_and_headers_are_added():
    made = Destination.preset(
        "langsmith", token="k", name="mine", privacy_mode=True, encoding="json", headers={"x": "y"}
    )
    assert (made.name, made.privacy_mode, made.encoding) == ("mine", True, "json")
    assert made.headers == {"x-api-key": "k", "x": "y"}


@pytest.mark.parametrize("name", ["phoenix", "arize", "weave"])
def test_what_reads_openinference_gets_that_dialect_unless_told_otherwise(name):
    values = CASES[name][0]
    assert Destination.preset(name, **values).dialect == "openinference"
    assert Destination.preset(name, **values, dialect="semconv").dialect == "semconv"


def test_a_project_is_named_as_each_backend_wants_it():
    assert Destination.preset("phoenix", project="p").headers == {"x-project-name": "p"}
    assert Destination.preset("phoenix").headers == {}
    arize = Destination.preset("arize", space="s", token="t", project="p", resource_attributes={"team": "search"})
    assert arize.resource_attributes == {"openinference.project.name": "p", "team": "search"}
    weave = Destination.preset("weave", token="t", team="acme", project="p")
    assert weave.resource_attributes == {"wandb.entity": "acme", "wandb.project": "p"}


def test_aliases_are_added_to_those_of_the_preset_and_win():
    aliases = {"operation.cost": "input_cost", "acme.tags": "tags"}
    assert Destination.preset("logfire", token="t", aliases=aliases).aliases == aliases
    langfuse = Destination.preset("langfuse", public_key="p", secret_key="s", aliases={"acme.tags": "tags"}).aliases
    assert langfuse == {**PRESETS["langfuse"].aliases, "acme.tags": "tags"}
    with pytest.raises(ConfigError, match=r'destination "logfire": aliases must be a mapping'):
        Destination.preset("logfire", token="t", aliases="operation.cost=total_cost")


def test_content_stays_json_where_a_backend_cuts_values_itself():
    assert Destination.preset("new-relic", token="t").max_content_chars == 4_095
    assert Destination.preset("new-relic", token="t", max_content_chars=1_000).max_content_chars == 1_000


def test_an_endpoint_of_ones_own_needs_none_of_the_values_in_the_presets():
    made = Destination.preset("grafana-cloud", endpoint="https://proxy.example/otlp", instance_id="7", token="t")
    assert made.endpoint == "https://proxy.example/otlp"
    assert made.headers == {"Authorization": basic("7:t")}


@pytest.mark.parametrize(
    ("settings", "look"),
    [
        ({"endpoint": "http://traces:4318", "name": "jaeger prod"}, "http://traces:16686/trace/abc"),
        ({"endpoint": "http://traces:4318", "name": "Tempo"}, "http://traces:3200/api/traces/abc"),
        ({"endpoint": "http://localhost:6006"}, "http://localhost:6006"),
        ({"endpoint": "http://localhost:4318"}, None),
        ({"endpoint": "https://api.axiom.co/v1/traces"}, None),
    ],
)
def test_where_to_look_follows_from_endpoint_and_name(settings, look):
    destination = Destination(**settings)
    assert where_to_look(destination.endpoint, destination.name, "abc") == look
