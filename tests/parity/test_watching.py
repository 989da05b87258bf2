"""Who is watched: all clients, one, a resource of one, or nobody, and nobody means nobody."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref

import openai
import pytest
import wrapt
from opentelemetry import context

import llm_otel_broadcast
from llm_otel_broadcast import ConfigError, Destination
from llm_otel_broadcast.clients.openai.targets import TARGETS
from tests.parity.observation import observe
from tests.parity.test_same import is_refused_later
from tests.support.client_calls import MESSAGES
from tests.support.host_usage import client_of, run, settled, use
from tests.support.scenarios import CHAT, OPERATIONS, SCENARIOS, Scenario, reach

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
ASKED = {"model": "gpt-4o-mini", "messages": MESSAGES}
SUPPRESS = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")


@pytest.fixture
def here(kind):
    """Run coroutines in one loop, which an async client stays with."""
    if kind == "sync":
        yield lambda work: run(kind, work)
        return
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def clients(kind, here, stand_in):
    """Return a maker of clients, all of which are closed in the end."""
    made = []

    def make(**options):
        made.append(client_of(kind, stand_in.base_url, **options))
        return made[-1]

    yield make

    async def close() -> None:
        for client in made:
            await settled(client.close())

    here(close())


@pytest.fixture
def ask(here):
    """Make a chat call with each client, in order."""

    def call(*askers) -> None:
        async def work() -> None:
            for asker in askers:
                assert await settled(asker.chat.completions.create(**ASKED))

        here(work())

    return call


def functions() -> list[object]:
    owners = [(getattr(sys.modules.get(target.module), target.owner, None), target.method) for target in TARGETS]
    return [vars(owner).get(name) for owner, name in owners if owner]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_suppressed_instrumentation_suppresses_every_operation(kind, scenario, stand_in, same):
    """... with the same to see, tracebacks included, for a call that fails."""

    async def host(client, note):
        token = context.attach(context.set_value(SUPPRESS, True))
        try:
            await use(client, scenario, note)
            await use(client, Scenario(scenario.operation, scenario.form, {"no_such_argument": 1}), note)
        finally:
            context.detach(token)

    frames = not is_refused_later(kind, scenario, "unknown_argument")
    assert same(lambda: observe(stand_in, kind, host, (scenario.answer,)), compare_frames=frames) == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("via", ["with_raw_response", "with_streaming_response"])
def test_raw_wrappers_that_clients_keep_record_no_longer_than_we_do(
    here, operation, via, clients, stand_in, instrumented, arrived
):
    """The client keeps them with what it found when they were first asked for."""
    owner, name = operation.method.rsplit(".", 1)
    if operation.helper or not hasattr(getattr(reach(clients(), owner), via, None), name):
        return
    before, during = clients(), clients()
    getattr(reach(before, owner), via)
    instrumented()
    getattr(reach(during, owner), via)
    llm_otel_broadcast.uninstrument()
    scenario = Scenario(operation, "raw" if via == "with_raw_response" else "streaming")

    async def work() -> None:
        for client in (before, during):
            stand_in.script(operation.whole)
            await use(client, scenario, lambda *_: None)

    here(work())
    arrived(0)


def test_one_client_and_its_copies_are_watched_and_others_are_not(clients, ask, instrumented, arrived):
    mine, other = clients(), clients()
    instrumented(client=mine)
    copies = mine.with_options(timeout=5), mine.copy(max_retries=1)
    ask(mine, other, *copies)
    arrived(3)


def test_a_resource_is_watched_and_the_rest_of_its_client_is_not(clients, ask, instrumented, arrived):
    mine, other = clients(), clients()
    instrumented(client=mine.chat.completions)
    ask(mine, other)
    arrived(1)
    wide = instrumented(client=mine.chat)
    ask(mine, other)
    arrived(2)
    wide.shutdown(0.2)


def test_a_client_behind_a_proxy_is_the_client(clients, ask, instrumented, arrived):
    mine, other = clients(), clients()
    instrumented(client=wrapt.ObjectProxy(mine))
    ask(mine, other)
    arrived(1)


def test_the_handle_undoes_it(clients, ask, instrumented, receiver):
    before = functions()
    mine = clients()
    with instrumented(client=mine):
        assert functions() != before
        ask(mine)
    assert functions() == before
    ask(mine)
    assert len(receiver.store.spans()) == 1


def test_the_settings_for_one_client_win_for_it(clients, ask, instrumented, receiver):
    mine, other = clients(), clients()
    instrumented(trace_defaults={"who": "everybody"})
    instrumented(client=mine, trace_defaults={"who": "mine"})
    ask(mine, other)
    assert llm_otel_broadcast.flush(5)
    assert [span.attributes["trace.metadata.who"] for span in receiver.store.spans()].count("mine") == 1
    assert len(receiver.store.spans()) == 2


def test_the_newest_settings_for_one_client_win(clients, ask, instrumented, receiver):
    mine = clients()
    older = instrumented(client=mine, trace_defaults={"who": "older"})
    newer = instrumented(client=mine, trace_defaults={"who": "newer"})
    ask(mine)
    newer.shutdown(5)
    ask(mine)
    older.shutdown(5)
    ask(mine)
    assert [span.attributes["trace.metadata.who"] for span in receiver.store.spans()] == ["newer", "older"]


@pytest.mark.parametrize("first", ["single", "global"])
def test_the_very_same_functions_are_back_when_the_last_one_leaves(first, clients, ask, receiver):
    before = functions()
    mine = clients()
    destinations = [Destination(endpoint=receiver.endpoint, batch_delay=0.0)]
    handles = {
        "single": llm_otel_broadcast.instrument(destinations=destinations, client=mine),
        "global": llm_otel_broadcast.instrument(destinations=destinations),
    }
    handles.pop(first).shutdown(5)
    ask(mine, clients())
    (last,) = handles.values()
    last.shutdown(5)
    assert len(receiver.store.spans()) == (2 if first == "single" else 1)
    assert functions() == before
    assert all(now is then for now, then in zip(functions(), before, strict=True))


def test_uninstrument_leaves_nobody_watching(clients, ask, instrumented, arrived):
    before = functions()
    mine = clients()
    instrumented()
    instrumented(client=mine)
    llm_otel_broadcast.uninstrument()
    ask(mine, clients())
    assert functions() == before


def test_a_watched_client_can_be_collected(kind, here, stand_in, instrumented, ask):
    client = client_of(kind, stand_in.base_url)
    instrumented(client=client)
    ask(client)
    here(settled(client.close()))
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


def test_a_client_that_was_used_while_instrumented_can_be_collected(kind, here, stand_in, instrumented, ask):
    instrumented()
    client = client_of(kind, stand_in.base_url)
    ask(client)
    here(settled(client.close()))
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "thing", [5, "client", object(), openai, openai.OpenAI], ids=["number", "text", "object", "module", "class"]
)
def test_what_is_no_client_is_refused_by_name(thing):
    with pytest.raises(ConfigError, match="client must be an openai client"):
        llm_otel_broadcast.instrument(destinations=[], client=thing)


def test_of_a_single_client_calls_of_others_look_as_without_us(kind, stand_in, instrumented):
    """Errors too: our frame is in nobody's traceback."""

    def host():
        asked = Scenario(OPERATIONS[0], "plain", {"no_such_argument": 1})
        return observe(stand_in, kind, lambda client, note: use(client, asked, note))

    plain = host()
    with client_of("sync") as somebody:
        instrumented(client=somebody)
        assert host() == plain


@pytest.mark.parametrize("form", list(CHAT))
def test_a_watched_client_sees_the_same(kind, form, stand_in, instrumented, arrived):
    def host(**options):
        async def work(client, note):
            if options:
                instrumented(client=client, **options)
            await use(client, CHAT[form], note)

        return observe(stand_in, kind, work, (CHAT[form].answer,))

    plain = host()
    assert host(trace_defaults={"a": 1}) == plain
    arrived(1)
