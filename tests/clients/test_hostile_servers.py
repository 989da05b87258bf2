"""A model server may send anything, of any size: the program sees what it sees without us, and we hold and send little of it."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast.clients import stream_watch
from llm_otel_broadcast.clients.answer_limits import limit_answer
from llm_otel_broadcast.clients.answer_texts import CUT
from llm_otel_broadcast.clients.openai.chat import ChatFold
from llm_otel_broadcast.clients.openai.images import ImageFold
from llm_otel_broadcast.clients.openai.responses.events import ResponseFold
from llm_otel_broadcast.clients.reader import MAX_CHOICES, MAX_ITEMS, MAX_NAME_CHARACTERS
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.stand_in.answers import Answer, completion, event, message
from tests.parity.observation import described
from tests.support.client_calls import KINDS, chat, needs_responses, respond

UNREAD = "reading what a model server sent"
MB = 1_000_000
LONG = "n" * (2 * MB)
MANY = MAX_ITEMS + 500
MAX_SPAN_CHARACTERS = 1.5 * MB
FORBIDDEN_MB = 40


def nested(depth, opening, closing):
    return opening * depth + closing * depth


def answer_of(body, **headers):
    return Answer(body=body if isinstance(body, bytes) else json.dumps(body).encode(), headers=headers)


def choice_with(**members):
    said = {"role": "assistant", "content": "Hi.", **members.pop("message", {})}
    return answer_of(
        {"id": "x", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": said, **members}]}
    )


TOOL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
CHAT = {
    "a long id": completion(message("Hi."), id=LONG, model=LONG, service_tier=LONG, system_fingerprint=LONG),
    "a long reason": choice_with(finish_reason=LONG, native_finish_reason=LONG),
    "a reason that is a list": choice_with(finish_reason=["f"] * MB),
    "a long role": choice_with(message={"role": LONG}),
    "a long tool name": choice_with(
        message={"tool_calls": [{"id": LONG, "function": {"name": LONG, "arguments": "{}"}}]}
    ),
    "many tool calls": choice_with(message={"tool_calls": [{"id": f"i{number}", **TOOL} for number in range(MANY)]}),
    "arguments that are all brackets": choice_with(
        message={"tool_calls": [{"id": "i", "function": {"name": "f", "arguments": '{"a":[' + "[]," * 3 * MB}}]}
    ),
    "a long text": choice_with(message={"content": LONG * 4, "reasoning": LONG, "refusal": LONG}),
    "many parts": choice_with(message={"content": [{"type": "text", "text": "word"}] * MANY}),
    "large parts of no known type": choice_with(message={"content": [{"type": "new", "text2": LONG}] * 4}),
    "long links": choice_with(message={"images": [{"image_url": {"url": f"https://e.com/{LONG}"}}] * 3}),
    "nested content": choice_with(message={"content": json.loads(nested(300, "[", "]"))}),
    "many choices": answer_of(
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}}] * (MAX_CHOICES + 500)}
    ),
    "a usage of many members": completion(message("Hi."), usage={f"key{number}": number for number in range(MANY)}),
    "a nested usage": completion(
        message("Hi."),
        usage={"prompt_tokens_details": json.loads('{"cached_tokens_details":' * 300 + "{}" + "}" * 300)},
    ),
    "a nested error": completion(message("Hi."), error=json.loads('{"a":' * 300 + "{}" + "}" * 300)),
    "a nested list of errors": completion(message("Hi."), error=json.loads(nested(300, "[", "]"))),
    "a long error": answer_of({"error": LONG}),
    "a refusal with a long code": Answer(400, json.dumps({"error": {"code": LONG, "message": LONG}}).encode()),
    "long attempts": completion(
        message("Hi."),
        model="openai/gpt-4o",
        openrouter_metadata={"attempts": [{"provider": LONG, "model": LONG}] * 10, "strategy": LONG},
    ),
    "JSON nested 100,000 deep": answer_of(b'{"choices":' + nested(100_000, b"[", b"]") + b"}"),
    "no JSON": answer_of(b"<html>" * MB),
    "endless headers": Answer(body=b"{}", headers={f"X-Header-{number}": "a" * 1_000 for number in range(2_000)}),
    "one long header": Answer(
        body=completion(message("Hi.")).body, headers={"x-request-id": "r" * 50_000, "x-generation-id": "g" * 30_000}
    ),
}


def outcome_of(make):
    """What a program sees of a call."""
    try:
        return "returned", make()
    except Exception as error:
        return "raised", described(error)


def assert_little_was_sent(span):
    texts = [value for value in span.attributes.values() if isinstance(value, str)]
    assert sum(map(len, texts)) + len(span.name) + len(span.status_message) < MAX_SPAN_CHARACTERS
    for made in span.events:
        assert sum(len(value) for value in made.attributes.values() if isinstance(value, str)) < 20_000


def assert_same_and_little(make, answer, stand_in, instrumented, arrived):
    stand_in.script(answer, answer)
    plain = outcome_of(make)
    instrumented()
    assert outcome_of(make) == plain
    for span in arrived():
        assert_little_was_sent(span)
    (books,) = llm_otel_broadcast.status().destinations
    assert (books.delivered, books.dropped) == (1, {})
    assert set(llm_otel_broadcast.status().internal_errors) <= {UNREAD}


@pytest.mark.parametrize("name", CHAT)
def test_an_answer_reaches_the_program_as_without_us_and_little_of_it_is_sent(name, stand_in, instrumented, arrived):
    make = lambda: chat("sync", stand_in.base_url)  # noqa: E731
    assert_same_and_little(make, CHAT[name], stand_in, instrumented, arrived)


def chunk(delta, **members):
    return event({"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **members})


STREAMS = {
    "a line without an end": Answer(events=(b"data: " + b"x" * MB, *[b"x" * MB] * 2), cut=True),
    "a chunk nested 100,000 deep": Answer(
        events=(chunk({"content": "a"}), b'data: {"choices":' + nested(100_000, b"[", b"]") + b"}\n\n")
    ),
    "a chunk of megabytes": Answer(events=(chunk({"content": LONG}), b"data: [DONE]\n\n")),
    "chunks that lie": Answer(
        events=tuple(
            chunk({"content": "a", "role": number, "tool_calls": {"index": -number}}, id=number, usage=[number])
            for number in range(50)
        )
    ),
    "reasons after the end": Answer(events=(chunk({}, error={"code": LONG, "message": ""}), b"data: [DONE]\n\n") * 2),
    "thousands of chunks": Answer(events=(b"".join([chunk({"content": "a"})] * 1_000), b"data: [DONE]\n\n")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_reaches_the_program_as_without_us(name, kind, stand_in, instrumented, arrived):
    make = lambda: chat(kind, stand_in.base_url, stream=True)  # noqa: E731
    assert_same_and_little(make, STREAMS[name], stand_in, instrumented, arrived)


def response_with(*output, **members):
    return answer_of({"id": "r", "object": "response", "status": "completed", "output": output, **members})


RESPONSES = {
    "a long reason": response_with(status="incomplete", incomplete_details={"reason": LONG}),
    "long details of a tool": response_with(
        {"type": "web_search_call", "id": LONG, "status": LONG, "action": {"type": "search", "query": LONG}}
    ),
    "large items of no known type": response_with(*[{"type": "new", "id": "i", "data": LONG}] * 4),
    "long texts": response_with(
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": LONG}] * 4}
    ),
}


@needs_responses
@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_reaches_the_program_as_without_us_and_little_of_it_is_sent(name, stand_in, instrumented, arrived):
    make = lambda: respond("sync", stand_in.base_url)  # noqa: E731
    assert_same_and_little(make, RESPONSES[name], stand_in, instrumented, arrived)


RAW = {
    "too many values": b'{"choices":[' + b"[]," * MB + b"[]]}",
    "nested 100,000 deep": b'{"choices":' + nested(100_000, b"[", b"]") + b"}",
}


@pytest.mark.parametrize("name", RAW)
def test_what_cannot_be_parsed_in_the_background_is_counted(name, client, stand_in, instrumented, arrived, caplog):
    stand_in.script(answer_of(RAW[name]))
    instrumented()
    raw = client.chat.completions.with_raw_response.create(model="m", messages=[])
    assert raw.http_response.content == RAW[name]
    arrived(1)
    assert llm_otel_broadcast.status().internal_errors == {UNREAD: 1}
    assert "a model server sent what is beyond all bounds" in caplog.text


def test_a_raw_answer_is_cut_like_any_other(client, stand_in, instrumented, arrived):
    stand_in.script(completion(message("word " * MB), id=LONG))
    instrumented(max_content_chars=10_000)
    client.chat.completions.with_raw_response.create(model="m", messages=[])
    (span,) = arrived(1)
    assert span.attributes["gen_ai.output.messages.truncated"] is True
    assert_little_was_sent(span)


def test_a_compressed_body_counts_as_it_is_held(client, stand_in, instrumented):
    """Kilobytes on the wire may be megabytes in the queue."""
    body = completion(message("a" * 3 * MB)).body
    stand_in.script(answer_of(gzip.compress(body), Content_Encoding="gzip"))
    instrumented(max_queue_bytes=2 * MB)
    client.chat.completions.with_raw_response.create(model="m", messages=[])
    llm_otel_broadcast.flush(10)
    (books,) = llm_otel_broadcast.status().destinations
    assert books.dropped == {"too_large": 1}


def test_a_cut_name_says_so(stand_in, instrumented, arrived):
    stand_in.script(completion(message("Hi."), id=LONG))
    instrumented()
    chat("sync", stand_in.base_url)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.id"] == LONG[:MAX_NAME_CHARACTERS] + CUT


@pytest.mark.parametrize("name", ["response_id", "serving_provider", "finish_reason"])
def test_a_stream_with_a_long_name_is_still_limited(name):
    """Its texts are cut as they come: what else it states is looked at where it is long."""
    record = Generation("chat", "chat_completions")
    record.wants_content = True
    fold = ChatFold(record)
    names = {"response_id": "id", "serving_provider": "provider"}
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": LONG if name == "finish_reason" else "stop"}
    fold.add({"id": "x", "model": "m", "choices": [choice], **({names[name]: LONG} if name in names else {})})
    fold.finish()
    assert not record.is_limited
    limit_answer(record)
    holder = record.choices[0] if name == "finish_reason" else record
    assert getattr(holder, name) == LONG[:MAX_NAME_CHARACTERS] + CUT


def test_a_stream_of_a_text_and_short_names_is_not_limited_again():
    record = Generation("chat", "chat_completions")
    record.wants_content = True
    fold = ChatFold(record)
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}
    fold.add({"id": "x", "model": "m", "choices": [choice]})
    fold.finish()
    assert record.is_limited


def test_what_is_left_out_of_a_list_is_counted_and_said_once(stand_in, instrumented, arrived, caplog):
    stand_in.script(CHAT["many parts"], CHAT["many parts"])
    instrumented()
    for _ in range(2):
        chat("sync", stand_in.base_url)
    arrived(2)
    assert llm_otel_broadcast.status().internal_errors == {UNREAD: 2}
    assert caplog.text.count("a model server sent what is beyond all bounds") == 1


def test_a_body_of_plain_text_that_is_nested_too_deeply_is_that_text(client, stand_in, instrumented, arrived):
    text = nested(100_000, "[", "]")
    stand_in.script(answer_of(text.encode(), Content_Type="text/plain"))
    instrumented()
    client.audio.transcriptions.with_raw_response.create(model="m", file=b"audio", response_format="text")
    (span,) = arrived(1)
    assert json.loads(span.attributes["gen_ai.output.messages"])[0]["parts"][0]["content"] == text


def record_with_content():
    record = Generation("chat")
    record.wants_content = True
    return record


def pieces_of_calls(number):
    return {"index": number, "id": f"{number}" + "i" * 50_000, "function": {"name": "f", "arguments": "{}"}}


def chat_chunk(delta, index=0, reason=None):
    return {"choices": [{"index": index, "delta": delta, "finish_reason": reason}]}


def item(number):
    action = {"type": "search", "query": f"{number:050000}"}
    return {"type": "web_search_call", "id": f"i{number}", "action": action, "status": "completed"}


FOLDS = {
    "long ids of tool calls": (ChatFold, lambda number: chat_chunk({"tool_calls": [pieces_of_calls(number)]})),
    "long links": (
        ChatFold,
        lambda number: chat_chunk({"content": [{"type": "image_url", "image_url": f"https://e.com/{number:050000}"}]}),
    ),
    "large parts": (ChatFold, lambda number: chat_chunk({"content": [{"type": "new", "a": f"{number:050000}"}]})),
    "images": (
        ImageFold,
        lambda number: {"type": "image_generation.completed", "revised_prompt": f"{number:050000}", "url": "https://e"},
    ),
    "items of a response": (
        ResponseFold,
        lambda number: {"type": "response.output_item.done", "output_index": number, "item": item(number)},
    ),
    "items of no known type": (
        ResponseFold,
        lambda number: {"type": "response.output_item.done", "item": {"type": "new", "a": f"{number:050000}"}},
    ),
}


@pytest.mark.parametrize("name", FOLDS)
def test_an_endless_stream_does_not_fill_the_memory(name):
    kind, make_chunk = FOLDS[name]
    record = record_with_content()
    fold = kind(record) if kind is not ResponseFold else kind(record, lambda _record: None)
    tracemalloc.start()
    try:
        # 100 MB in all
        for number in range(2_000):
            fold.add(make_chunk(number))
        fold.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < FORBIDDEN_MB * MB


def test_new_indexes_and_items_are_not_kept_without_end():
    record = record_with_content()
    fold = ChatFold(record)
    for number in range(MANY):
        fold.add(chat_chunk({"tool_calls": [{"index": number, "id": "i", "function": {"arguments": "a"}}]}))
    assert len(fold._open_choices[0].calls._by_index) <= MAX_ITEMS
    events = ResponseFold(record, lambda _record: None)
    for number in range(MANY):
        events.add({"type": "response.function_call_arguments.delta", "delta": "a", "output_index": number})
    events.finish()
    assert MAX_ITEMS - 8 < record.tool_call_count <= MAX_ITEMS


def test_parts_of_a_reasoning_that_say_nothing_are_one():
    record = record_with_content()
    fold = ResponseFold(record, lambda _record: None)
    fold.add({"type": "response.reasoning_text.delta", "delta": "a"})
    for _ in range(100):
        fold.add({"type": "response.reasoning_summary_part.added"})
    fold.finish()
    assert record.choices[0].reasoning == "a\n\n"


def test_a_name_in_endless_pieces_has_an_end():
    """Each piece copied all before it: 200,000 pieces stopped the program for minutes."""
    record = record_with_content()
    fold = ChatFold(record)
    for number in range(30_000):
        fold.add(chat_chunk({"tool_calls": [{"index": 0, "function": {"name": f"{number}_a_longer_name"}}]}))
    fold.finish()
    (only,) = record.choices[0].tool_calls
    assert MAX_NAME_CHARACTERS <= len(only.name) < MAX_NAME_CHARACTERS + 100


def test_the_times_of_chunks_are_not_kept_without_end():
    record = record_with_content()
    read = stream_watch._timed(lambda _chunk: False, record)
    for _ in range(stream_watch._MAX_CHUNK_TIMES + 10):
        read(None)
    assert len(record.chunk_times) == stream_watch._MAX_CHUNK_TIMES


def test_a_refused_call_with_a_deep_envelope_is_recorded(url_at, stand_in, instrumented, arrived):
    body = b'{"error":{"code":429,"message":"slow down"},"openrouter_metadata":' + nested(100_000, b"[", b"]") + b"}"
    stand_in.script(Answer(429, body))
    instrumented()
    with pytest.raises(openai.RateLimitError):
        chat("sync", url_at("openrouter.ai/api"))
    arrived(1)
