"""What differs from role to role: an agent beside the app, a balancer, a sampler, and the two sides of Kafka."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import indent
from typing import Final

from llm_otel_broadcast.collector import sizing
from llm_otel_broadcast.collector.plan import Plan
from llm_otel_broadcast.collector.sizing import MIB, Load
from llm_otel_broadcast.collector.tail_sampling import tail_sampling

# A sampler cannot push back: what it has decided is on its way already.
_DROPPING: Final = "what is decided after that is lost"
_ALL_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class RoleConfig:
    """Receivers, processors and exporters of one role, and what it takes.

    Attributes:
        summary: of the role, for the first line of the file.
        receivers: settings as YAML, by name; likewise exporters and processors.
        memory: MiB.
        disk: bytes of the queue; 0: it is in memory.
    """

    summary: str
    receivers: Mapping[str, str]
    exporters: Mapping[str, str]
    memory: int
    processors: Mapping[str, str] = field(default_factory=dict)
    disk: int = 0


def agent(plan: Plan, load: Load) -> RoleConfig:
    queue = sizing.queue_bytes(load, plan.outage)
    return RoleConfig(
        summary="The agent: beside the app, it takes over what the app has sent and keeps it on disk until it can be passed on.",
        receivers={"otlp": _otlp(plan, http=True, grpc=True)},
        exporters={
            "otlp_http": _otlp_http(plan, _disk_queue(load, queue, plan.outage, "senders are told to try again"))
        },
        memory=sizing.memory_mib(load),
        disk=queue,
    )


def balancer(plan: Plan, load: Load) -> RoleConfig:
    # One tier keeps: agents in front have the disk, so a pause is held in memory and then pushed back.
    queue = sizing.queue_bytes(load, sizing.LONG_PAUSE_S)
    # One name whose addresses change with the samplers, as a headless service of Kubernetes; or a fixed list.
    if plan.dns:
        name, port = _name_and_port(plan.dns)
        resolver = f"  dns:\n    hostname: {quoted(name)}\n    port: {quoted(port)}"
    else:
        hosts = "".join(f"\n      - {quoted(':'.join(_name_and_port(host)))}" for host in plan.hosts)
        resolver = f"  static:\n    hostnames:{hosts}"
    tls = (
        f"ca_file: {quoted(plan.ca)}"
        if plan.ca
        else "insecure: true # plain text, for a network of your own; else --ca FILE"
    )
    text = f"""\
routing_key: traceID
resolver:
{resolver}
timeout: 10s
retry_on_failure:
  enabled: true
  max_elapsed_time: 0s
{_memory_queue(load, queue)}
protocol:
  otlp:{indent(_headers(plan), "    ")}
    compression: {plan.compression}
    timeout: 5s
    tls:
      {tls}
    # no queue and no retry for each sampler: what one that went away had not taken is sent to another
    sending_queue:
      enabled: false
    retry_on_failure:
      enabled: false"""
    return RoleConfig(
        summary="The balancer: every span of a trace goes to the same sampler. Run as many as the load wants; they decide alike.",
        receivers={"otlp": _otlp(plan, http=True)},
        exporters={"loadbalancing": text},
        memory=sizing.memory_mib(load, queue),
    )


def sampler(plan: Plan, load: Load) -> RoleConfig:
    kept_load = sizing.load_after_sampling(load, plan.keep)
    queue = sizing.queue_bytes(kept_load, plan.outage)
    held_bytes = sizing.sampler_bytes(load, sizing.decision_wait(plan.longest))
    return RoleConfig(
        summary=f"The sampler: {'the only one' if plan.single else 'behind the balancer'}, it sees whole traces and keeps or drops"
        " whole sessions.",
        # Balancers send by gRPC; where there is none, agents send by HTTP.
        receivers={"otlp": _otlp(plan, http=plan.single, grpc=True)},
        processors={"tail_sampling": tail_sampling(load, plan.keep, plan.longest)},
        exporters={"otlp_http": _otlp_http(plan, _disk_queue(kept_load, queue, plan.outage, _DROPPING))},
        memory=sizing.memory_mib(load, held_bytes),
        disk=queue,
    )


def to_kafka(plan: Plan, load: Load) -> RoleConfig:
    queue = sizing.queue_bytes(load, sizing.LONG_PAUSE_S)
    count = sizing.partitions(load)
    retention = sizing.retention_bytes(load, plan.outage, count)
    # Kafka's own default for a message is 1 MB, and a topic that is made by itself would have it.
    topic_command = (
        "The topic, before the first start (figures for this load alone; add up those of several collectors):\n"
        f"kafka-topics.sh --create --topic {plan.topic} --partitions {count} --replication-factor 3\n"
        f"  --config max.message.bytes={sizing.LARGEST_REQUEST_BYTES} --config retention.bytes={retention}"
    )
    comment = "\n".join(f"# {line}" for line in topic_command.splitlines())
    text = f"""\
{comment}
brokers: {_list(plan.brokers)}
traces:
  topic: {quoted(plan.topic)}
  encoding: otlp_proto
partition_traces_by_id: true # whoever reads a partition sees whole traces
producer:
  compression: zstd
  required_acks: -1 # all replicas that are in step have it
  max_message_bytes: {sizing.LARGEST_REQUEST_BYTES} # one trace with long prompts is one message
