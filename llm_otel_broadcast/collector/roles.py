"""The YAML of each role: an agent beside the app, a balancer, a sampler, and the two sides of Kafka.

For the Collector's contrib distribution, 0.144 or newer. Comments in the file say where its figures come from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from textwrap import indent
from typing import Final

from llm_otel_broadcast.collector import sizing
from llm_otel_broadcast.collector.plan import Plan, PlanError, Role
from llm_otel_broadcast.collector.sizing import MIB, Load
from llm_otel_broadcast.collector.tail_sampling import tail_sampling

OLDEST_VERSION: Final = "0.144"
"""The first version that has every name used here: `otlp_http` came with it."""
# A sampler cannot push back: what it has decided is on its way already.
_DROPPING: Final = "what is decided after that is lost"
_ALL_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class _RoleConfig:
    """What differs from role to role.

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


def render(plan: Plan, command: str) -> str:
    """Return the whole file.

    Args:
        plan: role and figures of the collector.
        command: the one that makes the same file again, for its first lines.

    Raises:
        PlanError: no machine could carry this load alone.
    """
    load = Load(plan.rate, plan.size)
    role = _BUILDERS[plan.role](plan, load)
    # Beyond it the memory limit does not fit into the Collector's number: it would not start, or with another limit.
    if load.bytes > sizing.MAX_BYTES_PER_SECOND or role.memory > sizing.MAX_MEMORY_MIB:
        raise PlanError(
            f"{amount(load.bytes)}/s and {role.memory // 1024:,} GiB of memory are too much for one collector: "
            f"{sizing.collectors(load)} could share the load, so give --rate the part of one"
        )
    memory_limiter = f"""\
check_interval: 1s
limit_mib: {role.memory}
spike_limit_mib: {sizing.spike_mib(role.memory)}"""
    # First of all processors, or it could not refuse anything in time.
    processors = {"memory_limiter": memory_limiter, **role.processors}
    extensions = _extensions(plan, role.disk)
    sections = [
        _head(load, role, command),
        _section("extensions", extensions),
        _section("receivers", role.receivers),
        _section("processors", processors),
        _section("exporters", role.exporters),
        f"""\
service:
  extensions: [{", ".join(extensions)}]
  pipelines:
    traces:
      receivers: [{", ".join(role.receivers)}]
      processors: [{", ".join(processors)}]
      exporters: [{", ".join(role.exporters)}]
""",
    ]
    return "\n".join(sections)


def _head(load: Load, role: _RoleConfig, command: str) -> str:
    """Return the comment that the file begins with."""
    lines = [
        role.summary,
        f"For otelcol-contrib {OLDEST_VERSION} or newer. Made by:",
        f"  {command}",
        f"Peak: {load.rate:g} generations/s of {load.size:,} bytes: {load.spans:g} spans/s, {amount(load.bytes)}/s before compression.",
        # The heap limit of Go's runtime lies below the memory limiter's, so that garbage goes before requests are refused.
        f"Give the process {role.memory + 64:,} MiB of memory and GOMEMLIMIT={role.memory * 4 // 5}MiB"
        + (f", and the directory of its queue {amount(sizing.disk_bytes(role.disk))} of disk." if role.disk else "."),
    ]
    return "".join(f"# {line}\n" for line in lines)


def _agent(plan: Plan, load: Load) -> _RoleConfig:
    queue = sizing.queue_bytes(load, plan.outage)
    return _RoleConfig(
        summary="The agent: beside the app, it takes over what the app has sent and keeps it on disk until it can be passed on.",
        receivers={"otlp": _otlp(plan, http=True, grpc=True)},
        exporters={
            "otlp_http": _otlp_http(plan, _disk_queue(load, queue, plan.outage, "senders are told to try again"))
        },
        memory=sizing.memory_mib(load),
        disk=queue,
    )


