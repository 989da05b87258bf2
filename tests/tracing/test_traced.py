"""`@traced` and `trace_context(kind=...)`: tools, agents, retrievers and chains are spans of their kind, and no calls of a model."""

from __future__ import annotations

import asyncio
import json

import pytest

import llm_otel_broadcast
from llm_otel_broadcast import (
    Destination,
    current_generation,
    current_trace_fields,
    trace_context,
    traced,
    traced_generation,
)
from llm_otel_broadcast.receiver import OtlpReceiver
from llm_otel_broadcast.record.enclosing_span import EnclosingSpan
from llm_otel_broadcast.record.function_content import FunctionContent
from llm_otel_broadcast.tracing.scope import current_scope
from tests.support.app import App
from tests.support.client_calls import chat
from tests.tracing.trees import by_name

OPERATIONS = {"tool": "execute_tool", "agent": "invoke_agent", "retriever": "retrieval"}
KINDS = ("chain", *OPERATIONS)


def gen_ai(span):
    return {key: value for key, value in span.attributes.items() if key.startswith("gen_ai.")}


def texts(span):
    return span.attributes.get("input.value"), span.attributes.get("output.value")


def test_a_tool_has_name_arguments_and_result(instrumented, arrived):
    instrumented()

    @traced(kind="tool", name="get_weather", team="red")
    def weather(city: str, unit: str = "C") -> dict[str, int]:
        return {"degrees": 21}

    assert weather("Rome") == {"degrees": 21}
    (span,) = arrived(1)
    assert (span.name, span.kind) == ("execute_tool get_weather", 1)
    arguments, result = '{"city":"Rome","unit":"C"}', '{"degrees":21}'
    assert gen_ai(span) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "get_weather",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.arguments": arguments,
        "gen_ai.tool.call.result": result,
    }
    assert texts(span) == (arguments, result)
    assert span.attributes["openinference.span.kind"] == "TOOL"
    assert span.attributes["input.mime_type"] == "application/json"
    assert span.attributes["trace.metadata.team"] == "red"


def test_a_tools_only_argument_has_its_name_too(instrumented, arrived):
    instrumented()
    traced(kind="tool")(lambda city: "sunny")("Rome")
    (span,) = arrived(1)
    assert span.attributes["gen_ai.tool.call.arguments"] == '{"city":"Rome"}'
    assert span.attributes["gen_ai.tool.call.result"] == "sunny"
    assert span.attributes["output.mime_type"] == "text/plain"


def test_an_agent_is_the_parent_of_its_calls_and_tools(stand_in, instrumented, arrived):
    instrumented()

    @traced(kind="tool")
    def search(query: str) -> str:
        return "a page"

    @traced(kind="agent")
    async def planner(question: str) -> str:
        chat_done = await asyncio.to_thread(chat, "sync", stand_in.base_url)
        return search(question) if chat_done else ""

    assert asyncio.run(planner("why?")) == "a page"
    spans = by_name(arrived(3))
    agent = spans["invoke_agent planner"]
    assert gen_ai(agent) == {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}
    # its own, not those of the calls inside
    assert texts(agent) == ("why?", "a page")
    assert {span.parent_span_id for span in spans.values()} == {"", agent.span_id}
    assert agent.attributes["trace.totals.calls"] == 1


def test_a_retriever_says_what_it_looked_for(instrumented, arrived):
    instrumented()
    traced(kind="retriever", name="wiki")(lambda query: ["first", "second"])("canaries")
    (span,) = arrived(1)
    assert span.name == "retrieval wiki"
    assert gen_ai(span) == {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.query.text": "canaries"}
    assert texts(span) == ("canaries", '["first","second"]')


def test_a_plain_step_is_a_chain_called_by_its_qualified_name(instrumented, arrived):
    instrumented()

    @traced
    def step(numbers: list[int]) -> int:
        numbers.append(3)
        return sum(numbers)

    step([1, 2])
    (span,) = arrived(1)
    assert span.name == step.__qualname__
    assert gen_ai(span) == {}
    # as it was when the function was called
    assert texts(span) == ('{"numbers":[1,2]}', "6")


def test_a_function_that_neither_calls_nor_records_is_a_step_and_no_generation(instrumented, arrived):
    instrumented()

    @traced_generation(generation_name="Answer")
    def answer(question: str) -> str:
        return "forty-two"

    with trace_context(trace_name="Request"):
        answer("why?")
    spans = by_name(arrived(2))
    own = spans[answer.__qualname__]
    assert own.kind == 1
    assert (own.attributes["input.value"], own.attributes["output.value"]) == ("why?", "forty-two")
    assert not [
        key for span in spans.values() for key in span.attributes if key.startswith(("gen_ai.", "trace.totals."))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_counts_as_a_call_of_a_model(stand_in, instrumented, arrived, kind):
    instrumented()
    with trace_context(trace_name="Request"):
        chat("sync", stand_in.base_url)
        traced(kind=kind, span_name="step")(lambda question: "answer")("why?")
        with trace_context(kind=kind, span_name="block"):
            pass
    spans = by_name(arrived(4))
    assert spans["Request"].attributes["trace.totals.calls"] == 1
    assert {spans[name].attributes["openinference.span.kind"] for name in ("step", "block")} == {kind.upper()}
    assert {spans[name].attributes.get("gen_ai.operation.name") for name in ("step", "block")} == {OPERATIONS.get(kind)}
    assert llm_otel_broadcast.status().destinations[0].delivered == 4


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"trace_name": "Root"}, ["Root"]),
        ({"trace_name": "Root", "span_name": "Step"}, ["Root", "Step"]),
        ({"span_name": "Step"}, ["Step"]),
        ({}, ["tool"]),
        ({"trace_name": "Root", "parent_span_id": "a" * 16}, ["Root"]),
    ],
)
def test_the_innermost_span_of_a_context_is_of_its_kind(instrumented, arrived, fields, names):
    instrumented()
    with trace_context(kind="tool", **fields):
        pass
    spans = sorted(arrived(len(names)), key=lambda span: names.index(span.name))
    assert [span.attributes["openinference.span.kind"] for span in spans] == ["CHAIN"] * (len(names) - 1) + ["TOOL"]
    assert spans[-1].attributes["gen_ai.tool.name"] == names[-1]


