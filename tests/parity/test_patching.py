"""Others patch, wrap and subclass too: before us, after us, and taken back in any order."""

from __future__ import annotations

import functools
import itertools

import openai
import pytest
import wrapt

import llm_otel_broadcast
from tests.parity.memory import HTTP
from tests.parity.observation import observe
from tests.support.client_calls import MESSAGES
from tests.support.host_usage import client_of, run, settled, use
from tests.support.scenarios import CHAT

ASKED = {"model": "gpt-4o-mini", "messages": MESSAGES}
SYNC = openai.resources.chat.completions.Completions
ASYNC = openai.resources.chat.completions.AsyncCompletions


class Other:
    """Another library that patches `create`, in one of the manners that are about."""

    def __init__(self, manner: str) -> None:
        self.manner = manner
        self.calls = 0
        self._found: dict[type, object] = {}

    def patch(self) -> None:
        for owner in (SYNC, ASYNC):
            found = self._found[owner] = vars(owner)["create"]
            owner.create = self._wrapped(found)

    def restore(self) -> None:
        for owner, found in self._found.items():
            owner.create = found

    def _wrapped(self, found):
        def plainly(*args, **kwargs):
            self.calls += 1
            return found(*args, **kwargs)

        def wrapped(wrapped, instance, args, kwargs):
            assert instance is not None
            self.calls += 1
            return wrapped(*args, **kwargs)

        if self.manner == "wrapt":
            return wrapt.FunctionWrapper(found, wrapped)
        return functools.wraps(found)(plainly) if self.manner == "wraps" else plainly


@pytest.fixture(autouse=True)
def _as_found():
    before = {owner: vars(owner)["create"] for owner in (SYNC, ASYNC)}
    yield
    llm_otel_broadcast.uninstrument()
    for owner, found in before.items():
        owner.create = found
    llm_otel_broadcast.instrument(destinations=[])  # what is buried comes up again, and is taken off
    llm_otel_broadcast.uninstrument()
    assert {owner: vars(owner)["create"] for owner in before} == before


def ask(kind, stand_in):
    async def work():
        client = client_of(kind, stand_in.base_url)
        answer = await settled(client.chat.completions.create(**ASKED))
        await settled(client.close())
        return answer

    return run(kind, work())


ORDERS = [
    order
    for order in itertools.permutations(["patch", "instrument", "restore", "uninstrument"])
    if order.index("patch") < order.index("restore") and order.index("instrument") < order.index("uninstrument")
]


@pytest.mark.parametrize("manner", ["wrapt", "wraps", "plain"])
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_in_any_order_each_call_is_made_once_and_recorded_once(kind, manner, order, stand_in, instrumented, arrived):
    """P10, P24. What they put back is what they had found: where that is ours, it does nothing once we are off.

    Where it is what was there before both, ours goes with theirs; the call is recorded as it is posted.
    """
    original = {owner: vars(owner)["create"] for owner in (SYNC, ASYNC)}
    other = Other(manner)
    ours, theirs, recorded, counted = False, False, 0, 0
    steps = {"patch": other.patch, "restore": other.restore, "instrument": instrumented}
    steps["uninstrument"] = llm_otel_broadcast.uninstrument
    for step in order:
        steps[step]()
        ours = {"instrument": True, "uninstrument": False}.get(step, ours)
        theirs = {"patch": True, "restore": False}.get(step, theirs)
        before = len(stand_in.requests)
        assert ask(kind, stand_in).choices
        assert len(stand_in.requests) == before + 1
        recorded += ours
        counted += theirs
        assert (len(arrived()), other.calls) == (recorded, counted), step
    if order[-1] == "uninstrument" and order[0] != "instrument":
        assert {owner: vars(owner)["create"] for owner in original} == original


def test_to_instrument_again_repairs_what_another_has_put_away(kind, stand_in, instrumented, arrived):
    """What is posted is recorded meanwhile, and once when both see it."""
    other = Other("plain")
    other.patch()
    instrumented()
    other.restore()
    restored = vars(SYNC)["create"]
    ask(kind, stand_in)
    arrived(1)
    instrumented()
    assert vars(SYNC)["create"] is not restored
    ask(kind, stand_in)
    arrived(2)


def test_to_instrument_again_below_another_patch_records_once(kind, stand_in, instrumented, arrived):
    """They do not say what they wrap: ours goes on top, and the one below keeps still."""
    instrumented()
    other = Other("plain")
    other.patch()
    instrumented()
    ask(kind, stand_in)
    arrived(1)
    llm_otel_broadcast.uninstrument()
    other.restore()
    ask(kind, stand_in)
    arrived(1)
    instrumented()
    ask(kind, stand_in)
    arrived(2)


