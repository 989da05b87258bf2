"""Answers of the responses API that wait for the caller, and the items that are neither text nor call."""

from __future__ import annotations

import inspect
import json

import pytest

from llm_otel_broadcast.clients.openai.responses.item_types import waits_for_caller
from llm_otel_broadcast.stand_in.answers import Answer
from tests.support.client_calls import needs_responses, respond
from tests.support.messages import all_parts_of
from tests.support.stand_in import responses

pytestmark = needs_responses

SHELL = {"call_id": "call_1", "action": {"commands": ["ls"]}}
PATCH = {"type": "delete_file", "path": "a.txt"}
LOCAL = {"type": "exec", "command": ["ls"], "env": {}}


@pytest.mark.parametrize(
    ("item", "call"),
    [
        (
            responses.item("computer_call", call_id="call_1", action={"type": "screenshot"}, pending_safety_checks=[]),
            {"id": "call_1", "name": "computer", "arguments": {"action": {"type": "screenshot"}}},
        ),
        (
            responses.item("local_shell_call", call_id="call_1", action=LOCAL),
            {"id": "call_1", "name": "local_shell", "arguments": {"action": LOCAL}},
        ),
        (
            responses.item("shell_call", **SHELL),
            {"id": "call_1", "name": "shell", "arguments": {"action": {"commands": ["ls"]}}},
        ),
        (
            responses.item("shell_call", **SHELL, environment={"type": "local"}),
            {"id": "call_1", "name": "shell", "arguments": {"action": {"commands": ["ls"]}}},
        ),
        (
            responses.item("apply_patch_call", call_id="call_1", operation=PATCH),
            {"id": "call_1", "name": "apply_patch", "arguments": {"operation": PATCH}},
        ),
        (
            responses.item("tool_search_call", call_id="call_1", execution="client", arguments={"query": "weather"}),
            {"id": "call_1", "name": "tool_search", "arguments": {"query": "weather"}},
        ),
        (
            {"type": "mcp_approval_request", "id": "a_1", "name": "pay", "server_label": "bank", "arguments": "{}"},
            {"id": "a_1", "name": "pay", "arguments": {}, "server_label": "bank"},
        ),
        (
            {**responses.function_call("call_1", "f", "{}"), "namespace": "crm"},
            {"id": "call_1", "name": "f", "arguments": {}, "namespace": "crm"},
        ),
    ],
    ids=lambda value: str(value.get("type") or value["name"]),
)
def test_a_call_that_waits_for_the_caller_ends_the_answer_as_a_function_does(
    stand_in, instrumented, arrived, item, call
):
    stand_in.script(responses.whole(item), responses.streamed(item), responses.streamed(item, finished=False))
    instrumented()
    respond("sync", stand_in.base_url)
    respond("sync", stand_in.base_url, stream=True)
    respond("sync", stand_in.base_url, stream=True)
    *ended, cut = arrived(3)
    for span in ended:
        assert span.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
        assert span.attributes["gen_ai.response.tool_calls.count"] == 1
        assert not [name for name in span.attributes if "server_tool_calls" in name]
        assert all_parts_of(span) == [{"type": "tool_call", **call}]
    assert all_parts_of(cut) == [{"type": "tool_call", **call}]


@pytest.mark.parametrize(
    "item",
    [
        responses.item("tool_search_call", call_id="call_1", execution="server", arguments={"query": "weather"}),
        responses.item("shell_call", **SHELL, environment={"type": "container_reference", "container_id": "c"}),
        responses.item("web_search_call", action={"type": "search", "query": "weather"}),
        {"type": "mcp_list_tools", "id": "l_1", "server_label": "bank", "tools": []},
        {"type": "program", "id": "p_1", "call_id": "call_1", "code": "f()", "fingerprint": "x"},
    ],
    ids=lambda item: item["type"],
)
def test_what_the_provider_runs_itself_does_not_wait(stand_in, instrumented, arrived, item):
    stand_in.script(responses.whole(item, responses.text("Done.")), responses.streamed(item, responses.text("Done.")))
    instrumented()
    respond("sync", stand_in.base_url)
    respond("sync", stand_in.base_url, stream=True)
    for span in arrived(2):
        assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]
        assert "gen_ai.response.tool_calls.count" not in span.attributes
        assert [part["type"] for part in all_parts_of(span)] == ["server_tool_call", "text"]


def test_a_call_whose_result_is_in_the_answer_does_not_wait(stand_in, instrumented, arrived):
    output = {"type": "shell_call_output", "id": "o_1", "call_id": "call_1", "output": [{"stdout": "a.txt"}]}
    stand_in.script(responses.whole(responses.item("shell_call", **SHELL), output))
    instrumented()
    respond("sync", stand_in.base_url)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert all_parts_of(span)[-1] == {
        "type": "server_tool_call_response",
        "id": "call_1",
        "server_tool_call_response": {"type": "shell", "output": [{"stdout": "a.txt"}]},
    }


