"""What the rest of the package asks of a client library: the seam between everything generic and one folder of `clients`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from llm_otel_broadcast.clients.reader import describe
from llm_otel_broadcast.clients.request_fields import NO_REQUEST_FIELDS, RequestFields
from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.server import UNKNOWN_SERVER, Server

if TYPE_CHECKING:
    from llm_otel_broadcast.clients.patching import Target
    from llm_otel_broadcast.record.content import Content


# A protocol with bodies: who derives from it inherits what is absent in the library, and mypy holds the rest.
class ClientLibrary(Protocol):
    """A client library: what is patched in it, and how its objects are understood.

    Derive from it and override what the library has; what is not overridden says that there is no such thing. An `instance`
    is the object whose method is called, as in `client.chat.completions`; `arguments` are the call's keyword arguments, which
    are never changed in place. An error raised here is caught and counted, and the call goes on.

    Attributes:
        package: the module that a program imports. Nothing is patched, and no target is asked for, before it is there.
        other_tracers: how the names of the tracers begin that others, or the library itself, trace its calls with.
    """

    package: str
    other_tracers: tuple[str, ...] = ()

    def targets(self) -> Sequence[Target]:
        """Return what is to be patched. Asked once the package is imported, and again at each `instrument()`."""

    def server_of(self, instance: Any) -> Server:  # noqa: ARG002
        """Return who answers the calls of an instance."""
        return UNKNOWN_SERVER

    def covering(self, client: Any) -> Callable[[Any], bool] | None:  # noqa: ARG002
        """Return a test for the instances that belong to a client, for `instrument(client=...)`.

        Args:
            client: what the program passed: a client, or a part of one that has methods to watch.

        Returns:
            The test, which must not keep the client alive; None when `client` is not of this library.
        """
        return None

    def key_of(self, instance: Any, arguments: Mapping[str, Any], *, has_ended: bool) -> str | None:  # noqa: ARG002
        """Return the API key that a call is made with. It is compared and dropped, never kept.

        Args:
            instance: the instance that is called.
            arguments: the call's arguments; empty when `has_ended`.
            has_ended: the call is over: a key that the client learns while it calls is known.

        Returns:
            The key; None: it is not known yet, and is asked for again when the call has ended.
        """
        return None

    def effective_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments as they go over the wire, for the reader; the same dict where that is what they are.

        Some clients take members of the request's body in an argument of its own, which wins over the others.
        """
        return arguments

    def read_fields(self, instance: Any, arguments: Mapping[str, Any]) -> RequestFields:  # noqa: ARG002
        """Return the trace fields, session and user that the call itself carries."""
        return NO_REQUEST_FIELDS

    def write_fields(self, arguments: dict[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Return the arguments with these members in the request's body in place of `RequestFields.carried`.

        A library whose requests take no such members returns them without.
        """
        return arguments

    def request_usage(self, record: Generation, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Return the arguments with token counts asked for, where the call streams and its caller has left that open."""
        return arguments

    def content_of(self, record: Generation) -> Content:
        """Return a call's content in neutral form, from what its reader has put on the record; asked in the background only.

        What is not overridden gives the answers alone: what a record keeps of messages and tools is the library's own form.
        """
        # A fork in the middle of an import would leave the child a module half made.
        with importing:
            from llm_otel_broadcast.clients.neutral_parts import output_messages
            from llm_otel_broadcast.record.content import Content
        return Content(outputs=output_messages(record.choices, record.server_calls))

    def describe_error(self, error: BaseException) -> Failure:
        """Return what an exception of the library says."""
        return describe(error)

    def answer_of(self, error: BaseException) -> Any:  # noqa: ARG002
        """Return the model's answer when the library got one and found it wanting, None if it got none."""
        return None
