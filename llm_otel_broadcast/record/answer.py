"""What a model answered: choices, calls of tools, and OpenRouter's tries at providers."""

from __future__ import annotations

from collections.abc import Mapping

from llm_otel_broadcast.record.named_tuple import NamedTuple
from llm_otel_broadcast.record.value import Value


class ToolCall(Value):
    """A call that the caller has to run; `arguments` is the text as sent, usually JSON. `details` is content.

    Attributes:
        id: the id that the caller answers with.
        name: the function's.
        arguments: the text as sent.
        details: where the tool is from, when the answer says it: `server_label`, `namespace`.
    """

    __slots__ = ("arguments", "details", "id", "name")

    def __init__(
        self,
        id: str | None = None,  # noqa: A002  # as the API has it
        name: str | None = None,
        arguments: str = "",
        details: Mapping[str, object] | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.arguments = arguments
        self.details = details


class ServerCall(NamedTuple):
    """A call of a tool that the provider runs itself (web search, code interpreter, ...). `details` is content."""

    kind: str
    id: str | None = None
    status: str | None = None
    details: Mapping[str, object] | None = None


class Attempt(NamedTuple):
    """One try of OpenRouter's at a provider, in their order; when it was is known only where its latency is."""

    provider: str
    model: str | None = None
    status: int | str | None = None
    latency_ms: float | None = None
    """Until the provider's headers came, in milliseconds."""


class Choice(Value):
    """One answer. Text parts are content; `finish_reason` is not.

    Attributes:
        native_finish_reason: OpenRouter's: the reason in the serving provider's own words.
        media: images, audio or files in the answer, described, never carried: members of a `blob` or `uri` part.
    """

    __slots__ = (
        "content",
        "finish_reason",
        "index",
        "media",
        "native_finish_reason",
        "reasoning",
        "refusal",
        "role",
        "tool_calls",
    )

    def __init__(  # noqa: PLR0913, PLR0917  # the members of an answer
        self,
        index: int = 0,
        role: str = "assistant",
        finish_reason: str | None = None,
        content: str | None = None,
        reasoning: str | None = None,
        refusal: str | None = None,
        native_finish_reason: str | None = None,
        tool_calls: list[ToolCall] | None = None,
        media: list[Mapping[str, object]] | None = None,
    ) -> None:
        self.index = index
        self.role = role
        self.finish_reason = finish_reason
        self.content = content
        self.reasoning = reasoning
        self.refusal = refusal
        self.native_finish_reason = native_finish_reason
        self.tool_calls = [] if tool_calls is None else tool_calls
        self.media = [] if media is None else media

    def without_texts(self) -> Choice:
        """Return the choice with nothing of what the model said."""
        return Choice(self.index, self.role, self.finish_reason, native_finish_reason=self.native_finish_reason)
