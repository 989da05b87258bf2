"""A real OpenTelemetry Collector judges what `collector-config` prints, and what its check leaves to it.

The only Collector on PyPI has no receiver of traces, so that part is exchanged for the one that it has: memory limiter, exporter,
queue, batches, headers and TLS are judged as they stand.
"""

from __future__ import annotations

import subprocess

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from llm_otel_broadcast.collector.check.checking import check
from llm_otel_broadcast.collector.check.validator import validate
from llm_otel_broadcast.collector.plan import Plan
from llm_otel_broadcast.collector.rendering import render
from tests.collector.test_checking import AGENT
from tests.support.plans import plans

pytestmark = pytest.mark.backend

LIMITS = {
    "a memory limiter that never looks": ("check_interval: 1s", "check_interval: 0s"),
    "a memory limiter without an interval": ("    check_interval: 1s\n", ""),
    "a queue without size": ("queue_size: 720000000", "queue_size: 0"),
    "a sizer": ("sizer: bytes", "sizer: octets"),
    "a batch's sizer": ("        sizer: bytes", "        sizer: requests"),
    "a batch's sizes": ("max_size: 16000000", "max_size: 1000"),
    "a batch larger than its queue": ("queue_size: 720000000", "queue_size: 1000"),
    "a batch that is never sent": ("flush_timeout: 1s", "flush_timeout: 0s"),
    "waiting with storage": ("block_on_overflow: false", "wait_for_result: true"),
}
"""What our own check leaves to the Collector."""


@pytest.fixture(scope="module")
def judge(otelcol, tmp_path_factory):
    """Return what gives the Collector's words about a file, none when it would start."""
    file = tmp_path_factory.mktemp("otelcol") / "config.yaml"

    def words(text):
        file.write_text(yaml.safe_dump(exchanged(yaml.safe_load(text)), allow_unicode=True), encoding="utf-8")
        environment = {**dict.fromkeys(variables(text), "value"), "NAME": "1"}
        done = subprocess.run(
            [otelcol, "validate", "--config", file],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert bool(done.returncode) == bool(done.stderr)
        return done.stderr

    return words


def exchanged(config):
    """Put the parts that this Collector has in place of those that it lacks; its version is before 0.144: an old name."""
    exporter = dict(config["exporters"]["otlp_http"])
    exporter["logs_endpoint"] = exporter.pop("traces_endpoint")
    exporter.pop("tls", None)  # it would look for the file
    memory = next(settings for name, settings in config["processors"].items() if name == "memory_limiter")
    return {
        "receivers": {"filelog": {"include": ["/nothing"]}},
        "processors": {"memory_limiter": memory},
        "exporters": {"otlphttp": exporter},
        "service": {
            "pipelines": {
                "logs": {"receivers": ["filelog"], "processors": ["memory_limiter"], "exporters": ["otlphttp"]}
            }
        },
    }


def variables(text):
    return [part.partition("}")[0] for part in text.split("${env:")[1:]]


@pytest.mark.parametrize("role", ["agent", "sampler", "from-kafka"])
def test_the_collector_takes_what_is_printed(judge, role):
    brokers = ("kafka:9092",) if role == "from-kafka" else ()
    plan = Plan(role=role, to="https://api.example", headers={"Authorization": "KEY"}, brokers=brokers)
    assert judge(render(plan, "command")) == ""


@given(plan=plans().filter(lambda plan: plan.role in ("agent", "sampler", "from-kafka")))
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
def test_the_collector_takes_whatever_is_printed(judge, plan):
    assert judge(render(plan, "command")) == ""


@pytest.mark.parametrize("name", LIMITS)
def test_what_the_check_leaves_to_the_collector_its_validate_finds(judge, otelcol, name):
    wrong = AGENT.replace(*LIMITS[name], 1)
    assert wrong != AGENT
    assert check(wrong) == []
    assert judge(wrong)
    text = yaml.safe_dump(exchanged(yaml.safe_load(wrong)))
    (found,) = validate(str(otelcol), text)
    assert found.severity == "error"
    assert found.message.startswith(f"{otelcol.name} validate: {judge(wrong).splitlines()[0]}")
    assert "\n" not in found.message
    assert validate(str(otelcol), yaml.safe_dump(exchanged(yaml.safe_load(AGENT)))) == []
