"""The default dialect, attribute by attribute where the calls' own tests do not look."""

from __future__ import annotations

import json

import pytest

from llm_otel_broadcast.clients.openai.requested_output import name_requested_output
from llm_otel_broadcast.delivery.facts import facts_of
from llm_otel_broadcast.dialects.semconv import SEMCONV, _target_attributes, request_attributes
from llm_otel_broadcast.fields.metadata import MAX_VALUE_CHARACTERS
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.generation import Attempt, Choice, Generation
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.trace_fields import Fields
from llm_otel_broadcast.record.usage import Cost, Usage
from tests.support.spans import enclosing_span_data, generation_span


@pytest.fixture
def record():
    made = Generation("chat", "chat_completions")
    made.request_model = "gpt-4o"
    made.end()
    return made


def attributes(record, *, content=False, cost=None):
    return generation_span(record, cost, content=content).attributes


def test_absent_is_absent(record):
    assert attributes(record) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.api.type": "chat_completions",
        "gen_ai.request.model": "gpt-4o",
    }


def test_without_a_model_the_name_is_the_operation(record):
    record.request_model = None
    assert generation_span(record, None, content=False).name == "chat"


def test_the_generation_name_wins(record):
    record.fields = Fields(generation_name="Answer")
    assert generation_span(record, None, content=False).name == "Answer"


@pytest.mark.parametrize("value", ["warm", None, True, [1]])
def test_a_parameter_of_a_wrong_type_is_left_out(record, value):
    record.parameters = {"temperature": value, "seed": value if value is not True else "x", "n": "many"}
    assert attributes(record).keys() == attributes(Generation("chat", "chat_completions")).keys() | {
        "gen_ai.request.model"
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "json"),
        ({"response_format": {"type": "text"}}, "text"),
        ({"modalities": ["text", "audio"]}, "speech"),
        ({"response_format": {"type": "new"}}, None),
    ],
)
def test_the_output_type_follows_what_was_asked(record, asked, expected):
    name_requested_output(asked)
    record.parameters = asked
    assert attributes(record).get("gen_ai.output.type") == expected


def test_a_choice_that_was_cut_off_by_a_failure_has_the_reason_error(record):
    record.choices = [Choice(0, finish_reason="stop"), Choice(1)]
    record.failure = Failure("APIError")
    assert attributes(record)["gen_ai.response.finish_reasons"] == ["stop", "error"]


def test_a_good_answer_without_reasons_states_none(record):
    record.choices = [Choice()]
    assert "gen_ai.response.finish_reasons" not in attributes(record)


def test_a_stated_cost_beats_an_estimate(record):
    record.usage = Usage(cost=0.25)
    made = attributes(record, cost=Cost(1.0, 1.0, 2.0))
    assert made["gen_ai.usage.total_cost"] == 0.25
    assert made["gen_ai.usage.cost.source"] == "response"


def test_a_stated_cost_of_zero_is_a_cost(record):
    record.usage = Usage(cost=0.0)
    assert attributes(record)["gen_ai.usage.total_cost"] == 0.0


def test_content_is_there_only_when_allowed(record):
    record.messages = [{"role": "user", "content": "Hi"}]
    record.tools = [{"type": "function", "function": {"name": "f"}}]
    record.choices = [Choice(content="Ho")]
    keys = {"gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions"}
    assert keys <= attributes(record, content=True).keys()
    assert not keys & attributes(record).keys()


def test_oversized_content_is_cut_and_marked(record):
    record.messages = [{"role": "user", "content": "x" * 2_000_000}]
    made = attributes(record, content=True)
    assert len(made["gen_ai.input.messages"]) <= 1_000_000
    json.loads(made["gen_ai.input.messages"])
    assert made["gen_ai.input.messages.truncated"] is True


def test_a_success_leaves_the_status_unset(record):
    assert generation_span(record, None, content=True).status_code == 0


def test_a_failure_without_content_says_no_words(record):
    record.failure = Failure("BadRequestError", "your prompt was: secret", 400)
    span = generation_span(record, None, content=False)
    assert span.status_code == 2
    assert "secret" not in repr(span)


def test_a_block_ends_with_the_last_generation_below_it(record):
    enclosing_span = EnclosingSpan("Root", 1, 2, 0, record.start_ns)
    record.enclosing_spans = (enclosing_span,)
    later = Generation("chat")
    later.enclosing_spans = (enclosing_span,)
    later.end()
    assert enclosing_span_data(enclosing_span, record.fields, content=False).end_ns == later.end_ns


def test_what_is_known_at_the_start_holds_no_content(record):
    record.messages = [{"role": "user", "content": "secret"}]
    record.fields = Fields(user="u", session_id="s", metadata={"team": "red"})
    made = request_attributes(record)
    assert "secret" not in repr(made)
    assert made["user.id"] == "u"
    assert made["trace.metadata.team"] == "red"


def test_names_that_backends_know_stand_beside_the_newest(record):
    record.server = Server("openrouter", "openrouter.ai")
    record.usage = Usage(cache_write_tokens=4)
    found = attributes(record, cost=Cost(1.0, 1.0, 2.0))
    assert found["gen_ai.system"] == found["gen_ai.provider.name"] == "openrouter"
    assert found["gen_ai.usage.cost"] == found["gen_ai.usage.total_cost"] == 2.0
    assert found["gen_ai.usage.cache_creation.input_tokens"] == found["gen_ai.usage.cache_write.input_tokens"] == 4


@pytest.mark.parametrize(("failure", "expected"), [(None, "unknown"), (Failure("cancelled"), "error")])
def test_every_message_of_the_answer_says_why_it_ended(record, failure, expected):
    record.choices = [Choice(content="Ho", finish_reason="stop"), Choice(1, content="H")]
    record.failure = failure
    answers = json.loads(attributes(record, content=True)["gen_ai.output.messages"])
    assert [answer["finish_reason"] for answer in answers] == ["stop", expected]


def test_every_tool_has_a_name(record):
    record.tools = [{"type": "web_search"}, {"google_search": {}}, "odd"]
    tools = json.loads(attributes(record, content=True)["gen_ai.tool.definitions"])
    assert all(tool["name"] for tool in tools)


def test_each_span_says_which_conventions_its_names_are_of(record):
    record.attempts = [Attempt("Azure")]
    facts = facts_of(record, record.fields)
    spans = [SEMCONV.generation_span(facts, None, None), *SEMCONV.attempt_spans(facts)]
    spans.append(enclosing_span_data(EnclosingSpan("Root", 1, 2, 0, 3), record.fields, content=False))
    assert {span.schema_url for span in spans} == {"https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"}


def test_what_is_called_again_is_stated_anew_for_each_span(record):
    """The attributes of a target are looked up: a change of one span's must not be in the next, nor any other target's."""
    first = request_attributes(record)
    expected = dict(first)
    first.clear()
    assert request_attributes(record) == expected
    record.stream = not record.stream
    assert request_attributes(record).get("gen_ai.request.stream") is (record.stream or None)
    record.request_model = "another"
    assert request_attributes(record)["gen_ai.request.model"] == "another"
    record.server = Server("groq", "api.groq.com")
    assert request_attributes(record)["gen_ai.provider.name"] == "groq"


def test_long_names_of_models_are_not_kept(record):
    """A program that makes names up would fill the memory."""
    request_attributes(record)
    kept = _target_attributes.cache_info().currsize
    record.request_model = "m" * 20_000
    assert len(request_attributes(record)["gen_ai.request.model"]) == MAX_VALUE_CHARACTERS
    assert _target_attributes.cache_info().currsize == kept
