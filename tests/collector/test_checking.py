"""Each fault that the check knows is found where it stands, and a file without one gives none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_otel_broadcast.collector.check.checking import check, failed
from llm_otel_broadcast.collector.plan import Plan
from llm_otel_broadcast.collector.rendering import render

URL = "https://api.example/v1/traces"
AGENT = render(Plan(role="agent", to=URL, headers={"Authorization": "KEY"}), "command")
BALANCER = render(
    Plan(role="balancer", hosts=("one:4317",), token_env="TOKEN", headers={"Authorization": "KEY"}), "command"
)
SAMPLER = render(Plan(role="sampler", to=URL, keep=10), "command")
TO_KAFKA = render(Plan(role="to-kafka", brokers=("kafka:9092",)), "command")
FROM_KAFKA = render(Plan(role="from-kafka", brokers=("kafka:9092",), to=URL), "command")
MINE = """\
receivers:
  otlp:
    protocols:
      http:
processors:
  memory_limiter: {check_interval: 1s, limit_percentage: 75, spike_limit_percentage: 20}
  batch:
exporters:
  otlp_grpc: {endpoint: backend:4317}
service:
  pipelines:
    traces: {receivers: [otlp], processors: [memory_limiter, batch], exporters: [otlp_grpc]}
"""


def said(text, role=None):
    return [str(found) for found in check(text, role)]


@pytest.mark.parametrize("text", [AGENT, BALANCER, SAMPLER, TO_KAFKA, FROM_KAFKA, MINE])
def test_a_file_without_fault_gives_none(text):
    assert said(text) == []


def swapped(text, old, new):
    assert text.count(old) >= 1, old
    return text.replace(old, new, 1)


FAULTS = {
    "no pipelines": (MINE, "  pipelines:", "  pipe_lines:", "error: service.pipelines: is missing"),
    "a key twice": (MINE, "  batch:\n", "  batch:\n  batch:\n", 'error: "batch" stands here twice'),
    "what is not used": (MINE, ", batch]", "]", "warning: processors.batch: is defined but in no pipeline"),
    "memory_limiter not first": (MINE, "[memory_limiter, batch]", "[batch, memory_limiter]", "error: service.pipelines.traces.processors: memory_limiter must be the first"),
    "no memory_limiter": (MINE, "[memory_limiter, batch]", "[batch]", "has no memory_limiter"),
    "storage that is not defined": (AGENT, "  file_storage:\n    directory", "  file_storage/x:\n    directory", 'names the extension "file_storage", which is not defined'),
    "storage that does not run": (AGENT, "[health_check, file_storage]", "[health_check]", "which is not listed in service.extensions"),
    "an extension that does not run": (AGENT, "[health_check, file_storage]", "[file_storage]", "extensions.health_check: is defined but not listed"),
    "an authenticator that does not run": (BALANCER, "[health_check, bearertokenauth]", "[health_check]", 'names the extension "bearertokenauth"'),
    "a cache smaller than what is held": (SAMPLER, "      sampled_cache_size: ", "      sampled_cache_size: 1 # ", "should be several times num_traces"),
    "batch in front of a sampler": (SAMPLER.replace("  tail_sampling:\n", "  batch:\n  tail_sampling:\n"), "[memory_limiter, tail_sampling]", "[memory_limiter, batch, tail_sampling]", "batch in front of tail_sampling"),
    "a sampler that gets traces from anywhere": (SAMPLER, "      grpc:\n", "      http: {endpoint: 0.0.0.0:4318}\n      grpc:\n", "a trace is torn apart"),
    "a balancer behind a sampler": (SAMPLER.replace("  otlp_http:\n", "  loadbalancing: {resolver: {static: {hostnames: [a]}}}\n  otlp_http:\n"), "exporters: [otlp_http]", "exporters: [otlp_http, loadbalancing]", "the balancer belongs in front"),
    "a balancer by something else": (BALANCER, "routing_key: traceID", "routing_key: service", "sends the spans of one trace to several collectors"),
    "a balancer's endpoint": (BALANCER, "        compression: gzip", "        endpoint: a:1\n        compression: gzip", "the resolver says where to"),
    "a balancer's storage": (BALANCER, "          enabled: false", "          storage: file_storage", "all would share one"),
    "Kafka without keys": (TO_KAFKA, "partition_traces_by_id: true", "partition_traces_by_id: false", "go to several partitions"),
    "gRPC to the port of HTTP": (MINE, "backend:4317", "backend:4318", "4318 is the port of OTLP over HTTP"),
    "HTTP to the path twice": (AGENT, "traces_endpoint:", "endpoint:", "gets /v1/traces added once more"),
    "HTTP without a path": (AGENT, "api.example/v1/traces", "api.example", "is used as it is and has no path"),
    "HTTP to the port of gRPC": (AGENT, "api.example/", "api.example:4317/", "4317 is the port of OTLP over gRPC"),
    "a secret in a header": (AGENT, "${env:KEY}", "Bearer hidden", "headers.Authorization: a secret in plain text"),
    "a secret in another header": (AGENT, '"Authorization": "${env:KEY}"', "x-honeycomb-team: hidden", "a secret in plain text"),
    "a secret in an extension": (BALANCER, "${env:TOKEN}", "hidden", "extensions.bearertokenauth.token: a secret in plain text"),
    "a secret in a URL": (AGENT, "https://api", "https://me:hidden@api", "a secret in plain text"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name):
    text, old, new, expected = FAULTS[name]
    before = said(text)
    found = said(swapped(text, old, new))
    assert [each for each in found if expected in each], found
    assert not [each for each in before if expected in each]
    assert "hidden" not in "".join(found)


def test_a_fault_names_its_line():
    text = swapped(AGENT, "traces_endpoint:", "endpoint:")
    (line,) = [number for number, line in enumerate(text.splitlines(), 1) if URL in line and " endpoint:" in line]
    (found,) = check(text)
    assert found.line == line
    assert str(found).startswith(f"line {line}: error: exporters.otlp_http.endpoint: ")


@pytest.mark.parametrize("address", ["0.0.0.0:4318", "[::]:4318", ":4318"])
def test_only_an_agent_is_told_to_listen_to_its_own_machine(address):
    text = swapped(AGENT, "127.0.0.1:4318", address)
    assert said(text) == said(text, "balancer") == []
    (warning,) = check(text, "agent")
    assert warning.severity == "warning"
    assert "127.0.0.1" in warning.message


def test_warnings_alone_are_no_failure():
    warned = check(swapped(AGENT, "${env:KEY}", "Bearer hidden"))
    assert [found.severity for found in warned] == ["warning"]
    assert not failed(warned)
    assert failed(check("receivers: []"))


def test_what_comes_from_the_environment_is_taken_as_it_is():
    text = AGENT
    for old in ("720000000", "16000000", "1000000", '"127.0.0.1:4318"', f'"{URL}"', "1s", "384"):
        text = text.replace(old, '"${env:ANY}"')
    assert said(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no collector configuration"),
        ("just text", "no collector configuration"),
        ("a: [", "not YAML"),
        ("a: 1\n---\nb: 2", "not YAML"),
        ("a: &x [*x]", "contains itself"),
        ("? [a]\n: b", "a key must be a text"),
        ("a: *nobody", "not YAML"),
        ("a: \x01", "not YAML"),
        ("a: " + "[" * 100 + "]" * 100, "nested too deeply"),
        ("a: " + "[" * 1_200, "nested too deeply"),
    ],
)
def test_what_is_no_configuration_is_said_in_one_line(text, expected):
    (found,) = check(text)
    assert expected in found.message
    assert found.severity == "error"


def test_aliases_of_aliases_take_no_time():
    """Nine lists of nine of the one before: a thousand million elements, were each written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]" for number in range(1, 10)]
    body = "\n".join(f"    {line}" for line in lines)
    assert check(MINE.replace("  batch:\n", f"  batch:\n{body}\n")) == []


