"""What a reader of a client library's operation provides, and how its objects and errors are read.

Objects are taken as they come, as mappings of their members, so that every version of a client, every gateway's odd answer
and a raw body read alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Detail, Generation

Members: TypeAlias = Mapping[str, Any]
NOTHING: Final[Members] = {}
MAX_ERROR_TEXT: Final = 16_384
"""Characters that are kept of an error's text, at most."""
_PARSED: Final = ("raw_response", "raw_completion")
_TEXTS: Final = ("text", "thinking", "reasoning", "content", "summary")
"""Members of a part of a message that are its text."""
_MAX_TEXT_DEPTH: Final = 4
_UNSET: Final = frozenset({"NotGiven", "Omit", "NoneType"})


class Reader(Protocol):
    """How one operation's request, response and chunks are read. Stateless; the record holds everything."""

    @property
    def operation(self) -> str:
        """`gen_ai.operation.name` of the GenAI conventions."""

    @property
    def api(self) -> str | None:
        """`openai.api.type`, where the conventions have one."""

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        """Fill the record from the call's arguments; may replace a one-time iterator in `kwargs` by one that is teed."""

    def read_response(self, record: Generation, response: Any) -> None:
        """Fill the record from a whole answer: an object of the client, or the same as a mapping."""

    def read_body(self, record: Generation, body: bytes) -> None:
        """Fill the record from the bytes of a whole answer (raw responses, in the background)."""

    def fold(self, record: Generation) -> Fold:
        """Return what takes the chunks of a stream."""


class Fold(Protocol):
    """Takes chunks one by one and fills the record."""

    def add(self, chunk: Any) -> bool:
        """Take a chunk. True: it must not reach the caller, because only our own request for usage made it."""

    def finish(self) -> Failure | None:
        """Fill the record with what the chunks add up to; return what is wrong if no more of them come, by themselves."""


class NoFold:
    """Stands where an operation has no stream."""

    def add(self, chunk: Any) -> bool:  # noqa: ARG002
        return False

    def finish(self) -> None:
        return


def members_of(thing: Any) -> Members:
    """Return an object's members by name; of a mapping itself, of anything else that has none nothing.

    Far cheaper than asking a model of the client for each: its attributes go through `__getattr__`.
    """
    try:
        members: Members = thing.__dict__
    except AttributeError:
        return thing if isinstance(thing, Mapping) else NOTHING
    return members


def extras_of(thing: Any) -> Members:
    """Return the members that the client's model does not know: it keeps them apart (pydantic 2), or nothing does."""
    try:
        return thing.__pydantic_extra__ or NOTHING
    except AttributeError:
        return members_of(thing)


def all_members_of(thing: Any) -> Members:
    """Return known and unknown members together."""
    extras = extras_of(thing)
    members = members_of(thing)
    return {**members, **extras} if extras and extras is not members else members


def items_of(members: Members, name: str) -> Iterable[Any]:
    """Return a member that is a list; one object where a list belongs (text-generation-inference) as a list of it; else nothing."""
    value = members.get(name)
    if value is None or isinstance(value, list | tuple):
        return value or ()
    return (value,) if isinstance(value, Mapping) else ()


def text_within(value: Any, depth: int = 0) -> str:
    """Return the text of what should be one, and may be a part or a list of parts with the text further down."""
    if isinstance(value, str):
        return value
    if depth == _MAX_TEXT_DEPTH or value is None:
        return ""
    if isinstance(value, list | tuple):
        return "".join(text_within(item, depth + 1) for item in value)
    members = all_members_of(value)
    return next((text for name in _TEXTS if (text := text_within(members.get(name), depth + 1))), "")


def text_of(value: Any) -> str | None:
    """Return a text that says something, else None; of a member of a `str` enum its value, which is what the client sends."""
    if type(value) is str:
        return value or None
    return str.__str__(value) or None if isinstance(value, str) else None


