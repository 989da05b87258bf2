"""The record of one call to a model: what was asked, what came back, when, and how it ended.

Filled on the host's thread, read on the lanes' threads once `ended` is set. Imports only values of ours, and no client
library; holds plain scalars and shallow copies only, never a response or chunk object.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from llm_otel_broadcast.host.green_threads import Exclusion
from llm_otel_broadcast.host.process import begin_anew_in_child
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.server import UNKNOWN_SERVER
from llm_otel_broadcast.record.totals import Spent
from llm_otel_broadcast.record.trace_fields import NO_FIELDS
from llm_otel_broadcast.record.usage import Cost, Usage

Detail: TypeAlias = str | bool | int | float | Sequence[str]


NOTHING: Final[frozenset[str]] = frozenset()
_MAX_CHARACTERS: Final = 1_000_000
_BASE_SIZE: Final = 2_000


@dataclass(slots=True)
class ToolCall:
    """A call that the caller has to run; `arguments` is the text as sent, usually JSON. `details` is content."""

    id: str | None = None
    name: str | None = None
    arguments: str = ""
    details: Mapping[str, object] | None = None
    """Where the tool is from, when the answer says it: `server_label`, `namespace`."""


@dataclass(frozen=True, slots=True)
class ServerCall:
    """A call of a tool that the provider runs itself (web search, code interpreter, ...). `details` is content."""

    kind: str
    id: str | None = None
    status: str | None = None
    details: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of OpenRouter's at a provider; only its order is known, not when it was."""

    provider: str
    model: str | None = None
    status: int | str | None = None


@dataclass(slots=True)
class Choice:
    """One answer. Text parts are content; `finish_reason` is not."""

    index: int = 0
    role: str = "assistant"
    finish_reason: str | None = None
    content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    native_finish_reason: str | None = None
    """OpenRouter's: the reason in the serving provider's own words."""
    tool_calls: list[ToolCall] = field(default_factory=list)
    media: list[Mapping[str, object]] = field(default_factory=list)
    """Images, audio or files in the answer, described, never carried: members of a `blob` or `uri` part."""


# several lanes may meet the same record; reading it twice would fold it twice
_settling: Final = Exclusion()
begin_anew_in_child(_settling.begin_anew)

Message: TypeAlias = object
"""A message as the caller gave it, its containers copied: a dict, or an object of the client library."""


