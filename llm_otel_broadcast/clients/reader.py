"""What a reader of a client library's operation provides, and how its objects and errors are read.

Objects are taken as they come, as mappings of their members, so that every version of a client, every gateway's odd answer
and a raw body read alike.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias

from llm_otel_broadcast.fields.merge import ABSENT_TYPES
from llm_otel_broadcast.host.guard import errors, or_else
from llm_otel_broadcast.host.logs import log
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Detail, Generation

Members: TypeAlias = Mapping[str, Any]
NOTHING: Final[Members] = {}
MAX_ERROR_TEXT: Final = 16_384
"""Characters that are kept of an error's text, at most."""
MAX_ITEMS: Final = 16_384
"""Elements that are read of a list of an answer, calls that are kept of a stream: the APIs allow 128 choices and calls."""
MAX_CHOICES: Final = 1_024
"""Choices that are kept of an answer: a server that numbers each chunk anew must not fill the memory."""
MAX_NAME_CHARACTERS: Final = 4_096
"""Characters that are kept of an answer's texts that are no content: ids, names, reasons. Some servers pack state into ids."""
_MAX_JSON_VALUES: Final = 2_000_000
_UNREAD: Final = "reading what a model server sent"
_TEXTS: Final = ("text", "thinking", "reasoning", "content", "summary")
"""Members of a part of a message that are its text."""
_MAX_TEXT_DEPTH: Final = 4
GIVEN: Final = frozenset({bool, float, int, str})
"""Types of most arguments: none of them is a mark for "not given"."""


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


class Reader(Protocol):
    """How one operation's request, response and chunks are read. Stateless: the record holds everything.

    Derive from it: what is not overridden is right for an operation whose answers are JSON and never streamed.

    Attributes:
        operation: `gen_ai.operation.name` of the GenAI conventions.
        api: what the conventions call the API (`openai.api.type`), where they have a name for it.
        positional: names of the arguments that may be given by position, after the instance.
    """

    operation: str
    api: str | None = None
    positional: tuple[str, ...] = ()

    def read_request(self, record: Generation, kwargs: dict[str, Any], *, content: bool) -> None:
        """Fill the record from the call's arguments; may replace a one-time iterator in `kwargs` by one that is teed."""

    def read_response(self, record: Generation, response: Any) -> None:
        """Fill the record from a whole answer: an object of the client, or the same as a mapping."""

    def read_body(self, record: Generation, body: bytes) -> None:
        """Fill the record from the bytes of a whole answer (raw responses, in the background)."""
        self.read_response(record, parse_json(body))

    def measure(self, record: Generation, response: Any) -> bool:  # noqa: ARG002
        """Take the size of an answer that is no text from its HTTP response. False: it is text, and `read_body` reads it."""
        return False

    def fold(self, record: Generation) -> Fold:  # noqa: ARG002
        """Return what takes the chunks of a stream."""
        return NoFold()


def members_of(value: Any) -> Members:
    """Return an object's members by name: of a mapping the mapping itself, of a value without members none."""
    # a look for an attribute that is not there takes 8,000 instructions: thirty times this
    if type(value) is dict:
        return value
    # not `getattr` for each name: a model of the client's looks its attributes up in `__getattr__`, which is far dearer
    try:
        members: Members = value.__dict__
    except AttributeError:
        return value if isinstance(value, Mapping) else NOTHING
    return members


def extras_of(value: Any) -> Members:
    """Return the members that the client's model does not know: pydantic 2 keeps them apart, others among all members."""
    if type(value) is dict:
        return value
    try:
        return value.__pydantic_extra__ or NOTHING
    except AttributeError:
        return members_of(value)


def all_members_of(value: Any) -> Members:
    """Return known and unknown members together."""
    # A model of the client's without the two calls: this is asked for most objects of an answer.
    try:
        members = value.__dict__
        return {**members, **extras} if (extras := value.__pydantic_extra__) else members
    except AttributeError:
        pass
    extras = extras_of(value)
    members = members_of(value)
    return {**members, **extras} if extras and extras is not members else members


# Cached by class: asking a model's class takes as long as reading one.
@lru_cache(maxsize=64)
def declares_only(kind: type, names: frozenset[str]) -> bool:
    """Return whether a class is a model of the client's that declares only these members."""
    return names.issuperset(getattr(kind, "model_fields", (kind,)))


@lru_cache(maxsize=64)
def declares_none(kind: type, names: frozenset[str]) -> bool:
    """Return whether a class is a model of the client's that declares none of these members."""
    return names.isdisjoint(getattr(kind, "model_fields", names))