def json_text(value: Any) -> str:
    """Return a value of an answer as text: a text as it is, None as none, anything else as JSON, never as Python writes it."""
    if value is None or isinstance(value, str):
        return value or ""
    return or_else(lambda: json.dumps(value, ensure_ascii=False, default=lambda thing: dict(all_members_of(thing))), "")


def is_set(value: Any) -> bool:
    """Return whether the caller gave a value: not None, and not one of the client's marks for "not given"."""
    return type(value).__name__ not in _UNSET


def merged_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a call's arguments as they go over the wire: what `extra_body` has wins over keywords. The same dict if it has nothing.

    How the client reads the answer depends on the keyword `stream` alone.
    """
    extra = arguments.get("extra_body")
    if not extra or not isinstance(extra, Mapping):
        return arguments
    return {**arguments, **extra, "stream": arguments.get("stream")}


def parameters_of(kwargs: Mapping[str, Any], wanted: Mapping[str, str]) -> dict[str, object]:
    """Return those arguments that were given, under the names that the record has for them."""
    return {wanted[name]: kwargs[name] for name in kwargs.keys() & wanted.keys() if is_set(kwargs[name])}


def note(record: Generation, **facts: Detail | None) -> None:
    """Put facts of a single operation into the record, under the names that the dialect knows; None is no fact."""
    if record.details is None:
        record.details = {}
    record.details.update({name: value for name, value in facts.items() if value is not None})


def describe(error: BaseException) -> Failure:
    """Return what an exception of the client says; its text counts as content."""
    said = members_of(error)  # asking for an attribute runs code, which in other libraries' errors may warn
    status, code, request_id = said.get("status_code"), said.get("code"), said.get("request_id")
    return Failure(
        type=type(error).__qualname__,
        message=_message_of(error, said)[:MAX_ERROR_TEXT],
        status_code=status if isinstance(status, int) else None,
        code=code if isinstance(code, str) else None,
        request_id=request_id if isinstance(request_id, str) else None,
    )


def _message_of(error: BaseException, members: Members) -> str:
    """Return an error's text. Of an event of a stream whose `error` is a mere text, the client raises one that leaves it out."""
    message = or_else(lambda: str(error), "")
    body = members.get("body")
    stated = error_text_of(body) if isinstance(body, str | list) else ""
    return f"{message}: {stated}" if stated and stated not in message else message


def error_text_of(error: Any) -> str:
    """Return the text of an `error` member: a text, the first of a list, or the `message` (FastAPI: `detail`) of an object."""
    if isinstance(error, list | tuple):
        return next(filter(None, map(error_text_of, error)), "")
    if isinstance(error, str):
        return error
    members = all_members_of(error)
    return text_of(members.get("message")) or text_of(members.get("detail")) or ""


def answer_of(error: BaseException) -> Any:
    """Return the answer that the client got and then found wanting (`parse`), None if it got none.

    Some errors carry it; what pydantic raises does not, but the client's `parser` had it in hand.
    """
    carried = ask_for(error, "completion")
    if carried is not None:
        return carried
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "parser":
            known = trace.tb_frame.f_locals
            return next((known[name] for name in _PARSED if known.get(name) is not None), None)
        trace = trace.tb_next
    return None


def ask_for(thing: Any, name: str) -> Any:
    """Return an attribute, None where there is none or asking for it fails."""
    return or_else(lambda: getattr(thing, name, None), None)


def retries_of(thing: Any) -> int | None:
    """Return how often the client tried again by itself, told by a raw response, a stream or an error; None if not told.

    The client counts in a header of the request it sends (`x-stainless-retry-count`, openai 1.49 and newer).
    """
    return or_else(lambda: _retries(thing), None)


def _retries(thing: Any) -> int | None:
    stated = getattr(thing, "retries_taken", None)
    if type(stated) is int:
        return stated or None
    response = getattr(thing, "response", None)
    request = getattr(thing, "request", None) if response is None else response.request
    text = getattr(request, "headers", NOTHING).get("x-stainless-retry-count")
    return (int(text) or None) if isinstance(text, str) and text.isdecimal() else None
