"""Tool calls are recorded each once, with name and whole arguments, in whatever shape and pieces a server sends them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_otel_broadcast.clients.answer_texts import Allowance
from llm_otel_broadcast.clients.openai.tool_calls import CallPieces
from llm_otel_broadcast.clients.reader import MAX_ITEMS
from llm_otel_broadcast.stand_in.answers import Answer, completion, event, message
from tests.support.client_calls import MESSAGES, chat

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m1"}
OSLO = {"city": "Oslo", "days": [1, 2]}


def chunks(*deltas: dict[str, Any], reason: str = "tool_calls") -> Answer:
    """Return a stream of deltas."""
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": reason})
    return Answer(events=(*(event({**HEAD, "choices": [choice]}) for choice in choices), b"data: [DONE]\n\n"))


def piece(name: str | None, arguments: Any, **members: Any) -> dict[str, Any]:
    """Return a piece of a call."""
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **members}


def calls_in(span: Any, key: str = "gen_ai.output.messages") -> list[tuple[str, Any]]:
    """Return name and arguments of the calls on a span."""
    parts = [part for said in json.loads(span.attributes[key]) for part in said["parts"]]
    return [(part["name"], part["arguments"]) for part in parts if part["type"] == "tool_call"]


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param(
            [[piece("add", '{"a":', index=0)], [piece(None, "1}", index=0)], [piece("drop", "{}", index=1)]],
            id="no ids",
        ),
        pytest.param(
            [[piece("add", '{"a":1}', index=0, id="")], [piece("drop", "{}", index=0, id="")]], id="blank ids, index 0"
        ),
        pytest.param(
            [[piece("add", '{"a":1}', index=0, id=""), piece("drop", "{}", index=0, id="")]], id="in one chunk"
        ),
        pytest.param([[piece("add", '{"a":1}', id="x")], [piece("drop", "{}", id="y")]], id="no index"),
        pytest.param([[piece("add", '{"a":1}'), piece("drop", "{}")]], id="neither index nor id"),
        pytest.param(
            [
                [piece("add", "", index=0, id="x"), piece("drop", "", index=0, id="y")],
                [piece(None, "{}", index=0, id="y"), piece(None, '{"a":1}', index=0, id="x")],
            ],
            id="index 0, interleaved by id",
        ),
        pytest.param(
            [
                [piece("add", "", index=0, id="x"), piece("drop", "", index=1, id="x")],
                [piece(None, "{}", index=1, id="x"), piece(None, '{"a":1}', index=0, id="x")],
            ],
            id="one id for all, told apart by index",
        ),
        pytest.param(
            [
                [piece("add", "", index=0, id="x1")],
                [piece(None, '{"a":', index=0, id="x2")],
                [piece(None, "1}", index=0, id="x3")],
                [piece("drop", "{}", index=1, id="y1")],
            ],
            id="an id for each piece",
        ),
        pytest.param(
            [
                [piece("add", '{"a":', index=0, id="x")],
                [piece("add", "1}", index=0, id="x")],
                [piece("drop", "{}", index=1, id="y")],
            ],
            id="the name repeated",
        ),
        pytest.param(
            [
                [piece("a", "", index=0, id="x")],
                [piece("dd", '{"a":1}', index=0)],
                [piece("drop", "{}", index=1, id="y")],
            ],
            id="the name in pieces",
        ),
        pytest.param(
            [
                [piece("add", '{"a"', index=0, id="x")],
                [piece(None, ":1}", index=1, id="x")],
                [piece("drop", "{}", index=2, id="y")],
            ],
            id="an index for each piece",
        ),
        pytest.param([[piece("add", {"a": 1}, index=0)], [piece("drop", {}, index=1)]], id="objects"),
        pytest.param(
            [
                [piece("add", {}, index=0, id="x")],
                [piece(None, '{"a":1}', index=0)],
                [piece("drop", {}, index=1, id="y")],
            ],
            id="an empty object first",
        ),
        pytest.param(
            [
                [{"index": 0, "id": 5, "name": "add", "arguments": '{"a":1}'}],
                [{"index": 1, "name": "drop", "arguments": {}}],
            ],
            id="name and arguments beside the id",
        ),
    ],
)
def test_streamed_calls_are_recorded_each_once(stand_in, instrumented, arrived, deltas):
    stand_in.script(chunks(*({"tool_calls": pieces} for pieces in deltas)))
    instrumented()
    chat("sync", stand_in.base_url, stream=True)
    (span,) = arrived(1)
    assert calls_in(span) == [("add", {"a": 1}), ("drop", {})]
    assert span.attributes["gen_ai.response.tool_calls.count"] == 2


def test_one_call_where_a_list_belongs_is_a_call(kind, stand_in, instrumented, arrived):
    pieces = [piece("weather", '{"city"', index=0, id=""), piece(None, ': "Oslo"}', index=0, id="")]
    whole = message(tool_calls=[("call_1", "weather", '{"city": "Oslo"}')])
    whole["tool_calls"] = whole["tool_calls"][0]
    stand_in.script(chunks(*({"tool_calls": one} for one in pieces)), completion(whole))
    instrumented()
    chat(kind, stand_in.base_url, stream=True)
    chat(kind, stand_in.base_url)
    for span in arrived(2):
        assert calls_in(span) == [("weather", {"city": "Oslo"})]
        assert span.attributes["gen_ai.response.tool_calls.count"] == 1
    assert "gen_ai.response.time_to_first_chunk" in arrived(2)[0].attributes


@pytest.mark.parametrize(
    "call",
    [
        {"id": "0", "type": "function", "function": {"name": "weather", "arguments": OSLO}},
        {"id": "0", "type": "custom", "custom": {"name": "weather", "input": json.dumps(OSLO)}},
        {"id": "0", "name": "weather", "arguments": json.dumps(OSLO)},
    ],
    ids=["object", "custom", "flat"],
)
def test_a_call_reads_alike_whole_streamed_and_raw(client, stand_in, instrumented, arrived, call):
    whole = completion({"role": "assistant", "content": None, "tool_calls": [call]})
    stand_in.script(whole, chunks({"tool_calls": [{"index": 0, **call}]}), whole)
    instrumented()
    chat("sync", stand_in.base_url)
    chat("sync", stand_in.base_url, stream=True)
    client.chat.completions.with_raw_response.create(model="m1", messages=MESSAGES)
    assert [calls_in(span) for span in arrived(3)] == [[("weather", OSLO)]] * 3


def test_a_custom_tools_streamed_input_is_put_together(kind, stand_in, instrumented, arrived):
    begun = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "run", "input": ""}}
    pieces = [{"index": 0, "custom": {"input": text}} for text in ("ls ", "-l")]
    stand_in.script(chunks(*({"tool_calls": [one]} for one in (begun, *pieces))))
    instrumented()
    chat(kind, stand_in.base_url, stream=True)
    assert calls_in(arrived(1)[0]) == [("run", "ls -l")]


def test_the_deprecated_functions_are_tools(kind, stand_in, instrumented, arrived):
    offered = [{"name": "weather", "description": "Of a city.", "parameters": {"type": "object", "properties": {}}}]
    called = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    stand_in.script(
        completion({"role": "assistant", "content": None, "function_call": called}),
        chunks(
            {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": ""}},
            {"function_call": {"arguments": '{"city":'}},
            {"function_call": {"arguments": ' "Oslo"}'}},
            reason="function_call",
        ),
    )
    instrumented()
    asked = {"functions": offered, "function_call": {"name": "weather"}}
    chat(kind, stand_in.base_url, **asked)
    chat(kind, stand_in.base_url, **asked, stream=True)
    spans = arrived(2)
    for span in spans:
        assert calls_in(span) == [("weather", {"city": "Oslo"})]
        assert span.attributes["gen_ai.response.tool_calls.count"] == 1
        assert span.attributes["gen_ai.request.tools.count"] == 1
        assert span.attributes["gen_ai.request.tools.names"] == ["weather"]
        assert span.attributes["gen_ai.request.tool_choice"] == "weather"
        assert json.loads(span.attributes["gen_ai.tool.definitions"]) == [{"type": "function", **offered[0]}]
    assert spans[1].attributes["gen_ai.response.finish_reasons"] == ["function_call"]
    assert "gen_ai.response.time_to_first_chunk" in spans[1].attributes


def test_a_call_that_is_sent_under_the_old_name_too_counts_once(stand_in, instrumented, arrived):
    called = {"name": "weather", "arguments": "{}"}
    whole = message(tool_calls=[("call_1", "weather", "{}")], function_call=called)
    delta = {"tool_calls": [piece("weather", "{}", index=0, id="call_1")], "function_call": called}
    stand_in.script(completion(whole), chunks(delta))
    instrumented()
    chat("sync", stand_in.base_url)
    chat("sync", stand_in.base_url, stream=True)
    for span in arrived(2):
        assert calls_in(span) == [("weather", {})]
        assert span.attributes["gen_ai.response.tool_calls.count"] == 1


def test_calls_of_earlier_turns_read_as_the_answer_did(stand_in, instrumented, arrived):
    history = [
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
        {"role": "function", "name": "weather", "content": "Rain."},
        {"role": "assistant", "content": None, "tool_calls": {"id": "c", "function": {"name": "f", "arguments": OSLO}}},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "Sun."}]},
    ]
    instrumented()
    chat("sync", stand_in.base_url, messages=history)
    (span,) = arrived(1)
    assert calls_in(span, "gen_ai.input.messages") == [("weather", {"city": "Oslo"}), ("f", OSLO)]
    parts = [part for said in json.loads(span.attributes["gen_ai.input.messages"]) for part in said["parts"]]
    assert [part["response"] for part in parts if part["type"] == "tool_call_response"] == ["Rain.", "Sun."]


def test_without_content_calls_are_counted_and_not_kept(stand_in, instrumented, arrived):
    stand_in.script(chunks({"tool_calls": [piece("add", {"secret": 1}, index=0), piece("drop", "{}", index=1)]}))
    instrumented(privacy_mode=True)
    chat("sync", stand_in.base_url, stream=True)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.tool_calls.count"] == 2
    assert "secret" not in str(span.attributes)


names = st.sampled_from(["add", "drop", "get_weather"])
arguments = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=3).map(json.dumps)


@st.composite
def cut_calls(draw: Any) -> tuple[list[tuple[str, str]], list[list[dict[str, Any]]]]:
    """Draw calls, and one way to cut them into pieces and chunks that servers are known for."""
    calls = draw(st.lists(st.tuples(names, arguments), min_size=1, max_size=4))
    indexed = draw(st.sampled_from(["own", "zero", "none"]))
    identified = draw(st.sampled_from(["first", "always", "blank", "none", "changing"]))
    if identified == "changing" and indexed == "none":
        indexed = "own"
    repeats_name = draw(st.booleans()) and identified == "always"
    each: list[list[dict[str, Any]]] = []
    for number, (name, text) in enumerate(calls):
        cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
        texts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        pieces = []
        for position, part in enumerate(texts):
            function = {"name": name if repeats_name or not position else None, "arguments": part}
            members = {"own": {"index": number}, "zero": {"index": 0}, "none": {}}[indexed]
            identity = {"always": f"id{number}", "blank": "", "none": None, "changing": f"id{number}.{position}"}.get(
                identified, None if position else f"id{number}"
            )
            pieces.append({**members, **({} if identity is None else {"id": identity}), "function": function})
        each.append(pieces)
    # pieces of several calls take turns only where something tells them apart
    if (indexed == "own" or identified == "always") and draw(st.booleans()):
        ordered = []
        while any(each):
            ordered.append(draw(st.sampled_from([pieces for pieces in each if pieces])).pop(0))
        calls = [calls[number] for number in dict.fromkeys(_owner(piece, indexed) for piece in ordered)]
    else:
        ordered = [one for pieces in each for one in pieces]
    size = draw(st.integers(1, 3))
    return calls, [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _owner(one: dict[str, Any], indexed: str) -> int:
    return one["index"] if indexed == "own" else int(one["id"].removeprefix("id"))


@settings(max_examples=400, deadline=None)
@given(cut_calls())
def test_calls_come_back_whole_however_they_are_cut(cut):
    calls, cut_into = cut
    fold = CallPieces(Allowance(1_000_000))
    for pieces in cut_into:
        fold.add(pieces, content=True)
    assert [(call.name, call.arguments) for call in fold.close()] == calls


def test_many_calls_cost_no_more_each_than_few():
    """15,000 ids in one chunk cost the square of that once; what is beyond the bound costs less still."""
    fold = CallPieces(Allowance(1_000_000))
    begun = time.process_time()
    fold.add((piece("f", "{}", index=0, id=f"id{number}") for number in range(100_000)), content=True)
    assert len(fold.close()) == MAX_ITEMS
    assert time.process_time() - begun < 10
