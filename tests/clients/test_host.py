"""The host comes first: whatever happens to us, the call is as it would be without us."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys

import pytest
from openai.resources.chat.completions import AsyncCompletions, Completions
from opentelemetry import context

import llm_otel_broadcast
from llm_otel_broadcast.host import guard
from llm_otel_broadcast.stand_in.answers import completion, message, stream
from tests.support.client_calls import MESSAGES, chat


@pytest.fixture
def as_in_production(monkeypatch):
    """Errors of ours are swallowed, as they are for users."""
    monkeypatch.setattr(guard, "raise_again", False)


def test_uninstrument_puts_the_very_same_functions_back(instrumented):
    before = Completions.__dict__["create"], AsyncCompletions.__dict__["create"]
    instrumented()
    assert Completions.__dict__["create"] is not before[0]
    llm_otel_broadcast.uninstrument()
    assert (Completions.__dict__["create"], AsyncCompletions.__dict__["create"]) == before
    assert Completions.__dict__["create"] is before[0]


def test_instrumenting_twice_patches_once(stand_in, instrumented, arrived):
    instrumented()
    instrumented()
    chat("sync", stand_in.base_url)
    arrived(1)


def test_instrumenting_again_after_uninstrument_works(stand_in, instrumented, arrived):
    instrumented()
    llm_otel_broadcast.uninstrument()
    chat("sync", stand_in.base_url)
    instrumented()
    chat("sync", stand_in.base_url)
    arrived(1)


def test_a_patch_of_somebody_else_above_ours_survives_uninstrument(stand_in, instrumented, monkeypatch):
    instrumented()
    ours = Completions.__dict__["create"]

    def theirs(self, **asked):
        return ours.__get__(self, type(self))(**asked)

    monkeypatch.setattr(Completions, "create", theirs)
    llm_otel_broadcast.uninstrument()
    assert Completions.__dict__["create"] is theirs
    assert chat("sync", stand_in.base_url).choices
    monkeypatch.undo()
    llm_otel_broadcast.instrument(destinations=[])
    llm_otel_broadcast.uninstrument()


def test_name_signature_and_kind_of_the_method_stay(instrumented):
    def facts():
        methods = Completions.create, AsyncCompletions.create
        return [(inspect.signature(made), made.__name__, inspect.iscoroutinefunction(made)) for made in methods]

    before = facts()
    instrumented()
    assert facts() == before


@pytest.mark.parametrize(
    "fields",
    [
        {"trace": "no object"},
        {"trace": 5},
        {"trace": []},
        {"trace": {"trace_id": 5, "trace_name": ["x"], "span_name": {}, "parent_span_id": object}},
        {"trace": {5: "five", None: "none", ("a",): "tuple"}},
        {"trace": {"nan": float("nan"), "inf": float("inf"), "huge": 10**40, "bytes": b"\xff", "bad": "\ud800"}},
        {"trace": {"trace_id": "\ud800", "generation_name": "\udfff"}},
        {"trace": {"large": "x" * 1_000_000, "many": {str(n): n for n in range(10_000)}}},
        {"session_id": 5},
        {"session_id": ["s"]},
    ],
    ids=lambda fields: repr(fields)[:40],
)
def test_odd_fields_never_break_a_call_and_its_span_arrives(kind, stand_in, instrumented, arrived, fields):
    instrumented()
    assert chat(kind, stand_in.base_url, extra_body=fields).choices
    assert arrived()[0].status_code == 0


class Hostile:
    """An object whose every question is answered with an error."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None


def test_hostile_and_cyclic_metadata_never_break_a_call(kind, stand_in, instrumented, arrived):
    cyclic: dict[str, object] = {}
    cyclic["me"] = cyclic
    instrumented()
    fields = {"trace": {"cyclic": cyclic, "hostile": Hostile(), "inside": [Hostile()], "trace_name": Hostile()}}
    assert chat(kind, stand_in.base_url, extra_body=fields).choices
    attributes = arrived(1)[0].attributes
    assert attributes["trace.metadata.cyclic"] == '{"me":{"me":"<cycle>"}}'
    assert attributes["trace.metadata.hostile"] == "<Hostile>"
    assert attributes["trace.metadata.inside"] == '["<Hostile>"]'


def test_a_body_that_is_no_mapping_is_the_clients_business(client, instrumented):
    with pytest.raises(Exception) as plain:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES, extra_body=5)
    instrumented()
    with pytest.raises(Exception) as traced:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES, extra_body=5)
    assert (type(traced.value), str(traced.value)) == (type(plain.value), str(plain.value))


