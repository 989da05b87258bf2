"""A client library is one object: registered by one call, it goes through the whole product, and no file of ours is touched."""

from __future__ import annotations

import ast
import asyncio
import gc
import importlib
import inspect
import json
import subprocess
import sys
import traceback
import types
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import llm_otel_broadcast
from llm_otel_broadcast.clients import LIBRARIES
from llm_otel_broadcast.clients.library import ClientLibrary
from llm_otel_broadcast.clients.patching import Target
from llm_otel_broadcast.clients.reader import Reader
from llm_otel_broadcast.clients.request_fields import RequestFields
from llm_otel_broadcast.dialects import DIALECTS
from llm_otel_broadcast.dialects import register as register_dialect
from llm_otel_broadcast.dialects.dialect import Dialect
from llm_otel_broadcast.record.dialect_names import DIALECT_NAMES
from llm_otel_broadcast.record.generation import Choice
from llm_otel_broadcast.record.server import Server
from llm_otel_broadcast.record.span_data import KIND_CLIENT, SpanData
from llm_otel_broadcast.record.usage import Usage
from llm_otel_broadcast.settings.errors import ConfigError

OURS = "llm_otel_broadcast"
MODULE = "tests.clients.toyllm"
TURNS = [("you", "Hello, my name is Ada")]


class ToyReader(Reader):
    operation = "chat"
    positional = ("engine", "turns")

    def __init__(self, *, streams=False):
        self.streams = streams

    def read_request(self, record, kwargs, *, content):
        record.request_model = kwargs.get("engine")
        record.stream = self.streams
        record.wants_content = content
        if content:
            record.messages = list(kwargs["turns"])

    def read_response(self, record, response):
        record.usage = Usage(*response.spent) if response.spent else record.usage
        record.choices = [Choice(finish_reason="stop", content=response.words if record.wants_answer else None)]

    def fold(self, record):
        return ToyFold(record)


class ToyFold:
    def __init__(self, record):
        self.record = record
        self.words = []

    def add(self, chunk):
        self.words.append(chunk.word)
        self.record.usage = Usage(*chunk.spent) if chunk.spent else None
        return False

    def finish(self):
        self.record.choices = [Choice(content="".join(self.words) if self.record.wants_answer else None)]


class ToyLibrary(ClientLibrary):
    package = MODULE
    other_tracers = ("toy.tracing",)

    def targets(self):
        rows = {"complete": False, "complete_async": False, "stream": True, "stream_async": True, "pieces": True}
        return [Target(MODULE, "Toy", method, partial(READERS.get, streams)) for method, streams in rows.items()]

    def server_of(self, instance):
        return Server("toy", "toy.example", 443)

    def covering(self, client):
        return (lambda instance: instance is client) if type(client).__name__ == "Toy" else None

    def key_of(self, instance, arguments, *, has_ended):
        return instance.secret

    def content_of(self, record):
        messages = [{"role": "user", "parts": [{"type": "text", "content": text}]} for _, text in record.messages or ()]
        return replace(super().content_of(record), inputs=messages)

    def read_fields(self, instance, arguments):
        tags = arguments.get("tags") or {}
        carried = {name: tags[name] for name in ("trace", "session_id") if name in tags}
        return RequestFields(tags.get("trace"), tags.get("session_id"), tags.get("user"), carried)

    def write_fields(self, arguments, members):
        tags = {name: value for name, value in arguments["tags"].items() if name not in ("trace", "session_id")}
        return {**arguments, "tags": {**tags, **members}}


READERS = {streams: ToyReader(streams=streams) for streams in (False, True)}


@pytest.fixture
def toyllm():
    """The toy's module, newly imported, while its library is registered."""
    sys.modules.pop(MODULE, None)
    library = ToyLibrary()
    LIBRARIES.register(library)
    yield importlib.import_module(MODULE)
    llm_otel_broadcast.uninstrument()
    LIBRARIES.unregister(library)


@pytest.fixture
def toy(toyllm):
    return toyllm.Toy()


def drained(stream):
    async def work():
        return [piece async for piece in stream]

    return asyncio.run(work()) if hasattr(stream, "__anext__") else list(stream)


