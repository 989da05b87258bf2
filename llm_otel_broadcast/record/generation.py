"""The record of one call to a model: what was asked, what came back, when, and how it ended.

Filled on the host's thread, read on the lanes' threads once `ended` is set. Imports only values of ours, and no client
library; holds plain scalars and shallow copies only, never a response or chunk object.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from llm_otel_broadcast.record.enclosing_span import CONTEXT, EnclosingSpan
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.server import UNKNOWN_SERVER, Server
from llm_otel_broadcast.record.totals import spent
from llm_otel_broadcast.record.trace_fields import NO_FIELDS, Fields
from llm_otel_broadcast.record.usage import UnreadUsage, Usage, stated_cost

# For their types alone: this room imports nothing of OpenTelemetry's, and content is made in the background.
if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from llm_otel_broadcast.record.content import Content

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

    def without_texts(self) -> Choice:
        """Return the choice with nothing of what the model said."""
        return Choice(self.index, self.role, self.finish_reason, native_finish_reason=self.native_finish_reason)


Message: TypeAlias = object
"""A message as the caller gave it, its containers copied: a dict, or an object of the client library."""


class LateReading(Protocol):
    """Reading that the host's thread has put off; done once, by whoever comes first (`host.deferred.Deferred`)."""

    def run(self) -> None:
        """Read, in the background, unless that has been done; wait for whoever is at it."""

    def run_instead(self, function: Callable[[], None]) -> bool:
        """Read in another way, on the host's thread. False: somebody else has read, or is at it."""


class GenerationFacts:
    """What is known of a call apart from its content: all that a dialect is given of it.

    A dialect gets a copy of its own: fields as its destination may have them, choices and server calls without their texts,
    the failure without its message. Of the call under way they are the attributes of `Generation`.
    """

    # A slot keeps a record small and its attributes quick, and a mistyped name an error.
    __slots__ = (
        "api",
        "attempts",
        "choices",
        "details",
        "end_ns",
        "failure",
        "fields",
        "first_chunk_ns",
        "generation_id",
        "operation",
        "outer_parent_span_id",
        "parameters",
        "parent_span_id",
        "request_model",
        "response_id",
        "response_model",
        "response_service_tier",
        "retries",
        "server",
        "server_calls",
        "serving_provider",
        "span_id",
        "start_ns",
        "stream",
        "system_fingerprint",
        "tool_call_count",
        "tool_count",
        "tool_names",
        "trace_id",
        "usage",
    )

    operation: str
    api: str | None
    """`chat_completions` or `responses`, where the conventions name the API."""
    start_ns: int
    end_ns: int
    trace_id: int
    span_id: int
    parent_span_id: int
    outer_parent_span_id: int
    """The span above all enclosing spans, for a backend that is sent none of these; 0: none."""
    fields: Fields
    server: Server
    request_model: str | None
    parameters: Mapping[str, object]
    """Request parameters from the reader's allow-list, under the record's names, as plain values; unset ones are absent."""
    details: dict[str, Detail] | None
    """Facts that only some operations have; the dialect knows the names."""
    stream: bool
    tool_count: int
    tool_names: Sequence[str]
    response_id: str | None
    response_model: str | None
    response_service_tier: str | None
    system_fingerprint: str | None
    serving_provider: str | None
    """OpenRouter's `provider` member: who served the model."""
    generation_id: str | None
    """OpenRouter's own id, which a failed call has too, and `/responses` beside the response's."""
    choices: list[Choice]
    tool_call_count: int
    """Calls that the caller has to run, in all choices together."""
    server_calls: Sequence[ServerCall]
    attempts: Sequence[Attempt]
    retries: int | None
    """Tries that the client library made again by itself before the one that counts."""
    usage: Usage | None
    first_chunk_ns: int | None
    """Nanoseconds from the start to the first content, reasoning or tool delta."""
    failure: Failure | None

    @property
    def name(self) -> str:
        """The span's name: `generation_name`, else operation and model (GenAI conventions, client inference span)."""
        if self.fields.generation_name:
            return self.fields.generation_name
        return f"{self.operation} {self.request_model}" if self.request_model else self.operation

    @property
    def gateway_id(self) -> str | None:
        """OpenRouter's id of the generation, from the header, or of chat completions from the body; None: there is none."""
        if not self.server.is_openrouter:
            return None
        stated = self.generation_id or self.response_id
        return stated if stated is not None and stated.startswith("gen-") else None


