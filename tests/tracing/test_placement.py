"""Where a generation hangs."""

from __future__ import annotations

import pytest

from llm_otel_broadcast.fields.ids import derive_span_id, derive_trace_id, root_span_id
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.tracing.placement import assign_ids, roots

AROUND = (0xA, 0xB)


def placed(current=None, **fields):
    record = Generation("chat")
    record.fields = Fields(**fields)
    assign_ids(record, current)
    return record


def test_alone_it_is_a_trace_of_its_own():
    first, second = placed(), placed()
    assert first.trace_id != second.trace_id
    assert (first.parent_span_id, first.enclosing_spans) == (0, ())


def test_an_active_span_is_its_parent():
    record = placed(AROUND)
    assert (record.trace_id, record.parent_span_id) == AROUND


def test_an_explicit_trace_id_wins_over_the_active_span():
    record = placed(AROUND, trace_id="t")
    assert (record.trace_id, record.parent_span_id) == (derive_trace_id("t"), 0)


def test_an_explicit_parent_alone_stays_in_the_current_trace():
    record = placed(AROUND, parent_span_id="p")
    assert (record.trace_id, record.parent_span_id) == (0xA, derive_span_id("p"))


def test_an_explicit_parent_without_any_trace_gets_a_new_one():
    record = placed(parent_span_id="p")
    assert record.trace_id
    assert record.parent_span_id == derive_span_id("p")


def test_a_trace_name_makes_a_root_between():
    record = placed(AROUND, trace_name="Handler")
    (root,) = record.enclosing_spans
    assert (root.name, root.trace_id, root.parent_span_id) == ("Handler", *AROUND)
    assert record.parent_span_id == root.span_id == root_span_id(0xA, "Handler")


def test_with_an_explicit_parent_there_is_no_root():
    assert placed(trace_id="t", parent_span_id="p", trace_name="Handler").enclosing_spans == ()


def test_a_span_name_makes_a_step_below_the_root():
    record = placed(trace_name="Handler", span_name="Step")
    root, step = record.enclosing_spans
    assert (step.name, step.parent_span_id, record.parent_span_id) == ("Step", root.span_id, step.span_id)


def test_every_stand_alone_call_has_a_step_of_its_own():
    steps = [placed(trace_id="t", span_name="Step").enclosing_spans[0].span_id for _ in range(2)]
    assert steps[0] != steps[1]


def test_calls_of_one_trace_and_name_share_one_root():
    first, second = (placed(trace_id="t", trace_name="Handler") for _ in range(2))
    assert first.enclosing_spans[0] is second.enclosing_spans[0]


@pytest.mark.parametrize(
    "other", [{"trace_id": "u", "trace_name": "Handler"}, {"trace_id": "t", "trace_name": "Other"}]
)
def test_another_trace_or_name_has_another_root(other):
    first, second = placed(trace_id="t", trace_name="Handler"), placed(**other)
    assert first.enclosing_spans[0].span_id != second.enclosing_spans[0].span_id


def test_the_book_of_roots_is_bounded():
    for number in range(10_050):
        placed(trace_id=str(number), trace_name="Handler")
    assert len(roots._enclosing_spans) == 10_000
