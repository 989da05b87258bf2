"""The snippets of the README's section on shaping traces do what the text says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import llm_otel_broadcast
from tests.support.web_servers import asgi_served, get

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SECTION = re.search(r"^### Shape the trace$(.*?)^##", README, re.DOTALL | re.MULTILINE)[1]
CODE = re.findall(r"^```python\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)
CALL = "chat openai/gpt-4o"
TREES = [
    {("Chat Handler", None), ("Draft", "Chat Handler"), ("Write draft", "Draft")},
    {("answer", None), ("Generate Response", "answer"), ("Local model", None)},
    {
        ("invoke_agent Travel agent", None),
        ("execute_tool get_weather", "invoke_agent Travel agent"),
        (CALL, "invoke_agent Travel agent"),
    },
    {("Report", None), ("Job", "Report"), (CALL, "Job")},
]
"""Of each snippet: the names of spans and of the spans above them."""


@pytest.fixture
def run(client, instrumented, arrived):
    """Run a snippet, with those before it, in a program that has called `instrument()` and has a client."""

    def run(number, program=None):
        instrumented()
        program = {} if program is None else program
        program.update({"client": client, "__name__": "app"})
        for code in CODE[:number]:
            exec(compile(code, "README.md", "exec"), program)
        before = len(arrived())
        exec(compile(CODE[number], "README.md", "exec"), program)
        return arrived()[before:]

    return run


def tree(spans):
    names = {(span.trace_id, span.span_id): span.name for span in spans}
    return {(span.name, names.get((span.trace_id, span.parent_span_id))) for span in spans}


@pytest.mark.parametrize("number", range(len(TREES)))
def test_a_snippet_makes_the_tree_that_the_text_describes(run, number):
    assert len(CODE) == len(TREES) + 1
    assert tree(run(number)) == TREES[number]


def test_what_the_text_says_of_fields_and_content_holds(run):
    spans = {span.name: span for span in run(0)}
    assert spans["Write draft"].attributes["trace.metadata.environment"] == "staging"
    assert "trace.metadata.plan" not in spans["Write draft"].attributes
    assert spans["Chat Handler"].attributes["trace.metadata.plan"] == "pro"
    assert spans["Chat Handler"].attributes["trace.totals.calls"] == 1
    llm_otel_broadcast.uninstrument()
    spans = {span.name: span for span in run(1)}
    assert spans["Generate Response"].attributes["session.id"] == "session_abc"
    local = spans["Local model"].attributes
    assert (local["gen_ai.usage.input_tokens"], local["gen_ai.request.model"]) == (9, "llama-3.2-3b")
    assert "You said: Hello!" in local["gen_ai.output.messages"]
    assert "temperature" not in local["gen_ai.input.messages"]


def test_what_the_text_says_of_steps_and_of_lists_holds(run):
    spans = {span.name: span.attributes for span in run(2)}
    tool, agent = spans["execute_tool get_weather"], spans["invoke_agent Travel agent"]
    assert tool["gen_ai.tool.call.arguments"] == '{"city":"Rome"}'
    assert (agent["gen_ai.agent.name"], agent["session.id"]) == ("Travel agent", "session_abc")
    assert agent["input.value"] == "What shall I pack?"
    assert agent["output.value"]
    assert agent["trace.totals.calls"] == 1


def test_the_web_service_is_traced_as_the_text_says(run, arrived):
    program = {}
    before = len(run(4, program)) + len(arrived())
    with asgi_served(program["app"]) as url:
        assert b"Hello!" in get(f"{url}/answers/42?question=Hi", {"x-session-id": "session_abc"}).body
    spans = arrived()[before:]
    assert tree(spans) == {("GET /answers/{user_id}", None), (CALL, "GET /answers/{user_id}")}
    assert {(span.attributes["user.id"], span.attributes["session.id"]) for span in spans} == {("42", "session_abc")}
