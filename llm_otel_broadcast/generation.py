"""The record of one call to a model: what was asked, what came back, when, and how it ended.

Filled on the host's thread, read on the lanes' threads once `ended` is set. Imports only values of ours, and no client
library; holds plain scalars and shallow copies only, never a response or chunk object.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from llm_otel_broadcast.flavors import Exclusion
from llm_otel_broadcast.server import UNKNOWN_SERVER
from llm_otel_broadcast.sizes import text_size
from llm_otel_broadcast.totals import Spent, Totals
from llm_otel_broadcast.usage import Cost, Usage

Detail: TypeAlias = str | bool | int | float | Sequence[str]
_NO_METADATA: Final[Mapping[str, object]] = MappingProxyType({})


class Fields(NamedTuple):  # a frozen dataclass takes three times as long to make, on the host's thread
    """What the caller said about the call, merged and checked (DESIGN, section 3). Empty text never occurs: absent is None."""

    trace_id: str | None = None
    parent_span_id: str | None = None
    trace_name: str | None = None
    span_name: str | None = None
    generation_name: str | None = None
    session_id: str | None = None
    user: str | None = None
    private: bool = False
    metadata: Mapping[str, object] = _NO_METADATA
    """As given: turned into span attributes in the background by `fields.metadata`."""


NO_FIELDS = Fields()
NOTHING: Final[frozenset[str]] = frozenset()
_MAX_CHARACTERS: Final = 1_000_000
_BASE_SIZE: Final = 2_000


@dataclass(slots=True, eq=False)
class Block:
    """A root or intermediate span that encloses generations. Shared by all of them; a lane sends it once.

    One that a call names ends with the last generation below it so far. One that a context of the program's opened
    (`is_scoped`) ends with that context, may fail, and says of itself what it is for.
    """

    name: str
    trace_id: int
    span_id: int
    parent_span_id: int
    start_ns: int
    end_ns: int = 0
    is_open: bool = False
    """The app's own provider has its courtesy span already."""
    is_elsewhere: bool = False
    """Only referred to: a scoped block is the span of this id."""
    is_scoped: bool = False
    fields: Fields | None = None
    """Of a scoped block; else the generation's own are its."""
    with_calls_only: bool = False
    """It is sent only if a generation happened below it."""
    is_apart: bool = False
    """Of a scoped block: its place is not that of a span in the app's traces."""
    is_handed_on: bool = False
    """The settings that took what is below have been replaced: the new ones send it whatever went through them."""
    hides_errors: bool = False
    """Something private happened below: the text of an exception that leaves may quote it."""
    generations: int = 0
    """How many began below a scoped block."""
    latest_ns: int = 0
    """When the last one below a scoped block ended, so far."""
    totals: tuple[Totals, Totals] | None = None
    """Of an outermost one: what is below as known at each end, and once it is rendered, estimated costs included."""
    when_whole: list[Callable[[], None]] = field(default_factory=list)
    """What is to happen once everything below has ended."""
    failure: Failure | None = None
    app_span: Any = None
    """The courtesy span of a scoped block; it ends with the block."""

    @property
    def size(self) -> int:
        """Estimate of the bytes held."""
        metadata = text_size(self.fields.metadata) if self.fields is not None and self.fields.metadata else 0
        return _BASE_SIZE + metadata + (len(self.failure.message) if self.failure is not None else 0)

    def is_whole(self, *, rendered: bool = False) -> bool:
        """Whether everything below has ended, or been rendered, too: a stream may outlive the block that it began in."""
        return self.totals is None or self.totals[rendered].calls >= self.generations

    def settle(self) -> None:
        """Do what has waited for the block to be whole, once; asked again whenever something below has ended."""
        while self.when_whole and self.is_whole():
            with suppress(IndexError):  # another thread was quicker
                self.when_whole.pop()()


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


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a generation did not end well. `message` may echo a prompt and counts as content."""

    type: str
    message: str = ""
    status_code: int | None = None
    code: str | None = None
    request_id: str | None = None


# several lanes may meet the same record; reading it twice would fold it twice
_settling: Final = Exclusion()
os.register_at_fork(after_in_child=_settling.begin_anew)

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
        "blocks",
        "caller",
        "choices",
        "chunk_times",
        "complete",
        "details",
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
        self.blocks: tuple[Block, ...] = ()
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
        totals = self.blocks[0].totals if self.blocks else None
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
        for block in self.blocks:
            if not block.is_scoped:
                block.end_ns = max(block.end_ns, self.end_ns)
                continue
            block.latest_ns = max(block.latest_ns, self.end_ns)
            if block.totals:
                block.totals[0].add(self._spent(self.usage.stated_cost() if self.usage else None))
        self.ended = True
        return True
