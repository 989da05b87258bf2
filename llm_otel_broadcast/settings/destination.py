"""A destination: where finished records go, validated when it is made."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from llm_otel_broadcast.record.dialect_names import DIALECT_NAMES
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.headers import HEADERS_WRITTEN, header_faults, read_headers
from llm_otel_broadcast.settings.privacy import HIDE, TEXTS_OR_NONE, callable_fault, plain_parts
from llm_otel_broadcast.settings.rules import API_KEYS, FILTER_RULES, plain_keys, plain_rules
from llm_otel_broadcast.settings.validators import (
    FILE_OR_NONE,
    TEXT,
    TEXTS,
    TRUTH,
    Kind,
    choice,
    faults_of,
    is_a,
    seconds,
    share,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

Encoding: TypeAlias = Literal["auto", "json", "protobuf"]
Compression: TypeAlias = Literal["none", "gzip"]

TRACES_PATH: Final = "/v1/traces"
# Looked up at each use: a dialect may be registered later.
_DIALECT: Final = Kind(
    lambda name, value: choice(*DIALECT_NAMES).faults(name, value),
    str,
    ", ".join(f"`{name}`" for name in DIALECT_NAMES),
)
_ENDPOINT: Final = Kind(lambda _, value: [] if value is None else endpoint_faults(value), str, "URL")
_HEADERS: Final = Kind(lambda _, value: header_faults(value), read_headers, HEADERS_WRITTEN)


class VerbatimEndpoint(str):
    """An endpoint to which nothing is added, not even where it has no path: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One place that traces are sent to, with its own queue and thread.

    Args:
        endpoint: URL of the OTLP/HTTP traces intake. Without a path (or with `/`) `/v1/traces` is added; any other path
            is used as it is. `user:password@` in it becomes an `Authorization: Basic` header.
        headers: HTTP headers sent with every request, for instance the API key. Never shown in a repr, log or error.
        name: how logs and `status()` call it; default: the endpoint's host and port.
        enabled: False keeps the destination but sends nothing to it.
        encoding: `auto` sends JSON, and after an answer 415 protobuf, if that is taken; `json`; `protobuf`.
        compression: `none` (several backends refuse gzip) or `gzip`.
        privacy_mode: True leaves prompts, answers, tool definitions and error texts out; everything else is sent.
        timeout: seconds for connecting, at most, and as many again for sending a request and its answer.
        batch_delay: seconds a record waits for company before it is sent.
        certificate: PEM file of the authorities that the server's certificate may come from, instead of the system's. All three
            files are read again when they change.
        client_certificate: PEM file of the certificate that we show to a server that demands one.
        client_key: PEM file of its private key, unless that is in the same file; without a password.
        sampling_rate: share of the generations that is sent, 0.0001 to 1; whole sessions (without a session: traces) are
            kept or left out, the same ones in every process, and other ones at each destination.
        errors_always: True sends generations that failed whatever the sampling rate.
        api_keys: `{"include": [...], "exclude": [...]}`: only calls with these API keys, and none with those. A key is named
            by its last 4 to 12 characters or by its sha256.
        filter_rules: which generations are sent, in the form of OpenRouter's destinations:
            `{"groups": [{"logic": "and", "rules": [{"field": "model", "operator": "starts_with", "value": "gpt-"}]}]}`.
        hide: parts of the content to leave out: `inputs`, `outputs`, `system`, `tools` (definitions), `tool_arguments`,
            `embeddings` (what was embedded), `images`, `urls`, `reasoning`.
        redact: a function that is given each text of the content, in the background, and returns what is sent instead. If it
            fails, the content is left out, not the span.
        metadata_allow: the only keys of the metadata that are sent, `*` standing for anything; default: all.
        metadata_deny: keys of the metadata that are not sent, likewise.
        hash_user: True sends the sha256 of `user.id` instead.
        dialect: names of the attributes: `semconv`, OpenTelemetry's GenAI conventions.
        exporter: an OpenTelemetry `SpanExporter` to use instead of `endpoint`, as configured by you.

    Raises:
        ConfigError: naming every wrong field, its value and the fix.
    """

    endpoint: str | None = field(default=None, metadata=is_a(_ENDPOINT, shorthand=True))
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, metadata=is_a(_HEADERS, shorthand=True))
    name: str = field(default="", metadata=is_a(TEXT))
    enabled: bool = field(default=True, metadata=is_a(TRUTH))
    encoding: Encoding = field(default="auto", metadata=is_a(choice(*get_args(Encoding)), shorthand=True))
    compression: Compression = field(default="none", metadata=is_a(choice(*get_args(Compression)), shorthand=True))
    privacy_mode: bool = field(default=False, metadata=is_a(TRUTH, shorthand=True))
    timeout: float = field(default=10.0, metadata=is_a(seconds(0.001), shorthand=True))
    batch_delay: float = field(default=1.0, metadata=is_a(seconds(0)))
    certificate: str | None = field(default=None, metadata=is_a(FILE_OR_NONE, shorthand=True))
    client_certificate: str | None = field(default=None, metadata=is_a(FILE_OR_NONE, shorthand=True))
    client_key: str | None = field(default=None, metadata=is_a(FILE_OR_NONE, shorthand=True))
    sampling_rate: float = field(default=1.0, metadata=is_a(share(0.0001), shorthand=True))
    errors_always: bool = field(default=False, metadata=is_a(TRUTH, shorthand=True))
    api_keys: Mapping[str, Sequence[str]] | None = field(default=None, metadata=is_a(API_KEYS, shorthand=True))
    filter_rules: Mapping[str, Any] | None = field(default=None, metadata=is_a(FILTER_RULES, shorthand=True))
    hide: Collection[str] = field(default=(), metadata=is_a(HIDE, shorthand=True))
    redact: Callable[[str], str] | None = field(default=None, metadata=is_a(None, shorthand=True))
    metadata_allow: Sequence[str] | None = field(default=None, metadata=is_a(TEXTS_OR_NONE, shorthand=True))
    metadata_deny: Sequence[str] = field(default=(), metadata=is_a(TEXTS, shorthand=True))
    hash_user: bool = field(default=False, metadata=is_a(TRUTH, shorthand=True))
    dialect: str = field(default="semconv", metadata=is_a(_DIALECT, shorthand=True))
    exporter: SpanExporter | None = field(default=None, repr=False, metadata=is_a(None, shorthand=True))

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            label = f'destination "{self.name}"' if isinstance(self.name, str) and self.name else "destination"
            raise ConfigError([f"{label}: {fault}" for fault in faults])
        headers = dict(self.headers)
        if self.endpoint is not None:
            parts = urlsplit(self.endpoint.strip())
            kind = VerbatimEndpoint if isinstance(self.endpoint, VerbatimEndpoint) else str
            if parts.path in ("", "/"):
                parts = parts._replace(path="/" if kind is VerbatimEndpoint else TRACES_PATH)
            credentials, at, host = parts.netloc.rpartition("@")
            if at:
                parts = parts._replace(netloc=host)
                if not any(name.lower() == "authorization" for name in headers):
                    headers["Authorization"] = _basic(credentials)
            # A fragment is for the reader of a page; no request has one (RFC 9110, 4.2.5).
            object.__setattr__(self, "endpoint", kind(urlunsplit(parts._replace(fragment=""))))
        object.__setattr__(self, "headers", headers)
        object.__setattr__(self, "hide", plain_parts(self.hide))
        if self.api_keys is not None:
            object.__setattr__(self, "api_keys", plain_keys(self.api_keys))
        if self.filter_rules is not None:
            object.__setattr__(self, "filter_rules", plain_rules(self.filter_rules))
        if not self.name:
            object.__setattr__(self, "name", self._default_name())

    @classmethod
    def preset(cls, preset: str, /, **values: Any) -> Destination:
        """Make the destination for a known backend: `Destination.preset("axiom", token="xaat-...", dataset="llm")`.

        Args:
            preset: its name, as `llm-otel-broadcast destinations presets` lists them with what each needs.
            values: what it needs, and fields of `Destination`, which win over the preset's.

        Raises:
            ConfigError: naming every value that is missing, unknown or wrong.
        """
        from llm_otel_broadcast.settings.presets import table_of

        return cls(**table_of(preset, values))

    def __repr__(self) -> str:
        shown = {made.name: getattr(self, made.name) for made in fields(self) if made.repr}
        if self.endpoint is not None:
            shown["endpoint"] = redact_url(self.endpoint)
        return f"Destination({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def _default_name(self) -> str:
        if self.endpoint is None:
            return type(self.exporter).__name__
        parts = urlsplit(self.endpoint)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    def _faults(self) -> list[str]:
        faults = [*faults_of(self), *callable_fault("redact", self.redact)]
        if self.exporter is None and self.endpoint is None:
            faults.append(
                'endpoint is missing: give the traces URL of your backend, e.g. endpoint="https://api.axiom.co/v1/traces"'
            )
        if self.exporter is not None and self.endpoint is not None:
            faults.append("endpoint and exporter are both given: leave one out")
        if self.client_key is not None and self.client_certificate is None:
            faults.append("client_key needs client_certificate, the certificate that it is the key of")
        if self.exporter is not None and not callable(getattr(self.exporter, "export", None)):
            faults.append(f"exporter must be an OpenTelemetry SpanExporter, got {type(self.exporter).__name__}")
        return faults


SHORTHAND: Final = tuple(made.name for made in fields(Destination) if made.metadata["shorthand"])
"""What `instrument()` takes itself when there is one destination."""


def _basic(credentials: str) -> str:
    """Return the header value for `user:password` as a URL has it (RFC 7617)."""
    return "Basic " + base64.b64encode(unquote(credentials).encode()).decode("ascii")


def redact_url(url: str) -> str:
    """Return the URL without user information, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return _redact_malformed(url)
    if not parts.scheme or not host:
        return url.rpartition("@")[2].partition("?")[0]
    return urlunsplit(SplitResult(parts.scheme, f"{host}{port}", parts.path, "", ""))


def _redact_malformed(url: str) -> str:
    """Return what may be shown of a text that is no URL: nothing where user information cannot be told from the rest."""
    scheme, separator, rest = url.partition("://")
    if not separator or "@" in rest:
        return "***"
    return f"{scheme}://{re.split('[?#]', rest, maxsplit=1)[0]}"


def endpoint_faults(endpoint: object) -> list[str]:
    """Say what is wrong with an endpoint, nothing when it is fine."""
    if not isinstance(endpoint, str):
        return [f"endpoint must be a URL as text, got {type(endpoint).__name__}"]
    shown = redact_url(endpoint)
    try:
        parts = urlsplit(endpoint.strip())
        _ = parts.port
    except ValueError as error:
        return [f'endpoint "{shown}" is not a URL: {error}']
    if parts.scheme not in ("http", "https"):
        return [f'endpoint "{shown}" needs http:// or https:// in front, e.g. "http://{shown.rpartition("://")[2]}"']
    if not parts.hostname:
        return [f'endpoint "{shown}" names no host']
    if re.search(r"[\x00-\x20\ud800-\udfff]", endpoint.strip()):
        return [
            f'endpoint "{shown.encode("unicode_escape").decode()}" contains white space or control characters: remove them'
        ]
    return []