def test_a_block_may_say_what_went_in_and_what_came_out(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Request", kind="tool", span_name="search") as handle:
        arguments = {"query": "canaries"}
        handle.show(input=arguments, output=["a page"])
        arguments.clear()
        chat("sync", stand_in.base_url)
    span = by_name(arrived(3))["search"]
    assert span.attributes["gen_ai.tool.call.arguments"] == '{"query":"canaries"}'
    assert span.attributes["gen_ai.tool.call.result"] == '["a page"]'
    assert texts(span) == ('{"query":"canaries"}', '["a page"]')


def test_what_a_block_does_not_say_is_what_was_said_below(stand_in, instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Request") as handle, trace_context(team="red") as nameless:
        nameless.show(input="nowhere")
        chat("sync", stand_in.base_url)
        handle.show(output="a summary")
    span = by_name(arrived(2))["Request"]
    assert texts(span) == ("Hello!", "a summary")


@pytest.mark.parametrize("settings", [{"privacy_mode": True}, {"capture_content": False}])
def test_what_a_block_says_is_content(instrumented, arrived, settings):
    instrumented(**settings)
    with trace_context(kind="tool") as handle:
        handle.show(input="canary", output="canary")
        assert current_scope().enclosing_spans[-1].function_content == FunctionContent()
    assert "canary" not in repr(arrived(1))


def test_an_agent_without_arguments_shows_what_was_said_below(stand_in, instrumented, arrived):
    instrumented()
    traced(kind="agent", name="planner")(lambda: chat("sync", stand_in.base_url) and None)()
    span = by_name(arrived(2))["invoke_agent planner"]
    assert span.attributes["input.value"] == "Hello!"
    assert span.attributes["output.value"]


def test_a_kind_of_no_ours_is_metadata_and_passed_on(instrumented, arrived):
    instrumented()
    with trace_context(trace_name="Request", kind="premium"):
        fields = current_trace_fields()
    with trace_context(**fields, span_name="Job"):
        pass
    assert [span.attributes["trace.metadata.kind"] for span in arrived(2)] == ["premium"] * 2


def test_an_unknown_kind_is_refused_when_the_module_is_imported():
    with pytest.raises(ValueError, match="kind must be one of chain, tool, agent, retriever, got 'tol'"):
        traced(kind="tol")


@pytest.mark.parametrize("kind", ["tool", "retriever"])
@pytest.mark.parametrize("part", ["inputs", "outputs"])
def test_what_a_model_writes_or_reads_is_hidden_with_its_inputs_and_its_outputs(instrumented, arrived, kind, part):
    """Arguments come from an answer, and a result goes into the next question."""
    instrumented(hide={part})
    traced(kind=kind)(lambda query: "canary-result")("canary-query")
    assert "canary" not in repr(arrived(1))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"hide": {"inputs"}}, (None, "canary-result")),
        ({"hide": {"outputs"}}, ("canary-query", None)),
        ({"privacy_mode": True}, (None, None)),
        ({"capture_content": False}, (None, None)),
        ({"trace_defaults": {"privacy": True}}, (None, None)),
        ({"redact": lambda text: text.replace("canary", "bird")}, ("bird-query", "bird-result")),
        ({"redact": lambda text: 1 / 0}, (None, None)),
    ],
)
def test_content_of_a_step_goes_where_content_may_go(instrumented, arrived, settings, expected, monkeypatch):
    monkeypatch.setattr(llm_otel_broadcast.host.guard, "raise_again", False)
    instrumented(**settings)
    traced(kind="agent")(lambda query: "canary-result")("canary-query")
    assert texts(arrived(1)[0]) == expected


