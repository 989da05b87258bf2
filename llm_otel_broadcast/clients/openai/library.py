"""The `openai` client library, as the rest of the package sees it. Its readers are not imported before the client is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from llm_otel_broadcast.clients import extra_body
from llm_otel_broadcast.clients.library import ClientLibrary
from llm_otel_broadcast.clients.openai import client as openai_client
from llm_otel_broadcast.clients.openai.stream_usage import request_usage
from llm_otel_broadcast.clients.reader import NOTHING, ask_for
from llm_otel_broadcast.clients.request_fields import RequestFields
from llm_otel_broadcast.clients.tracebacks import variables_of
from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.record.generation import Generation

if TYPE_CHECKING:
    from llm_otel_broadcast.clients.patching import Target
    from llm_otel_broadcast.record.content import Content

_PARSED_NAMES: Final = ("raw_response", "raw_completion")
"""What the client's `parser` calls the answer that it reads, in its versions."""


class OpenAILibrary(ClientLibrary):
    """`openai`, and whatever its clients are pointed at."""

    package = "openai"
    other_tracers = (
        "opentelemetry.util.genai",
        "opentelemetry.instrumentation.genai.openai",
        "opentelemetry.instrumentation.openai",
        "openinference.instrumentation.openai",
    )

    def __init__(self) -> None:
        self._read_content: Callable[[Generation], Content] | None = None

    def targets(self) -> Sequence[Target]:
        # here, and no sooner: all readers come with them, and a program that never imports openai needs none
        from llm_otel_broadcast.clients.openai import raw_post, targets

        return (*targets.TARGETS, *raw_post.TARGETS)

    # the functions themselves: these are asked for at each call
    server_of = staticmethod(openai_client.server_of)
    effective_arguments = staticmethod(extra_body.effective_arguments)

    def covering(self, client: Any) -> Callable[[Any], bool] | None:
        return openai_client.covering(client)

    def key_of(self, instance: Any, arguments: Mapping[str, Any], *, has_ended: bool) -> str | None:
        client = getattr(instance, "_client", None)
        # such a client asks its provider of keys while it makes the request
        if openai_client.learns_late(client) and not has_ended:
            return None
        return openai_client.key_of(client, arguments.get("extra_headers"))

    def read_fields(self, instance: Any, arguments: Mapping[str, Any]) -> RequestFields:
        return extra_body.read_fields(arguments, openai_client.default_headers_of(getattr(instance, "_client", None)))

    def write_fields(self, arguments: dict[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
        return extra_body.write_fields(arguments, members)

    def request_usage(self, record: Generation, arguments: dict[str, Any]) -> dict[str, Any]:
        return request_usage(record, arguments)

    def content_of(self, record: Generation) -> Content:
        if self._read_content is None:
            # a fork in the middle of an import would leave the child a module half made
            with importing:
                from llm_otel_broadcast.clients.openai.messages import content_of
            self._read_content = content_of
        return self._read_content(record)

    def answer_of(self, error: BaseException) -> Any:
        """Return the answer that `parse` got and then found wanting.

        Some errors carry it; what pydantic raises does not, but the client's `parser` had it in hand.
        """
        carried = ask_for(error, "completion")
        if carried is not None:
            return carried
        variables = variables_of(error, "parser") or NOTHING
        return next((variables[name] for name in _PARSED_NAMES if variables.get(name) is not None), None)


LIBRARY: Final = OpenAILibrary()