def ask(toy, method, **arguments):
    """Make one call in one of the four ways; return the words that came back."""
    result = getattr(toy, method)("toy-1", TURNS, **arguments)
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    return result.words if hasattr(result, "words") else "".join(piece.word for piece in drained(result))


METHODS = ("complete", "complete_async", "stream", "stream_async", "pieces")
PLAIN = ("complete", "complete_async")
STREAMS = ("stream", "stream_async")


@pytest.mark.parametrize("method", METHODS)
def test_each_call_is_a_generation(method, toy, instrumented, arrived):
    instrumented()
    assert ask(toy, method) == "Good day!"
    (span,) = arrived(1)
    assert span.name == "chat toy-1"
    assert span.attributes["gen_ai.provider.name"] == "toy"
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("toy.example", 443)
    assert "Ada" in span.attributes["gen_ai.input.messages"]
    assert "Good day!" in span.attributes["gen_ai.output.messages"]
    assert span.attributes.get("gen_ai.request.stream", False) is (method not in PLAIN)
    if method != "pieces":
        assert span.attributes["gen_ai.usage.input_tokens"] == 3
    assert "error.type" not in span.attributes


def test_who_answers_is_not_made_up(toy, instrumented, arrived, monkeypatch):
    """A library that does not say it: no provider, no address, and no fact that is for one provider's API only."""
    monkeypatch.delattr(ToyLibrary, "server_of")
    instrumented()
    ask(toy, "complete")
    attributes = arrived(1)[0].attributes
    assert not [name for name in attributes if name.startswith(("gen_ai.provider", "server.", "openai."))]


@pytest.mark.parametrize("method", METHODS)
def test_a_context_names_it(method, toy, instrumented, arrived):
    instrumented()
    with llm_otel_broadcast.trace_context(trace_name="Greeting", user="ada", team="red"):
        ask(toy, method)
    (span,) = [span for span in arrived() if span.name == "chat toy-1"]
    assert (span.attributes["trace.name"], span.attributes["user.id"]) == ("Greeting", "ada")
    assert span.attributes["trace.metadata.team"] == "red"


@pytest.mark.parametrize("method", [*PLAIN, *STREAMS])
def test_the_call_itself_names_it_and_that_does_not_go_out(method, toy, instrumented, arrived):
    instrumented()
    tags = {"trace": {"trace_name": "Greeting"}, "session_id": "s-1", "user": "ada", "own": 1}
    ask(toy, method, tags=tags)
    (span,) = [span for span in arrived(2) if span.name == "chat toy-1"]
    assert (span.attributes["trace.name"], span.attributes["session.id"]) == ("Greeting", "s-1")
    assert toy.sent[0]["tags"] == {"user": "ada", "own": 1}
    assert "trace" in tags


def test_fields_are_forwarded_where_that_is_asked_for(toy, instrumented):
    instrumented(forward_trace_fields=True)
    with llm_otel_broadcast.trace_context(trace_name="Greeting", session_id="s-1"):
        ask(toy, "complete", tags={"own": 1})
    assert toy.sent[0]["tags"]["trace"]["trace_name"] == "Greeting"
    assert toy.sent[0]["tags"]["own"] == 1


def test_a_generator_function_still_returns_a_generator(toyllm, instrumented):
    def shape(stream):
        return type(stream), stream.__name__, stream.__qualname__

    without = [shape(toyllm.Toy().stream("toy-1", TURNS)), shape(toyllm.Toy().pieces("toy-1", TURNS))]
    instrumented()
    watched = [shape(toyllm.Toy().stream("toy-1", TURNS)), shape(toyllm.Toy().pieces("toy-1", TURNS))]
    assert watched == without
    assert type(toyllm.Toy().stream_async("toy-1", TURNS)) is types.AsyncGeneratorType


@pytest.mark.parametrize("method", STREAMS)
def test_nothing_is_sent_and_nothing_recorded_before_the_first_step(method, toy, instrumented, arrived):
    instrumented()
    stream = getattr(toy, method)("toy-1", TURNS)
    assert toy.sent == []
    del stream
    gc.collect()
    arrived(0)


