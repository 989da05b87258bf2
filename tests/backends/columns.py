"""Which backends are sent the sixteen generations, in which dialect, and what each cannot show of them, for which reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from tests.backends.broadcasts import hashed
from tests.backends.generations import GENERATIONS, MAX_CONTENT_CHARS, USER, Facts, Generation, make
from tests.backends.views import Reader, View, unseen, view_agentmesh, view_mlflow, view_phoenix, view_weave
from tests.support.deadlines import eventually
from tests.support.stand_in.server import StandIn

_COMPUTED_TIMEOUT_S = 30.0
"""Backends price and add up in the background, after they have stored."""
_OWN_TABLE = "prices by a table of its own, whatever cost it is sent"
_NOT_IN_TABLE = "prices by a table of its own, which does not have this model under this name"


@dataclass(frozen=True, slots=True)
class Gap:
    """Facts of some generations that a backend does not show.

    Attributes:
        titles: of the generations.
        facts: their names.
        reason: why.
    """

    titles: tuple[str, ...]
    facts: frozenset[str]
    reason: str


@dataclass(frozen=True, slots=True)
class Column:
    """One backend in one dialect, a column of the tables in docs/backends.md.

    Attributes:
        name: in the table.
        program: of `PROGRAMS`.
        destination: makes the destination, given the backend's address.
        read: what it shows of a generation.
        gaps: what it does not.
    """

    name: str
    program: str
    destination: Callable[[str], Destination]
    read: Reader
    gaps: tuple[Gap, ...] = field(default=())

    @property
    def session(self) -> str:
        return f"tour of {self.name}"

    def trace_id(self, generation: Generation) -> str:
        """Return the `trace_id` that the caller states."""
        return f"{self.name} {generation.title}"

    def gaps_of(self, title: str) -> set[str]:
        return {fact for gap in self.gaps if title in gap.titles for fact in gap.facts}

    def expected(self, generation: Generation) -> Facts:
        return replace(generation.facts, session=self.session, user=USER)

    def unseen(self, generation: Generation, view: View) -> set[str]:
        """Return the names of the facts that it does not show of a generation."""
        return unseen(self.expected(generation), view)


def send(column: Column, address: str) -> None:
    """Make all calls, and return when the backend has taken what they were."""
    with (
        StandIn() as api,
        llm_otel_broadcast.instrument(
            destinations=[column.destination(address)], service_name="tour", max_content_chars=MAX_CONTENT_CHARS
        ) as handle,
    ):
        for generation in GENERATIONS:
            make(generation, api, trace_id=column.trace_id(generation), session=column.session)
        assert handle.flush(60.0), handle.status()


def read(column: Column, address: str) -> Mapping[str, View]:
    """Return what the backend shows of each generation, once that is what is expected or half a minute is over."""
    views: dict[str, View] = {}

    def is_as_expected() -> bool:
        for generation in GENERATIONS:
            trace_id = hashed(column.trace_id(generation))
            views[generation.title] = column.read(address, trace_id, column.session)
        return all(column.unseen(each, views[each.title]) == column.gaps_of(each.title) for each in GENERATIONS)

    try:
        eventually(is_as_expected, _COMPUTED_TIMEOUT_S, f"{column.name} to show everything")
    except TimeoutError:
        # What differs is for the tests to say, one by one.
        return views
    return views


ALL = tuple(generation.title for generation in GENERATIONS)
_COSTS = tuple(generation.title for generation in GENERATIONS if generation.facts.cost)
_ROOT = (
    Gap(
        tuple(generation.title for generation in GENERATIONS if generation.facts.messages),
        frozenset({"overview"}),
        "the span that `trace_name` makes has no texts",
    ),
    Gap(("Error", "Abandoned"), frozenset({"error"}), "the span that `trace_name` makes has no error"),
)
_STATED_COSTS = ("Reasoning", "Audio", "OpenRouter with attempts")

COLUMNS = (
    Column(
        "Phoenix",
        "phoenix",
        lambda address: Destination.preset(
            "phoenix", host=address, dialect="openinference", headers={"x-project-name": "tour"}, timeout=60.0
        ),
        view_phoenix,
        (
            *_ROOT,
            Gap(_STATED_COSTS, frozenset({"cost"}), _OWN_TABLE),
            Gap(("Cached tokens",), frozenset({"cost"}), _NOT_IN_TABLE),
            Gap(("Embeddings",), frozenset({"tokens", "cost"}), "counts tokens of calls of kind LLM only"),
            Gap(("Embeddings",), frozenset({"provider"}), "OpenInference has no name for an embedding's provider"),
        ),
    ),
    Column(
        "Phoenix (semconv)",
        "phoenix",
        lambda address: Destination.preset(
            "phoenix", host=address, dialect="semconv", headers={"x-project-name": "tour-semconv"}, timeout=60.0
        ),
        view_phoenix,
        (
            *_ROOT,
            Gap(_STATED_COSTS, frozenset({"cost"}), _OWN_TABLE),
            Gap(("Cached tokens",), frozenset({"cost"}), _NOT_IN_TABLE),
            Gap(("Embeddings",), frozenset({"tokens", "cost"}), "counts tokens of calls of kind LLM only"),
            Gap(("Refusal",), frozenset({"messages"}), "does not know parts of type `refusal`"),
            Gap(("Server tools",), frozenset({"tools"}), "does not know parts of type `server_tool_call`"),
        ),
    ),
    Column(
        "MLflow",
        "mlflow",
        lambda address: Destination.preset("mlflow", host=address, timeout=60.0),
        view_mlflow,
        (
            *_ROOT,
            Gap(_STATED_COSTS, frozenset({"cost"}), _OWN_TABLE),
            Gap(("Cached tokens",), frozenset({"cost"}), _NOT_IN_TABLE),
        ),
    ),
    Column(
        "agentmesh",
        "agentmesh",
        lambda address: Destination(endpoint=f"{address}/v1/traces", timeout=60.0),
        view_agentmesh,
        _ROOT,
    ),
    Column(
        "Weave",
        "weave",
        lambda address: Destination(
            endpoint=f"{address}/v1/traces", encoding="protobuf", dialect="openinference", timeout=60.0
        ),
        view_weave,
        (
            *_ROOT,
            Gap(_COSTS, frozenset({"cost"}), "prices by a table of its own, which is not in what it publishes"),
            Gap(ALL, frozenset({"user"}), "has no field for the caller's user"),
            Gap(ALL, frozenset({"session"}), "makes a thread of `gen_ai.conversation.id` or `wandb.thread_id` only"),
            Gap(("Cached tokens",), frozenset({"cached_tokens"}), "reads the names of OpenTelemetry only"),
            Gap(("Embeddings",), frozenset({"model", "provider"}), "reads the model of calls of kind LLM only"),
        ),
    ),
)