def test_a_subclass_that_overrides_create_is_recorded_once_and_changes_what_it_likes(stand_in, instrumented, arrived):
    class Polite(SYNC):
        def create(self, **asked):
            asked["messages"] = [*asked["messages"], {"role": "user", "content": "Please."}]
            return super().create(**asked)

    class Client(openai.OpenAI):
        @property
        def polite(self):
            return Polite(self)

    instrumented()
    with Client(api_key="x", base_url=stand_in.base_url) as client:
        assert client.polite.create(**ASKED).choices
    assert len(stand_in.requests[-1].json["messages"]) == 2
    (span,) = arrived(1)
    assert "Please." in span.attributes["gen_ai.input.messages"]


def test_an_async_subclass_likewise(stand_in, instrumented, arrived):
    class Polite(ASYNC):
        async def create(self, **asked):
            return await super().create(**asked)

    async def work():
        async with openai.AsyncOpenAI(api_key="x", base_url=stand_in.base_url) as client:
            assert (await Polite(client).create(**ASKED)).choices

    instrumented()
    run("async", work())
    arrived(1)


@pytest.mark.parametrize("form", list(CHAT))
def test_a_client_behind_a_proxy_sees_the_same(kind, form, stand_in, same):
    async def host(client, note):
        await use(wrapt.ObjectProxy(client), CHAT[form], note)

    assert len(same(lambda: observe(stand_in, kind, host, (CHAT[form].answer,)))) == 1


@pytest.mark.parametrize("form", list(CHAT))
def test_hooks_and_transports_of_a_http_client_see_the_same_requests(kind, form, stand_in, same):
    async def host(client, note):
        seen = []

        def on_request(request) -> None:
            seen.append((request.method, str(request.url), dict(request.headers), request.content))

        def on_response(response) -> None:
            seen.append((response.status_code, sorted(vars(response)), type(response.stream)))

        async def later(hook, thing) -> None:
            hook(thing)

        hooks = {"request": [on_request], "response": [on_response]}
        if kind == "async":
            hooks = {name: [functools.partial(later, hook) for hook in made] for name, made in hooks.items()}
        client._client.event_hooks = hooks
        await use(client, CHAT[form], note)
        note(seen)
        client._client.event_hooks = {"request": [], "response": []}

    same(lambda: observe(stand_in, kind, host, (CHAT[form].answer,)))


def test_a_transport_of_the_hosts_own_is_left_alone(stand_in, same):
    seen = []

    class Noting(HTTP.HTTPTransport):
        def handle_request(self, request):
            seen.append((request.method, dict(request.headers), request.content))
            response = super().handle_request(request)
            seen.append((type(response.stream), sorted(vars(response.stream))))
            return response

    def host():
        seen.clear()
        shown = observe(
            stand_in,
            "sync",
            lambda client, note: use(client, CHAT["stream"], note),
            (CHAT["stream"].answer,),
            http_client=openai.DefaultHttpxClient(transport=Noting(verify=False)),
        )
        shown.notes.extend(seen)
        return shown

    same(host)


@pytest.mark.parametrize(
    "answer", ["text", None, {"a": "dict"}, 5, [], object()], ids=lambda answer: type(answer).__name__
)
def test_whatever_a_patch_below_us_returns_is_what_the_host_gets(
    kind, answer, stand_in, instrumented, arrived, monkeypatch
):
    def create(self, **asked):
        return answer

    async def create_async(self, **asked):
        return answer

    monkeypatch.setattr(SYNC, "create", create)
    monkeypatch.setattr(ASYNC, "create", create_async)
    instrumented()
    assert ask(kind, stand_in) is answer
    llm_otel_broadcast.uninstrument()
    assert len(arrived()) == 1


def test_a_patch_below_us_that_does_not_wait_is_not_made_to(stand_in, instrumented, arrived, monkeypatch):
    """An async method that somebody has made a plain one: its answer comes at once."""
    monkeypatch.setattr(ASYNC, "create", lambda self, **asked: "at once")
    instrumented()
    client = client_of("async", stand_in.base_url)
    assert client.chat.completions.create(**ASKED) == "at once"
    run("async", client.close())
    llm_otel_broadcast.uninstrument()
    assert len(arrived()) == 1