retry_on_failure:
  max_elapsed_time: 0s # for as long as it takes; the queue is the limit
{_memory_queue(load, queue)}"""
    return RoleConfig(
        summary="In front of Kafka: takes what agents send and writes it to a topic, each trace to one partition.",
        receivers={"otlp": _otlp(plan, http=True)},
        exporters={"kafka": text},
        memory=sizing.memory_mib(load, queue),
    )


def from_kafka(plan: Plan, load: Load) -> RoleConfig:
    samples = plan.keep < _ALL_PERCENT
    kept_load = sizing.load_after_sampling(load, plan.keep)
    # Without a sampler Kafka itself is the queue: a minute in front of the backend is enough.
    seconds = plan.outage if samples else min(plan.outage, 60)
    queue = sizing.queue_bytes(kept_load, seconds)
    full = _DROPPING if samples else "Kafka keeps the rest"
    held_bytes = sizing.sampler_bytes(load, sizing.decision_wait(plan.longest)) if samples else 0
    text = f"""\
brokers: {_list(plan.brokers)}
traces:
  topics: {_list([plan.topic])}
  encoding: otlp_proto
group_id: {quoted(f"{plan.topic}-readers")} # the same in all that share the partitions
initial_offset: earliest
max_partition_fetch_size: {sizing.LARGEST_REQUEST_BYTES} # the largest message must fit
max_fetch_size: {sizing.LARGEST_REQUEST_BYTES}
message_marking:
  after: true # read again after a crash what had not been taken over
  on_error: false
error_backoff: # when memory_limiter or a full queue refuses, ask again instead of going on
  enabled: true
  initial_interval: 1s
  max_interval: 30s
  max_elapsed_time: 0s"""
    return RoleConfig(
        summary="Behind Kafka: reads its share of the partitions"
        + (", keeps or drops whole sessions," if samples else "")
        + " and sends to the backend. Several share the partitions.",
        receivers={"kafka": text},
        processors={"tail_sampling": tail_sampling(load, plan.keep, plan.longest)} if samples else {},
        exporters={"otlp_http": _otlp_http(plan, _disk_queue(kept_load, queue, seconds, full, block=not samples))},
        memory=sizing.memory_mib(load, held_bytes),
        disk=queue,
    )


def _otlp(plan: Plan, *, http: bool = False, grpc: bool = False) -> str:
    auth = "\n    auth:\n      authenticator: bearertokenauth" if plan.token_env else ""
    tls = ""
    if plan.tls_cert is not None and plan.tls_key is not None:
        tls = f"\n    tls:\n      cert_file: {quoted(plan.tls_cert)}\n      key_file: {quoted(plan.tls_key)}"
    lines = "protocols:"
    if http:
        lines += f"\n  http:\n    endpoint: {quoted(f'{plan.address}:4318')}{tls}{auth}"
    if grpc:
        lines += f"\n  grpc:\n    endpoint: {quoted(f'{plan.address}:4317')}"
        # gRPC refuses messages of more than 4 MiB by default; twenty long prompts are one message.
        lines += f"\n    max_recv_msg_size_mib: {sizing.LARGEST_REQUEST_BYTES // MIB} # 4 by default, too little for long prompts"
        lines += tls + auth
    return lines


# The batch processor would hold in memory, and acknowledge, what is lost when the process dies.
def _otlp_http(plan: Plan, queue: str) -> str:
    tls = f"\ntls:\n  ca_file: {quoted(plan.ca)}" if plan.ca else ""
    return f"""\
traces_endpoint: {quoted(plan.traces_url)}{_headers(plan)}{tls}
compression: {plan.compression}
timeout: 30s
retry_on_failure:
  max_elapsed_time: 0s # for as long as it takes; the queue is the limit
{queue}
  batch: # behind the queue, so that what waits for company is on disk already
    sizer: bytes
    min_size: {sizing.BATCH_BYTES} # sent with this much, or after a second
    max_size: {sizing.LARGEST_BATCH_BYTES} # a single span that is larger is dropped; receivers would refuse it
    flush_timeout: 1s"""


def _disk_queue(load: Load, size: int, seconds: int, full: str, *, block: bool = False) -> str:
    return f"""\
sending_queue:
  storage: file_storage
  sizer: bytes
  queue_size: {size} # {seconds:,} s of {amount(load.bytes)}/s, at least {amount(sizing.SMALLEST_QUEUE_BYTES)}; when it is full, {full}
  block_on_overflow: {"true" if block else "false"}
  num_consumers: {sizing.consumers(load)}"""


def _memory_queue(load: Load, size: int) -> str:
    return f"""\
sending_queue:
  sizer: bytes
  queue_size: {size} # {sizing.LONG_PAUSE_S} s of {amount(load.bytes)}/s in memory; when it is full, agents keep it on their disks
  num_consumers: {sizing.consumers(load)}"""


# Names of variables only: the file may be shown and kept in a repository.
def _headers(plan: Plan) -> str:
    if not plan.headers:
        return ""
    return "\nheaders:" + "".join(
        f'\n  {quoted(name)}: "${{env:{variable}}}"' for name, variable in plan.headers.items()
    )


def amount(count: float) -> str:
    """Return bytes as people read them, with two significant digits or more."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":  # noqa: PLR2004  # the step between units
            return f"{count:.0f} {unit}" if count >= 10 or unit == "bytes" else f"{count:.1f} {unit}"  # noqa: PLR2004
        count /= 1000
    raise AssertionError


def _name_and_port(host: str) -> tuple[str, str]:
    # An address of IPv6 has colons too: what follows the last one is the port when it is a number.
    match = re.fullmatch(r"(.+):(\d+|\$\{env:\w+\})", host)
    return (match[1], match[2]) if match else (host, "4317")


def quoted(text: str) -> str:
    """Return a YAML scalar in double quotes."""
    # JSON's strings are YAML's: the generator needs no PyYAML, which comes with the `cli` extra for the check.
    return json.dumps(text, ensure_ascii=False)


def _list(texts: tuple[str, ...] | list[str]) -> str:
    return "[" + ", ".join(map(quoted, texts)) + "]"