@pytest.mark.parametrize("method", ["stream", "pieces"])
def test_a_stream_that_is_closed_early_is_recorded_as_far_as_it_came(method, toy, instrumented, arrived):
    instrumented()
    stream = getattr(toy, method)("toy-1", TURNS)
    assert next(stream).word == "Good"
    stream.close()
    (span,) = arrived(1)
    assert span.attributes["error.type"] == "abandoned"
    assert "Good" in span.attributes["gen_ai.output.messages"]
    assert "day" not in span.attributes["gen_ai.output.messages"]
    assert toy.streams_closed == (method == "stream")


def test_an_async_stream_that_is_closed_early_likewise(toy, instrumented, arrived):
    async def work():
        stream = toy.stream_async("toy-1", TURNS)
        assert (await anext(stream)).word == "Good"
        await stream.aclose()

    instrumented()
    asyncio.run(work())
    assert arrived(1)[0].attributes["error.type"] == "abandoned"
    assert toy.streams_closed == 1


@pytest.mark.parametrize("steps", [0, 1])
def test_a_generator_that_is_dropped_ends_its_call(steps, toy, instrumented, arrived):
    """`pieces` has made its request when it returns: even unread it is a call."""
    instrumented()
    stream = toy.pieces("toy-1", TURNS)
    for _ in range(steps):
        next(stream)
    del stream
    gc.collect()
    assert arrived(1)[0].attributes["error.type"] == "abandoned"


@pytest.mark.parametrize("method", [*PLAIN, *STREAMS])
def test_an_error_is_the_same_and_is_recorded(method, toy, toyllm, instrumented, arrived):
    def fail():
        with pytest.raises(toyllm.ToyError) as raised:
            result = getattr(toy, method)("no-such-engine", TURNS)
            asyncio.run(result) if inspect.iscoroutine(result) else drained(result)
        frames = traceback.extract_tb(raised.tb)
        return str(raised.value), [(frame.name, frame.filename) for frame in frames]

    without = fail()
    instrumented()
    assert fail() == without
    (span,) = arrived(1)
    assert span.attributes["error.type"] == "ToyError"
    assert span.attributes["http.response.status_code"] == 404


@pytest.mark.parametrize("method", METHODS)
def test_what_python_refuses_it_refuses_at_once(method, toy, instrumented):
    instrumented()
    with pytest.raises(TypeError, match="no_such_argument"):
        result = getattr(toy, method)("toy-1", TURNS, no_such_argument=1)
        asyncio.run(result)  # a coroutine function's arguments are checked as it is called, too


def test_values_and_errors_reach_the_clients_generator(toyllm, instrumented, arrived, monkeypatch):
    def echo(self, engine, turns):
        value = None
        while value != "stop":
            try:
                value = yield toyllm.Piece(str(value))
            except KeyError as error:
                value = f"caught {error}"
        return "ended"

    monkeypatch.setattr(toyllm.Toy, "stream", echo)

    def use():
        stream = toyllm.Toy().stream("toy-1", TURNS)
        words = [next(stream).word, stream.send("a").word, stream.throw(KeyError("b")).word]
        with pytest.raises(StopIteration) as end:
            stream.send("stop")
        return words, end.value.value, inspect.getgeneratorstate(stream)

    without = use()
    instrumented()
    assert use() == without
    arrived(1)
    llm_otel_broadcast.uninstrument()


def test_values_and_errors_reach_the_clients_async_generator(toyllm, instrumented, arrived, monkeypatch):
    async def echo(self, engine, turns):
        value = None
        while value != "stop":
            try:
                value = yield toyllm.Piece(str(value))
            except KeyError as error:
                value = f"caught {error}"

    monkeypatch.setattr(toyllm.Toy, "stream_async", echo)

    async def use():
        stream = toyllm.Toy().stream_async("toy-1", TURNS)
        pieces = [await anext(stream), await stream.asend("a"), await stream.athrow(KeyError("b"))]
        with pytest.raises(StopAsyncIteration):
            await stream.asend("stop")
        return [piece.word for piece in pieces]

    without = asyncio.run(use())
    instrumented()
    assert asyncio.run(use()) == without
    arrived(1)
    llm_otel_broadcast.uninstrument()