def test_who_runs_a_call_is_told_by_the_whole_item(stand_in, instrumented, arrived):
    begun = responses.item("tool_search_call", call_id="call_1", execution="server", arguments={})
    events = [
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.output_item.done", "output_index": 0, "item": {**begun, "execution": "client"}},
    ]
    stand_in.script(Answer(events=tuple(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)))
    instrumented()
    respond("sync", stand_in.base_url, stream=True)
    assert [part["type"] for part in all_parts_of(arrived(1)[0])] == ["tool_call"]


def test_without_content_a_waiting_call_is_counted_and_not_kept(stand_in, instrumented, arrived):
    stand_in.script(responses.whole(responses.item("apply_patch_call", call_id="call_1", operation=PATCH)))
    instrumented(privacy_mode=True)
    respond("sync", stand_in.base_url)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.tool_calls.count"] == 1
    assert span.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert "a.txt" not in str(span.attributes)


@pytest.mark.parametrize("item", [{}, {"type": None}, {"type": ["shell_call"]}, {"type": "message"}])
def test_what_is_no_call_waits_for_nobody(item):
    assert not waits_for_caller(item)


def test_a_conversation_that_was_compacted_says_so(kind, stand_in, instrumented, arrived):
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"}
    answer = (item, responses.text("Hi."))
    stand_in.script(
        responses.whole(*answer),
        responses.streamed(*answer),
        responses.streamed(item, finished=False),
        responses.whole(responses.text("Hi.")),
        responses.whole(responses.text("Hi.")),
    )
    instrumented()
    respond(kind, stand_in.base_url)
    respond(kind, stand_in.base_url, stream=True)
    respond(kind, stand_in.base_url, stream=True)
    respond(kind, stand_in.base_url, input=[item, {"role": "user", "content": "Hello!"}])
    respond(kind, stand_in.base_url, input=[{"role": "user", "content": "Hello!"}])
    spans = arrived(5)
    compacted = [span.attributes.get("gen_ai.conversation.compacted") for span in spans]
    assert compacted == [True, True, True, True, None]
    assert {"type": "compaction", "id": "cmp_1"} in all_parts_of(spans[0])
    assert {"type": "compaction", "id": "cmp_1"} in all_parts_of(spans[2])
    assert "gAAAA" not in str([span.attributes for span in spans])


def test_a_conversation_is_known_to_be_compacted_without_its_content(stand_in, instrumented, arrived):
    instrumented(privacy_mode=True)
    respond("sync", stand_in.base_url, input=[{"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"}])
    assert arrived(1)[0].attributes["gen_ai.conversation.compacted"] is True


def test_what_is_fetched_was_not_compacted_by_the_fetching(stand_in, instrumented, arrived):
    stand_in.script(responses.whole({"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}))
    instrumented()
    respond("sync", stand_in.base_url, "resp_1", method="retrieve")
    assert "gen_ai.conversation.compacted" not in arrived(1)[0].attributes


@pytest.mark.parametrize(
    ("prompt", "name", "version"),
    [
        ({"id": "pmpt_1", "version": "2", "variables": {"city": "Paris"}}, "pmpt_1", "2"),
        ({"id": "pmpt_1"}, "pmpt_1", None),
        ({"version": "2"}, None, None),
        (None, None, None),
    ],
)
def test_a_prompt_kept_at_the_provider_is_named(client, stand_in, instrumented, arrived, prompt, name, version):
    if "prompt" not in inspect.signature(client.responses.create).parameters:
        pytest.skip("the installed client knows no prompts")
    instrumented(privacy_mode=True)
    respond("sync", stand_in.base_url, prompt=prompt)
    attributes = arrived(1)[0].attributes
    assert attributes.get("gen_ai.prompt.name") == name
    assert attributes.get("gen_ai.prompt.version") == version
    assert "Paris" not in str(attributes)


def test_an_item_that_nobody_knows_yet_is_not_lost(stand_in, instrumented, arrived):
    stand_in.script(responses.whole({"type": "news", "id": "n_1", "lines": ["a"]}, responses.text("Hi.")))
    instrumented()
    respond("sync", stand_in.base_url)
    assert {"type": "news", "id": "n_1", "lines": ["a"]} in all_parts_of(arrived(1)[0])


@pytest.mark.parametrize("content", ["Hi.", {"type": "output_text", "text": "Hi."}, [{"text": ["Hi", "."]}]])
def test_a_message_that_is_not_to_the_letter_keeps_its_text(stand_in, instrumented, arrived, content):
    stand_in.script(responses.whole({"type": "message", "role": "assistant", "content": content}))
    instrumented()
    respond("sync", stand_in.base_url)
    assert all_parts_of(arrived(1)[0]) == [{"type": "text", "content": "Hi."}]
