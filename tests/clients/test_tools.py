"""What is kept of the tools that a request offers."""

from __future__ import annotations

import copy
import json
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

import llm_otel_broadcast
from llm_otel_broadcast.clients.openai.tools import note_tools
from llm_otel_broadcast.record.generation import Generation
from tests.support.client_calls import chat

TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks something up.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}}},
    },
}
TEXTS = st.sampled_from(["", "function", "name", "web_search", None, 3, ["x"]])
FUNCTIONS = st.dictionaries(st.sampled_from(["name", "description"]), TEXTS) | TEXTS
TOOLS = st.lists(
    st.fixed_dictionaries({}, optional={"type": TEXTS, "name": TEXTS, "function": FUNCTIONS, "web_search": FUNCTIONS}),
    max_size=4,
)


class OddText(str):
    """What no packing takes, as a client's own objects."""

    __slots__ = ()


def definitions(span):
    return json.loads(span.attributes["gen_ai.tool.definitions"])


def test_what_the_program_changes_deep_in_a_tool_after_the_call_changes_nothing(stand_in, receiver, arrived):
    # Nothing is read before the change: a batch is waited for.
    destination = llm_otel_broadcast.Destination(endpoint=receiver.endpoint, batch_delay=60.0)
    llm_otel_broadcast.instrument(destinations=[destination])
    tool = copy.deepcopy(TOOL)
    chat("sync", stand_in.base_url, tools=[tool])
    tool["function"]["name"] = "later"
    tool["function"]["parameters"]["properties"]["city"]["enum"].append("Bonn")
    (span,) = arrived(1)
    assert definitions(span) == [{"type": "function", **TOOL["function"]}]


def test_a_tool_that_cannot_be_packed_is_kept_all_the_same(stand_in, instrumented, arrived):
    instrumented()
    tool = {**TOOL, "function": {**TOOL["function"], "description": OddText("Looks something up.")}}
    chat("sync", stand_in.base_url, tools=[tool, TOOL])
    (span,) = arrived(1)
    assert definitions(span) == [{"type": "function", **TOOL["function"]}] * 2
    assert stand_in.requests[0].json["tools"] == [TOOL, TOOL]


def test_a_tool_that_holds_itself_is_kept_and_the_record_ends():
    tool = copy.deepcopy(TOOL)
    tool["itself"] = [tool, tool]
    record = Generation("chat")
    note_tools(record, {"tools": [tool]}, content=True)
    assert record.tool_names == ["look_up"]
    assert record.tools[0]["itself"][1]["function"] == TOOL["function"]


@given(TOOLS)
def test_functions_as_most_state_them_are_named_as_any_tool_is(tools):
    usual, general = Generation("chat"), Generation("chat")
    note_tools(usual, {"tools": tools}, content=True)
    # Mappings that are no dicts take the general way.
    note_tools(general, {"tools": [MappingProxyType(tool) for tool in tools]}, content=False)
    assert usual.tool_names == general.tool_names
    assert list(usual.tools) == tools