def _balancer(plan: Plan, load: Load) -> _RoleConfig:
    # One tier keeps: agents in front have the disk, so a pause is held in memory and then pushed back.
    queue = sizing.queue_bytes(load, sizing.LONG_PAUSE_S)
    # One name whose addresses change with the samplers, as a headless service of Kubernetes; or a fixed list.
    if plan.dns:
        name, port = _name_and_port(plan.dns)
        resolver = f"  dns:\n    hostname: {_quoted(name)}\n    port: {_quoted(port)}"
    else:
        hosts = "".join(f"\n      - {_quoted(':'.join(_name_and_port(host)))}" for host in plan.hosts)
        resolver = f"  static:\n    hostnames:{hosts}"
    tls = (
        f"ca_file: {_quoted(plan.ca)}"
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
    return _RoleConfig(
        summary="The balancer: every span of a trace goes to the same sampler. Run as many as the load wants; they decide alike.",
        receivers={"otlp": _otlp(plan, http=True)},
        exporters={"loadbalancing": text},
        memory=sizing.memory_mib(load, queue),
    )


def _sampler(plan: Plan, load: Load) -> _RoleConfig:
    kept_load = sizing.load_after_sampling(load, plan.keep)
    queue = sizing.queue_bytes(kept_load, plan.outage)
    held_bytes = sizing.sampler_bytes(load, sizing.decision_wait(plan.longest))
    return _RoleConfig(
        summary=f"The sampler: {'the only one' if plan.single else 'behind the balancer'}, it sees whole traces and keeps or drops"
        " whole sessions.",
        # Balancers send by gRPC; where there is none, agents send by HTTP.
        receivers={"otlp": _otlp(plan, http=plan.single, grpc=True)},
        processors={"tail_sampling": tail_sampling(load, plan.keep, plan.longest)},
        exporters={"otlp_http": _otlp_http(plan, _disk_queue(kept_load, queue, plan.outage, _DROPPING))},
        memory=sizing.memory_mib(load, held_bytes),
        disk=queue,
    )


def _to_kafka(plan: Plan, load: Load) -> _RoleConfig:
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
  topic: {_quoted(plan.topic)}
  encoding: otlp_proto
partition_traces_by_id: true # whoever reads a partition sees whole traces
producer:
  compression: zstd
  required_acks: -1 # all replicas that are in step have it
  max_message_bytes: {sizing.LARGEST_REQUEST_BYTES} # one trace with long prompts is one message
retry_on_failure:
  max_elapsed_time: 0s # for as long as it takes; the queue is the limit
{_memory_queue(load, queue)}"""
    return _RoleConfig(
        summary="In front of Kafka: takes what agents send and writes it to a topic, each trace to one partition.",
        receivers={"otlp": _otlp(plan, http=True)},
        exporters={"kafka": text},
        memory=sizing.memory_mib(load, queue),
    )


def _from_kafka(plan: Plan, load: Load) -> _RoleConfig:
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
group_id: {_quoted(f"{plan.topic}-readers")} # the same in all that share the partitions
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
    return _RoleConfig(
        summary="Behind Kafka: reads its share of the partitions"
        + (", keeps or drops whole sessions," if samples else "")
        + " and sends to the backend. Several share the partitions.",
        receivers={"kafka": text},
        processors={"tail_sampling": tail_sampling(load, plan.keep, plan.longest)} if samples else {},
        exporters={"otlp_http": _otlp_http(plan, _disk_queue(kept_load, queue, seconds, full, block=not samples))},
        memory=sizing.memory_mib(load, held_bytes),
        disk=queue,
    )


_BUILDERS: Final[Mapping[Role, Callable[[Plan, Load], _RoleConfig]]] = {
    "agent": _agent,
    "balancer": _balancer,
    "sampler": _sampler,
    "to-kafka": _to_kafka,
    "from-kafka": _from_kafka,
}


def _otlp(plan: Plan, *, http: bool = False, grpc: bool = False) -> str:
    auth = "\n    auth:\n      authenticator: bearertokenauth" if plan.token_env else ""
    tls = ""
    if plan.tls_cert is not None and plan.tls_key is not None:
        tls = f"\n    tls:\n      cert_file: {_quoted(plan.tls_cert)}\n      key_file: {_quoted(plan.tls_key)}"
    lines = "protocols:"
    if http:
        lines += f"\n  http:\n    endpoint: {_quoted(f'{plan.address}:4318')}{tls}{auth}"
    if grpc:
        lines += f"\n  grpc:\n    endpoint: {_quoted(f'{plan.address}:4317')}"
        # gRPC refuses messages of more than 4 MiB by default; twenty long prompts are one message.
        lines += f"\n    max_recv_msg_size_mib: {sizing.LARGEST_REQUEST_BYTES // MIB} # 4 by default, too little for long prompts"
        lines += tls + auth
    return lines


# The batch processor would hold in memory, and acknowledge, what is lost when the process dies.
def _otlp_http(plan: Plan, queue: str) -> str:
    tls = f"\ntls:\n  ca_file: {_quoted(plan.ca)}" if plan.ca else ""
    return f"""\
traces_endpoint: {_quoted(plan.traces_url)}{_headers(plan)}{tls}
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
        f'\n  {_quoted(name)}: "${{env:{variable}}}"' for name, variable in plan.headers.items()
    )


def _extensions(plan: Plan, disk: int) -> dict[str, str]:
    extensions = {"health_check": f"endpoint: {_quoted(f'{plan.address}:13133')}"}
    # Behind Kafka nobody sends to the collector: it reads.
    if plan.token_env and plan.role != "from-kafka":
        extensions["bearertokenauth"] = (
            f'token: "${{env:{plan.token_env}}}" # what senders must show as Authorization: Bearer ...'
        )
    # Without a disk there is nothing to store, and the directory need not exist.
    if disk:
        extensions["file_storage"] = f"""\
directory: {_quoted(plan.storage)}
create_directory: true
timeout: 10s
fsync: true # a queue that survives a loss of power; false is faster
compaction: # gives disk back once a long queue has been sent
  directory: {_quoted(plan.storage)}
  on_rebound: true
  cleanup_on_start: true"""
    return extensions


def _section(name: str, components: Mapping[str, str]) -> str:
    return f"{name}:\n" + "".join(f"  {key}:\n{indent(text, '    ')}\n" for key, text in components.items())


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


def _quoted(text: str) -> str:
    """Return a YAML scalar in double quotes."""
    # JSON's strings are YAML's: the generator needs no PyYAML, which comes with the `cli` extra for the check.
    return json.dumps(text, ensure_ascii=False)


def _list(texts: tuple[str, ...] | list[str]) -> str:
    return "[" + ", ".join(map(_quoted, texts)) + "]"
