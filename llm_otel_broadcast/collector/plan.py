"""What a configuration is for: the options of the command, checked. Nothing in it is a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit, urlunsplit

Role: TypeAlias = Literal["agent", "balancer", "sampler", "to-kafka", "from-kafka"]
Compression: TypeAlias = Literal["gzip", "zstd", "none"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
SENDING_ROLES: Final = frozenset({"agent", "sampler", "from-kafka"})
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# The Collector replaces it from its environment when it starts.
_PLACEHOLDER: Final = re.compile(r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}")
_HEADER_START: Final = re.compile(r"[!#%&'*+\-.^_`|~0-9A-Za-z]*")
_HOST: Final = re.compile(r"([A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]+))?\Z")
_LISTEN: Final = re.compile(r"[A-Za-z0-9_.-]+\Z|\[[0-9A-Fa-f:.]+\]\Z")
# Kafka's own rule for names of topics.
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")
# No `$`, which the Collector would take for the beginning of a variable, and nothing that YAML cannot have.
_PATH: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff$]+\Z")


class PlanError(ValueError):
    """Options that do not fit together; the text names each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One collector's part.

    Args:
        role: which of the chain's parts.
        to: OTLP/HTTP URL of the backend or of the next collector; `/v1/traces` is added when it has no path.
        headers: HTTP headers for it, each with the environment variable that holds its value.
        compression: of what is sent there.
        rate: generations a second through this collector at its peak.
        size: bytes of one generation with all of its spans, before compression.
        outage: seconds that the next one may be away without loss.
        keep: percent of the sessions that are kept.
        longest: seconds from a trace's first span to its last.
        hosts: the samplers behind a balancer, each `host` or `host:port`.
        single: there is one sampler only, so agents send to it, by HTTP; no balancer.
        dns: instead of `hosts`: a name whose addresses are the samplers.
        brokers: of Kafka, each `host:port`.
        topic: of Kafka.
        listen: address to listen at.
        token_env: environment variable with the token that senders must show.
        tls_cert: certificate file of this collector, with `tls_key`.
        tls_key: its key.
        ca: file of the authority that signed what the next one shows; without it samplers are spoken to in plain text.
        storage: directory of the queue.
    """

    role: Role
    to: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    compression: Compression = "gzip"
    rate: float = 10.0
    size: int = 20_000
    outage: int = 3_600
    keep: float = 100.0
    longest: int = 120
    hosts: tuple[str, ...] = ()
    dns: str | None = None
    single: bool = False
    brokers: tuple[str, ...] = ()
    topic: str = "otlp_spans"
    listen: str | None = None
    token_env: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    ca: str | None = None
    storage: str = "/var/lib/otelcol/queue"

    def __post_init__(self) -> None:
        faults = [*self._faults()]
        if faults:
            raise PlanError("; ".join(faults))

    @property
    def address(self) -> str:
        """The address to listen at: an agent is for its own machine, the others are for others."""
        everywhere = "0.0.0.0"  # noqa: S104  # what the other roles are there for
        return self.listen or ("127.0.0.1" if self.role == "agent" else everywhere)

    @property
    def traces_url(self) -> str:
        """The URL to post to."""
        parts = urlsplit(self.to or "")
        return urlunsplit(parts._replace(path="/v1/traces") if parts.path in ("", "/") else parts)

    def _faults(self) -> Iterator[str]:
        ranges: tuple[tuple[str, float, float, float], ...] = (
            ("--rate", self.rate, 0.001, 1_000_000),
            ("--size", self.size, 100, 100_000_000),
            ("--outage", self.outage, 1, 7 * 86_400),
            ("--keep", self.keep, 0.01, 100),
            ("--longest", self.longest, 1, 86_400),
        )
        for name, value, lowest, highest in ranges:
            # So written, NaN is out of range too.
            if not lowest <= value <= highest:
                yield f"{name} must be from {lowest:g} to {highest:,}, got {value:g}"
        if self.role in SENDING_ROLES:
            yield from url_faults(self.to)
        if self.role == "balancer":
            # Both would be two resolvers, of which the Collector takes one.
            if bool(self.hosts) == bool(self.dns):
                yield "a balancer needs its samplers: either --host HOST:PORT for each, or --dns NAME"
            yield from (f'--host "{host}" is not HOST or HOST:PORT' for host in self.hosts if not is_host(host))
            if self.dns and not is_host(self.dns):
                yield f'--dns "{self.dns}" is not a name or NAME:PORT'
        if self.role in ("to-kafka", "from-kafka"):
            if not self.brokers:
                yield f"{self.role} needs --broker HOST:PORT"
            yield from (
                f'--broker "{broker}" is not HOST:PORT' for broker in self.brokers if not is_host(broker, port=True)
            )
            if not _TOPIC.match(self.topic):
                yield f'--topic "{self.topic}" is not a name that Kafka allows'
        yield from self._name_faults()

    def _name_faults(self) -> Iterator[str]:
        for header, variable in self.headers.items():
            # What follows a name may be the secret itself.
            match = _HEADER_START.match(header)
            name = match[0] if match else ""
            if not name or name != header:
                yield f'--header-from-env: "{name}..." is not the name of an HTTP header'
            # It may be the secret itself, so it is not repeated.
            if not _VARIABLE.match(variable):
                yield f"--header-from-env: what stands behind {name}= must be the name of an environment variable"
        if self.token_env is not None and not _VARIABLE.match(self.token_env):
            yield "--token-env must be the name of an environment variable"
        if (self.tls_cert is None) != (self.tls_key is None):
            yield "--tls-cert and --tls-key belong together"
        if self.listen is not None and not _LISTEN.match(_PLACEHOLDER.sub("x", self.listen)):
            yield f'--listen "{self.listen}" is not an address (the ports are fixed: 4317, 4318, 13133)'
        paths = {"--tls-cert": self.tls_cert, "--tls-key": self.tls_key, "--ca": self.ca, "--storage": self.storage}
        for name, path in paths.items():
            if path is not None and not _PATH.match(_PLACEHOLDER.sub("x", path)):
                yield f"{name} is not a path that can stand in the file"


def is_host(text: str, *, port: bool = False) -> bool:
    """Return whether a text is `host` or `host:port`, with `port` only the latter. `${env:NAME}` may stand for a part."""
    # A digit may stand in a host as well as in a port.
    match = _HOST.match(_PLACEHOLDER.sub("1", text))
    if match is None or (port and match[2] is None):
        return False
    return match[2] is None or 0 < int(match[2]) < 65536  # noqa: PLR2004  # ports


def url_faults(url: str | None) -> list[str]:
    """Return what is wrong with `--to`, nothing when it is fine. What may hold a secret is not repeated."""
    if not url:
        return ["--to URL is missing: where the traces go"]
    try:
        parts = urlsplit(_PLACEHOLDER.sub("1", url))
        _ = parts.port
    except ValueError:
        return ["--to is not a URL"]
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ['--to needs http:// or https:// and a host, e.g. "https://api.axiom.co/v1/traces"']
    # The file is for a repository: secrets stand in the environment of the Collector.
    if "@" in parts.netloc or parts.query or parts.fragment:
        return ["--to must have no user, password or query: what is secret goes into --header-from-env"]
    # What is left is printed between quotes of YAML, and must not end them.
    if not re.fullmatch(r"[!%&'()*+,./:;=\[\]_~0-9A-Za-z-]+", _PLACEHOLDER.sub("1", url)):
        return ["--to has characters that a URL cannot have"]
    return []
