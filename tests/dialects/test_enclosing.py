"""What each dialect makes of a root, a tool, an agent and a retriever, attribute by attribute: dashboards rest on it."""

from __future__ import annotations

import openinference.semconv.trace as conventions
import pytest

from llm_otel_broadcast.dialects import DIALECTS
from llm_otel_broadcast.record.dialect_names import PINNED_DIALECTS
from llm_otel_broadcast.record.enclosing_facts import EnclosingContent, EnclosingSpanFacts, Excerpt
from llm_otel_broadcast.record.enclosing_span import ENCLOSING_KINDS
from llm_otel_broadcast.record.failure import Failure
from llm_otel_broadcast.record.trace_fields import Fields

EXCERPTS = EnclosingContent(Excerpt("Why?"), Excerpt("Because."))
OWN = EnclosingContent(Excerpt('{"query":"why"}', is_json=True), Excerpt("because"), is_of_function=True)
SHOWN = {
    "input.value": "Why?",
    "input.mime_type": "text/plain",
    "output.value": "Because.",
    "output.mime_type": "text/plain",
}
OWN_SHOWN = {
    "input.value": '{"query":"why"}',
    "input.mime_type": "application/json",
    "output.value": "because",
    "output.mime_type": "text/plain",
}
CALLER = {"session.id": "s", "trace.totals.calls": 3, "trace.failed_calls": 1}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search", "gen_ai.tool.type": "function"}
CALL = {"gen_ai.tool.call.arguments": '{"query":"why"}', "gen_ai.tool.call.result": "because"}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "search"}
QUERY = {"gen_ai.retrieval.query.text": '{"query":"why"}'}


def facts_of_kind(kind, failure=None):
    fields = Fields(session_id="s")
    return EnclosingSpanFacts("Span", 1, 2, 0, 3, 4, kind, "search", fields, failure, 1, {"calls": 3})


def attributes(dialect, kind, content):
    return dict(DIALECTS[dialect]().enclosing_span(facts_of_kind(kind), content).attributes)


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("chain", EXCERPTS, {"openinference.span.kind": "CHAIN", **SHOWN}),
        ("chain", OWN, {"openinference.span.kind": "CHAIN", **OWN_SHOWN}),
        ("chain", None, {"openinference.span.kind": "CHAIN"}),
        ("tool", OWN, {"openinference.span.kind": "TOOL", **TOOL, **CALL, **OWN_SHOWN}),
        # what was said to a model inside is not what the tool got
        ("tool", EXCERPTS, {"openinference.span.kind": "TOOL", **TOOL, **SHOWN}),
        ("tool", None, {"openinference.span.kind": "TOOL", **TOOL}),
        ("agent", OWN, {"openinference.span.kind": "AGENT", **AGENT, **OWN_SHOWN}),
        (
            "retriever",
            OWN,
            {"openinference.span.kind": "RETRIEVER", "gen_ai.operation.name": "retrieval", **QUERY, **OWN_SHOWN},
        ),
    ],
)
def test_semconv_has_the_conventions_names_and_what_lists_show_by_openinferences(kind, content, expected):
    assert attributes("semconv", kind, content) == {**CALLER, **expected}


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("chain", EXCERPTS, SHOWN),
        ("chain", None, {}),
        ("tool", OWN, {"tool.name": "search", "tool.parameters": '{"query":"why"}', **OWN_SHOWN}),
        ("tool", EXCERPTS, {"tool.name": "search", **SHOWN}),
        ("agent", OWN, {"agent.name": "search", **OWN_SHOWN}),
        ("retriever", OWN, OWN_SHOWN),
    ],
)
def test_openinference_has_its_own_alone(kind, content, expected):
    assert attributes("openinference", kind, content) == {
        **CALLER,
        "openinference.span.kind": kind.upper(),
        **expected,
    }


PINNED = {
    "semconv-1.37": {"tool": TOOL, "agent": AGENT, "retriever": {}},
    "semconv-1.38": {"tool": TOOL | CALL, "agent": AGENT, "retriever": {}},
    "semconv-1.40": {
        "tool": TOOL | CALL,
        "agent": AGENT,
        "retriever": {"gen_ai.operation.name": "retrieval", **QUERY},
    },
}
PINNED["semconv-1.41"] = PINNED["semconv-1.40"]


@pytest.mark.parametrize("dialect", PINNED_DIALECTS)
@pytest.mark.parametrize("kind", ENCLOSING_KINDS)
def test_a_pinned_version_has_what_it_published_and_nothing_of_others(dialect, kind):
    assert attributes(dialect, kind, OWN) == {**CALLER, **PINNED[dialect].get(kind, {})}


def test_openrouter_has_no_such_spans():
    """Broadcast has none."""
    assert DIALECTS["openrouter"]().enclosing_span(facts_of_kind("chain"), EXCERPTS) is None


@pytest.mark.parametrize("dialect", ["semconv", "openinference"])
def test_the_text_of_an_error_is_content(dialect):
    failure = Failure("ValueError")
    for content, text in ((None, ""), (EnclosingContent(error_text="lost"), "lost")):
        span = DIALECTS[dialect]().enclosing_span(facts_of_kind("chain", failure), content)
        assert (span.status_code, span.status_message, span.attributes["error.type"]) == (2, text, "ValueError")


@pytest.mark.parametrize("kind", ENCLOSING_KINDS)
def test_every_kind_and_every_name_of_openinferences_is_there(kind):
    assert kind.upper() in {member.value for member in conventions.OpenInferenceSpanKindValues}
    known = set(vars(conventions.SpanAttributes).values())
    for dialect in ("semconv", "openinference"):
        names = {name for name in attributes(dialect, kind, OWN) if not name.startswith("gen_ai.")}
        assert names - CALLER.keys() <= known
