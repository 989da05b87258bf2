"""A destination: where finished records go, validated when it is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from llm_otel_broadcast.record.dialect_names import DIALECT_NAMES
from llm_otel_broadcast.settings.aliases import ALIASES, HOSTS, RESOURCE_ATTRIBUTES, plain_hosts
from llm_otel_broadcast.settings.endpoints import Compression, Encoding, complete_endpoint, endpoint_faults, redact_url
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.frozen import Frozen, settings
from llm_otel_broadcast.settings.headers import HEADERS_WRITTEN, header_faults, read_headers
from llm_otel_broadcast.settings.privacy import HIDE, TEXTS_OR_NONE, callable_fault, plain_parts, tightened
from llm_otel_broadcast.settings.rules import API_KEYS, FILTER_RULES, plain_keys, plain_rules
from llm_otel_broadcast.settings.validators import (
    CONTENT_CHARS,
    FILE_OR_NONE,
    TEXT,
    TEXTS,
    TRUTH,
    Kind,
    choice,
    faults_of,
    is_a,
    nearest,
    seconds,
    share,
    some_of,
    whole,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

Ids: TypeAlias = Literal["own", "openrouter"]
"""Whose ids a generation's span has."""
Method: TypeAlias = Literal["POST", "PUT"]
"""The method of HTTP that spans are sent by."""

# What only a `Destination` in a list of them may have; `instrument()` has a `max_content_chars` of its own.
_ONLY_IN_LISTS: Final = frozenset({"batch_delay", "enabled", "max_content_chars", "name"})

# Looked up at each use: a dialect may be registered later.
_DIALECT: Final = Kind(
    lambda name, value: choice(*DIALECT_NAMES).faults(name, value),
    str,
    ", ".join(f"`{name}`" for name in DIALECT_NAMES),
)
_GENERATION_METADATA: Final = some_of("cost", "identity", "request_context")
_ENDPOINT: Final = Kind(lambda _, value: [] if value is None else endpoint_faults(value), str, "URL")
_CHARACTERS: Final = whole("characters", *CONTENT_CHARS)
_MAX_CONTENT_CHARS: Final = Kind(
    lambda name, value: [] if value is None else _CHARACTERS.faults(name, value), _CHARACTERS.read, _CHARACTERS.written
)
_HEADERS: Final = Kind(lambda _, value: header_faults(value), read_headers, HEADERS_WRITTEN)


