"""The whole file of a Collector in one role.

For the Collector's contrib distribution, 0.144 or newer. Comments in the file say where its figures come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from textwrap import indent
from typing import Final

from llm_otel_broadcast.collector import roles, sizing
from llm_otel_broadcast.collector.plan import Plan, PlanError, Role
from llm_otel_broadcast.collector.roles import amount, quoted
from llm_otel_broadcast.collector.sizing import Load

OLDEST_VERSION: Final = "0.144"
"""The first version that has every name used here: `otlp_http` came with it."""
_BUILDERS: Final[Mapping[Role, Callable[[Plan, Load], roles.RoleConfig]]] = {
    "agent": roles.agent,
    "balancer": roles.balancer,
    "sampler": roles.sampler,
    "to-kafka": roles.to_kafka,
    "from-kafka": roles.from_kafka,
}


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


def _head(load: Load, role: roles.RoleConfig, command: str) -> str:
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


def _extensions(plan: Plan, disk: int) -> dict[str, str]:
    extensions = {"health_check": f"endpoint: {quoted(f'{plan.address}:13133')}"}
    # Behind Kafka nobody sends to the collector: it reads.
    if plan.token_env and plan.role != "from-kafka":
        extensions["bearertokenauth"] = (
            f'token: "${{env:{plan.token_env}}}" # what senders must show as Authorization: Bearer ...'
        )
    # Without a disk there is nothing to store, and the directory need not exist.
    if disk:
        extensions["file_storage"] = f"""\
directory: {quoted(plan.storage)}
create_directory: true
timeout: 10s
fsync: true # a queue that survives a loss of power; false is faster
compaction: # gives disk back once a long queue has been sent
  directory: {quoted(plan.storage)}
  on_rebound: true
  cleanup_on_start: true"""
    return extensions


def _section(name: str, components: Mapping[str, str]) -> str:
    return f"{name}:\n" + "".join(f"  {key}:\n{indent(text, '    ')}\n" for key, text in components.items())
