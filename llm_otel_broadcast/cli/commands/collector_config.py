"""`collector-config`: prints a configuration for an OpenTelemetry Collector, or checks one."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Final, TypeAlias, TypeVar

import click

from llm_otel_broadcast.cli.output import as_json, say_json
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.headers import read_pairs

_Command = TypeVar("_Command", bound=Callable[..., object])
_Decorator: TypeAlias = Callable[[_Command], _Command]

# As `plan.ROLES`, which `--help` and completion need not import.
_ROLES: Final = ("agent", "balancer", "sampler", "to-kafka", "from-kafka")
_SENDING: Final = ("agent", "sampler", "from-kafka")
_LISTENING: Final = ("agent", "balancer", "sampler", "to-kafka")
_KEEPING: Final = ("sampler", "from-kafka")
_KAFKA: Final = ("to-kafka", "from-kafka")
_ROLES_OF_OPTIONS: Final = {
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
"""Options that only some roles have."""


def _options(*decorators: _Decorator[_Command]) -> _Decorator[_Command]:
    def decorate(command: _Command) -> _Command:
        # As if written above the command, where the last one is applied first.
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


_sending_options = _options(
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
_sizing_options = _options(
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
_address_options = _options(
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
    "--check", "file", type=click.File("rb"), metavar="FILE", help="Check this file instead (- is standard input)."
)
@as_json
@_sending_options
@_sizing_options
@_address_options
@click.pass_context
def collector_config(
    context: click.Context,
    /,
    role: str | None,
    file: IO[bytes] | None,
    as_json: bool,
    headers: tuple[str, ...],
    **options: object,
) -> None:
    """Print a commented configuration for an OpenTelemetry Collector (contrib, 0.144 or newer), or check one.

    \b
        llm-otel-broadcast collector-config agent --to https://api.axiom.co/v1/traces --header-from-env Authorization=AXIOM_AUTH
        llm-otel-broadcast collector-config balancer --dns samplers.example
        llm-otel-broadcast collector-config sampler --to https://api.example/v1/traces --keep 10
        llm-otel-broadcast collector-config --check collector.yaml

    --check finds what loses or exposes traces although the Collector starts; for names, options and limits it runs the
    Collector's own validate, where otelcol-contrib or otelcol is on PATH. A ROLE says what the file is for. Exit code 1: the
    file has errors (warnings alone: 0). How the roles fit together, and all figures: docs/scaling.md.
    """  # noqa: D301  # click's sign for lines to be left alone
    from llm_otel_broadcast.collector.plan import Plan, PlanError
    from llm_otel_broadcast.collector.rendering import render

    # A default cannot be told from the same value on the command line but by its source.
    explicit = [
        name
        for name in (*options, "headers")
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if file is not None:
        if explicit:
            raise click.UsageError(f"{_flag(explicit[0])} does not go with --check")
        _check(file, role, as_json=as_json)
        return
    if role is None:
        raise click.UsageError(f"say which: {', '.join(_ROLES)}; or --check FILE")
    for name in explicit:
        # Ignored in silence, an option would be missing from the file without a word.
        if role not in _ROLES_OF_OPTIONS.get(name, _ROLES):
            raise click.UsageError(
                f"{_flag(name)} means nothing for {role}: it is for {', '.join(_ROLES_OF_OPTIONS[name])}"
            )
    options["headers"] = _variables(headers)
    try:
        text = render(Plan(role=role, **options), _command(role, options, explicit))  # type: ignore[arg-type]  # click has checked it
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    # The file as it is, without a line more, so that it can be piped into place.
    click.echo(json.dumps({"role": role, "config": text}) if as_json else text, nl=as_json)


def _command(role: str, options: Mapping[str, object], explicit: Iterable[str]) -> str:
    """Return the command that makes the same file again; it holds names of variables and no secret."""
    words = ["llm-otel-broadcast", "collector-config", role]
    for name in explicit:
        value = options[name]
        if value is True:
            words.append(_flag(name))
            continue
        if isinstance(value, dict):
            value = tuple(f"{key}={variable}" for key, variable in value.items())
        for argument in value if isinstance(value, tuple) else (value,):
            words += [_flag(name), f"{argument:g}" if isinstance(argument, float) else str(argument)]
    return shlex.join(words)


def _check(file: IO[bytes], role: str | None, *, as_json: bool) -> None:
    from llm_otel_broadcast.collector.check.checking import check, failed
    from llm_otel_broadcast.collector.check.findings import Finding
    from llm_otel_broadcast.collector.check.secrets import secrets_in
    from llm_otel_broadcast.collector.check.validator import PROGRAMS, find_validator, validate

    validator = find_validator()
    # Standard input has no path that the Collector could read: it gets a copy.
    name = getattr(file, "name", None)
    path = Path(name) if isinstance(name, str) and name != "<stdin>" else None
    try:
        # Windows editors begin a file with a byte order mark, which YAML allows.
        text = file.read().decode("utf-8-sig")
        findings = check(text, role)  # type: ignore[arg-type]  # click has checked it
        if validator is not None:
            findings += validate(validator, text, file=path, secrets=secrets_in(text))
    except UnicodeDecodeError as error:
        # The position alone: bytes of the file may be part of a secret.
        findings = [Finding("error", "", f"not UTF-8: {error.reason} at byte {error.start}", None)]
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        raise click.ClickException("--check needs PyYAML: pip install 'llm-otel-broadcast[cli]'") from None
    if as_json:
        documents = [
            {"severity": finding.severity, "line": finding.line, "where": finding.path, "message": finding.message}
            for finding in findings
        ]
        say_json({"ok": not failed(findings), "validated_by": validator, "findings": documents})
    else:
        for finding in findings:
            click.echo(str(finding))
        if not findings:
            click.echo("nothing wrong found" + (f", nor by {Path(validator).name} validate" if validator else ""))
        if validator is None:
            click.echo(
                "not checked: names of components, their options and limits; there is no "
                f"{' and no '.join(PROGRAMS)} on PATH (elsewhere: {PROGRAMS[0]} validate --config FILE)"
            )
    if failed(findings):
        sys.exit(1)


def _variables(headers: tuple[str, ...]) -> dict[str, str]:
    """Return the names of environment variables by the names of headers."""
    try:
        return read_pairs(headers)
    except ConfigError:
        # Not repeated: somebody may have given the header itself, with its key.
        raise click.BadParameter("must be KEY=VARIABLE", param_hint="--header-from-env") from None


def _flag(name: str) -> str:
    flags = {"headers": "--header-from-env", "hosts": "--host", "brokers": "--broker"}
    return flags.get(name, "--" + name.replace("_", "-"))
