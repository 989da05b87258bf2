"""Known backends: where their OTLP intake is, which headers it wants, what it takes. Data, and a destination made of it.

The facts are those of the vendors' documentation (`docs`) as of the month in `checked`, those of Phoenix, MLflow, Tempo and the
Collector measured as well. A header is left out when an optional value in it is not given; `Basic` encodes what follows.
Backends whose intake no public page describes (Ramp's path, for one) have no row.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from llm_otel_broadcast.settings.endpoints import Compression, Encoding, redact_url
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.headers import shown_name
from llm_otel_broadcast.settings.validators import nearest

_SECRETS: Final = frozenset({"token", "secret_key", "password", "authorization"})
_HOST: Final = re.compile(r"[\w.\-\[\]:]+\Z", re.ASCII)
_ANY_HOST: Final = "host"
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_BASIC: Final = "Basic "
_PLACEHOLDER: Final = re.compile(r"\\\{(\w+)\\\}")


@dataclass(frozen=True, slots=True)
class Preset:
    """One backend. `{name}` in the endpoint, the headers and `look` is a value that the user gives.

    Attributes:
        name: as `Destination.preset` takes it.
        endpoint: URL of the traces intake.
        headers: those it wants.
        docs: the vendor's page about it.
        asks: what each value is, in a few words; `?` in front: may be left out; ` = ` before its default.
        encoding: what it takes.
        compression: `gzip` where that is documented or measured.
        dialect: what its views read best.
        aliases: names that only it reads, `Destination.aliases`.
        resource: attributes of the resource that it wants; one with a value that is not given is left out, like a header.
        max_content_chars: where it cuts values itself, and would break their JSON; None: it does not.
        checked: the month in which `docs` was read.
        look: where a trace can be seen, `{trace_id}` included.
        note: what one should know.
    """

    name: str
    endpoint: str
    docs: str
    headers: Mapping[str, str] = field(default_factory=dict)
    asks: Mapping[str, str] = field(default_factory=dict)
    encoding: Encoding = "auto"
    compression: Compression = "none"
    dialect: str = "semconv"
    aliases: Mapping[str, str] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)
    max_content_chars: int | None = None
    checked: str = "2026-11"
    look: str = ""
    note: str = ""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What the user gives, in the order of asking."""
        parameters = []
        # The notation keeps a backend on one line of the table below.
        for name, text in self.asks.items():
            prompt, _, default = text.removeprefix("?").partition(" = ")
            optional = "" if text.startswith("?") else None
            parameters.append(Parameter(name, prompt, default or optional, name in _SECRETS))
        return tuple(parameters)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that a preset needs. `default` None: there is none; empty: it may be left out."""

    name: str
    prompt: str
    default: str | None
    secret: bool


_LOCAL: Final = {"host": "host, host:port or URL = localhost"}
_OPEN: Final = {"authorization": "?Authorization header, if it wants one"}
# What each backend reads beside the conventions, from its own source or documentation as of November 2026.
_LANGFUSE: Final = {
    "langfuse.observation.completion_start_time": "first_chunk_time",
    "langfuse.trace.name": "trace_name",
    "langfuse.trace.tags": "tags",
    "langfuse.trace.metadata.*": "metadata.*",
    "langfuse.environment": "metadata.environment",
}
_LANGSMITH: Final = {
    "langsmith.trace.session_id": "session_id",
    "langsmith.span.tags": "tags_text",
    "langsmith.metadata.user_id": "user_id",
    "langsmith.metadata.*": "metadata.*",
}
# Its timeline shows calls that have an agent and a conversation, and no others.
_HONEYCOMB: Final = {
    "gen_ai.agent.name": "metadata.agent_name | trace_name",
    "gen_ai.conversation.id": "session_id | trace_id",
}
# In US dollars, whatever the names say.
_SENTRY: Final = {
    "gen_ai.cost.total_tokens": "total_cost",
    "gen_ai.cost.input_tokens": "input_cost",
    "gen_ai.cost.output_tokens": "output_cost",
}
# Of the root's attributes it makes the tags of a trace.
_MLFLOW: Final = {
    "mlflow.llm.cost": "costs",
    "mlflow.traceTag.tags": "tags_text",
    "mlflow.traceTag.*": "metadata.*",
}
_WEAVE: Final = {"wandb.thread_id": "session_id", "wandb.is_turn": "is_root"}

# fmt: off
_ALL: Final = (
    Preset("axiom", "https://{host}/v1/traces", "https://axiom.co/docs/send-data/opentelemetry", {"Authorization": "Bearer {token}", "X-Axiom-Dataset": "{dataset}"}, {"token": "API token (xaat-...)", "dataset": "dataset", "host": "host = api.axiom.co"}, note="EU: host eu-central-1.aws.edge.axiom.co"),
    Preset("jaeger", "http://{host}:4318/v1/traces", "https://www.jaegertracing.io/docs/latest/", asks=_LOCAL, look="http://{host}:16686/trace/{trace_id}"),
    Preset("tempo", "http://{host}:4318/v1/traces", "https://grafana.com/docs/tempo/latest/", {"X-Scope-OrgID": "{tenant}"}, {**_LOCAL, "tenant": "?tenant, if there are several"}, compression="gzip", look="http://{host}:3200/api/traces/{trace_id}"),
    Preset("grafana-cloud", "https://otlp-gateway-{zone}.grafana.net/otlp/v1/traces", "https://grafana.com/docs/grafana-cloud/send-data/otlp/send-data-otlp/", {"Authorization": "Basic {instance_id}:{token}"}, {"zone": "zone of the OTLP gateway, e.g. prod-us-west-0", "instance_id": "instance ID", "token": "token (glc_..., scope traces:write)"}),
    Preset("honeycomb", "https://{host}/v1/traces", "https://docs.honeycomb.io/send-data/opentelemetry/", {"x-honeycomb-team": "{token}", "x-honeycomb-dataset": "{dataset}"}, {"token": "ingest key", "dataset": "?dataset (Honeycomb Classic only)", "host": "host = api.honeycomb.io"}, compression="gzip", note="EU: host api.eu1.honeycomb.io", aliases=_HONEYCOMB),
    Preset("lightstep", "https://{host}:443/traces/otlp/v0.9", "https://docs.lightstep.com/changelog/eol-notice", {"lightstep-access-token": "{token}"}, {"token": "access token", "host": "host = ingest.lightstep.com"}, note="retired: no longer supported since March 1, 2026, or the end of your contract if that is later; EU: host ingest.eu.lightstep.com"),
    Preset("collector", "http://{host}:4318/v1/traces", "https://opentelemetry.io/docs/collector/", {"Authorization": "{authorization}"}, {**_LOCAL, **_OPEN}, compression="gzip", note="200 says nothing of where the Collector sends to"),
    Preset("phoenix", "http://{host}:6006/v1/traces", "https://arize.com/docs/phoenix", {"Authorization": "Bearer {token}", "x-project-name": "{project}"}, {**_LOCAL, "token": "?API key, if it wants one", "project": "?project"}, encoding="protobuf", compression="gzip", dialect="openinference", look="http://{host}:6006"),
    Preset("langfuse", "https://{host}/api/public/otel/v1/traces", "https://langfuse.com/integrations/native/opentelemetry", {"Authorization": "Basic {public_key}:{secret_key}", "x-langfuse-ingestion-version": "4"}, {"public_key": "public key (pk-lf-...)", "secret_key": "secret key (sk-lf-...)", "host": "host, host:port or URL = cloud.langfuse.com"}, compression="gzip", note="self-hosted from 3.22; US: host us.cloud.langfuse.com", aliases=_LANGFUSE),
    Preset("langsmith", "https://{host}/otel/v1/traces", "https://docs.langchain.com/langsmith/trace-with-opentelemetry", {"x-api-key": "{token}", "Langsmith-Project": "{project}"}, {"token": "API key (lsv2_...)", "project": "?project", "host": "host = api.smith.langchain.com"}, note="EU: host eu.api.smith.langchain.com", aliases=_LANGSMITH),
    Preset("datadog", "https://otlp.{site}/v1/traces", "https://docs.datadoghq.com/llm_observability/instrumentation/otel_instrumentation/", {"dd-api-key": "{token}", "dd-otlp-source": "llmobs"}, {"token": "API key", "site": "site = datadoghq.com"}, encoding="protobuf", note="the traces intake may have to be enabled for your account"),
    Preset("new-relic", "https://{host}/v1/traces", "https://docs.newrelic.com/docs/opentelemetry/best-practices/opentelemetry-otlp/", {"api-key": "{token}"}, {"token": "license key", "host": "host = otlp.nr-data.net"}, encoding="protobuf", note="values are cut at 4,095 characters; EU: host otlp.eu01.nr-data.net", max_content_chars=4_095),
    Preset("elastic", "https://{host}/v1/traces", "https://www.elastic.co/docs/reference/opentelemetry/motlp/managed-otlp-endpoint", {"Authorization": "ApiKey {token}"}, {"host": "host of the managed OTLP endpoint", "token": "API key"}, note="self-managed: an EDOT Collector in front"),
    Preset("signoz", "https://ingest.{region}.signoz.cloud:443/v1/traces", "https://signoz.io/docs/ingestion/signoz-cloud/overview/", {"signoz-ingestion-key": "{token}"}, {"region": "region = us", "token": "ingestion key"}, aliases={"gen_ai.server.ttft": "time_to_first_chunk"}),
    Preset("dash0", "https://ingress.{region}.aws.dash0.com/v1/traces", "https://www.dash0.com/docs", {"Authorization": "Bearer {token}", "Dash0-Dataset": "{dataset}"}, {"token": "auth token (auth_...)", "region": "region, e.g. eu-west-1", "dataset": "dataset = default"}),
    Preset("logfire", "https://logfire-{region}.pydantic.dev/v1/traces", "https://logfire.pydantic.dev/docs/", {"Authorization": "{token}"}, {"token": "write token", "region": "region = us"}, note="EU: region eu", aliases={"operation.cost": "total_cost"}),
    Preset("braintrust", "https://{host}/otel/v1/traces", "https://www.braintrust.dev/docs/integrations/sdk-integrations/opentelemetry", {"Authorization": "Bearer {token}", "x-bt-parent": "project_name:{project}"}, {"token": "API key", "project": "project name", "host": "host = api.braintrust.dev"}, aliases={"braintrust.tags": "tags", "braintrust.metadata": "metadata"}),
    Preset("mlflow", "http://{host}:5000/v1/traces", "https://mlflow.org/docs/latest/", {"x-mlflow-experiment-id": "{experiment_id}", "Authorization": "{authorization}"}, {**_LOCAL, "experiment_id": "experiment id = 0", **_OPEN}, compression="gzip", look="http://{host}:5000/#/experiments/0/traces", note="from 3.6, with an SQL store", aliases=_MLFLOW),
    Preset("openobserve", "https://{host}/api/{organization}/v1/traces", "https://openobserve.ai/docs/ingestion/traces/", {"Authorization": "Basic {email}:{password}", "stream-name": "{stream}"}, {"email": "e-mail", "password": "password or token", "organization": "organization = default", "stream": "?stream", "host": "host, host:port or URL = api.openobserve.ai"}),
    Preset("sentry", "https://{host}/api/{project_id}/integration/otlp/v1/traces", "https://docs.sentry.io/concepts/otlp/direct/traces", {"x-sentry-auth": "sentry sentry_key={token}"}, {"host": "host of the DSN, e.g. o1.ingest.us.sentry.io", "project_id": "project id, the number in the DSN", "token": "public key of the DSN"}, note="span events are dropped", aliases=_SENTRY),
    Preset("arize", "https://{host}/v1/traces", "https://arize.com/docs/ax/integrations/opentelemetry/opentelemetry-arize-otel", {"space_id": "{space}", "api_key": "{token}"}, {"space": "space ID", "token": "API key", "project": "project", "host": "host = otlp.arize.com"}, encoding="protobuf", dialect="openinference", resource={"openinference.project.name": "{project}"}, note="EU: host otlp.eu-west-1a.arize.com"),
    Preset("weave", "https://{host}/otel/v1/traces", "https://docs.wandb.ai/weave/guides/tracking/otel", {"wandb-api-key": "{token}"}, {"token": "API key", "team": "team or user name", "project": "project", "host": "host = trace.wandb.ai"}, encoding="protobuf", dialect="openinference", aliases=_WEAVE, resource={"wandb.entity": "{team}", "wandb.project": "{project}"}),
    Preset("opik", "https://{host}/v1/private/otel/v1/traces", "https://www.comet.com/docs/opik/integrations/opentelemetry", {"Authorization": "{token}", "Comet-Workspace": "{workspace}", "projectName": "{project}"}, {"token": "?API key, if it wants one", "workspace": "?workspace", "project": "?project", "host": "host, host:port or URL = https://www.comet.com/opik/api"}, encoding="protobuf", aliases={"opik.tags": "tags_text", "opik.metadata": "metadata"}, note="self-hosted: host http://localhost:5173/api"),
    Preset("posthog", "https://{host}/i/v0/ai/otel", "https://posthog.com/docs/llm-analytics/installation/opentelemetry", {"Authorization": "Bearer {token}"}, {"token": "project API key (phc_...)", "host": "host = us.i.posthog.com"}, note="EU: host eu.i.posthog.com; the user is that of each span"),
    Preset("galileo", "https://{host}/otel/traces", "https://docs.galileo.ai/sdk-api/logging/distributed-tracing-otel", {"Galileo-API-Key": "{token}", "project": "{project}", "logstream": "{logstream}"}, {"token": "API key", "project": "project", "logstream": "log stream = default", "host": "host = api.galileo.ai"}, encoding="protobuf"),
    Preset("honeyhive", "https://{host}/opentelemetry/v1/traces", "https://docs.honeyhive.ai/v2/integrations/opentelemetry-collector", {"Authorization": "Bearer {token}"}, {"token": "ingestion API key", "host": "host = api.dp1.us.prod.honeyhive.ai"}),
    Preset("traceloop", "https://{host}/v1/traces", "https://www.traceloop.com/docs/openllmetry/integrations/traceloop", {"Authorization": "Bearer {token}"}, {"token": "API key", "host": "host = api.traceloop.com"}, encoding="protobuf"),
    Preset("helicone", "https://{host}/v1/trace/log", "https://docs.helicone.ai/rest/trace/post-v1tracelog", {"Authorization": "Bearer {token}"}, {"token": "API key", "host": "host = api.helicone.ai"}, encoding="json", note="EU: host eu.api.helicone.ai"),
    Preset("portkey", "https://{host}/v1/otel/v1/traces", "https://portkey.ai/docs/product/observability/opentelemetry", {"x-portkey-api-key": "{token}"}, {"token": "API key", "host": "host = api.portkey.ai"}),
)
# fmt: on

PRESETS: Final[Mapping[str, Preset]] = {preset.name: preset for preset in _ALL}


def find_preset(name: str) -> Preset:
    """Return a preset.

    Raises:
        ConfigError: there is none of that name.
    """
    if name in PRESETS:
        return PRESETS[name]
    raise ConfigError([f'there is no preset "{name}"{nearest(name, PRESETS)}: there are {", ".join(PRESETS)}'])


def table_of(name: str, user_values: Mapping[str, Any], field_names: Collection[str]) -> dict[str, Any]:
    """Return the fields of the destination that a preset makes.

    Args:
        name: the preset's.
        user_values: its values, and fields of `Destination` that win over the preset's own (headers are added to it).
        field_names: the names of these fields.

    Raises:
        ConfigError: naming every value that is missing, unknown or wrong.
    """
    preset = find_preset(name)
    value_names = {parameter.name for parameter in preset.parameters}
    fields = {key: value for key, value in user_values.items() if key in field_names}
    values, faults = _values(preset, {key: value for key, value in user_values.items() if key in value_names}, fields)
    takes = ", ".join(value_names) if value_names else "nothing"
    faults += [
        f'"{shown_name(key)}" is no value of the preset and no field of a destination{nearest(key, [*value_names, *field_names])}: '
        f"the preset takes {takes}"
        for key in user_values
        if key not in value_names and key not in fields
    ]
    if faults:
        raise ConfigError([f'preset "{name}": {fault}' for fault in faults])
    server_name = next((value_name for value_name in values if _names_server(preset, value_name)), "")
    server = _server(preset, values[server_name]) if server_name else None
    endpoint = _filled(preset.endpoint, values if server is None else {**values, server_name: _ANY_HOST}, quoted=True)
    # What the user says of the server (scheme, port, path in front) counts before the preset's.
    if server is not None:
        path = urlsplit(endpoint).path
        prefix = server.path.rstrip("/").removesuffix(path)
        endpoint = urlunsplit((server.scheme, server.netloc, prefix + path, "", ""))
    table: dict[str, object] = {"name": name, "endpoint": endpoint}
    table |= {"encoding": preset.encoding, "compression": preset.compression, "dialect": preset.dialect}
    if preset.max_content_chars is not None:
        table["max_content_chars"] = preset.max_content_chars
    table |= fields
    resource = {
        key: _filled(text, values, quoted=False)
        for key, text in preset.resource.items()
        if all(values[value_name] for value_name in names_in(text))
    }
    for key, usual in (("aliases", preset.aliases), ("resource_attributes", resource)):
        # What the user adds is added, as with headers.
        added = fields.get(key, {})
        if usual and isinstance(added, Mapping):
            table[key] = {**usual, **added}
    headers = {}
    for key, text in preset.headers.items():
        # An optional value that is not given leaves no empty `Bearer ` behind.
        if any(not values[value_name] for value_name in names_in(text)):
            continue
        headers[key] = _filled(text, values, quoted=False)
        # Basic authentication carries user and password in base64 (RFC 7617, section 2).
        if text.startswith(_BASIC):
            credentials = headers[key].removeprefix(_BASIC).encode()
            headers[key] = _BASIC + base64.b64encode(credentials).decode("ascii")
    return table | {"headers": {**headers, **fields.get("headers", {})}}


def _values(
    preset: Preset, user_values: Mapping[str, Any], fields: Mapping[str, object]
) -> tuple[dict[str, str], list[str]]:
    """Return the preset's values, defaults included, and what is wrong with them; an endpoint of one's own needs none in it."""
    in_endpoint = names_in(preset.endpoint)
    values, faults = {}, []
    for parameter in preset.parameters:
        value = user_values.get(parameter.name, parameter.default)
        # The user's own endpoint replaces the preset's, so its placeholders need no values.
        if parameter.name in in_endpoint and "endpoint" in fields:
            value = value or "-"
        if value is None or (value == "" and parameter.default != ""):
            faults.append(f"{parameter.name} is missing: {parameter.prompt}")
        elif not isinstance(value, str):
            faults.append(f"{parameter.name} must be text, got {type(value).__name__}")
        elif _names_server(preset, parameter.name) and _server(preset, value) is None:
            faults.append(
                f'{parameter.name} must be a host, host:port or a URL such as http://localhost:3000, got "{redact_url(value)}"'
            )
        values[parameter.name] = value if isinstance(value, str) else ""
    return values, faults


def _names_server(preset: Preset, name: str) -> bool:
    """Return whether a value is the whole host of the endpoint."""
    return f"://{{{name}}}" in preset.endpoint


def _server(preset: Preset, value: str) -> SplitResult | None:
    """Return the URL of the server that a host, host:port or URL stands for, None when it is none of these.

    Without a scheme it is the preset's, but `http` for a port of this machine; without a port it is the preset's, unless the
    scheme is another one, which has its own.
    """
    usual = urlsplit(_filled(preset.endpoint, dict.fromkeys(names_in(preset.endpoint), _ANY_HOST), quoted=True))
    # An IPv6 address without brackets would be read as a host and a port.
    text = value if "://" in value else f"//[{value}]" if value.count(":") > 1 and "[" not in value else f"//{value}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    # User information may hold any character, so the host alone is compared with the pattern.
    host = parts.netloc.rpartition("@")[2]
    if not parts.hostname or not _HOST.match(host) or parts.query or parts.fragment:
        return None
    if "://" not in value and (parts.path or "@" in parts.netloc):
        return None
    # A backend on this machine with a port of its own hardly ever has a certificate.
    is_local_port = port is not None and parts.hostname in _LOCAL_HOSTS
    scheme = parts.scheme or ("http" if is_local_port else usual.scheme)
    if scheme not in ("http", "https"):
        return None
    # Phoenix on https://phoenix.example means port 443, on http:// its own port 6006.
    add = f":{usual.port}" if port is None and usual.port and scheme == usual.scheme else ""
    return parts._replace(scheme=scheme, netloc=parts.netloc + add)


def names_in(text: str) -> list[str]:
    """Return the values that a template names."""
    return [name for _, name, _, _ in Formatter().parse(text) if name]


def _filled(text: str, values: Mapping[str, str], *, quoted: bool) -> str:
    return text.format_map({key: quote(value, safe=":[]") if quoted else value for key, value in values.items()})


def takes_no_reference(preset: Preset, name: str) -> bool:
    """Return whether a value is encoded into a header, so that `${VARIABLE}` cannot stand for it in the settings file."""
    return any(text.startswith(_BASIC) and name in names_in(text) for text in preset.headers.values())


def where_to_look(endpoint: str | None, name: str, trace_id: str) -> str | None:
    """Return the page of a trace, if the endpoint of a destination (or its name, where several backends have that one) tells the backend."""
    patterns = [(preset, _PLACEHOLDER.sub(r"(?P<\1>[^/]+?)", re.escape(preset.endpoint))) for preset in _ALL]
    matching = [(preset, match) for preset, pattern in patterns if (match := re.fullmatch(pattern, endpoint or ""))]
    # Jaeger, Tempo and the Collector share one endpoint; the destination's name tells them apart.
    if len(matching) > 1:
        matching = [(preset, match) for preset, match in matching if preset.name in name.lower()]
    if len(matching) != 1 or not matching[0][0].look:
        return None
    preset, match = matching[0]
    return preset.look.format_map({**match.groupdict(), "trace_id": trace_id})
