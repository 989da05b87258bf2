"""What a destination may ask for beside a dialect: further names of facts (`aliases`), attributes of its resource, hosts. Pure."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Final

from llm_otel_broadcast.record.int64 import MAX_INT64, MIN_INT64
from llm_otel_broadcast.settings.validators import MAPPING_WRITTEN, TEXTS, Kind, nearest, read_mapping

METADATA: Final = "metadata."
ALL_METADATA: Final = "metadata.*"
"""The one fact that is several attributes: a name that ends in `*` takes them."""
FACTS: Final = (
    # The words of `filter_rules`, where those have one.
    "model",
    "provider",
    "session_id",
    "user_id",
    "finish_reason",
    "total_cost",
    "total_tokens",
    "prompt_tokens",
    "completion_tokens",
    "response_model",
    "operation",
    "input_cost",
    "output_cost",
    "costs",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "time_to_first_chunk",
    "first_chunk_time",
    "tags",
    "tags_text",
    "metadata",
    "trace_name",
    "trace_id",
    "is_root",
    "question",
    "answer",
    ALL_METADATA,
)
"""What an alias may stand for; `metadata.KEY` as well. Only `question` and `answer` are content."""
_MAX_NAME_CHARS: Final = 256
_HOST_CHARACTERS: Final = frozenset("_.-*[]:" + string.digits + string.ascii_letters)


def facts_in(alias: str) -> list[str]:
    """Return the facts that an alias stands for: the first that a span has is the one that is sent."""
    return [fact.strip() for fact in alias.split("|")]


def alias_faults(name: str, value: object) -> list[str]:
    """Say what is wrong with `aliases`."""
    if not isinstance(value, Mapping):
        return [f'{name} must be a mapping such as {{"operation.cost": "total_cost"}}, got {type(value).__name__}']
    faults = []
    for attribute, alias in value.items():
        if not isinstance(attribute, str) or not 0 < len(attribute) <= _MAX_NAME_CHARS:
            faults.append(f"{name} has {attribute!r}, which is no name of an attribute")
        elif not isinstance(alias, str):
            faults.append(f'{name} "{attribute}" must be the name of a fact, got {type(alias).__name__}')
        elif attribute.endswith("*") or ALL_METADATA in alias:
            if not (attribute.endswith("*") and alias == ALL_METADATA):
                faults.append(f'{name} "{attribute}": a name that ends in * stands for metadata.*, and only such a one')
        else:
            faults += [
                f'{name} "{attribute}" stands for "{fact}", which is no fact{nearest(fact, FACTS)}: there are metadata.KEY, '
                + ", ".join(FACTS)
                for fact in facts_in(alias)
                if fact not in FACTS and not (fact.startswith(METADATA) and fact != METADATA)
            ]
    return faults


def resource_faults(name: str, value: object) -> list[str]:
    """Say what is wrong with `resource_attributes`."""
    if not isinstance(value, Mapping):
        return [f'{name} must be a mapping such as {{"team": "search"}}, got {type(value).__name__}']
    faults = [f"{name} has {key!r}, which is no name" for key in value if not isinstance(key, str) or not key]
    faults += [
        f'{name} "{key}" must be a text, a number of 64 bits, True or False, got {type(item).__name__}'
        for key, item in value.items()
        # Protobuf has no larger integers: one would cost every batch.
        if not isinstance(item, str | bool | int | float)
        or (isinstance(item, int) and not MIN_INT64 <= item <= MAX_INT64)
    ]
    return faults


def host_faults(name: str, value: object) -> list[str]:
    """Say what is wrong with `hosts`."""
    faults = TEXTS.faults(name, value)
    if faults or not isinstance(value, Sequence):
        return faults
    return [
        f'{name} has "{host}": give a host alone, such as "api.openai.com" or "*.openai.azure.com"'
        for host in value
        # An IPv6 address has colons of its own.
        if not _HOST_CHARACTERS.issuperset(host) or host.count(":") == 1 or "]:" in host
    ]


ALIASES: Final = Kind(alias_faults, read_mapping, MAPPING_WRITTEN)
RESOURCE_ATTRIBUTES: Final = Kind(resource_faults, read_mapping, MAPPING_WRITTEN)
HOSTS: Final = Kind(host_faults, TEXTS.read, "`host,host`")


def plain_hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    """Return checked hosts as they are compared: without case, the last dot, and the brackets of an IPv6 address."""
    return tuple(host.lower().rstrip(".").strip("[]") for host in hosts)
