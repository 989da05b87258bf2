"""What the command line draws fits any terminal, and is whole where there is none."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from llm_otel_broadcast import DestinationStatus, Status
from llm_otel_broadcast.cli.views.status import status_table
from llm_otel_broadcast.cli.views.traces import trace_trees
from llm_otel_broadcast.receiver import ReceivedSpan

TRACE = "0af7651916cd43dd8448eb211c80319c"
FACTS = [
    "anthropic/claude-sonnet-4.5",
    "412 in (256 cached), 21 out",
    "$0.001240 (estimated)",
    "426 ms",
    "first chunk after 143 ms",
]


def drawn(thing, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(thing)
    return console.file.getvalue().splitlines()


def span(name, kind, span_id, parent, **attributes):
    return ReceivedSpan(
        name=name,
        trace_id=TRACE,
        span_id=span_id,
        parent_span_id=parent,
        kind=kind,
        start_ns=0,
        end_ns=426_000_000,
        attributes=attributes,
        status_code=0,
        status_message="",
        events=(),
        resource={},
        scope_name="s",
        scope_version="1",
    )


def tree(width):
    said = {"user.id": "user_12345", "session.id": "session_abc", "trace.metadata.environment": "staging"}
    usage = {"input_tokens": 412, "output_tokens": 21, "cache_read.input_tokens": 256}
    generation = {f"gen_ai.usage.{key}": value for key, value in usage.items()} | {
        "gen_ai.request.model": "anthropic/claude-sonnet-4.5",
        "gen_ai.usage.total_cost": 0.00124,
        "gen_ai.usage.cost.source": "estimated",
        "gen_ai.response.time_to_first_chunk": 0.143,
    }
    spans = [
        span("Weather agent", 1, "01" * 8, "", **said),
        span("Choose a tool", 3, "02" * 8, "01" * 8, **generation),
        span("Answer", 3, "03" * 8, "01" * 8, **generation),
    ]
    (made,) = trace_trees({TRACE: spans})
    return drawn(made, width)


@pytest.mark.parametrize("width", [45, 60, 80, 100, 160, 240])
def test_a_line_breaks_between_facts_and_never_inside_one(width):
    lines = tree(width)
    for fact in ["Choose a tool", *FACTS, "user user_12345", "session session_abc", "environment=staging"]:
        assert any(fact in line for line in lines), fact
    assert max(map(len, lines)) <= width


def test_what_does_not_fit_goes_on_below_its_name_beside_the_tree():
    lines = tree(80)
    (name,) = [number for number, line in enumerate(lines) if "Choose a tool" in line]
    assert lines[name].startswith("    ├── Choose a tool")
    assert lines[name + 1].startswith("    │     $0.001240")


def test_with_room_every_span_has_one_line():
    assert len(tree(240)) == 4


def test_a_destination_in_trouble_is_explained_below_the_table():
    error = "https://api.example.com/v1/traces answered 401 (check the API key in headers=): no such token"
    well = DestinationStatus("well", 11, 11, 0, {}, 0, 0, None, 1.0)
    ill = DestinationStatus("ill", 11, 0, 0, {"refused": 11}, 0, 0, error, None)
    lines = drawn(status_table(Status(instrumented=True, destinations=(well, ill), internal_errors={})), 120)
    assert lines[-2:] == ["ill: dropped 11 refused", f"ill: {error}"]
    assert [line.split() for line in lines if line.startswith(" ill")] == [["ill", "11", "0", "0", "11", "0"]]


def test_when_all_is_well_the_table_is_the_end():
    well = DestinationStatus("well", 11, 11, 3, {}, 0, 0, "answered 503", 1.0)
    lines = drawn(status_table(Status(instrumented=True, destinations=(well,), internal_errors={})), 80)
    assert lines[-1].split() == ["well", "11", "11", "3", "0", "0"]
