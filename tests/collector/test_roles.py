"""What is printed is a configuration without fault, whatever was asked for, and says nothing that is secret."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings

from llm_otel_broadcast.cli.app import cli
from llm_otel_broadcast.collector import sizing
from llm_otel_broadcast.collector.check.checking import check
from llm_otel_broadcast.collector.plan import Plan, PlanError
from llm_otel_broadcast.collector.rendering import render
from tests.support.plans import plans

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples" / "collector"
URL = "https://api.example/v1/traces"
BROKERS = ("kafka:9092",)


def made(**options):
    return yaml.safe_load(render(Plan(**options), "command"))


@given(plan=plans())
@settings(max_examples=60, deadline=None)
def test_whatever_is_made_has_no_fault(plan):
    text = render(plan, "command")
    assert check(text, plan.role) == []
    config = yaml.safe_load(text)
    assert config["service"]["pipelines"]["traces"]["processors"][0] == "memory_limiter"
    for section in ("receivers", "processors", "exporters"):
        assert list(config[section]) == config["service"]["pipelines"]["traces"][section]


@given(plan=plans())
@settings(max_examples=25, deadline=None)
def test_every_text_comes_out_as_it_went_in(plan):
    config = yaml.safe_load(render(plan, "command"))
    if "file_storage" in config["extensions"]:
        assert config["extensions"]["file_storage"]["directory"] == plan.storage
    for exporter in config["exporters"].values():
        settings = exporter.get("protocol", {}).get("otlp", exporter)
        assert "kafka" in config["exporters"] or settings.get("headers", {}) == {
            name: f"${{env:{variable}}}" for name, variable in plan.headers.items()
        }


def test_an_agent_keeps_on_disk_what_arrives_during_the_outage():
    config = made(role="agent", to=URL, rate=50, size=10_000, outage=7_200)
    queue = config["exporters"]["otlp_http"]["sending_queue"]
    assert queue["queue_size"] == 50 * 10_000 * 7_200
    assert queue["storage"] == "file_storage"
    assert queue["batch"]["max_size"] > queue["batch"]["min_size"]
    assert {each["endpoint"] for each in config["receivers"]["otlp"]["protocols"].values()} == {
        "127.0.0.1:4317",
        "127.0.0.1:4318",
    }


def test_a_url_without_a_path_gets_the_path_of_traces():
    assert (
        made(role="agent", to="http://gateway:4318")["exporters"]["otlp_http"]["traces_endpoint"]
        == "http://gateway:4318/v1/traces"
    )
    assert (
        made(role="agent", to="http://gateway/otlp")["exporters"]["otlp_http"]["traces_endpoint"]
        == "http://gateway/otlp"
    )


def test_a_balancer_routes_by_trace_and_holds_nothing_back_for_a_sampler_that_went_away():
    balancer = made(role="balancer", hosts=("one", "two:14317"))["exporters"]["loadbalancing"]
    assert balancer["routing_key"] == "traceID"
    assert balancer["resolver"] == {"static": {"hostnames": ["one:4317", "two:14317"]}}
    assert balancer["protocol"]["otlp"]["sending_queue"] == {"enabled": False}
    assert made(role="balancer", dns="samplers:99")["exporters"]["loadbalancing"]["resolver"] == {
        "dns": {"hostname": "samplers", "port": "99"}
    }


def test_a_sampler_keeps_errors_and_whole_sessions():
    sampler = made(role="sampler", to=URL, keep=25, longest=300)["processors"]["tail_sampling"]
    errors, sessions, rest = sampler["policies"]
    assert errors["status_code"] == {"status_codes": ["ERROR"]}
    (condition,) = sessions["ottl_condition"]["span"]
    assert condition == 'attributes["session.id"] != nil and SHA256(attributes["session.id"]) < "400000000000"'
    no_session, by_trace = rest["and"]["and_sub_policy"]
    assert no_session["string_attribute"]["invert_match"] is True
    assert by_trace["probabilistic"] == {"sampling_percentage": 25}
    assert sampler["decision_wait"] == f"{300 + sizing.DECISION_MARGIN_S}s"


def test_a_sampler_that_keeps_all_asks_no_further():
    (policy,) = made(role="sampler", to=URL)["processors"]["tail_sampling"]["policies"]
    assert policy == {"name": "all", "type": "always_sample"}


def test_a_sampler_takes_http_only_when_it_is_the_only_one():
    assert set(made(role="sampler", to=URL)["receivers"]["otlp"]["protocols"]) == {"grpc"}
    alone = render(Plan(role="sampler", to=URL, single=True), "command")
    assert set(yaml.safe_load(alone)["receivers"]["otlp"]["protocols"]) == {"http", "grpc"}
    (warning,) = check(alone)
    assert warning.severity == "warning"
    assert "single instance" in warning.message


def test_both_sides_of_kafka_agree_on_topic_encoding_and_the_largest_message():
    writing = made(role="to-kafka", brokers=BROKERS, topic="spans")["exporters"]["kafka"]
    reading = made(role="from-kafka", brokers=BROKERS, topic="spans", to=URL)["receivers"]["kafka"]
    assert [writing["traces"]["topic"]] == reading["traces"]["topics"]
    assert writing["traces"]["encoding"] == reading["traces"]["encoding"]
    assert writing["producer"]["max_message_bytes"] == reading["max_partition_fetch_size"]
    assert writing["partition_traces_by_id"] is True


@pytest.mark.parametrize(("keep", "blocks"), [(100, True), (10, False)])
def test_behind_kafka_a_full_queue_leaves_the_rest_to_kafka_unless_a_sampler_stands_between(keep, blocks):
    config = made(role="from-kafka", brokers=BROKERS, to=URL, keep=keep)
    assert config["exporters"]["otlp_http"]["sending_queue"]["block_on_overflow"] is blocks
    assert ("tail_sampling" in config["processors"]) is not blocks


def test_who_listens_asks_for_the_token_and_shows_the_certificate():
    options = {"token_env": "TOKEN", "tls_cert": "c.pem", "tls_key": "k.pem"}
    for config in (
        made(role="balancer", dns="samplers", **options),
        made(role="sampler", to=URL, **options),
        made(role="to-kafka", brokers=BROKERS, **options),
    ):
        for protocol in config["receivers"]["otlp"]["protocols"].values():
            assert protocol["auth"] == {"authenticator": "bearertokenauth"}
            assert protocol["tls"] == {"cert_file": "c.pem", "key_file": "k.pem"}
        assert config["extensions"]["bearertokenauth"]["token"] == "${env:TOKEN}"
        assert "bearertokenauth" in config["service"]["extensions"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"role": "agent"}, "--to URL is missing"),
        ({"role": "agent", "to": "gateway:4318"}, "http:// or https://"),
        ({"role": "agent", "to": "https://user:hidden@x/"}, "no user, password or query"),
        ({"role": "agent", "to": "https://x/?key=hidden"}, "no user, password or query"),
        ({"role": "agent", "to": "https://x:99999"}, "not a URL"),
        ({"role": "agent", "to": "https://x/$HOME"}, "characters"),
        ({"role": "agent", "to": URL, "rate": 0}, "--rate must be from"),
        ({"role": "agent", "to": URL, "rate": float("nan")}, "--rate must be from"),
        ({"role": "agent", "to": URL, "size": 1}, "--size must be from"),
        ({"role": "agent", "to": URL, "headers": {"a b": "X"}}, "not the name of an HTTP header"),
        (
            {"role": "agent", "to": URL, "headers": {"Authorization": "Bearer hidden"}},
            "name of an environment variable",
        ),
        ({"role": "agent", "to": URL, "token_env": "hid-den"}, "--token-env"),
        ({"role": "agent", "to": URL, "tls_cert": "c"}, "belong together"),
        ({"role": "agent", "to": URL, "storage": "a\nb"}, "--storage"),
        ({"role": "agent", "to": URL, "listen": "http://x"}, "--listen"),
        ({"role": "sampler", "to": URL, "keep": 0}, "--keep must be from"),
        ({"role": "balancer"}, "either --host HOST:PORT for each, or --dns NAME"),
        ({"role": "balancer", "dns": "a", "hosts": ("b",)}, "either --host"),
        ({"role": "balancer", "hosts": ("http://b",)}, "not HOST or HOST:PORT"),
        ({"role": "to-kafka"}, "needs --broker"),
        ({"role": "to-kafka", "brokers": ("kafka",)}, "not HOST:PORT"),
        ({"role": "to-kafka", "brokers": BROKERS, "topic": "a b"}, "Kafka allows"),
    ],
)
def test_options_that_do_not_fit_are_named_and_no_secret_is_repeated(options, said):
    with pytest.raises(PlanError) as wrong:
        Plan(**options)
    assert said in str(wrong.value)
    assert "hidden" not in str(wrong.value)


@pytest.mark.parametrize(
    "options",
    [
        {"role": "agent", "to": URL, "rate": 1_000_000, "size": 100_000_000},
        {"role": "sampler", "to": URL, "rate": 100_000, "size": 100_000, "longest": 86_400},
    ],
)
def test_what_no_machine_could_carry_is_refused_with_how_many_could(options):
    """Its memory limit would not fit into the Collector's number: it would not start, or with another limit."""
    with pytest.raises(PlanError, match=r"too much for one collector: [0-9]+ could share"):
        render(Plan(**options), "command")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_is_what_the_command_in_it_prints(path):
    text = path.read_text(encoding="utf-8")
    command = shlex.split(text.splitlines()[2].removeprefix("#"))
    assert command[:2] == ["llm-otel-broadcast", "collector-config"]
    printed = CliRunner().invoke(cli, command[1:])
    assert (printed.exit_code, printed.output) == (0, text)
    assert check(text, command[2]) == []


def test_there_is_an_example_of_every_role():
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} >= {"agent", "balancer", "sampler", "to-kafka", "from-kafka"}


def commands(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("llm-otel-broadcast collector-config")]


@pytest.mark.parametrize("command", [*commands("docs/scaling.md"), *commands("examples/collector/README.md")])
def test_a_command_in_the_docs_works(command, monkeypatch, tmp_path):
    for name in ("collector.yaml", "agent.yaml"):
        (tmp_path / name).write_text((EXAMPLES / "agent.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
