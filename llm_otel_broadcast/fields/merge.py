"""Merging what is said about a call, strongest source first, into one `Fields` (DESIGN, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llm_otel_broadcast.fields.ids import parse_traceparent
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.record.trace_fields import NO_FIELDS, Fields

TEXT_KEYS: Final = ("trace_id", "parent_span_id", "trace_name", "span_name", "generation_name", "session_id", "user")
ID_KEYS: Final = ("trace_id", "traceparent", "parent_span_id")
_RESERVED: Final = frozenset({*TEXT_KEYS, *ID_KEYS, "privacy"})
_CONTAINERS: Final = frozenset({list, dict, set})
_NO: Final = frozenset({"", "0", "false", "no", "off"})


def over(outer: Mapping[Any, Any], inner: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the outer source's keys with the inner one's over them, key by key.

    Ids go together: one source's trace id is never mixed with another's parent. Privacy once asked for stays.
    """
    merged = dict(outer)
    if has_ids(inner):
        for key in ID_KEYS:
            merged.pop(key, None)
    merged.update({key: value for key, value in inner.items() if value is not None or key not in _RESERVED})
    if is_private(outer.get("privacy")):
        merged["privacy"] = True
    return merged


def merge(
    trace: Mapping[Any, Any] | None,
    session_id: object,
    user: object,
    outer: Mapping[Any, Any],
) -> Fields:
    """Merge the call's own `trace` object, session and user over what is said around it. Never raises on odd values."""
    if not trace and not outer:  # the common call must stay cheap
        session, who = as_text(session_id), as_text(user)
        return Fields(session_id=session, user=who) if session or who else NO_FIELDS
    merged = over(outer, trace) if trace else dict(outer)
    if as_text(session_id):
        merged["session_id"] = session_id
    if as_text(user):
        merged["user"] = user
    texts = {key: as_text(merged.pop(key)) for key in TEXT_KEYS if key in merged}
    private = is_private(merged.pop("privacy", None))
    parent = parse_traceparent(as_text(merged.pop("traceparent", None)) or "")
    if parent:
        texts["trace_id"] = texts.get("trace_id") or parent[0]
        texts["parent_span_id"] = texts.get("parent_span_id") or parent[1]
    return Fields(**texts, private=private, metadata=_metadata(merged))


def has_ids(said: Mapping[Any, Any] | None) -> bool:
    """Return whether a source says which trace or span it belongs to."""
    return said is not None and any(as_text(said.get(key)) for key in ID_KEYS)


def _metadata(left: dict[Any, Any]) -> dict[str, object]:
    """Return what is no key of ours, its names as text, its lists and objects copied: the caller may go on changing them."""
    return {
        key if type(key) is str else as_text(key) or "": value.copy() if type(value) in _CONTAINERS else value
        for key, value in left.items()
    }


def as_text(value: object) -> str | None:
    """Return a reserved key's value as text; None and empty text are "not given"."""
    if type(value) is str:
        return value or None
    if isinstance(value, str):  # of a member of a `str` enum its value: `str()` would give its name
        return str.__str__(value) or None
    if value is None or type(value).__name__ in ("NotGiven", "Omit"):
        return None
    return or_else(lambda: str(value) or None, None)


def is_private(value: object) -> bool:
    """Return whether a `privacy` value asks for privacy; in doubt it does."""
    if value is None or isinstance(value, bool):
        return bool(value)
    return or_else(lambda: str(value), "unreadable").strip().lower() not in _NO
