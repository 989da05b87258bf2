"""Whole traces: what tears a trace apart on its way to a tail sampler, and what makes the sampler forget it."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.collector.check.endpoints import is_loopback
from llm_otel_broadcast.collector.check.findings import Report
from llm_otel_broadcast.collector.check.yaml_tree import Node, is_open, kind_of, number

_BALANCERS: Final = ("loadbalancing", "load_balancing")
_DEFAULT_NUM_TRACES: Final = 50_000


def check(config: Node, report: Report) -> None:
    """Check tail samplers, their positions in pipelines, balancers, and the keys of Kafka."""
    samplers = [(name, node) for name, node in config.items("processors") if kind_of(name) == "tail_sampling"]
    for name, node in samplers:
        num_traces = number(node.scalar("num_traces"))
        for key in ("sampled_cache_size", "non_sampled_cache_size"):
            # A decision that has left the cache is made again for late spans, and may be another one.
            size = number(node.scalar("decision_cache", key))
            if size and size < (_DEFAULT_NUM_TRACES if num_traces is None else num_traces):
                report.warning(
                    node.find("decision_cache", key) or node,
                    f"processors.{name}.decision_cache.{key}",
                    f"should be several times num_traces ({_DEFAULT_NUM_TRACES:,} by default)",
                )
    for name, pipeline in config.items("service", "pipelines"):
        if kind_of(name) == "traces":
            _check_pipeline(config, pipeline, f"service.pipelines.{name}", report)
    for name, node in config.items("exporters"):
        if kind_of(name) in _BALANCERS:
            _check_balancer(node, f"exporters.{name}", report)
        if kind_of(name) == "kafka":
            by_id = node.scalar("partition_traces_by_id")
            if by_id is not True and not is_open(by_id):
                report.warning(
                    node,
                    f"exporters.{name}",
                    "without partition_traces_by_id: true the spans of a trace go to several partitions",
                )


def _check_pipeline(config: Node, pipeline: Node, path: str, report: Report) -> None:
    processors = [(kind_of(name), node) for name, node in pipeline.names("processors")]
    position = next((index for index, (kind, _) in enumerate(processors) if kind == "tail_sampling"), None)
    if position is None:
        return
    for kind, node in processors[:position]:
        if kind == "batch":
            report.warning(
                node, f"{path}.processors", "batch in front of tail_sampling does nothing for it: batch what is kept"
            )
    for name, node in pipeline.names("exporters"):
        if kind_of(name) in _BALANCERS:
            report.warning(
                node, f"{path}.exporters", "the balancer belongs in front of tail_sampling: behind it, it is too late"
            )
    for name, _ in pipeline.names("receivers"):
        endpoint = config.scalar("receivers", name, "protocols", "http", "endpoint")
        # The balancer sends by gRPC: what comes over HTTP comes from senders that choose an instance by chance.
        if kind_of(name) == "otlp" and endpoint is not None and not is_loopback(str(endpoint)):
            report.warning(
                processors[position][1],
                f"{path}.processors",
                f"tail_sampling gets traces over HTTP ({name}), which no balancer sends: fine for a single instance; "
                "with several, a trace is torn apart (loadbalancing with routing_key: traceID, by gRPC)",
            )


def _check_balancer(node: Node, path: str, report: Report) -> None:
    # traceID is the default.
    key = node.scalar("routing_key")
    if key is not None and key != "traceID" and not is_open(key):
        report.warning(
            node.find("routing_key") or node,
            f"{path}.routing_key",
            f'"{key}" sends the spans of one trace to several collectors: a tail sampler behind it needs traceID',
        )
    if (endpoint := node.find("protocol", "otlp", "endpoint")) is not None:
        report.warning(endpoint, f"{path}.protocol.otlp.endpoint", "is not used: the resolver says where to")
    # Each sampler has an exporter of its own inside, made from this one setting.
    if (storage := node.find("protocol", "otlp", "sending_queue", "storage")) is not None:
        report.error(
            storage,
            f"{path}.protocol.otlp.sending_queue.storage",
            "all would share one: put storage into the queue above",
        )