class Broken:
    """A reader that fails at everything."""

    operation = "chat"

    def read_request(self, *args, **kwargs):
        raise RuntimeError("reading the request failed: " + MESSAGES[0]["content"])

    read_response = read_body = fold = read_request


@pytest.mark.usefixtures("as_in_production")
@pytest.mark.parametrize("streamed", [False, True])
def test_an_error_of_ours_reaches_nobody_and_is_counted(kind, stand_in, instrumented, monkeypatch, caplog, streamed):
    from llm_otel_broadcast.clients.openai.chat import ChatReader

    for name in ("read_request", "read_response", "fold"):
        monkeypatch.setattr(ChatReader, name, getattr(Broken, name))
    handle = instrumented()
    with caplog.at_level(logging.WARNING, "llm_otel_broadcast"):
        assert chat(kind, stand_in.base_url, stream=streamed)
        assert chat(kind, stand_in.base_url, stream=streamed)
    assert sum(handle.status().internal_errors.values()) >= 4
    said = [record for record in caplog.records if "reading the request" in record.getMessage()]
    assert len(said) == 1
    assert "Your call is not affected" in said[0].getMessage()
    assert "Hello!" not in caplog.text


@pytest.mark.usefixtures("as_in_production")
def test_a_record_we_could_not_read_still_arrives(stand_in, instrumented, monkeypatch, arrived):
    from llm_otel_broadcast.clients.openai.chat import ChatReader

    monkeypatch.setattr(ChatReader, "read_response", Broken.read_response)
    instrumented()
    chat("sync", stand_in.base_url)
    assert arrived(1)[0].attributes["gen_ai.request.model"] == "gpt-4o-mini"


@pytest.mark.usefixtures("as_in_production")
def test_a_chunk_we_cannot_read_reaches_the_caller(stand_in, instrumented, monkeypatch, arrived):
    from llm_otel_broadcast.clients.openai.chat import ChatFold

    monkeypatch.setattr(ChatFold, "add", Broken.read_response)
    answer = stream(message("All of it."))
    stand_in.script(answer, answer)
    instrumented()
    traced = chat("sync", stand_in.base_url, stream=True)
    arrived(1)
    llm_otel_broadcast.uninstrument()
    assert traced == chat("sync", stand_in.base_url, stream=True)


def test_suppressed_instrumentation_suppresses_us(client, instrumented, arrived):
    key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")
    instrumented()
    token = context.attach(context.set_value(key, True))
    try:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    finally:
        context.detach(token)
    arrived(0)


def test_many_threads_share_a_client_and_lose_nothing(client, instrumented, arrived):
    from concurrent.futures import ThreadPoolExecutor

    instrumented()
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: client.chat.completions.create(
                    model="gpt-4o", messages=MESSAGES, extra_body={"trace": {"number": number}}
                ),
                range(100),
            )
        )
    assert sorted(span.attributes["trace.metadata.number"] for span in arrived(100)) == list(range(100))


def test_a_dead_destination_delays_neither_call_nor_the_live_one(stand_in, receiver):
    import time

    from llm_otel_broadcast import Destination

    handle = llm_otel_broadcast.instrument(
        destinations=[
            Destination(name="dead", endpoint="http://127.0.0.1:9"),
            Destination(name="live", endpoint=receiver.endpoint, batch_delay=0.0),
        ]
    )
    started = time.monotonic()
    chat("sync", stand_in.base_url)
    receiver.store.wait_for(1)
    assert time.monotonic() - started < 4
    assert not handle.flush(0.2)


def test_importing_us_imports_nothing_heavy():
    program = (
        "import sys, llm_otel_broadcast; llm_otel_broadcast.instrument; "
        "print([name for name in ('openai', 'genai_prices', 'click', 'rich', 'urllib3', 'requests', 'google.protobuf', "
        "'opentelemetry.sdk') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.strip() == "[]"


def test_patching_waits_until_the_program_imports_openai(stand_in, receiver):
    program = f"""
import sys, llm_otel_broadcast
handle = llm_otel_broadcast.instrument(endpoint={receiver.endpoint!r})
assert "openai" not in sys.modules
import openai
openai.OpenAI(api_key="x", base_url={stand_in.base_url!r}).chat.completions.create(
    model="gpt-4o", messages=[{{"role": "user", "content": "Hi"}}])
print(handle.flush())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout.strip() == "True", done.stderr
    assert len(receiver.store.spans()) == 1


def test_answers_may_be_used_as_ever(client, stand_in, instrumented):
    """Copied, pickled, compared: nothing of ours hangs on an answer."""
    import copy
    import pickle

    instrumented()
    stand_in.script(completion(message("Keep me.")))
    answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert copy.deepcopy(answer) == answer
    assert pickle.loads(pickle.dumps(answer)) == answer
