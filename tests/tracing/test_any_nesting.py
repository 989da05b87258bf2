"""Whatever is nested in whatever: a tree in which every parent exists and encloses its children, and sums that add up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from opentelemetry.sdk.trace import TracerProvider

import llm_otel_broadcast
from llm_otel_broadcast import current_generation, propagate, trace_context, traced, traced_generation
from llm_otel_broadcast.record.enclosing_span import ENCLOSING_KINDS
from llm_otel_broadcast.record.span_data import KIND_CLIENT
from llm_otel_broadcast.tracing.placement import roots
from llm_otel_broadcast.tracing.scope import current_scope
from tests.support.client_calls import MESSAGES
from tests.tracing.trees import totals

CALLS = ("call", "stream", "report")
BLOCKS = ("context", "step", "function", "coroutine", "generator", "propagated", "failing")


@dataclass(frozen=True)
class Node:
    """A call, or a block with things inside."""

    kind: str
    fields: dict[str, str] = field(default_factory=dict)
    inside: tuple[Node, ...] = ()


names = some.sampled_from(["one", "two"])
fields = some.fixed_dictionaries(
    {},
    optional={"trace_name": names, "span_name": names, "generation_name": names, "session_id": names, "team": names},
)
given_ids = some.fixed_dictionaries({"trace_id": names, "span_name": names}, optional={"trace_name": names})
"""With a name, so that there is a block: otherwise its calls stand alone in that trace, and nobody sums them up."""
nodes = some.recursive(
    some.builds(Node, some.sampled_from(CALLS)),
    lambda inner: some.builds(
        Node, some.sampled_from(BLOCKS), fields | given_ids, some.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=6,
)


class Lost(Exception): ...


class Program:
    """Runs a tree of nodes; `late` are streams still to be read."""

    def __init__(self, client) -> None:
        self.client = client
        self.late = []
        self.number = 0

    def run(self, node: Node) -> None:
        getattr(self, f"_{node.kind}")(node)

    def _all(self, inside) -> None:
        for node in inside:
            self.run(node)

    def _call(self, node: Node) -> None:
        self.client.chat.completions.create(model="gpt-4o", messages=MESSAGES)

    def _stream(self, node: Node) -> None:
        self.late.append(
            self.client.chat.completions.create(
                model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
        )

    def _report(self, node: Node) -> None:
        with trace_context(span_name="reporting") as handle:
            self.number += 1
            handle.record(model="local", input_tokens=self.number, output_tokens=1, cost=0.25)

    def _context(self, node: Node) -> None:
        with trace_context(**node.fields):
            self._all(node.inside)

    def _step(self, node: Node) -> None:
        kind = ENCLOSING_KINDS[len(node.inside)]

        @traced(kind=kind, **node.fields)
        def made(inside):
            with trace_context(kind=kind):
                self._all(inside)

        made(node.inside)

    def _function(self, node: Node) -> None:
        @traced_generation(**node.fields)
        def made(inside):
            current_generation().record(model="own", input_tokens=3, output_tokens=4, cost=0.5)
            self._all(inside)

        made(node.inside)

    def _coroutine(self, node: Node) -> None:
        @traced_generation(**node.fields)
        async def made(inside):
            await asyncio.to_thread(self._all, inside)

        asyncio.run(made(node.inside))

    def _generator(self, node: Node) -> None:
        @traced_generation(**node.fields)
        def made(inside):
            for one in inside:
                self.run(one)
                yield "piece"

        for _ in made(node.inside):
            assert current_scope() is None or current_scope().decorated_call is not made

    def _propagated(self, node: Node) -> None:
        with trace_context(**node.fields):
            bound = propagate(self._all)
            bound(node.inside)

    def _failing(self, node: Node) -> None:
        with pytest.raises(Lost), trace_context(**node.fields):
            self._all(node.inside)
            raise Lost


def check(spans) -> None:
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    assert len(by_id) == len(spans)
    sums = {}
    for span in spans:
        assert span.start_ns <= span.end_ns
        above, outermost = span, None
        while above.parent_span_id:
            below, above = above, by_id[above.trace_id, above.parent_span_id]
            assert above.start_ns <= below.start_ns
        if above is not span:
            outermost = above
        if any(key.startswith("gen_ai.usage") for key in span.attributes):
            assert span.kind == KIND_CLIENT
        if span.kind == KIND_CLIENT:
            assert span.attributes["gen_ai.operation.name"] == "chat"
        else:
            assert span.attributes["openinference.span.kind"].lower() in ENCLOSING_KINDS
        if span.kind == KIND_CLIENT and outermost is not None:
            mine = sums.setdefault((outermost.trace_id, outermost.span_id), {"calls": 0})
            mine["calls"] += 1
            for name, key in (
                ("input_tokens", "gen_ai.usage.input_tokens"),
                ("output_tokens", "gen_ai.usage.output_tokens"),
                ("cost", "gen_ai.usage.total_cost"),
            ):
                if key in span.attributes:
                    mine[name] = mine.get(name, 0) + span.attributes[key]
    for key, span in by_id.items():
        assert totals(span) == pytest.approx(sums.get(key, {})), span.name


def enclosed(spans) -> None:
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    for span in spans:
        if span.parent_span_id:
            assert span.end_ns <= by_id[span.trace_id, span.parent_span_id].end_ns


@pytest.mark.parametrize("app", [None, TracerProvider()], ids=["alone", "in a traced app"])
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=some.lists(nodes, min_size=1, max_size=3), in_time=some.booleans())
def test_any_nesting_is_a_tree_whose_sums_add_up(client, receiver, instrumented, app, program, in_time):
    roots.clear()
    receiver.store.clear()
    # otherwise the destination would keep its lane, which knows that it has had the root
    llm_otel_broadcast.shutdown()
    instrumented(tracer_provider=app)
    runner = Program(client)
    for node in program:
        with trace_context(trace_name="Everything"):
            runner.run(node)
            if in_time:
                for late in runner.late:
                    list(late)
                runner.late.clear()
    for late in runner.late:
        list(late)
    assert current_scope() is None
    assert llm_otel_broadcast.flush(10.0)
    spans = receiver.store.spans()
    check(spans)
    if not any("stream" in repr(node) for node in program):
        enclosed(spans)