class Generation:
    """One call. Everything but ids, `operation` and `started` may be absent (None) until known."""

    __slots__ = (
        "accounted",
        "api",
        "api_keys",
        "app_spans",
        "attempts",
        "attributes",
        "caller",
        "choices",
        "chunk_times",
        "complete",
        "details",
        "enclosing_spans",
        "end_ns",
        "ended",
        "failure",
        "fields",
        "first_chunk_ns",
        "generation_id",
        "hides_usage_chunk",
        "in_scope",
        "instructions",
        "is_measured",
        "max_characters",
        "messages",
        "omitted_characters",
        "operation",
        "parameters",
        "parent_span_id",
        "pending",
        "request_model",
        "response_id",
        "response_model",
        "response_service_tier",
        "retries",
        "served_model",
        "server",
        "server_calls",
        "serving_provider",
        "size",
        "span_id",
        "start_ns",
        "started",
        "stream",
        "system_fingerprint",
        "tool_call_count",
        "tool_count",
        "tool_names",
        "tools",
        "trace_id",
        "traced_below",
        "unwanted",
        "usage",
        "wants_content",
    )

    def __init__(self, operation: str, api: str | None = None) -> None:  # noqa: PLR0915  # a line an attribute
        self.operation = operation
        self.api = api
        """`chat_completions` or `responses`, where the conventions name the API."""
        self.start_ns = time.time_ns()
        self.started = time.perf_counter_ns()
        self.end_ns = 0
        self.ended = False
        self.trace_id = 0
        self.span_id = 0
        self.parent_span_id = 0
        self.enclosing_spans: tuple[EnclosingSpan, ...] = ()
        """Enclosing root and intermediate spans, outermost first."""
        self.app_spans: tuple[Any, ...] = ()
        """Courtesy spans in the app's own tracer, the generation's last; they end with the record."""
        self.fields = NO_FIELDS
        self.server = UNKNOWN_SERVER
        self.wants_content = False
        self.unwanted = NOTHING
        """Parts of the content that nobody may have: of an answer, readers then keep no text."""
        self.api_keys = NOTHING
        """Which of the entries that destinations ask for name the call's API key."""
        self.caller: Any = None  # the client, until the call ends, where its key is known only then
        self.attributes: dict[str, object] | None = None
        """What `on_generation` adds; None: it has not been asked."""
        self.request_model: str | None = None
        self.parameters: Mapping[str, object] = {}
        """Request parameters from the reader's allow-list, under the record's names; unset ones are absent."""
        self.details: dict[str, Detail] | None = None
        """Facts that only some operations have; the dialect knows the names."""
        self.stream = False
        self.instructions: str | None = None
        """Instructions given apart from the messages."""
        self.messages: Sequence[Message] | None = None
        self.tools: Sequence[object] | None = None
        self.tool_count = 0
        self.tool_names: Sequence[str] = ()
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.response_service_tier: str | None = None
        self.system_fingerprint: str | None = None
        self.serving_provider: str | None = None
        """OpenRouter's `provider` member: who served the model."""
        self.served_model: str | None = None
        """The model that Azure's router chose; it wins over the name in the body."""
        self.generation_id: str | None = None
        """OpenRouter's own id, which a failed call has too, and `/responses` beside the response's."""
        self.choices: list[Choice] = []
        self.complete = False
        """A stream has said that its answer is whole, in an API that has no finish reasons."""
        self.tool_call_count = 0
        """Calls that the caller has to run, in all choices together."""
        self.server_calls: Sequence[ServerCall] = ()
        self.attempts: Sequence[Attempt] = ()
        self.retries: int | None = None
        """Tries that the client library made again by itself before the one that counts."""
        self.usage: Usage | None = None
        self.first_chunk_ns: int | None = None
        """Nanoseconds from the start to the first content, reasoning or tool delta."""
        self.chunk_times: list[int] | None = None
        """When each chunk came (`perf_counter_ns`), noted only where metrics are wanted."""
        self.traced_below = False
        """Another instrumentation below ours makes the app's span of this call."""
        self.in_scope = False
        """A context of the program's that opened spans encloses it, and its own fields do not take it elsewhere."""
        self.is_measured = False
        """The app has a meter provider: the record goes into its metrics."""
        self.accounted = False
        self.failure: Failure | None = None
        self.hides_usage_chunk = False
        """We asked for usage in the stream: the chunk that only carries it is kept from the caller."""
        self.size = _BASE_SIZE
        """Estimate of the bytes held: readers add the length of the texts they keep."""
        self.max_characters = _MAX_CHARACTERS
        """How much of an answer's texts may be kept: more could not be sent."""
        self.omitted_characters = 0
        """How much of the answer's texts was left out, because it was more."""
        self.pending: Callable[[], None] | None = None
        """What is left to read (a raw response's body); `settle` runs it on a lane's thread."""

    @property
    def name(self) -> str:
        """The span's name: `generation_name`, else operation and model (GenAI conventions, client inference span)."""
        given = self.fields.generation_name
        if given:
            return given
        return f"{self.operation} {self.request_model}" if self.request_model else self.operation

    @property
    def wants_answer(self) -> bool:
        return self.wants_content and "outputs" not in self.unwanted

    def restart(self) -> None:
        """Start the clock now: the record was made when the call was, which begins only here."""
        self.start_ns = time.time_ns()
        self.started = time.perf_counter_ns()

    def settle(self) -> None:
        """Do the reading that was put off, once. Called in the background only.

        Raises:
            Exception: whatever the reading raises; the record then stays as it was.
        """
        with _settling.only_here():
            pending, self.pending = self.pending, None
            if pending is not None:
                pending()

    def settle_by(self, read: Callable[[], None]) -> bool:
        """Do what was put off in another way, on the host's thread. False: somebody else has done it or is at it.

        Raises:
            Exception: whatever the reading raises; it is then still put off.
        """
        if self.pending is None:
            return False
        with _settling.if_free() as is_free:
            if not is_free or self.pending is None:
                return False
            read()
            self.pending = None
            return True

    def account(self, cost: Cost | None) -> None:
        """Add what the generation took to the outermost block's totals, once. Called in the background only."""
        totals = self.enclosing_spans[0].totals if self.enclosing_spans else None
        if totals is None:
            return
        with _settling.only_here():
            if not self.accounted:
                self.accounted = True
                totals[1].add(self._spent(cost))

    def _spent(self, cost: Cost | None) -> Spent:
        usage = self.usage or Usage()
        return Spent(usage.input_tokens, usage.output_tokens, cost.total if cost else None)

    def end(self, failure: Failure | None = None, *, at_ns: int = 0) -> bool:
        """Stop the clock (`at_ns`: it stopped then). False when the record had ended before: only the first end counts."""
        if self.ended:
            return False
        self.end_ns = at_ns or self.start_ns + time.perf_counter_ns() - self.started
        if failure is not None and self.failure is None:
            self.failure = failure
        for enclosing_span in self.enclosing_spans:
            if not enclosing_span.is_scoped:
                enclosing_span.end_ns = max(enclosing_span.end_ns, self.end_ns)
                continue
            enclosing_span.latest_ns = max(enclosing_span.latest_ns, self.end_ns)
            if enclosing_span.totals:
                enclosing_span.totals[0].add(self._spent(self.usage.stated_cost() if self.usage else None))
        self.ended = True
        return True
