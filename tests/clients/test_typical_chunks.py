"""The short path of a streamed answer's typical chunk or event leads to the same record as the general one, and is taken."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from llm_otel_broadcast.clients.openai.chat import ChatFold
from llm_otel_broadcast.clients.openai.responses.events import ResponseFold
from llm_otel_broadcast.record.generation import Generation, GenerationFacts
from llm_otel_broadcast.record.server import Server
from tests.support.fuzzing import EXAMPLES, fuzzed

# openai has the responses API since 1.66
ResponseTextDeltaEvent: Any = pytest.importorskip("openai.types.responses").ResponseTextDeltaEvent
OPENROUTER = Server("openrouter", "openrouter.ai", is_openrouter=True)
CLOCK = {"start_ns", "started", "end_ns", "first_chunk_ns"}
MEMBERS = [name for kind in (GenerationFacts, Generation) for name in kind.__slots__ if name not in CLOCK]
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}


def chunk(delta: Any, choice: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    piece = {"index": 0, "delta": delta, "finish_reason": None, **(choice or {})}
    return {**HEAD, "choices": [piece], **members}


def call_piece(arguments: Any, **members: Any) -> dict[str, Any]:
    return {"index": 0, "function": {"arguments": arguments}, **members}


DELTA_VALUES: dict[str, list[Any]] = {
    "content": ["", None, "text", ["text"], [{"type": "thinking", "thinking": "hm"}], {"text": "part"}, 3],
    "role": ["assistant", None, ""],
    "refusal": [None, "no", ""],
    "tool_calls": [
        *(None, [], [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}]),
        *([call_piece(arguments)] for arguments in ("{", "", None, {}, {"a": 1}, 3)),
        *(
            [call_piece("}", **{name: value})]
            for name, value in (("index", 1), ("index", None), ("id", "call_1"), ("id", ""))
        ),
        *(
            [call_piece("}", **{name: value})]
            for name, value in (("function", None), ("index", True), ("custom", {"input": "x"}))
        ),
        *([call_piece("}", function={"name": name, "arguments": ""})] for name in ("f", "g", "")),
        [call_piece("a"), call_piece("b", index=1)],
        [{"index": 2, "id": "call_2", "function": {"name": "g", "arguments": "{"}}, call_piece("b", index=2)],
    ],
    "function_call": [None, {"name": "f", "arguments": "{"}],
    "audio": [None, {}, {"id": "audio_1", "data": "AAAA", "transcript": "said"}],
    "images": [None, [], [{"image_url": {"url": "https://example.com/a.png"}}]],
    "reasoning": [None, "", "because", ["because"], 3],
    "reasoning_content": [None, "", "hence"],
    "reasoning_details": [None, [], [{"text": "detail"}]],
    "new_member": [None, 0, "x", []],
}
CHOICE_VALUES: dict[str, list[Any]] = {
    "index": [1, 2, 300, None, True, False, "0", 0.0],
    "finish_reason": ["stop", "error", ""],
    "native_finish_reason": [None, "STOP"],
    "logprobs": [None, {"content": []}],
    "delta": [None],
}
CHUNK_VALUES: dict[str, list[Any]] = {
    "id": ["", None],
    "model": ["", None],
    "system_fingerprint": [None, "fp_1", ""],
    "service_tier": [None, "default", "flex"],
    "provider": [None, "Azure"],
    "usage": [None, {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, {}],
    "error": [None, {"message": "broken", "code": 502}],
    "x_groq": [{"usage": {"prompt_tokens": 1}}],
    "choices": [
        None,
        [],
        {},
        [{"index": 0}],
        [{"index": 0, "delta": {"content": "b"}}, {"index": 1, "delta": {"content": "c"}}],
    ],
}
CHANGES = [
    (level, name, value)
    for level, table in (("delta", DELTA_VALUES), ("choice", CHOICE_VALUES), ("chunk", CHUNK_VALUES))
    for name, values in table.items()
    for value in values
]
Change = tuple[str, str, Any]


def changed(form: list[Change], changes: Sequence[Change] = ()) -> dict[str, Any]:
    """Return a typical chunk of a server that states what `form` says, with some changes."""
    parts: dict[str, dict[str, Any]] = {"delta": {"content": "word "}, "choice": {}, "chunk": {}}
    for level, name, value in (*form, *changes):
        parts[level][name] = value
    return chunk(parts["delta"], parts["choice"], **parts["chunk"])


FORMS = st.lists(
    st.sampled_from(
        [
            ("choice", "index", 1),
            ("delta", "role", "assistant"),
            ("delta", "reasoning_content", None),
            ("delta", "reasoning_details", []),
            ("delta", "content", None),
            ("delta", "content", ""),
            ("delta", "reasoning", "because"),
            ("delta", "reasoning_content", "hence"),
            ("delta", "reasoning_details", [{"text": "detail"}]),
            ("delta", "tool_calls", [call_piece("{}")]),
            ("delta", "tool_calls", [call_piece("}", index=1)]),
            ("chunk", "usage", None),
            ("chunk", "system_fingerprint", "fp_1"),
            ("chunk", "service_tier", "default"),
            ("chunk", "provider", "Azure"),
        ]
    ),
    max_size=4,
)
STREAMS = st.lists(st.lists(st.sampled_from(CHANGES), max_size=2), max_size=12)


def record_of(*, content: bool, server: Server | None, limit: int, hides_usage: bool) -> Generation:
    record = Generation("chat", "chat_completions")
    record.wants_content = content
    record.server = server or record.server
    record.max_characters = limit
    record.hides_usage_chunk = hides_usage
    return record


def chat_fold(record: Generation) -> ChatFold:
    return ChatFold(record)


def response_fold(record: Generation) -> ResponseFold:
    return ResponseFold(record, lambda _record: None)


class Reading:
    """Stands for `StreamReading`: what a fold reads, with nothing around it."""

    def __init__(self, fold: Any, chunks: list[Any]) -> None:
        self.read_chunk = fold.add
        self.chunks = chunks

    def __enter__(self) -> Any:
        return iter(self.chunks)

    def __exit__(self, *error: object) -> None:
        pass


def read(make: Any, chunks: list[Any], method: str, **facts: Any) -> tuple[list[Any], Any, dict[str, Any]]:
    """Return what the caller got and when the first piece was noted, how the stream ended, and the record at its end."""
    record = record_of(**facts)
    fold = make(record)
    steps = [(getattr(fold, method)(one), record.first_chunk_ns is not None) for one in chunks]
    return steps, fold.finish(), {name: getattr(record, name) for name in MEMBERS}


def assert_equal(stream: list[dict[str, Any]], **facts: Any) -> None:
    chunks = [ChatCompletionChunk.construct(**members) for members in stream]
    steps, failure, members = read(chat_fold, chunks, "add_any", **facts)
    assert read(chat_fold, chunks, "add", **facts) == (steps, failure, members)
    record = record_of(**facts)
    fold = chat_fold(record)
    # The first step yields nothing; see `StreamWatch.follow`.
    _, *shown = fold.follow(Reading(fold, chunks))
    assert [id(one) for one in shown] == [
        id(one) for one, (is_hidden, _) in zip(chunks, steps, strict=True) if not is_hidden
    ]
    assert (fold.finish(), {name: getattr(record, name) for name in MEMBERS}) == (failure, members)


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("server", [None, OPENROUTER])
def test_a_chunk_that_differs_in_anything_is_read_as_ever(content, server):
    facts = {"content": content, "server": server, "limit": 1_000_000, "hides_usage": True}
    stating = [("choice", "index", 1), ("chunk", "provider", "Azure"), ("delta", "role", "assistant")]
    reasoning = [("delta", "content", ""), ("delta", "reasoning", "because"), ("delta", "reasoning_details", [{}])]
    deepseek = [("delta", "content", None), ("delta", "reasoning_content", "hence")]
    call = [("delta", "content", None), ("delta", "tool_calls", [call_piece("{}")])]
    forms = ([], stating, [("chunk", "system_fingerprint", "fp_1")], reasoning, deepseek, call)
    for form in forms:
        for change in CHANGES:
            assert_equal([changed(form), changed(form), changed(form, [change]), changed(form)], **facts)


@given(FORMS, STREAMS, st.booleans(), st.sampled_from([None, OPENROUTER]), st.sampled_from([5, 600]), st.booleans())
@settings(fuzzed, max_examples=EXAMPLES or 60)
def test_both_paths_lead_to_the_same_record(form, changes, content, server, limit, hides_usage):
    # Between any two, one from which the next is expected.
    stream = [one for change in changes for one in (changed(form), changed(form, change))]
    assert_equal(stream, content=content, server=server, limit=limit, hides_usage=hides_usage)


class CountingFold(ChatFold):
    """Counts the chunks that take the general path."""

    general = 0

    def add_any(self, chunk: Any) -> bool:
        self.general += 1
        return super().add_any(chunk)


SERVERS = {
    "OpenAI": ({"content": "w"}, {"system_fingerprint": "fp_1", "service_tier": "default", "usage": None}, None),
    "Azure": ({"content": "w"}, {"system_fingerprint": "fp_1"}, None),
    "a server that states little": ({"content": "w"}, {}, None),
    "OpenRouter": (
        {"role": "assistant", "content": "w", "reasoning": None, "reasoning_details": []},
        {"provider": "Azure"},
        OPENROUTER,
    ),
    "DeepSeek": ({"content": "w", "reasoning_content": None}, {"system_fingerprint": "fp_1"}, None),
}


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("name", SERVERS)
def test_the_typical_chunk_takes_the_short_path(name, content):
    delta, rest, server = SERVERS[name]
    fold = CountingFold(record_of(content=content, server=server, limit=1_000, hides_usage=False))
    for _ in range(100):
        assert fold.add(ChatCompletionChunk.construct(**chunk(delta, **rest))) is False
    # the first says what the others look like
    assert fold.general == 1


PIECES = {
    "reasoning of OpenRouter": {
        "role": "assistant",
        "content": "",
        "reasoning": "hm",
        "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
    },
    "reasoning of DeepSeek": {"content": None, "reasoning_content": "hm"},
    "arguments of OpenAI": {"tool_calls": [call_piece("{}")]},
    "arguments of OpenRouter": {"role": "assistant", "content": None, "tool_calls": [call_piece("{}")]},
}


@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("name", PIECES)
def test_a_piece_of_reasoning_or_of_a_call_takes_a_short_path(name, content):
    fold = CountingFold(record_of(content=content, server=None, limit=1_000, hides_usage=False))
    for _ in range(100):
        fold.add(ChatCompletionChunk.construct(**chunk(PIECES[name])))
    assert fold.general == 1


def test_pieces_that_are_counted_together_are_cut_in_time():
    record = record_of(content=True, server=None, limit=1_000, hides_usage=False)
    fold = CountingFold(record)
    sizes = [1, 300, 100]
    pieces = [ChatCompletionChunk.construct(**chunk({"content": "x" * size})) for size in sizes * 1_000]
    most = 0
    for _ in fold.follow(Reading(fold, pieces)):
        most = max(most, fold._open_choices[0].content.size if fold._open_choices else 0)
    # Twice the limit, and what waits to be counted.
    assert 1_000 < most <= 2_000 + 256 * 256
    # One of each number that is counted together.
    assert fold.general == 1
    fold.finish()
    assert record.omitted_characters == 1_000 * sum(sizes) - 1_000


def test_an_endless_text_is_cut_on_the_short_path():
    record = record_of(content=True, server=None, limit=1_000, hides_usage=False)
    fold = CountingFold(record)
    piece = ChatCompletionChunk.construct(**chunk({"content": "x" * 100}))
    for _ in range(1_000):
        fold.add(piece)
    assert fold.general == 1
    assert fold._open_choices[0].content.size <= 2_000
    fold.finish()
    assert record.omitted_characters == 99_000


EVENTS = st.builds(
    lambda kind, members: ResponseTextDeltaEvent.construct(**{"type": kind, "output_index": 0, **members}),
    st.sampled_from(
        [
            *("response.output_text.delta", "response.refusal.delta", "response.reasoning_summary_text.delta"),
            *("response.reasoning_summary_part.added", "response.function_call_arguments.delta", "new", None),
            *("response.output_audio.delta", "response.completed", "error"),
        ]
    ),
    st.fixed_dictionaries({}, optional={"delta": st.sampled_from(["word ", "", None, 3, ["x"]])}),
)


@given(st.lists(EVENTS, max_size=20), st.booleans(), st.sampled_from([5, 600]))
@settings(fuzzed, max_examples=EXAMPLES or 100)
def test_both_paths_of_an_event_lead_to_the_same_record(events, content, limit):
    facts = {"content": content, "server": None, "limit": limit, "hides_usage": False}
    assert read(response_fold, events, "add", **facts) == read(response_fold, events, "add_any", **facts)


def test_an_empty_piece_does_not_part_what_is_one_part_of_the_reasoning():
    facts = {"content": True, "server": None, "limit": 600, "hides_usage": False}
    kinds = ["summary_text.delta", "summary_part.added", "summary_text.delta", "summary_part.added"]
    deltas = ["a", None, "", None]
    events = [
        ResponseTextDeltaEvent.construct(type=f"response.reasoning_{kind}", delta=delta)
        for kind, delta in zip(kinds, deltas, strict=True)
    ]
    _, _, members = read(response_fold, events, "add", **facts)
    assert members["choices"][0].reasoning == "a\n\n"


class CountingResponseFold(ResponseFold):
    """Counts the events that take the general path."""

    general = 0

    def add_any(self, event: Any) -> bool:
        self.general += 1
        return super().add_any(event)


def response_counter(record: Generation) -> CountingResponseFold:
    return CountingResponseFold(record, lambda _record: None)


@pytest.mark.parametrize("content", [True, False])
def test_the_typical_event_takes_the_short_path(content):
    record = record_of(content=content, server=None, limit=1_000, hides_usage=False)
    fold = response_counter(record)
    for _ in range(100):
        fold.add(ResponseTextDeltaEvent.construct(type="response.output_text.delta", delta="w", output_index=0))
    assert fold.general == 1


class Ringing:
    """A chunk during whose reading an alarm rings."""

    __slots__ = ()

    @property
    def __dict__(self) -> Any:
        signal.raise_signal(signal.SIGALRM)


TYPICAL = [
    (CountingFold, ChatCompletionChunk.construct(**chunk({"content": "w"}))),
    (response_counter, ResponseTextDeltaEvent.construct(type="response.output_text.delta", delta="w")),
]


@pytest.mark.parametrize(("make", "typical"), TYPICAL, ids=["chat", "responses"])
def test_what_a_signal_handler_raises_on_the_short_path_reaches_the_program(make, typical):
    """An alarm's `TypeError` must not be taken for a chunk of another form."""

    def ring(_number: int, _frame: Any) -> None:
        raise TypeError("time is up")

    fold = make(record_of(content=True, server=None, limit=1_000, hides_usage=False))
    fold.add(typical)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        with pytest.raises(TypeError, match="time is up"):
            fold.add(Ringing())
    finally:
        signal.signal(signal.SIGALRM, before)
    assert fold.general == 1
