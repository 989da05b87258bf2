"""A client of tomorrow, without what we rely on: the host gets what it would get, we say at most one word, and do what we can."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast.clients.openai.targets import TARGETS, Target
from llm_otel_broadcast.host import guard
from tests.support.client_calls import MESSAGES
from tests.support.host_usage import client_of, each, entered, run, settled
from tests.support.scenarios import CHAT

SYNC = openai.resources.chat.completions.Completions
ASYNC = openai.resources.chat.completions.AsyncCompletions
ASKED = {"model": "gpt-4o-mini", "messages": MESSAGES}
CHUNKS = [
    {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hello"}}]},
    {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]


@pytest.fixture(autouse=True)
def _as_in_production(monkeypatch):
    monkeypatch.setattr(guard, "raise_again", False)


@pytest.fixture
def words(caplog):
    """What we say to the host in its log."""
    caplog.set_level(logging.WARNING, "llm_otel_broadcast")
    return lambda: [made for made in caplog.records if made.name == "llm_otel_broadcast" and made.levelno >= 30]


@pytest.fixture
def answering(monkeypatch):
    """Have the client's own `create` return something else."""

    def replace(answer) -> None:
        async def create_async(self, **asked):
            return answer

        monkeypatch.setattr(SYNC, "create", lambda self, **asked: answer)
        monkeypatch.setattr(ASYNC, "create", create_async)

    yield replace
    llm_otel_broadcast.uninstrument()


class Bare:
    """A stream that can do no more than give its chunks."""

    def __init__(self, chunks) -> None:
        self.chunks = iter(chunks)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.chunks)

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self.chunks)
        except StopIteration:
            raise StopAsyncIteration from None


class SyncBare:
    def __init__(self, chunks) -> None:
        self.chunks = iter(chunks)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.chunks)


class Slotted(SyncBare):
    """Nothing can be put on it."""

    __slots__ = ("chunks",)


class Fixed(SyncBare):
    """Its iterator can be seen, and not be replaced."""

    response = SimpleNamespace(close=lambda: None)

    @property
    def _iterator(self):
        return self.chunks


class Unclosable(SyncBare):
    """It has an iterator to replace, and a response that tells nothing."""

    def __init__(self, chunks, response) -> None:
        super().__init__(chunks)
        self._iterator = self.chunks
        self.response = response

    def __next__(self):
        return next(self._iterator)


STREAMS = {
    "both": lambda: Bare(CHUNKS),
    "no_iterator": lambda: SyncBare(CHUNKS),
    "slots": lambda: Slotted(CHUNKS),
    "fixed": lambda: Fixed(CHUNKS),
    "no_response": lambda: Unclosable(CHUNKS, None),
    "odd_response": lambda: Unclosable(CHUNKS, SimpleNamespace(stream=object(), request=5)),
    "response_of_slots": lambda: Unclosable(CHUNKS, iter(())),
    "generator": lambda: (chunk for chunk in CHUNKS),
    "odd_chunks": lambda: SyncBare([None, 5, "text", [], {}, object(), *CHUNKS]),
}


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_a_stream_without_what_we_rely_on_gives_its_chunks(make, stand_in, answering, instrumented, arrived, words):
    plain = list(make())
    answering(make())
    instrumented()
    with client_of("sync", stand_in.base_url) as client:
        made = client.chat.completions.create(**ASKED, stream=True)
        got = list(made)
    assert [str(type(chunk)) for chunk in got] == [str(type(chunk)) for chunk in plain]
    assert got[-2:] == CHUNKS
    (span,) = arrived()
    assert span.attributes["gen_ai.request.model"] == "gpt-4o-mini"
    assert len(words()) <= 1


def test_an_async_stream_without_what_we_rely_on_gives_its_chunks(stand_in, answering, instrumented, arrived, words):
    answering(Bare(CHUNKS))
    instrumented()

    async def work():
        async with client_of("async", stand_in.base_url) as client:
            made = await client.chat.completions.create(**ASKED, stream=True)
            return [chunk async for chunk in made]

    assert run("async", work()) == CHUNKS
    assert len(arrived()) == 1
    assert not words()


def _no_parsed_types(raw) -> None:
    del raw._parsed_by_type


def _odd_retries(raw) -> None:
    raw.retries_taken = "many"


def _no_retries(raw) -> None:
    raw.__dict__.pop("retries_taken", None)


def _odd_http_response(raw) -> None:
    raw.http_response = SimpleNamespace(headers=raw.http_response.headers, status_code=200)