def private_block(stand_in):
    with trace_context(privacy=True):
        chat("sync", stand_in.base_url)


def private_call(stand_in):
    chat("sync", stand_in.base_url, extra_body={"trace": {"privacy": True}})


def private_step(_stand_in):
    traced(privacy=True)(lambda text: text)("canary")


@pytest.mark.parametrize("work", [private_block, private_call, private_step])
def test_a_step_with_something_private_inside_shows_neither_what_it_got_nor_returned(
    stand_in, instrumented, arrived, work
):
    instrumented()

    @traced(kind="agent")
    def agent(question: str) -> str:
        work(stand_in)
        return question

    with trace_context(trace_name="Request") as handle:
        handle.show(output=agent("canary"))
    assert "canary" not in repr(arrived(3))


def test_tool_arguments_are_hidden_as_those_in_answers(receiver):
    with OtlpReceiver() as narrow:
        llm_otel_broadcast.instrument(
            destinations=[
                Destination(name="wide", endpoint=receiver.endpoint),
                Destination(name="narrow", endpoint=narrow.endpoint, hide={"tool_arguments"}),
            ]
        )
        traced(kind="tool")(lambda city: "sunny")("Rome")
        assert llm_otel_broadcast.flush(5.0)
        assert "Rome" in repr(receiver.store.spans())
        assert texts(narrow.store.spans()[0]) == (None, "sunny")


def test_redaction_sees_each_text_and_leaves_the_json_whole(instrumented, arrived):
    instrumented(redact=lambda text: "***")
    traced(kind="tool")(lambda city, days: {"sky": 'a "blue" one'})("Rome", 3)
    attributes = arrived(1)[0].attributes
    assert json.loads(attributes["gen_ai.tool.call.arguments"]) == {"city": "***", "days": 3}
    assert json.loads(attributes["gen_ai.tool.call.result"]) == {"sky": "***"}


def test_only_captured_arguments_are_content_and_long_ones_are_cut(instrumented, arrived):
    instrumented(max_content_chars=1_000)

    class Bot:
        @traced(kind="tool", capture=("text",))
        def reply(self, text: str, key: str) -> str:
            return text

    Bot().reply("x" * 5_000, key="sk-secret")
    (span,) = arrived(1)
    assert "sk-secret" not in repr(span)
    assert len(span.attributes["gen_ai.tool.call.arguments"]) <= 1_000
    assert json.loads(span.attributes["gen_ai.tool.call.arguments"])
    assert len(span.attributes["output.value"]) <= 1_000


@pytest.mark.parametrize(
    ("settings", "referenced"),
    [
        ({"privacy_mode": True}, (None, [])),
        ({"capture_content": False}, (None, [])),
        ({"hide": {"inputs"}}, (None, ["result"])),
        ({"hide": {"outputs"}}, ({"argument": "argument"}, [])),
        ({}, ({"argument": "argument"}, ["result"])),
    ],
)
def test_what_nobody_may_have_is_not_even_referenced(instrumented, settings, referenced):
    instrumented(**settings)

    @traced
    def step(argument: str):
        yield "result"

    running = step("argument")
    next(running)
    content = running.gi_frame.f_locals["steps"].take_piece.__self__.content
    assert (content.inputs, content.pieces) == referenced
    running.close()


def test_arguments_and_results_that_wait_count_in_the_queues_bytes():
    content = FunctionContent({"text": "x" * 50_000}, ["y" * 50_000])
    waiting, empty = (EnclosingSpan("tool", 1, 2, 0, 0, function_content=held) for held in (content, None))
    assert waiting.size - empty.size == 100_000


def test_a_step_of_its_own_records_nothing_for_the_function_around(instrumented, arrived):
    instrumented()

    @traced_generation(generation_name="model")
    def model(question: str) -> str:
        traced(kind="tool", span_name="tool")(lambda: current_generation().record(model="llama", input_tokens=3))()
        return "answer"

    model("why?")
    spans = by_name(arrived(2))
    assert spans["model"].attributes["gen_ai.usage.input_tokens"] == 3
    assert spans["tool"].parent_span_id == spans["model"].span_id


def test_in_the_apps_own_traces_a_step_has_its_kind_and_no_content(instrumented, arrived):
    app = App()
    instrumented(tracer_provider=app.provider)
    with app.tracer.start_as_current_span("request"):
        traced(kind="tool", name="weather")(lambda city: "sunny")("Rome")
    own = app.spans["execute_tool weather"]
    assert own.attributes["gen_ai.operation.name"] == "execute_tool"
    assert not {"Rome", "sunny"} & set(map(str, own.attributes.values()))
    assert f"{own.context.span_id:016x}" == arrived(1)[0].span_id
    app.provider.shutdown()