@pytest.mark.parametrize("method", METHODS)
def test_the_apps_span_is_current_while_the_client_works_and_only_then(method, toy, instrumented, arrived):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    during, between = [], []
    toy.during = lambda: during.append(trace.get_current_span().get_span_context().span_id)
    instrumented(tracer_provider=provider)

    async def read(stream):
        async for _ in stream:
            between.append(trace.get_current_span().get_span_context().span_id)

    result = getattr(toy, method)("toy-1", TURNS)
    if inspect.iscoroutine(result):
        asyncio.run(result)
    elif hasattr(result, "__anext__"):
        asyncio.run(read(result))
    elif hasattr(result, "__next__"):
        for _ in result:
            between.append(trace.get_current_span().get_span_context().span_id)
    (span,) = exporter.get_finished_spans()
    assert set(during) == {span.context.span_id}
    assert set(between) <= {0}
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert arrived(1)[0].span_id == f"{span.context.span_id:016x}"


def test_a_method_that_goes_through_another_counts_once(toyllm, instrumented, arrived, monkeypatch):
    def stream(self, engine, turns):
        yield toyllm.Piece(self.complete(engine, turns).words)

    monkeypatch.setattr(toyllm.Toy, "stream", stream)
    monkeypatch.setattr(
        ToyLibrary,
        "targets",
        lambda _: [
            Target(MODULE, "Toy", "complete", partial(READERS.get, False)),
            Target(MODULE, "Toy", "stream", partial(READERS.get, True), encloses=True),
        ],
    )
    instrumented()
    assert ask(toyllm.Toy(), "stream") == "Good day!"
    arrived(1)
    llm_otel_broadcast.uninstrument()


@pytest.mark.parametrize("method", METHODS)
def test_of_a_private_destination_the_content_never_arrives(method, toy, receiver, instrumented, arrived):
    instrumented(privacy_mode=True)
    ask(toy, method)
    arrived(1)
    assert all(word not in str(receiver.store.spans()[0].attributes) for word in ("Ada", "Good"))


def test_a_destination_hides_and_redacts(toy, instrumented, arrived):
    instrumented(hide=["outputs"], redact=lambda text: text.replace("Ada", "[name]"))
    ask(toy, "complete")
    (span,) = arrived(1)
    assert "gen_ai.output.messages" not in span.attributes
    assert "[name]" in json.loads(span.attributes["gen_ai.input.messages"])[0]["parts"][0]["content"]


class WordsDialect(Dialect):
    def generation_span(self, facts, content, cost):
        texts = [part["content"] for message in content.inputs for part in message["parts"]]
        ids = (facts.trace_id, facts.span_id, facts.parent_span_id)
        return SpanData("words", *ids, KIND_CLIENT, facts.start_ns, facts.end_ns, {"words": texts})


@pytest.mark.parametrize("method", METHODS)
def test_a_destinations_dialect_gets_its_messages_in_neutral_form(method, toy, instrumented, arrived):
    register_dialect("words", "the tests", WordsDialect)
    try:
        instrumented(dialect="words")
        ask(toy, method)
        (span,) = arrived(1)
    finally:
        del DIALECTS["words"], DIALECT_NAMES["words"]
    assert (span.name, span.attributes["words"]) == ("words", ["Hello, my name is Ada"])


def test_a_destination_of_another_key_gets_nothing(toyllm, instrumented, arrived):
    instrumented(api_keys={"include": ["toy-secret"]})
    ask(toyllm.Toy("other-secret"), "complete")
    ask(toyllm.Toy("toy-secret"), "complete")
    arrived(1)


def test_a_single_client_is_watched(toyllm, instrumented, arrived):
    chosen, other = toyllm.Toy(), toyllm.Toy()
    handle = instrumented(client=chosen)
    ask(chosen, "stream")
    ask(other, "stream")
    arrived(1)
    handle.shutdown()
    ask(chosen, "stream")
    arrived(1)


def test_what_is_no_client_is_refused_with_the_names_of_all_libraries(toyllm):
    with pytest.raises(ConfigError, match=f"client must be an openai or {MODULE} client"):
        llm_otel_broadcast.instrument(destinations=[], client=5)