def test_merged_keys_count():
    text = 'x: &key {headers: {Authorization: "Bearer hidden"}}\n' + MINE.replace("{endpoint:", "{<<: *key, endpoint:")
    assert [finding.path for finding in check(text)] == ["exporters.otlp_grpc.headers.Authorization"]


@given(text=st.text(max_size=200))
@settings(deadline=None)
def test_no_text_breaks_the_check(text):
    assert failed(check(text))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(["otlp", "kafka", "1s", "a:1", "0.0.0.0:1"])
)
KEYS = st.sampled_from(
    [
        "otlp",
        "kafka",
        "loadbalancing",
        "otlp_http",
        "otlp_grpc",
        "endpoint",
        "protocols",
        "http",
        "grpc",
        "headers",
        "sending_queue",
        "batch",
        "storage",
        "sizer",
        "policies",
        "name",
        "type",
        "tail_sampling",
        "memory_limiter",
        "resolver",
        "static",
        "hostnames",
        "brokers",
        "traces",
        "topics",
        "receivers",
        "processors",
        "exporters",
        "pipelines",
    ]
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=25
)


@given(
    tree=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("receivers", "processors", "exporters", "connectors", "extensions", "service"), TREES),
    )
)
@settings(deadline=None)
def test_no_shape_of_values_breaks_the_check(tree):
    import yaml

    for found in check(yaml.safe_dump(tree)):
        assert found.line
