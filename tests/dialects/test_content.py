"""Messages, answers and tools in the shape of the conventions' JSON schemas."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_otel_broadcast.clients.neutral_parts import output_messages
from llm_otel_broadcast.clients.openai.messages import input_messages, tool_definitions
from llm_otel_broadcast.fields.json_text import bounded_json
from llm_otel_broadcast.record.generation import Choice, ToolCall


def parts(content: object, **more: object) -> list[dict[str, object]]:
    (message,) = input_messages([{"role": "user", "content": content, **more}])
    return message["parts"]


def test_text_is_a_part():
    assert input_messages([{"role": "system", "content": "Be brief."}]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]}
    ]


def test_a_name_is_kept():
    assert input_messages([{"role": "user", "name": "ann", "content": "Hi"}])[0]["name"] == "ann"


def test_an_inline_image_is_described_not_carried():
    """Base64 images blow up spans."""
    data = "A" * 4_000
    (part,) = parts([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}])
    assert part == {"type": "blob", "modality": "image", "mime_type": "image/png", "stripped": True, "bytes": 3_000}


def test_a_linked_image_stays_a_link():
    (part,) = parts([{"type": "image_url", "image_url": {"url": "https://example.com/cat.png", "detail": "low"}}])
    assert part == {"type": "uri", "modality": "image", "uri": "https://example.com/cat.png"}


def test_inline_audio_is_described_not_carried():
    (part,) = parts([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}])
    assert part == {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "stripped": True, "bytes": 3}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ({"file_id": "file-1"}, {"type": "file", "modality": "document", "file_id": "file-1"}),
        (
            {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
            {
                "type": "blob",
                "modality": "document",
                "mime_type": "application/pdf",
                "stripped": True,
                "bytes": 3,
                "filename": "a.pdf",
            },
        ),
    ],
)
def test_files_are_named_or_described(file, expected):
    assert parts([{"type": "file", "file": file}]) == [expected]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
            {"type": "blob", "modality": "video", "mime_type": "video/mp4", "stripped": True, "bytes": 3},
        ),
        (
            {"type": "image_url", "image_url": "https://example.com/cat.png"},
            {"type": "uri", "modality": "image", "uri": "https://example.com/cat.png"},
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:,A%20brief%20note"}},
            {"type": "blob", "modality": "image", "mime_type": "text/plain", "stripped": True, "bytes": 16},
        ),
        (
            {"type": "file", "file": {"file_data": "https://example.com/a.pdf", "filename": "a.pdf"}},
            {"type": "uri", "modality": "document", "uri": "https://example.com/a.pdf", "filename": "a.pdf"},
        ),
        (
            {"type": "text", "text": "data:image/png;base64,AAAA"},
            {"type": "text", "content": "data:image/png;base64,AAAA"},
        ),
    ],
)
def test_media_of_every_kind_are_described_and_links_stay(part, expected):
    assert parts([part]) == [expected]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "hologram", "layers": [{"src": "data:image/png;base64,AAAAAAAA"}]},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAAAAAA"}},
        {"type": "hologram", "raw": b"AAAAAAAA"},
    ],
)
def test_media_in_a_part_nobody_knows_are_described_too(part):
    assert "AAAAAAAA" not in json.dumps(parts([part]))
    assert "bytes" in json.dumps(parts([part]))


def test_an_earlier_answer_in_audio_is_named_by_its_id():
    (message,) = input_messages([{"role": "assistant", "audio": {"id": "audio_1"}}])
    assert message["parts"] == [{"type": "file", "modality": "audio", "file_id": "audio_1"}]


def test_an_earlier_answer_sent_back_whole_is_described():
    (message,) = input_messages(
        [
            {
                "role": "assistant",
                "content": None,
                "audio": {"id": "audio_1", "data": "AAAA", "transcript": "Hello."},
                "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
            }
        ]
    )
    assert message["parts"] == [
        {"type": "text", "content": "Hello."},
        {"type": "blob", "modality": "audio", "stripped": True, "bytes": 3, "id": "audio_1"},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "stripped": True, "bytes": 3},
    ]


def test_a_part_of_an_odd_kind_is_unknown():
    assert parts([{"type": ["text"], "x": 1}]) == [{"type": "unknown", "x": 1}]


def test_an_unknown_part_is_kept_as_it_is():
    assert parts([{"type": "thinking_v9", "thoughts": 3}]) == [{"type": "thinking_v9", "thoughts": 3}]


def test_a_tool_result_is_a_response_part():
    result = {
        "role": "tool",
        "tool_call_id": "c1",
        "content": [{"type": "text", "text": "21 "}, {"type": "text", "text": "C"}],
    }
    assert input_messages([result]) == [
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "21 C"}]}
    ]


def test_an_assistants_tool_calls_follow_its_text():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    (message,) = input_messages([{"role": "assistant", "content": "Wait.", "tool_calls": [call]}])
    assert message["parts"] == [
        {"type": "text", "content": "Wait."},
        {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
    ]


def test_an_answer_keeps_its_finish_reason():
    choice = Choice(finish_reason="length", content="Half a", tool_calls=[ToolCall("c", "f", "[1]")])
    assert output_messages([choice]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "Half a"},
                {"type": "tool_call", "id": "c", "name": "f", "arguments": "[1]"},
            ],
            "finish_reason": "length",
        }
    ]


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}},
            {"type": "function", "name": "f", "description": "d", "parameters": {}},
        ),
        ({"type": "custom", "custom": {"name": "c"}}, {"type": "custom", "name": "c"}),
        ({"type": "web_search"}, {"type": "web_search", "name": "web_search"}),
        (
            {"type": "function", "strict": True, "function": {"name": "f"}},
            {"type": "function", "name": "f", "strict": True},
        ),
        ({"function": {"name": "f", "parameters": {}}}, {"type": "function", "name": "f", "parameters": {}}),
        ({"name": "f", "parameters": {}}, {"type": "function", "name": "f", "parameters": {}}),
        ({"google_search": {}}, {"type": "google_search", "name": "google_search"}),
        ("odd", {"type": "unknown", "name": "unknown", "definition": "odd"}),
    ],
)
def test_a_tool_has_its_members_one_level_up(tool, expected):
    assert tool_definitions([tool]) == [expected]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(object()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "tool_calls", "function", "image_url", "url", "file", "name"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.lists(anything, max_size=5))
def test_whatever_a_caller_sends_becomes_messages(messages):
    made = input_messages(messages)
    assert len(made) == len(messages)
    for message in made:
        assert {"role", "parts"} <= message.keys()
        assert all("type" in part for part in message["parts"])
    json.loads(bounded_json(made)[0])


@given(st.lists(anything, max_size=5))
def test_whatever_a_caller_offers_becomes_tools(tools):
    json.loads(bounded_json(tool_definitions(tools))[0])


SECRET = "canary-secret"
SIGNED = [
    f"https://bucket.s3.amazonaws.com/cat.png?v=2&X-Amz-Credential={SECRET}&X-Amz-Signature={SECRET}&X-Amz-Security-Token={SECRET}",
    f"https://storage.googleapis.com/b/cat.png?X-Goog-Credential={SECRET}&v=2&x-goog-signature={SECRET}",
    f"https://a.blob.core.windows.net/c/cat.png?sv={SECRET}&se={SECRET}&sr={SECRET}&sp={SECRET}&sig={SECRET}&v=2",
    f"https://d1.cloudfront.net/cat.png?v=2&Expires={SECRET}&Signature={SECRET}&Key-Pair-Id={SECRET}",
    f"https://files.example/cat.png?v=2&token={SECRET}",
    f"https://files.example/cat.png?access_token={SECRET}&v=2",
    f"https://files.example/cat.png?v=2&api_key={SECRET}&key={SECRET}",
    f"https://files.example/cat.png?v=2&%73ig={SECRET}",
    f"https://ann:{SECRET}@files.example/cat.png?v=2",
    f"https://files.example/cat.png?v=2#access_token={SECRET}",
]


@pytest.mark.parametrize("url", SIGNED)
@pytest.mark.parametrize(
    "part",
    [
        lambda url: {"type": "image_url", "image_url": {"url": url}},
        lambda url: {"type": "input_image", "image_url": url},
        lambda url: {"type": "video_url", "video_url": {"url": url}},
        lambda url: {"type": "file", "file": {"file_data": url}},
        lambda url: {"type": "input_file", "file_url": url},
        lambda url: {"type": "their_own", "source": {"url": url}},
    ],
    ids=["image", "input_image", "video", "file", "input_file", "other"],
)
def test_what_lets_into_a_link_is_cut_and_the_rest_stays(url, part):
    made = json.dumps(parts([part(url)]))
    assert SECRET not in made
    assert url.partition("/cat.png")[0].rpartition("@")[2].removeprefix("https://") + "/cat.png?v=2" in made


@pytest.mark.parametrize(
    "url",
    ["https://x.example/a?size=large&page=2#top", "https://x.example/a?sv=1&st=2", "https://x.example/a?", "cat.png"],
)
def test_a_link_without_a_secret_stays_as_it_is(url):
    assert parts([{"type": "image_url", "image_url": {"url": url}}])[0]["uri"] == url


def test_the_address_of_a_remote_tool_is_told_without_its_key():
    (tool,) = tool_definitions([{"type": "mcp", "server_url": f"https://mcp.example/sse?token={SECRET}"}])
    assert tool["server_url"] == "https://mcp.example/sse"


def test_messages_that_share_their_parts_are_not_written_out_whole():
    shared: object = "x"
    for _ in range(24):
        shared = [shared, shared]
    messages = [{"role": "user", "content": f"text {number}", "more": shared} for number in range(20)]
    begun = time.process_time()
    made = input_messages([{"role": "user", "content": "first"}, *messages, {"role": "user", "content": "newest"}])
    assert time.process_time() - begun < 20
    assert made[-1]["parts"] == [{"type": "text", "content": "newest"}]
    assert len(made) == 22