def test_the_very_same_functions_come_back(toyllm, instrumented):
    original = {method: vars(toyllm.Toy)[method] for method in METHODS}
    instrumented()
    patched = {method: vars(toyllm.Toy)[method] for method in METHODS}
    assert all(patched[method] is not original[method] for method in METHODS)
    for method in METHODS:
        assert inspect.signature(patched[method]) == inspect.signature(original[method])
        assert patched[method].__doc__ == original[method].__doc__
    assert inspect.iscoroutinefunction(patched["complete_async"])
    llm_otel_broadcast.uninstrument()
    assert {method: vars(toyllm.Toy)[method] for method in METHODS} == original


def test_it_is_patched_when_the_program_imports_it_and_not_looked_at_before(toyllm, instrumented, arrived, monkeypatch):
    asked = []
    targets = ToyLibrary.targets
    monkeypatch.setattr(ToyLibrary, "targets", lambda library: asked.append(1) or targets(library))
    del sys.modules[MODULE]
    instrumented()
    assert not asked
    toy = importlib.import_module(MODULE).Toy()
    ask(toy, "complete")
    arrived(1)


def test_a_span_of_another_tracer_of_the_library_is_known_as_such(toyllm):
    assert "toy.tracing" in LIBRARIES.other_tracers


def test_an_error_of_a_library_object_stays_with_us(toy, instrumented, arrived, monkeypatch):
    from llm_otel_broadcast.host import guard

    def broken(*_args, **_kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr(guard, "raise_again", False)
    for name in ("server_of", "read_fields", "write_fields"):
        monkeypatch.setattr(ToyLibrary, name, broken)
    instrumented()
    assert ask(toy, "complete", tags={"trace": {"a": 1}}) == "Good day!"
    assert sum(llm_otel_broadcast.status().internal_errors.values()) >= 1


def test_a_start_without_code_waits_for_the_libraries_of_the_registry():
    """It stands in other programs' interpreters, where the registry may not be imported."""
    path = Path(llm_otel_broadcast.__file__).parent / "zero_code" / "on_path" / "sitecustomize.py"
    assigned = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    (packages,) = [ast.literal_eval(node.value) for node in assigned if node.targets[0].id == "PACKAGES"]
    assert packages == tuple(library.package for library in LIBRARIES)


def test_the_registry_imports_no_reader_before_the_client_is_imported():
    program = (
        "import sys, llm_otel_broadcast; llm_otel_broadcast.instrument(destinations=[]);"
        "print(sorted(name for name in sys.modules if name.startswith('llm_otel_broadcast.clients.openai')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    modules = ["", ".client", ".library", ".stream_usage"]
    assert done.stdout.strip() == str([f"llm_otel_broadcast.clients.openai{module}" for module in modules])


def test_a_program_that_chats_imports_the_reader_of_chats_alone_and_nothing_of_what_works_in_the_background():
    """A worker that is started for each task pays for every import at each start."""
    program = (
        "import sys, openai\n"
        "before = set(sys.modules)\n"
        "import llm_otel_broadcast\n"
        "llm_otel_broadcast.instrument(endpoint='http://127.0.0.1:9')\n"
        "print(sorted(set(sys.modules) - before), file=sys.stderr)\n"
        "openai.OpenAI(api_key='x').chat.completions\n"
        "eager = [name for name in before if name.startswith('openai.resources.')]\n"
        "print(sorted((set(sys.modules) - before).union(eager)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    at_start, in_use = (set(ast.literal_eval(text)) for text in (done.stderr, done.stdout))
    background = {
        *("opentelemetry.sdk", "opentelemetry.metrics", "opentelemetry.baggage", "urllib3", "genai_prices"),
        *(f"{OURS}.{name}" for name in ("dialects", "delivery.pipeline", "delivery.selection", "delivery.privacy")),
        *(f"{OURS}.{name}" for name in ("wire.transport", "wire.exchange", "record.span_data", "record.content")),
    }
    assert not background & in_use
    # Older versions of the client import all resources with themselves, and with each its reader comes.
    if "openai.resources.images" not in in_use:
        room = f"{OURS}.clients.openai"
        assert {name for name in at_start if name.startswith(f"{room}.")} == {
            f"{room}.{name}" for name in ("client", "library", "raw_post", "stream_usage", "targets")
        }
        assert f"{room}.chat" in in_use
        assert not {f"{room}.{name}" for name in ("images", "embeddings", "sockets.connection", "speech")} & in_use
