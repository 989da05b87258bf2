"""Generations that the program reports by itself: `record` on a context, where no watched client made the call."""

from __future__ import annotations

from enum import Enum

import pytest

from llm_otel_broadcast import current_generation, trace_context
from tests.tracing.trees import by_name


def test_a_generation_of_another_kind_can_be_reported(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Request") as handle:
        handle.record(model="local-llama", input_tokens=12, output_tokens=3, finish_reason="stop", output="Hi.")
    spans = by_name(arrived(2))
    call = spans["chat local-llama"]
    assert call.parent_span_id == spans["Request"].span_id
    assert call.attributes["gen_ai.usage.input_tokens"] == 12
    assert call.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert "Hi." in call.attributes["gen_ai.output.messages"]
    assert spans["Request"].attributes["trace.totals.calls"] == 1


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [({"model": 5}, "model must be text"), ({"input_tokens": "12"}, "input_tokens must be a number")],
)
def test_a_wrong_fact_is_refused_by_name(facts, complaint):
    with trace_context(trace_name="Request") as handle, pytest.raises(TypeError, match=complaint):
        handle.record(**facts)


def test_an_unknown_fact_is_refused_inside_and_outside_of_everything():
    complaint = r"record\(\) got an unexpected keyword argument 'tokens'; it knows cost, .*, total_tokens"
    with trace_context() as handle, pytest.raises(TypeError, match=complaint):
        handle.record(tokens=5)
    with pytest.raises(TypeError, match=complaint):
        current_generation().record(tokens=5)


class Model(str, Enum):  # noqa: UP042  # as programs have them, whose `str` is the name
    LLAMA = "llama"


def test_a_member_of_a_text_enum_stands_for_its_value(instrumented, arrived):
    instrumented()
    with trace_context() as handle:
        handle.record(model=Model.LLAMA)
    (span,) = arrived(1)
    assert (span.name, span.attributes["gen_ai.request.model"]) == ("chat llama", "llama")


def test_a_fact_of_none_says_nothing(instrumented, arrived):
    instrumented()
    with trace_context() as handle:
        handle.record(model="llama", operation=None, input_tokens=7, cost=None, output=None)
    (span,) = arrived(1)
    assert (span.name, span.attributes["gen_ai.usage.input_tokens"]) == ("chat llama", 7)
    assert "gen_ai.usage.output_tokens" not in span.attributes
    assert "gen_ai.output.messages" not in span.attributes
