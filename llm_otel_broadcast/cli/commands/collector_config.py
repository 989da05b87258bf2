"""`collector-config`: prints a configuration for an OpenTelemetry Collector, or checks one."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable
from typing import IO, Any, Final, TypeVar

import click

from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.headers import read_pairs

_T = TypeVar("_T")

_ROLES: Final = ("agent", "balancer", "sampler", "to-kafka", "from-kafka")
_SENDING: Final = ("agent", "sampler", "from-kafka")
_LISTENING: Final = ("agent", "balancer", "sampler", "to-kafka")
_KEEPING: Final = ("sampler", "from-kafka")
_KAFKA: Final = ("to-kafka", "from-kafka")
_FOR: Final = {
    "to": _SENDING,
    "headers": (*_SENDING, "balancer"),
    "compression": (*_SENDING, "balancer"),
    "keep": _KEEPING,
    "longest": _KEEPING,
    "hosts": ("balancer",),
    "dns": ("balancer",),
    "single": ("sampler",),
    "brokers": _KAFKA,
    "topic": _KAFKA,
    "token_env": _LISTENING,
    "tls_cert": _LISTENING,
    "tls_key": _LISTENING,
    "ca": (*_SENDING, "balancer"),
    "storage": _SENDING,
}
"""Options that only some roles know; they need no others."""


def _options(*decorators: Callable[[Any], Any]) -> Callable[[_T], _T]:
    def decorate(command: _T) -> _T:
        for each in reversed(decorators):
            command = each(command)
        return command

    return decorate


_target = _options(
    click.option("--to", metavar="URL", help="Where to: the backend, or the next collector, by OTLP/HTTP."),
    click.option(
        "--header-from-env",
        "headers",
        metavar="KEY=VARIABLE",
        multiple=True,
        help="A header for it; its value is taken from that environment variable when the Collector starts. May be repeated.",
    ),
    click.option(
        "--compression",
        type=click.Choice(["gzip", "zstd", "none"]),
        default="gzip",
        show_default=True,
        help="Of what is sent.",
    ),
    click.option("--ca", metavar="FILE", help="Authority that signed the next one's certificate."),
)
_figures = _options(
    click.option(
        "--rate",
        type=float,
        default=10.0,
        show_default=True,
        help="Generations a second through this collector at its peak.",
    ),
    click.option(
        "--size", type=int, default=20_000, show_default=True, help="Bytes of one generation with all its spans."
    ),
    click.option(
        "--outage",
        type=int,
        default=3_600,
        show_default=True,
        help="Seconds that the next one may be away without loss.",
    ),
    click.option(
        "--keep",
        type=float,
        default=100.0,
        show_default=True,
        help="Percent of the sessions to keep; errors are kept always.",
    ),
    click.option(
        "--longest",
        type=int,
        default=120,
        show_default=True,
        help="Seconds from the first span of a trace to its last.",
    ),
)
_places = _options(
    click.option(
        "--host", "hosts", metavar="HOST[:PORT]", multiple=True, help="A sampler behind the balancer; once for each."
    ),
    click.option("--dns", metavar="NAME[:PORT]", help="Instead: a name whose addresses are the samplers."),
    click.option("--single", is_flag=True, help="There is one sampler only: agents send to it, without a balancer."),
    click.option("--broker", "brokers", metavar="HOST:PORT", multiple=True, help="Of Kafka; may be repeated."),
    click.option("--topic", default="otlp_spans", show_default=True, help="Of Kafka."),
    click.option("--listen", metavar="ADDRESS", help="Default: 127.0.0.1 for an agent, 0.0.0.0 for the others."),
    click.option(
        "--token-env", metavar="VARIABLE", help="Senders must show the token that this environment variable holds."
    ),
    click.option("--tls-cert", metavar="FILE", help="Certificate to listen with."),
    click.option("--tls-key", metavar="FILE", help="Its key."),
    click.option(
        "--storage",
        metavar="DIRECTORY",
        default="/var/lib/otelcol/queue",
        show_default=True,
        help="Of the queue on disk.",
    ),
)


@click.command("collector-config")
@click.argument("role", type=click.Choice(_ROLES), required=False)
@click.option(
    "--check", "checked", type=click.File("rb"), metavar="FILE", help="Check this file instead (- is standard input)."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@_target
@_figures
@_places
@click.pass_context
def collector_config(
    context: click.Context,
    /,
    role: str | None,
    checked: IO[bytes] | None,
    as_json: bool,
    headers: tuple[str, ...],
    **given: Any,
) -> None:
    """Print a commented configuration for an OpenTelemetry Collector (contrib, 0.144 or newer), or check one.

    \b
        llm-otel-broadcast collector-config agent --to https://api.axiom.co/v1/traces --header-from-env Authorization=AXIOM_AUTH
        llm-otel-broadcast collector-config balancer --dns samplers.example
        llm-otel-broadcast collector-config sampler --to https://api.example/v1/traces --keep 10
        llm-otel-broadcast collector-config --check collector.yaml

    With --check, a ROLE says what the file is for. Exit code 1: the file has errors (warnings alone: 0). How the roles fit
    together, and all figures: docs/scaling.md.
    """  # noqa: D301  # click's sign for lines to be left alone
    explicit = [
        name
        for name in (*given, "headers")
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if checked is not None:
        if explicit:
            raise click.UsageError(f"{_flag(explicit[0])} does not go with --check")
        _check(checked, role, as_json=as_json)
        return
    if role is None:
        raise click.UsageError(f"say which: {', '.join(_ROLES)}; or --check FILE")
    for name in explicit:
        if role not in _FOR.get(name, _ROLES):
            raise click.UsageError(f"{_flag(name)} means nothing for {role}: it is for {', '.join(_FOR[name])}")
    given["headers"] = _pairs(headers)
    _print(role, given, explicit, as_json=as_json)


def _print(role: str, given: dict[str, Any], explicit: Iterable[str], *, as_json: bool) -> None:
    from llm_otel_broadcast.collector.plan import Plan, PlanError
    from llm_otel_broadcast.collector.roles import render

    try:
        text = render(Plan(role=role, **given), _command(role, given, explicit))  # type: ignore[arg-type]  # click has checked it
    except PlanError as wrong:
        raise click.UsageError(str(wrong)) from None
    click.echo(json.dumps({"role": role, "config": text}) if as_json else text, nl=as_json)


def _command(role: str, given: dict[str, Any], explicit: Iterable[str]) -> str:
    """Return the command that makes the same file again; it holds names of variables and no secret."""
    words = ["llm-otel-broadcast", "collector-config", role]
    for name in explicit:
        value = given[name]
        if value is True:
            words.append(_flag(name))
            continue
        if isinstance(value, dict):
            value = tuple(f"{key}={variable}" for key, variable in value.items())
        for each in value if isinstance(value, tuple) else (value,):
            words += [_flag(name), f"{each:g}" if isinstance(each, float) else str(each)]
    return shlex.join(words)


def _check(checked: IO[bytes], role: str | None, *, as_json: bool) -> None:
    from llm_otel_broadcast.collector.check.checking import check, failed
    from llm_otel_broadcast.collector.check.findings import Finding

    try:
        findings = check(checked.read().decode("utf-8-sig"), role)  # type: ignore[arg-type]  # click has checked it
    except UnicodeDecodeError as wrong:
        findings = [Finding("error", "", f"not UTF-8: {wrong.reason} at byte {wrong.start}", None)]
    except ModuleNotFoundError as missing:
        if missing.name != "yaml":
            raise
        raise click.ClickException("--check needs PyYAML: pip install 'llm-otel-broadcast[cli]'") from None
    if as_json:
        named = [
            {"severity": each.severity, "line": each.line, "where": each.where, "message": each.message}
            for each in findings
        ]
        click.echo(json.dumps({"ok": not failed(findings), "findings": named}))
    else:
        for each in findings:
            click.echo(str(each))
        if not findings:
            click.echo("nothing wrong found; `otelcol-contrib validate --config FILE` has the last word")
    if failed(findings):
        sys.exit(1)


def _pairs(headers: tuple[str, ...]) -> dict[str, str]:
    try:
        return read_pairs(headers)
    except ConfigError:
        raise click.BadParameter("must be KEY=VARIABLE", param_hint="--header-from-env") from None


def _flag(name: str) -> str:
    flags = {"headers": "--header-from-env", "hosts": "--host", "brokers": "--broker"}
    return flags.get(name, "--" + name.replace("_", "-"))
