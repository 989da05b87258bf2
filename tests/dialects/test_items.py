"""Items of the responses API in the shape of the conventions' messages; media are described, never carried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.clients.neutral_parts import output_messages
from llm_otel_broadcast.clients.openai.messages import input_messages, tool_definitions
from llm_otel_broadcast.fields.json_text import bounded_json
from llm_otel_broadcast.record.generation import Choice, ServerCall

PICTURE = "data:image/png;base64," + "A" * 4_000
BLOB = {"type": "blob", "modality": "image", "mime_type": "image/png", "stripped": True, "bytes": 3_000}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "input_text", "text": "Hi"}, {"type": "text", "content": "Hi"}),
        ({"type": "output_text", "text": "Hi", "annotations": []}, {"type": "text", "content": "Hi"}),
        ({"type": "refusal", "refusal": "No."}, {"type": "refusal", "content": "No."}),
        ({"type": "input_image", "image_url": PICTURE, "detail": "auto"}, BLOB),
        (
            {"type": "input_image", "image_url": "https://example.com/cat.png"},
            {"type": "uri", "modality": "image", "uri": "https://example.com/cat.png"},
        ),
        ({"type": "input_image", "file_id": "file-1"}, {"type": "file", "modality": "image", "file_id": "file-1"}),
        ({"type": "input_file", "file_id": "file-2"}, {"type": "file", "modality": "document", "file_id": "file-2"}),
        (
            {"type": "input_file", "file_url": "https://example.com/a.pdf"},
            {"type": "uri", "modality": "document", "uri": "https://example.com/a.pdf"},
        ),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
            {
                "type": "blob",
                "modality": "document",
                "mime_type": "application/pdf",
                "stripped": True,
                "bytes": 3,
                "filename": "a.pdf",
            },
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "stripped": True, "bytes": 3},
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_part_of_a_message_item(part, expected):
    assert input_messages([{"type": "message", "role": "user", "content": [part]}]) == [
        {"role": "user", "parts": [expected]}
    ]


@pytest.mark.parametrize(
    ("item", "role", "part"),
    [
        (
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}'},
            "assistant",
            {"type": "tool_call", "id": "call_1", "name": "f", "arguments": {"a": 1}},
        ),
        (
            {"type": "custom_tool_call", "call_id": "call_1", "name": "run", "input": "ls"},
            "assistant",
            {"type": "tool_call", "id": "call_1", "name": "run", "arguments": "ls"},
        ),
        (
            {"type": "function_call_output", "call_id": "call_1", "output": "42"},
            "tool",
            {"type": "tool_call_response", "id": "call_1", "response": "42"},
        ),
        (
            {
                "type": "function_call_output",
                "call_id": "call_1",
                "output": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
            },
            "tool",
            {"type": "tool_call_response", "id": "call_1", "response": "ab"},
        ),
        (
            {
                "type": "computer_call_output",
                "call_id": "call_1",
                "output": {"type": "computer_screenshot", "image_url": PICTURE},
            },
            "tool",
            {"type": "tool_call_response", "id": "call_1", "response": BLOB},
        ),
        (
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
            "assistant",
            {"type": "reasoning", "content": "Hm."},
        ),
        (
            {
                "type": "web_search_call",
                "id": "ws_1",
                "status": "completed",
                "action": {"type": "search", "query": "q"},
            },
            "assistant",
            {
                "type": "server_tool_call",
                "id": "ws_1",
                "name": "web_search",
                "server_tool_call": {
                    "type": "web_search",
                    "status": "completed",
                    "action": {"type": "search", "query": "q"},
                },
            },
        ),
        (
            {"type": "computer_call", "id": "cu_1", "call_id": "call_1", "action": {"type": "screenshot"}},
            "assistant",
            {
                "type": "tool_call",
                "id": "call_1",
                "name": "computer",
                "arguments": {"action": {"type": "screenshot"}},
            },
        ),
        (
            {"type": "tool_search_call", "call_id": "call_1", "execution": "client", "arguments": {"query": "q"}},
            "assistant",
            {"type": "tool_call", "id": "call_1", "name": "tool_search", "arguments": {"query": "q"}},
        ),
        (
            {"type": "tool_search_output", "call_id": "call_1", "execution": "client", "tools": [{"name": "f"}]},
            "tool",
            {
                "type": "tool_call_response",
                "id": "call_1",
                "response": {"execution": "client", "tools": [{"name": "f"}]},
            },
        ),
        (
            {"type": "program_output", "id": "po_1", "call_id": "call_1", "result": "42", "status": "completed"},
            "tool",
            {
                "type": "server_tool_call_response",
                "id": "call_1",
                "server_tool_call_response": {"type": "program", "result": "42"},
            },
        ),
        (
            {"type": "mcp_approval_request", "id": "a_1", "name": "pay", "server_label": "bank", "arguments": "{}"},
            "assistant",
            {"type": "tool_call", "id": "a_1", "name": "pay", "arguments": {}, "server_label": "bank"},
        ),
        (
            {"type": "mcp_approval_response", "approval_request_id": "a_1", "approve": False, "reason": "No."},
            "tool",
            {"type": "tool_call_response", "id": "a_1", "response": {"approve": False, "reason": "No."}},
        ),
        (
            {"type": "reasoning", "id": "rs_1", "summary": "Hm."},
            "assistant",
            {"type": "reasoning", "content": "Hm."},
        ),
        ({"type": "item_reference", "id": "msg_1"}, "user", {"type": "item_reference", "id": "msg_1"}),
        ({"id": "msg_1"}, "user", {"type": "item_reference", "id": "msg_1"}),
        (
            {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"},
            "user",
            {"type": "compaction", "id": "cmp_1"},
        ),
        ({"type": "news", "picture": [PICTURE]}, "user", {"type": "news", "picture": [BLOB]}),
    ],
    ids=lambda value: str(value.get("type") if isinstance(value, dict) else value)[:40],
)
def test_an_item_is_a_message_of_one_part(item, role, part):
    assert input_messages([item]) == [{"role": role, "parts": [part]}]


def test_reasoning_that_only_the_provider_can_read_says_nothing():
    assert input_messages([{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}]) == []


def test_a_drawn_image_that_is_sent_back_is_described():
    item = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "A" * 4_000}
    (message,) = input_messages([item])
    assert message["parts"][1] == BLOB
    assert "AAAA" not in str(message)


def test_an_outputs_own_message_reads_as_a_message():
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    assert input_messages([item]) == [{"role": "assistant", "parts": [{"type": "text", "content": "Hi"}]}]


def test_calls_of_built_in_tools_come_before_the_answer():
    (message,) = output_messages([Choice(content="Rain.")], [ServerCall("web_search", "ws_1")])
    assert [part["type"] for part in message["parts"]] == ["server_tool_call", "text"]


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_remote_tools_definition_keeps_its_secrets(is_nested):
    members = {"server_label": "wiki", "headers": {"X-Key": "secret"}, "authorization": "secret"}
    tool = {"type": "mcp", "mcp": members} if is_nested else {"type": "mcp", **members}
    assert tool_definitions([tool]) == [{"type": "mcp", "name": "mcp", "server_label": "wiki"}]


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(
    [
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "mcp_call",
        "mcp_approval_response",
        "shell_call",
        "item_reference",
        "compaction",
    ]
)


@given(kinds, st.dictionaries(st.sampled_from(["role", "content", "id", "output", "summary", "action"]), odd))
def test_no_item_makes_it_fail(kind, members):
    bounded_json(input_messages([{**members, "type": kind}]), 10_000)
