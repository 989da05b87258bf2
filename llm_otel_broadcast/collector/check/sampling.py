"""Whole traces: what a tail sampler needs, and what tears a trace apart before it gets there."""

from __future__ import annotations

from llm_otel_broadcast.collector.check.endpoints import is_loopback
from llm_otel_broadcast.collector.check.findings import Report
from llm_otel_broadcast.collector.check.kinds import POLICIES, kind_of
from llm_otel_broadcast.collector.check.queues import is_duration, is_open, number
from llm_otel_broadcast.collector.check.yaml_tree import Node


def check(config: Node, report: Report) -> None:
    """Check tail samplers, their places in pipelines, balancers, and the keys of Kafka."""
    for name, node in config.items("processors"):
        if kind_of(name) == "tail_sampling":
            _policies(node, f"processors.{name}", report)
    for name, pipeline in config.items("service", "pipelines"):
        if kind_of(name) == "traces":
            _pipeline(config, pipeline, f"service.pipelines.{name}", report)
    for name, node in config.items("exporters"):
        if kind_of(name) in ("loadbalancing", "load_balancing"):
            _balancer(node, f"exporters.{name}", report)
        if kind_of(name) == "kafka":
            _kafka_exporter(node, f"exporters.{name}", report)
    for name, node in config.items("receivers"):
        if kind_of(name) == "kafka" and (old := node.at("topic") or node.at("encoding") or node.at("traces", "topic")):
            report.error(
                old, f"receivers.{name}", "topic and encoding are gone: traces: {topics: [...], encoding: ...}"
            )


def _policies(node: Node, where: str, report: Report) -> None:
    policies = node.at("policies")
    if policies is None or not policies.elements:
        report.error(node, where, "needs policies: without one nothing is kept")
        return
    names: set[str] = set()
    for policy in policies.elements:
        name, kind = str(policy.scalar("name") or ""), policy.scalar("type")
        if not name:
            report.error(policy, f"{where}.policies", "every policy needs a name")
        elif name in names:
            report.error(policy, f"{where}.policies", f'two policies are named "{name}"')
        names.add(name)
        if kind not in POLICIES and not is_open(kind):
            report.error(policy, f"{where}.policies.{name}", f'"{kind}" is no type of policy')
        elif kind != "always_sample" and policy.at(str(kind)) is None and not is_open(kind):
            report.error(policy, f"{where}.policies.{name}", f"has no settings of its own under {kind}:")
    wait, held = node.scalar("decision_wait"), number(node.scalar("num_traces"))
    if wait is not None and not is_duration(wait) and not is_open(wait):
        report.error(node.at("decision_wait") or node, f"{where}.decision_wait", "must be a duration, e.g. 60s")
    for cache in ("sampled_cache_size", "non_sampled_cache_size"):
        size = number(node.scalar("decision_cache", cache))
        if size and size < (50_000 if held is None else held):
            place = node.at("decision_cache", cache) or node
            report.warning(
                place, f"{where}.decision_cache.{cache}", "should be several times num_traces (50,000 by default)"
            )


def _pipeline(config: Node, pipeline: Node, where: str, report: Report) -> None:
    processors = pipeline.at("processors")
    listed = (
        [(kind_of(str(each.value)), each) for each in (processors.elements or ())] if processors is not None else []
    )
    kinds = [kind for kind, _ in listed]
    if "tail_sampling" not in kinds:
        return
    place = kinds.index("tail_sampling")
    for kind, node in listed[:place]:
        if kind == "batch":
            report.warning(
                node, f"{where}.processors", "batch in front of tail_sampling does nothing for it: batch what is kept"
            )
    node = listed[place][1]
    exporters = pipeline.at("exporters")
    for each in (exporters.elements or ()) if exporters is not None else ():
        if kind_of(str(each.value)) in ("loadbalancing", "load_balancing"):
            report.warning(
                each, f"{where}.exporters", "the balancer belongs in front of tail_sampling: behind it, it is too late"
            )
    receivers = pipeline.at("receivers")
    for each in (receivers.elements or ()) if receivers is not None else ():
        name = str(each.value)
        endpoint = config.scalar("receivers", name, "protocols", "http", "endpoint")
        if kind_of(name) == "otlp" and endpoint is not None and not is_loopback(str(endpoint)):
            report.warning(
                node,
                f"{where}.processors",
                f"tail_sampling gets traces over HTTP ({name}), which no balancer sends: fine for a single instance; "
                "with several, a trace is torn apart (loadbalancing with routing_key: traceID, by gRPC)",
            )


def _balancer(node: Node, where: str, report: Report) -> None:
    key = node.scalar("routing_key")
    if key is not None and key != "traceID" and not is_open(key):
        report.warning(
            node.at("routing_key") or node,
            f"{where}.routing_key",
            f'"{key}" sends the spans of one trace to several collectors: a tail sampler behind it needs traceID',
        )
    if not list(node.items("resolver")):
        report.error(node, where, "needs a resolver: static, dns, k8s or aws_cloud_map")
    if (fixed := node.at("protocol", "otlp", "endpoint")) is not None:
        report.warning(fixed, f"{where}.protocol.otlp.endpoint", "is not used: the resolver says where to")
    if node.at("protocol", "otlp", "sending_queue", "storage") is not None:
        place = node.at("protocol", "otlp", "sending_queue", "storage") or node
        report.error(
            place,
            f"{where}.protocol.otlp.sending_queue.storage",
            "all would share one: put storage into the queue above",
        )


def _kafka_exporter(node: Node, where: str, report: Report) -> None:
    if (old := node.at("topic") or node.at("encoding")) is not None:
        report.error(old, where, "topic and encoding are gone: traces: {topic: ..., encoding: ...}")
    if node.scalar("partition_traces_by_id") is not True and not is_open(node.scalar("partition_traces_by_id")):
        report.warning(
            node, where, "without partition_traces_by_id: true the spans of a trace go to several partitions"
        )
