"""The types of the fields of one destination, for type checkers: no other module imports this one when it runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from llm_otel_broadcast.settings.destination import Ids, Method
from llm_otel_broadcast.settings.endpoints import Compression, Encoding

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter


class DestinationFields(TypedDict, total=False):
    """The fields of `Destination` that `instrument()` and `BroadcastSpanProcessor` take for their one destination.

    None counts as not given, so that a variable or the settings file can say it.
    """

    endpoint: str | None
    headers: Mapping[str, str] | None
    encoding: Encoding | None
    compression: Compression | None
    privacy_mode: bool | None
    timeout: float | None
    certificate: str | None
    client_certificate: str | None
    client_key: str | None
    sampling_rate: float | None
    errors_always: bool | None
    api_keys: Mapping[str, Sequence[str]] | None
    filter_rules: Mapping[str, object] | None
    hide: Collection[str] | None
    redact: Callable[[str], str] | None
    metadata_allow: Sequence[str] | None
    metadata_deny: Sequence[str] | None
    hash_user: bool | None
    durable: bool | None
    dialect: str | None
    ids: Ids | None
    generation_metadata: Collection[str] | None
    aliases: Mapping[str, str] | None
    resource_attributes: Mapping[str, str | bool | int | float] | None
    hosts: Sequence[str] | None
    method: Method | None
    exporter: SpanExporter | None