@settings
class Destination(Frozen):
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
        durable: True, with `instrument(spool=...)`: everything is on disk within a second of the end of its call, before it is sent.
        dialect: names of the attributes: `semconv`, OpenTelemetry's GenAI conventions, the newest; `semconv-1.37`, `-1.38`,
            `-1.40` and `-1.41`, a published version of them, without the names that came later; `openinference`, those that
            Phoenix, Arize AX and Weave read; `openrouter`,
            the spans of OpenRouter's Broadcast.
        ids: `openrouter` gives a generation the ids that OpenRouter's own Broadcast gives it, so that a backend shows both as one
            span: its span id where nothing refers to ours (a span of the program's, `on_generation`, `link_gateway`), its
            trace id where the generation also stands alone and no `trace_id` is stated. `own`: never.
        generation_metadata: what a destination of OpenRouter's calls additional generation metadata, with `dialect="openrouter"`,
            as far as a client knows it: `cost`, `identity`, `request_context`.
        aliases: further attributes, made of facts that the destination gets anyway, for backends that read names of their own:
            `{"operation.cost": "total_cost", "acme.tags": "tags", "acme.meta.*": "metadata.*"}`. A name that the dialect has
            already is left alone. `|` between facts: the first that is known. Facts about the caller (session_id, user_id,
            trace_name, tags, metadata) are on all spans of a trace, the others on generations only.
        resource_attributes: attributes of the resource that spans come with at this destination, beside the program's own.
        max_content_chars: length of one content attribute, at most; where `instrument()` has a smaller one, that counts.
        hosts: only calls to these hosts, such as `api.openai.com` or `*.openai.azure.com`.
        method: `POST`, as OTLP has it, or `PUT` for a webhook that wants it.
        exporter: an OpenTelemetry `SpanExporter` to use instead of `endpoint`, as configured by you.

    Raises:
        ConfigError: naming every wrong field, its value and the fix.
    """

    endpoint: str | None = field(default=None, metadata=is_a(_ENDPOINT))
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, metadata=is_a(_HEADERS))
    name: str = field(default="", metadata=is_a(TEXT))
    enabled: bool = field(default=True, metadata=is_a(TRUTH))
    encoding: Encoding = field(default="auto", metadata=is_a(choice(*get_args(Encoding))))
    compression: Compression = field(default="none", metadata=is_a(choice(*get_args(Compression))))
    privacy_mode: bool = field(default=False, metadata=is_a(TRUTH))
    timeout: float = field(default=10.0, metadata=is_a(seconds(0.001)))
    batch_delay: float = field(default=1.0, metadata=is_a(seconds(0)))
    certificate: str | None = field(default=None, metadata=is_a(FILE_OR_NONE))
    client_certificate: str | None = field(default=None, metadata=is_a(FILE_OR_NONE))
    client_key: str | None = field(default=None, metadata=is_a(FILE_OR_NONE))
    sampling_rate: float = field(default=1.0, metadata=is_a(share(0.0001)))
    errors_always: bool = field(default=False, metadata=is_a(TRUTH))
    api_keys: Mapping[str, Sequence[str]] | None = field(default=None, metadata=is_a(API_KEYS))
    filter_rules: Mapping[str, object] | None = field(default=None, metadata=is_a(FILTER_RULES))
    hide: Collection[str] = field(default=(), metadata=is_a(HIDE))
    redact: Callable[[str], str] | None = field(default=None, metadata=is_a(None))
    metadata_allow: Sequence[str] | None = field(default=None, metadata=is_a(TEXTS_OR_NONE))
    metadata_deny: Sequence[str] = field(default=(), metadata=is_a(TEXTS))
    hash_user: bool = field(default=False, metadata=is_a(TRUTH))
    durable: bool = field(default=False, metadata=is_a(TRUTH))
    dialect: str = field(default="semconv", metadata=is_a(_DIALECT))
    ids: Ids = field(default="own", metadata=is_a(choice(*get_args(Ids))))
    generation_metadata: Collection[str] = field(default=(), metadata=is_a(_GENERATION_METADATA))
    aliases: Mapping[str, str] = field(default_factory=dict, metadata=is_a(ALIASES))
    resource_attributes: Mapping[str, str | bool | int | float] = field(
        default_factory=dict, metadata=is_a(RESOURCE_ATTRIBUTES)
    )
    max_content_chars: int | None = field(default=None, metadata=is_a(_MAX_CONTENT_CHARS))
    hosts: Sequence[str] = field(default=(), metadata=is_a(HOSTS))
    method: Method = field(default="POST", metadata=is_a(choice(*get_args(Method))))
    exporter: SpanExporter | None = field(default=None, repr=False, metadata=is_a(None))

    def __post_init__(self) -> None:
        faults = self._faults()
        if faults:
            label = f'destination "{self.name}"' if isinstance(self.name, str) and self.name else "destination"
            raise ConfigError([f"{label}: {fault}" for fault in faults])
        headers = dict(self.headers)
        if self.endpoint is not None:
            endpoint = complete_endpoint(self.endpoint)
            # A header that the caller gives wins over user information in the URL.
            if endpoint.authorization and not any(name.lower() == "authorization" for name in headers):
                headers["Authorization"] = endpoint.authorization
            object.__setattr__(self, "endpoint", endpoint.url)
        # Copies: what the caller changes afterwards changes no destination.
        object.__setattr__(self, "headers", headers)
        object.__setattr__(self, "hide", plain_parts(self.hide))
        object.__setattr__(self, "hosts", plain_hosts(self.hosts))
        object.__setattr__(self, "aliases", dict(self.aliases))
        object.__setattr__(self, "resource_attributes", dict(self.resource_attributes))
        if self.api_keys is not None:
            object.__setattr__(self, "api_keys", plain_keys(self.api_keys))
        if self.filter_rules is not None:
            object.__setattr__(self, "filter_rules", plain_rules(self.filter_rules))
        if not self.name:
            parts = urlsplit(self.endpoint or "")
            host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
            # An exporter has no host: its type says what it is.
            object.__setattr__(self, "name", type(self.exporter).__name__ if self.endpoint is None else host)

    @classmethod
    def preset(cls, preset: str, /, **values: Any) -> Destination:
        """Make the destination for a known backend: `Destination.preset("axiom", token="xaat-...", dataset="llm")`.

        Args:
            preset: its name, as `llm-otel-broadcast destinations presets` lists them with what each needs.
            values: what it needs, and fields of `Destination`, which win over the preset's.

        Raises:
            ConfigError: naming every value that is missing, unknown or wrong.
        """
        # The table of backends is loaded only where a preset is used.
        from llm_otel_broadcast.settings.presets import table_of

        return cls(**table_of(preset, values, FIELD_NAMES))

    def __repr__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.repr}
        if self.endpoint is not None:
            values["endpoint"] = redact_url(self.endpoint)
        return f"Destination({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    def _faults(self) -> list[str]:
        faults = [*faults_of(self), *callable_fault("redact", self.redact)]
        if (self.exporter is None) == (self.endpoint is None):
            faults.append(
                'endpoint is missing: give the traces URL of your backend, e.g. endpoint="https://api.axiom.co/v1/traces"'
                if self.endpoint is None
                else "endpoint and exporter are both given: leave one out"
            )
        if self.client_key is not None and self.client_certificate is None:
            faults.append("client_key needs client_certificate, the certificate that it is the key of")
        is_set = self.generation_metadata and not _GENERATION_METADATA.faults("", self.generation_metadata)
        if is_set and self.dialect != "openrouter":
            faults.append('generation_metadata needs dialect="openrouter", which has such attributes')
        if self.exporter is not None and not callable(getattr(self.exporter, "export", None)):
            faults.append(f"exporter must be an OpenTelemetry SpanExporter, got {type(self.exporter).__name__}")
        return faults


def check_field_names(call: str, names: Iterable[str], all_names: Collection[str]) -> None:
    """Refuse keyword arguments that `**destination: Unpack[DestinationFields]` lets through at run time.

    Args:
        call: the name of the function that was called.
        names: the names of the arguments in `**destination`.
        all_names: the names of all arguments that the function takes.

    Raises:
        TypeError: as for any unknown argument, with the nearest name.
    """
    for name in names:
        if name not in SHORTHAND:
            raise TypeError(f"{call}() got an unexpected keyword argument '{name}'{nearest(name, all_names)}")


FIELD_NAMES: Final = tuple(field.name for field in fields(Destination))
SHORTHAND: Final = tuple(name for name in FIELD_NAMES if name not in _ONLY_IN_LISTS)
"""The names of the fields that `instrument()` takes for its one destination: those of `DestinationFields`."""


def is_default(name: str, value: object) -> bool:
    """Return whether a field has this value when it is not given."""
    return bool(Destination.__dataclass_fields__[name].default == value)


def tighten(destination: Destination, common: Mapping[str, object]) -> Destination:
    """Return the destination with the privacy settings that count for all destinations added to its own."""
    return replace(
        destination, **{name: tightened(name, getattr(destination, name), value) for name, value in common.items()}
    )
