"""The arguments of a Stainless-made client that stand for members of its requests: `extra_body`, `extra_headers`, `user`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llm_otel_broadcast.clients.request_fields import MEMBERS, NO_REQUEST_FIELDS, RequestFields
from llm_otel_broadcast.fields.merge import as_text

_SESSION_HEADER: Final = "x-session-id"


def effective_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a call's arguments as they go over the wire: what `extra_body` has wins. The same dict if it has nothing."""
    extra = arguments.get("extra_body")
    # a dict, mostly: here and below, as asking for the abstract class takes 1,700 instructions
    if not extra or not (type(extra) is dict or isinstance(extra, Mapping)):
        return arguments
    # how the client reads the answer depends on the keyword alone
    return {**arguments, **extra, "stream": arguments.get("stream")}


def read_fields(arguments: Mapping[str, Any], default_headers: Mapping[str, Any]) -> RequestFields:
    """Read `extra_body`, `user` and the header `x-session-id`; the body beats the header.

    Args:
        arguments: the call's keyword arguments.
        default_headers: the client's own; `extra_headers` wins over them, and may remove one.
    """
    body = arguments.get("extra_body")
    user = arguments.get("user")
    headers = arguments.get("extra_headers")
    # most calls: nothing is made for them
    if body is None and headers is None and not default_headers:
        return NO_REQUEST_FIELDS if user is None else RequestFields(None, None, user)
    trace = session_id = None
    carried: Mapping[str, Any] = NO_REQUEST_FIELDS.carried
    if body and (type(body) is dict or isinstance(body, Mapping)):
        trace = body.get("trace")
        session_id = body.get("session_id")
        # the keyword wins; without one the client sends what the body has
        if user is None or as_text(user) is None:
            user = body.get("user")
        carried = {name: body[name] for name in MEMBERS if name in body}
    # a look at an abstract class is dear, even for None
    if session_id is None and headers is not None and isinstance(headers, Mapping):
        session_id = _session_in(headers)
    if session_id is None and default_headers:
        session_id = _session_in(default_headers)
    if trace is not None and type(trace) is not dict and not isinstance(trace, Mapping):
        trace = None
    return RequestFields(trace, session_id, user, carried)


def write_fields(arguments: dict[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with these members in `extra_body`, in place of our `MEMBERS` that it has."""
    body = arguments.get("extra_body")
    # a copy: the caller's own dict is never changed
    rest = dict(body) if type(body) is dict or isinstance(body, Mapping) else {}
    for name in MEMBERS:
        rest.pop(name, None)
    return {**arguments, "extra_body": {**rest, **members}}


def _session_in(headers: Mapping[Any, Any]) -> object:
    """Return the session id among headers, or the client's mark for a header that is removed; None when there is neither."""
    return next((value for name, value in headers.items() if str(name).lower() == _SESSION_HEADER), None)