HARMS = [_no_parsed_types, _odd_retries, _no_retries, _odd_http_response]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_raw_response_without_what_we_rely_on_is_the_hosts_all_the_same(
    kind, harm, streamed, stand_in, instrumented, arrived, words, monkeypatch
):
    original = {owner: vars(owner)["create"] for owner in (SYNC, ASYNC)}

    def create(self, **asked):
        raw = original[SYNC](self, **asked)
        harm(raw)
        return raw

    async def create_async(self, **asked):
        raw = await original[ASYNC](self, **asked)
        harm(raw)
        return raw

    monkeypatch.setattr(SYNC, "create", create)
    monkeypatch.setattr(ASYNC, "create", create_async)
    instrumented()
    stand_in.script(CHAT["stream" if streamed else "plain"].answer)

    async def work() -> None:
        client = client_of(kind, stand_in.base_url)
        raw = await settled(client.chat.completions.with_raw_response.create(**ASKED, stream=streamed))
        assert raw.status_code == 200
        if harm in (_odd_retries, _no_retries):
            parsed = await settled(raw.parse())
            if streamed:
                async with entered(parsed):
                    assert [chunk async for chunk in each(parsed)]
        await settled(client.close())

    run(kind, work())
    llm_otel_broadcast.uninstrument()
    assert len(words()) <= 1
    assert len(arrived()) <= 1


@pytest.mark.parametrize("name", ["create", "parse"])
def test_a_method_that_is_gone_is_passed_over(name, stand_in, instrumented, arrived, words, monkeypatch):
    for owner in (SYNC, ASYNC):
        monkeypatch.delattr(owner, name, raising=False)
    instrumented()
    with client_of("sync", stand_in.base_url) as client:
        assert not hasattr(client.chat.completions, name)
        if name == "parse":
            assert client.chat.completions.create(**ASKED).choices
    assert len(arrived()) == (name == "parse")
    assert not words()
    llm_otel_broadcast.uninstrument()


def test_a_module_or_class_that_is_gone_is_passed_over(stand_in, arrived, instrumented, words, monkeypatch):
    gone = [
        Target("openai.resources.chat.completions", "NoSuchClass", "create", TARGETS[0].make_reader),
        Target("openai.resources.no_such_module", "Completions", "create", TARGETS[0].make_reader),
        Target("json", "dumps", "create", TARGETS[0].make_reader),
    ]
    monkeypatch.setattr("llm_otel_broadcast.clients.openai.targets.TARGETS", (*gone, *TARGETS))
    instrumented()
    with client_of("sync", stand_in.base_url) as client:
        assert client.chat.completions.create(**ASKED).choices
    assert len(arrived()) == 1
    assert not words()


class Resource:
    """A resource without a client, as a test of the host's may have one."""

    create = SYNC.create

    def __init__(self, **members: object) -> None:
        self.__dict__.update(members)

    def _post(self, path, **asked):
        return {"id": "c1", "choices": []}


def _broken(self):
    raise RuntimeError("not here")


CLIENTS = {
    "none": Resource,
    "empty": lambda: Resource(_client=None),
    "odd": lambda: Resource(_client=5),
    "no_url": lambda: Resource(_client=SimpleNamespace()),
    "odd_url": lambda: Resource(_client=SimpleNamespace(base_url=5)),
    "odd_host": lambda: Resource(_client=SimpleNamespace(base_url=SimpleNamespace(host=7, port="x", scheme=[]))),
    "broken": lambda: Resource(_client=type("Broken", (), {"base_url": property(_broken), "_base_url": 1})()),
    "slots": lambda: Resource(_client=type("Slots", (), {"__slots__": ("base_url",)})()),
}


@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS)
def test_a_resource_with_an_odd_client_works(make, instrumented, arrived, words, monkeypatch):
    instrumented()
    resource = make()
    assert SYNC.create(resource, **ASKED) == {"id": "c1", "choices": []}
    assert len(arrived()) == 1
    assert len(words()) <= 1


def test_a_filter_of_the_hosts_log_that_fails_fails_no_call(stand_in, instrumented, arrived, monkeypatch):
    from llm_otel_broadcast.clients.openai.chat import ChatReader

    def fail(*_args, **_kwargs):
        raise RuntimeError("no")

    monkeypatch.setattr(ChatReader, "read_request", fail)
    logger = logging.getLogger("llm_otel_broadcast")
    logger.addFilter(fail)
    try:
        instrumented()
        with client_of("sync", stand_in.base_url) as client:
            assert client.chat.completions.create(**ASKED).choices
    finally:
        logger.removeFilter(fail)
    assert len(arrived()) == 1


def test_a_tracer_of_the_apps_that_fails_fails_no_call(kind, stand_in, instrumented, arrived, words):
    class Provider:
        resource = None

        def get_tracer(self, *_args, **_kwargs):
            raise RuntimeError("no tracer")

    instrumented(tracer_provider=Provider())

    async def work() -> None:
        client = client_of(kind, stand_in.base_url)
        assert (await settled(client.chat.completions.create(**ASKED))).choices
        await settled(client.close())

    run(kind, work())
    assert len(arrived()) == 1
    assert len(words()) == 1