def items_of(members: Members, name: str) -> Sequence[Any]:
    """Return a member that is a list; one object where a list belongs (text-generation-inference) as a list of it; else nothing."""
    value = members.get(name)
    if value is None:
        return ()
    # Not `list | tuple`: that makes a union at each call, which takes longer than all the rest.
    if isinstance(value, (list, tuple)):
        if len(value) <= MAX_ITEMS:
            return value
        note_unread(f"more than {MAX_ITEMS:,} elements of a list")
        return value[:MAX_ITEMS]
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


def parse_json(body: bytes) -> Any:
    """Parse the bytes of an answer, in the background.

    Raises:
        ValueError: they are no JSON, or beyond what may be parsed; that is counted.
    """
    # `[],[],[]`: three bytes become sixty-four, and no thread of the host's runs while they are parsed
    if body.count(b",") + body.count(b"[") + body.count(b"{") > _MAX_JSON_VALUES:
        note_unread(f"a body with more than {_MAX_JSON_VALUES:,} values")
        raise ValueError("too many values")
    try:
        return json.loads(body)
    except RecursionError as error:
        note_unread("a body that is nested too deeply")
        raise ValueError("nested too deeply") from error


def json_text(value: Any) -> str:
    """Return a value of an answer as text: a text as it is, None as none, anything else as JSON, never as Python writes it."""
    if value is None or isinstance(value, str):
        return value or ""
    return or_else(lambda: json.dumps(value, ensure_ascii=False, default=lambda part: dict(all_members_of(part))), "")


def is_set(value: Any) -> bool:
    """Return whether the caller gave a value: not None, and not one of the client's marks for "not given"."""
    return type(value).__name__ not in ABSENT_TYPES


def parameters_of(kwargs: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, object]:
    """Return those arguments that are set, under the names that the record has for them.

    Args:
        kwargs: the call's arguments.
        names: of the arguments that may go on a span, the record's names by those of the client.
    """
    parameters: dict[str, object] = {}
    for name, value in kwargs.items():
        # `is_set`, without a call for each argument; the name of a type is made anew at each look.
        if name in names and (type(value) in GIVEN or type(value).__name__ not in ABSENT_TYPES):
            parameters[names[name]] = value
    return parameters


def note(record: Generation, **facts: Detail | None) -> None:
    """Put facts of a single operation into the record, under the names that the dialect knows; None is no fact."""
    if record.details is None:
        record.details = {}
    record.details.update({name: value for name, value in facts.items() if value is not None})


def describe(error: BaseException) -> Failure:
    """Return what an exception of the client says; its text counts as content."""
    # not by `getattr`: asking for an attribute runs code, which in other libraries' errors may warn
    members = members_of(error)
    status, code, request_id = members.get("status_code"), members.get("code"), members.get("request_id")
    message = or_else(lambda: str(error), "")
    # Of an event of a stream whose `error` is a mere text, the client raises an error that leaves that text out.
    body = members.get("body")
    stated = error_text_of(body) if isinstance(body, str | list) else ""
    if stated and stated not in message:
        message = f"{message}: {stated}"
    return Failure(
        type=type(error).__qualname__,
        message=message[:MAX_ERROR_TEXT],
        status_code=status if isinstance(status, int) else None,
        code=code if isinstance(code, str) else None,
        request_id=request_id if isinstance(request_id, str) else None,
    )


def error_text_of(error: Any, depth: int = 0) -> str:
    """Return the text of an `error` member: a text, the first of a list, or the `message` (FastAPI: `detail`) of an object."""
    if isinstance(error, list | tuple) and depth < _MAX_TEXT_DEPTH:
        return next((text for item in error[:MAX_ITEMS] if (text := error_text_of(item, depth + 1))), "")
    if isinstance(error, str):
        return error
    members = all_members_of(error)
    return text_of(members.get("message")) or text_of(members.get("detail")) or ""


def note_unread(subject: str) -> None:
    """Count in `status().internal_errors` that a server sent what is not read, and log the first time.

    Args:
        subject: what was not read, for the log; never a text of the server's.
    """
    errors[_UNREAD] += 1
    if errors[_UNREAD] == 1:
        text = (
            "a model server sent what is beyond all bounds, and was not recorded: %s. Your program got all of it. "
            "Said once; status() counts further ones."
        )
        log(logging.WARNING, text, subject)


def ask_for(source: Any, name: str) -> Any:
    """Return an attribute, None where there is none or asking for it fails."""
    return or_else(lambda: getattr(source, name, None), None)