class Generation(GenerationFacts):
    """One call under way or ended. Everything but ids, `operation` and `started` may be absent (None) until known."""

    __slots__ = (
        "_usage",
        "api_keys",
        "app_spans",
        "attributes",
        "chunk_times",
        "complete",
        "enclosing_spans",
        "ended",
        "hides_usage_chunk",
        "in_scope",
        "instructions",
        "is_in_app_traces",
        "is_in_failures",
        "is_in_totals",
        "is_limited",
        "is_measured",
        "late_key",
        "max_characters",
        "messages",
        "omitted_characters",
        "pending",
        "read_content",
        "served_model",
        "size",
        "started",
        "tools",
        "traced_below",
        "unread_usage",
        "unwanted",
        "wants_content",
    )

    # Sets the attributes of both classes: a second `__init__` would be one more call for each record, on the host's thread.
    def __init__(self, operation: str, api: str | None = None) -> None:  # noqa: PLR0915  # a line an attribute
        self.operation = operation
        self.api = api
        self.start_ns = time.time_ns()
        self.started = time.perf_counter_ns()
        self.end_ns = 0
        self.ended = False
        self.trace_id = 0
        self.span_id = 0
        self.parent_span_id = 0
        self.enclosing_spans: tuple[EnclosingSpan, ...] = ()
        """Enclosing root and intermediate spans, outermost first."""
        self.app_spans: tuple[Span, ...] = ()
        """Courtesy spans in the app's own tracer, the generation's last; they end with the record."""
        self.fields = NO_FIELDS
        self.server = UNKNOWN_SERVER
        self.wants_content = False
        self.unwanted = NOTHING
        """Parts of the content that nobody may have: of an answer, readers then keep no text."""
        self.api_keys = NOTHING
        """Which of the entries that destinations ask for name the call's API key."""
        self.late_key: Callable[[], str | None] | None = None
        """Asks for the API key at the call's end, where it is not known before."""
        self.attributes: dict[str, object] | None = None
        """What `on_generation` adds; None: it has not been asked."""
        self.request_model = None
        self.parameters = {}
        self.details = None
        self.stream = False
        self.instructions: str | None = None
        """Instructions given apart from the messages."""
        self.messages: Sequence[Message] | None = None
        self.tools: Sequence[object] | None = None
        self.read_content: Callable[[Generation], Content] | None = None
        """How instructions, messages, tools and choices are read, in the background; None: there is no content."""
        self.tool_count = 0
        self.tool_names = ()
        self.response_id = None
        self.response_model = None
        self.response_service_tier = None
        self.system_fingerprint = None
        self.serving_provider = None
        self.served_model: str | None = None
        """The model that Azure's router chose; it wins over the name in the body."""
        self.generation_id = None
        self.choices = []
        self.complete = False
        """A stream has said that its answer is whole, in an API that has no finish reasons."""
        self.tool_call_count = 0
        self.server_calls = ()
        self.attempts = ()
        self.retries = None
        self._usage: Usage | None = None
        self.unread_usage: UnreadUsage | None = None
        """The counts of the answer, before anybody has asked for them."""
        self.first_chunk_ns = None
        self.chunk_times: list[int] | None = None
        """When each chunk came (`perf_counter_ns`), noted only where metrics are wanted."""
        self.is_in_app_traces = False
        """The app's traces have a span of it, by the record's ids."""
        self.traced_below = False
        """Another instrumentation below ours makes the app's span of this call."""
        self.in_scope = False
        """A context of the program's that opened spans encloses it, and its own fields do not take it elsewhere."""
        self.is_measured = False
        """The app has a meter provider: the record goes into its metrics."""
        self.is_in_totals = False
        """The totals of rendered generations have it."""
        self.is_in_failures = False
        """The spans of contexts around it count it as failed."""
        self.is_limited = False
        """What the answer states is known to be no more than may be held."""
        self.failure = None
        self.hides_usage_chunk = False
        """We asked for usage in the stream: the chunk that only carries it is kept from the caller."""
        self.size = _BASE_SIZE
        """Estimate of the bytes held: readers add the length of the texts they keep."""
        self.max_characters = _MAX_CHARACTERS
        """How much of an answer's texts may be kept: more could not be sent."""
        self.omitted_characters = 0
        """How much of the answer's texts was left out, because it was more."""
        self.pending: LateReading | None = None
        """What is left to read (a raw response's body)."""

    # Reading the counts is a sixth of what reading a typical answer takes, and mostly nobody asks for them on the host's thread.
    @property
    def usage(self) -> Usage | None:
        """Return the counts of the answer."""
        unread = self.unread_usage
        if unread is not None:
            self._usage = unread.usage()
            self.unread_usage = None
        return self._usage

    @usage.setter
    def usage(self, usage: Usage | None) -> None:
        self._usage, self.unread_usage = usage, None

    # Known by the enclosing spans, so that it costs nothing where nobody asks: only `delivery.facts` does.
    @property
    def outer_parent_span_id(self) -> int:  # type: ignore[override]
        """Return the parent, or where that is an enclosing span, the parent of the outermost one."""
        above = {enclosing_span.span_id: enclosing_span.parent_span_id for enclosing_span in self.enclosing_spans}
        parent = self.parent_span_id
        # Each is looked up once, so that ids which a caller has stated in a circle end, too.
        while parent in above:
            parent = above.pop(parent)
        return parent

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
        if self.pending is not None:
            # Forgotten only once it has been done: where it raises, the record stays as it was.
            self.pending.run()
            self.pending = None

    def end(self, failure: Failure | None = None, *, at_ns: int = 0) -> bool:
        """Stop the clock (`at_ns`: it stopped then). False when the record had ended before: only the first end counts."""
        if self.ended:
            return False
        # The wall clock may be set while a call is under way: how long that takes is told by another one.
        self.end_ns = at_ns or self.start_ns + time.perf_counter_ns() - self.started
        # What an answer itself says of its failure is more exact than the error it leads to.
        if failure is not None and self.failure is None:
            self.failure = failure
        for enclosing_span in self.enclosing_spans:
            # One that a call names ends with the last call below it, whichever that is.
            if enclosing_span.opener is not CONTEXT:
                enclosing_span.end_ns = max(enclosing_span.end_ns, self.end_ns)
                continue
            enclosing_span.latest_end_ns = max(enclosing_span.latest_end_ns, self.end_ns)
            # Of the outermost one only: what is below is counted there once. An estimated cost is not known yet.
            if enclosing_span.totals:
                enclosing_span.totals[0].add(self.unread_usage or spent(self._usage, stated_cost(self._usage)))
        if self.failure is not None:
            self.count_failure()
        self.ended = True
        return True

    def count_failure(self) -> None:
        """Have the spans of contexts around count a failure, once: a body that is read later may say that there is one."""
        if self.failure is None or self.is_in_failures:
            return
        self.is_in_failures = True
        for enclosing_span in self.enclosing_spans:
            if enclosing_span.opener is CONTEXT:
                enclosing_span.failed_calls += 1
