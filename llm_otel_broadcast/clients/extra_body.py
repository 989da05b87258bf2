"""The trace fields in a request: reading them from the call's arguments, and what of them goes out (DESIGN, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from llm_otel_broadcast.fields.json_text import plain
from llm_otel_broadcast.fields.merge import as_text
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.trace_fields import Fields

_OURS: Final = ("trace", "session_id")
_SESSION_HEADER: Final = "x-session-id"


class Said(NamedTuple):
    """What the call itself carries."""

    body: Mapping[Any, Any] | None = None
    trace: Mapping[Any, Any] | None = None
    session_id: object = None
    user: object = None


def read(kwargs: Mapping[str, Any], default_headers: Mapping[str, Any]) -> Said:
    """Read `extra_body`, `user` and the header `x-session-id`; the body beats the header.

    Args:
        kwargs: the call's arguments.
        default_headers: the client's own; `extra_headers` wins over them, and may remove one.
    """
    body = kwargs.get("extra_body")
    user = kwargs.get("user")
    headers = kwargs.get("extra_headers")
    if body is None and user is None and headers is None and not default_headers:
        return NOTHING_SAID
    trace = session = None
    if body is not None:
        body = body if isinstance(body, Mapping) else None
        if body:
            trace = body.get("trace")
            session = body.get("session_id")
            if as_text(user) is None:
                user = body.get("user")
    if session is None and isinstance(headers, Mapping):
        session = _session_in(headers)
    if session is None and default_headers:
        session = _session_in(default_headers)
    return Said(body, trace if isinstance(trace, Mapping) else None, session, user)


NOTHING_SAID: Final = Said()


def _session_in(headers: Mapping[Any, Any]) -> object:
    """Return the session id among headers, or the client's mark for a header that is removed; None when there is neither."""
    return next((value for name, value in headers.items() if str(name).lower() == _SESSION_HEADER), None)


def rewrite(
    kwargs: dict[str, Any], record: Generation, said: Said, *, forward: bool | None, link_gateway: bool
) -> dict[str, Any]:
    """Return the arguments to call the client with; the caller's own dicts are never changed.

    OpenRouter gets what the call carries, any other host gets it without `trace` and `session_id`, unless `forward`
    (`forward_trace_fields`) says True (the merged fields to any host) or False (none to any).
    """
    body = said.body
    to_openrouter = record.server.is_openrouter
    if forward is None and not link_gateway:
        if to_openrouter or body is None or not any(key in body for key in _OURS):
            return kwargs
        return {**kwargs, "extra_body": {key: value for key, value in body.items() if key not in _OURS}}
    kept = {key: value for key, value in (body or {}).items() if key not in _OURS}
    if forward:
        kept.update(_merged(record.fields, said))
    elif forward is None and to_openrouter and body is not None:
        kept.update({key: body[key] for key in _OURS if key in body})
    if link_gateway and to_openrouter and forward is not False:
        linked = kept.get("trace")
        kept["trace"] = {
            **(linked if isinstance(linked, Mapping) else {}),
            "trace_id": f"{record.trace_id:032x}",
            "parent_span_id": f"{record.span_id:016x}",
        }
    if kept == (body or {}):
        return kwargs
    return {**kwargs, "extra_body": kept}


def _merged(fields: Fields, said: Said) -> dict[str, Any]:
    """Write merged fields back as a body: `trace`, `session_id` and, unless the call says it itself, `user`."""
    names = ("trace_id", "parent_span_id", "trace_name", "span_name", "generation_name")
    trace: dict[str, Any] = {name: value for name in names if (value := getattr(fields, name)) is not None}
    if fields.private:
        trace["privacy"] = True
    own = said.trace or {}  # what the call says is the caller's to get right; a context's objects must not break it
    trace.update({key: own[key] if key in own else plain(value) for key, value in fields.metadata.items()})
    body: dict[str, Any] = {"trace": trace} if trace else {}
    if fields.session_id:
        body["session_id"] = fields.session_id
    if fields.user and said.user is None:
        body["user"] = fields.user
    return body
