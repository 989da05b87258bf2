"""The trace fields in a call's own request: what of them goes out, whatever library it is made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llm_otel_broadcast.clients.reader import NOTHING
from llm_otel_broadcast.fields.json_text import plain
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.trace_fields import Fields

if TYPE_CHECKING:
    from llm_otel_broadcast.clients.library import ClientLibrary

MEMBERS: Final = ("trace", "session_id")
"""Members of a request's body that are OpenRouter's, which other servers may refuse. `user` is one that all know."""
_TRACE_TEXTS: Final = ("trace_id", "parent_span_id", "trace_name", "span_name", "generation_name")


class RequestFields(NamedTuple):
    """What the call itself says of its trace.

    Attributes:
        trace: the `trace` object.
        session_id: from the body or from a header.
        user: from an argument or from the body.
        carried: those `MEMBERS` that the request's body has, as they are there.
    """

    trace: Mapping[Any, Any] | None = None
    session_id: object = None
    user: object = None
    carried: Mapping[str, Any] = NOTHING


NO_REQUEST_FIELDS: Final = RequestFields()


def forward_fields(
    library: ClientLibrary,
    arguments: dict[str, Any],
    record: Generation,
    request_fields: RequestFields,
    *,
    forward: bool | None,
    link_gateway: bool,
) -> dict[str, Any]:
    """Return the arguments to call the client with; the caller's own dicts are never changed.

    OpenRouter gets what the call carries, any other host gets it without `MEMBERS`.

    Args:
        library: writes the arguments.
        arguments: the call's arguments.
        record: its fields are merged, its server and its ids known.
        request_fields: what the call itself says.
        forward: `forward_trace_fields`: True sends the merged fields to any host, False sends none to any.
        link_gateway: OpenRouter's own spans are told to hang below ours.
    """
    # only OpenRouter's own hosts: what else speaks as it does may refuse members that it does not know
    to_openrouter = record.server.is_openrouter
    members: dict[str, Any] = {}
    if forward:
        members = _merged_members(record.fields, request_fields)
    elif forward is None and to_openrouter:
        members = dict(request_fields.carried)
    if link_gateway and to_openrouter and forward is not False:
        trace = members.get("trace")
        members["trace"] = {
            **(trace if isinstance(trace, Mapping) else {}),
            "trace_id": f"{record.trace_id:032x}",
            "parent_span_id": f"{record.span_id:016x}",
        }
    # the same object where nothing changes: a call that carries nothing of ours goes out as the host made it
    return arguments if members == request_fields.carried else library.write_fields(arguments, members)


def _merged_members(fields: Fields, request_fields: RequestFields) -> dict[str, Any]:
    """Write merged fields back as members of a body: `trace`, `session_id` and, unless the call says it itself, `user`."""
    trace: dict[str, Any] = {name: value for name in _TRACE_TEXTS if (value := getattr(fields, name)) is not None}
    if fields.private:
        trace["privacy"] = True
    # what the call says is the caller's to get right; objects that a context holds must not break the request
    own = request_fields.trace or {}
    trace.update({key: own[key] if key in own else plain(value) for key, value in fields.metadata.items()})
    members: dict[str, Any] = {"trace": trace} if trace else {}
    if fields.session_id:
        members["session_id"] = fields.session_id
    # a `user` of the call's own goes out as the caller wrote it, in the argument or in the body
    if fields.user and request_fields.user is None:
        members["user"] = fields.user
    return members
