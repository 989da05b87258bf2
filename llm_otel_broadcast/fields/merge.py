"""Merging the sources of a call's fields, strongest first, into one `Fields`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from llm_otel_broadcast.fields.ids import parse_traceparent
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.record.trace_fields import NO_FIELDS, Fields

TraceObject: TypeAlias = Mapping[Any, object]
"""A `trace` object as the caller states it: nothing is sure of its keys and values."""
MutableTraceObject: TypeAlias = dict[Any, object]

TEXT_KEYS: Final = ("trace_id", "parent_span_id", "trace_name", "span_name", "generation_name", "session_id", "user")
"""Reserved keys whose values are texts: the names of `Fields`."""
ID_KEYS: Final = ("trace_id", "traceparent", "parent_span_id")
_RESERVED: Final = frozenset({*TEXT_KEYS, *ID_KEYS, "privacy"})
_ID_KEY_SET: Final = frozenset(ID_KEYS)
_POSITIONS: Final[Mapping[object, int]] = {
    key: position for position, key in enumerate((*TEXT_KEYS, "privacy", "traceparent"))
}
"""Where `_sort` puts a reserved key's value: first those of `Fields`, in its order."""
_TRACE_ID, _PARENT_SPAN_ID, _SESSION_ID, _USER, _PRIVACY, _TRACEPARENT = map(
    _POSITIONS.__getitem__, ("trace_id", "parent_span_id", "session_id", "user", "privacy", "traceparent")
)
# by name: the classes are the client libraries', and importing these is not ours to do
ABSENT_TYPES: Final = frozenset({"NotGiven", "Omit", "NoneType"})
"""Types of values that mean "not given" in a call's arguments."""
_CONTAINERS: Final = frozenset({list, dict, set})
_FIXED: Final = frozenset({str, int, float, bool, type(None)})
_NO_WORDS: Final = frozenset({"", "0", "false", "no", "off"})


def over(outer: TraceObject, inner: TraceObject) -> MutableTraceObject:
    """Return the outer source's members with the inner one's over them, key by key.

    Ids go together: one source's trace id is never mixed with another's parent. Privacy once asked for stays.
    """
    # None takes metadata of an outer source away; a reserved key of None says nothing
    own = {key: value for key, value in inner.items() if value is not None or key not in _RESERVED}
    if not outer:
        return own
    merged = dict(outer)
    if has_ids(inner):
        for key in ID_KEYS:
            merged.pop(key, None)
    merged.update(own)
    if is_private(outer.get("privacy")):
        merged["privacy"] = True
    return merged


def merge(trace_object: TraceObject | None, session_id: object, user: object, outer: TraceObject) -> Fields:
    """Merge the call's own fields over those around it. Never raises, whatever the values are.

    Args:
        trace_object: the call's own `trace` object.
        session_id: the call's own session.
        user: the call's own user.
        outer: the fields of contexts and defaults.
    """
    session_text = None if session_id is None else as_text(session_id)
    user_text = None if user is None else as_text(user)
    if not trace_object:
        source = outer
    elif outer:
        source = over(outer, trace_object)
    else:
        source = trace_object
    if not source:
        # the common call must stay cheap
        if session_text is None and user_text is None:
            return NO_FIELDS
        return Fields(None, None, None, None, None, session_text, user_text)
    reserved, metadata = _sort(source)
    if reserved[_TRACEPARENT] is not None:
        parent = parse_traceparent(reserved[_TRACEPARENT])
        if parent is not None:
            reserved[_TRACE_ID] = reserved[_TRACE_ID] or parent[0]
            reserved[_PARENT_SPAN_ID] = reserved[_PARENT_SPAN_ID] or parent[1]
    if session_text is not None:
        reserved[_SESSION_ID] = session_text
    if user_text is not None:
        reserved[_USER] = user_text
    return Fields._make((*reserved[:_TRACEPARENT], metadata))


def with_caller(fields: Fields, session_id: object, user: object) -> Fields:
    """Return merged fields with the call's own session and user over theirs."""
    session_text = None if session_id is None else as_text(session_id)
    user_text = None if user is None else as_text(user)
    if session_text is None and user_text is None:
        return fields
    if fields is NO_FIELDS:
        return Fields(None, None, None, None, None, session_text, user_text)
    # not `_replace`, which takes four times as long
    return Fields._make(
        (*fields[:_SESSION_ID], session_text or fields.session_id, user_text or fields.user, *fields[_PRIVACY:])
    )


def is_fixed(source: TraceObject) -> bool:
    """Return whether no value can change: lists may grow, and an object may have another text later."""
    # not `issuperset`, which makes a set first; nor by a generator: this takes a third
    for value in source.values():  # noqa: SIM110
        if type(value) not in _FIXED:
            return False
    return True


def _sort(source: TraceObject) -> tuple[list[Any], dict[str, object]]:
    """Return the reserved keys' values, by `_POSITIONS`, and copies of what is no key of ours."""
    # one way through the members, which takes a fifth of looking each reserved key up and taking it out of a copy
    reserved: list[Any] = [None, None, None, None, None, None, None, False, None]
    metadata: dict[str, object] = {}
    for key, value in source.items():
        position = _POSITIONS.get(key)
        if position is None:
            # what is no key of ours, its names as text, its lists and objects copied: the caller may go on changing them;
            # by the exact type, as a subclass may have a `copy` that does anything: the host's thread runs this
            metadata[key if type(key) is str else as_text(key) or ""] = (
                value.copy() if type(value) in _CONTAINERS else value  # type: ignore[attr-defined]
            )
        elif position == _PRIVACY:
            reserved[position] = is_private(value)
        else:
            reserved[position] = (value or None) if type(value) is str else as_text(value)
    return reserved, metadata


def has_ids(trace_object: TraceObject | None) -> bool:
    """Return whether a source says which trace or span it belongs to."""
    # most say nothing of it: one look at their keys takes a tenth of three look-ups
    if not trace_object or _ID_KEY_SET.isdisjoint(trace_object):
        return False
    return any(as_text(trace_object.get(key)) for key in ID_KEYS)


def as_text(value: object) -> str | None:
    """Return a reserved key's value as text; None and empty text are "not given"."""
    if type(value) is str:
        return value or None
    # of a member of a `str` enum its value: `str()` would give its name
    if isinstance(value, str):
        return str.__str__(value) or None
    if value is None or type(value).__name__ in ABSENT_TYPES:
        return None
    return or_else(lambda: str(value) or None, None)


def is_private(value: object) -> bool:
    """Return whether a `privacy` value asks for privacy; in doubt it does."""
    if value is None or isinstance(value, bool):
        return bool(value)
    return or_else(lambda: str(value), "unreadable").strip().lower() not in _NO_WORDS
