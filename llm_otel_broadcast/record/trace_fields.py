"""The trace fields of a call: what its caller said about it, from all sources together."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

_NO_METADATA: Final[Mapping[str, object]] = MappingProxyType({})


# Not a frozen dataclass, which takes three times as long to make: this is done on the host's thread, at each call.
class Fields(NamedTuple):
    """What the caller said about the call, merged and checked. Empty text never occurs: absent is None."""

    trace_id: str | None = None
    parent_span_id: str | None = None
    trace_name: str | None = None
    span_name: str | None = None
    generation_name: str | None = None
    session_id: str | None = None
    user: str | None = None
    private: bool = False
    metadata: Mapping[str, object] = _NO_METADATA
    """As given: turned into span attributes in the background by `fields.metadata`."""


NO_FIELDS = Fields()
