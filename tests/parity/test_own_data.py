"""What the caller passes stays his: not changed, not consumed, not sent elsewhere, and not reported when he did not set it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from types import MappingProxyType

import openai
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from llm_otel_broadcast.stand_in.answers import error
from tests.parity.faults import Unfit
from tests.parity.observation import observe
from tests.support.client_calls import MESSAGES
from tests.support.garbage import collect
from tests.support.host_usage import client_of, run, settled, use
from tests.support.scenarios import CHAT, SCENARIOS, TOOLS, Operation, Scenario

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's own, of two operations
SECRETS = ("sk-canary-key", "canary-header", "canary-query", "canary-organization", "canary-cookie")
FIELDS = {"trace": {"trace_name": "Root", "team": ["red"]}, "session_id": "s", "provider": {"order": ["Azure"]}}


def given(scenario: Scenario) -> dict[str, object]:
    """Return the arguments with everything in them that could be changed by somebody."""
    return {
        **scenario.asked,
        "extra_headers": {"X-Team": "red", "Cookie": "canary-cookie"},
        "extra_query": {"key": "canary-query"},
        "extra_body": copy.deepcopy(FIELDS),
    }


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_no_argument_is_changed(kind, scenario, stand_in, instrumented, arrived):
    """... and no id of ours is written into the caller's dicts, with a span of the app's current."""
    asked = given(scenario)
    before = copy.deepcopy(asked)
    kept = {name: value for name, value in asked.items() if isinstance(value, dict | list)}
    instrumented(link_gateway=True)
    changed = Scenario(scenario.operation, scenario.form, asked)

    async def work() -> None:
        client = client_of(kind, stand_in.base_url)
        stand_in.script(scenario.answer)
        with TracerProvider().get_tracer("app").start_as_current_span("request"):
            await use(client, changed, lambda *_: None)
        await settled(client.close())

    run(kind, work())
    assert asked == before
    assert all(asked[name] is value for name, value in kept.items())
    assert "traceparent" not in stand_in.requests[-1].headers
    arrived()


def messages_of(*items: object) -> Iterator[object]:
    yield from items


def failing() -> Iterator[object]:
    yield MESSAGES[0]
    raise KeyError("the caller's own iterator")


class Once:
    """An iterator that is a class, which may be asked for its items only once."""

    def __init__(self, *items: object) -> None:
        self._items = iter(items)

    def __iter__(self) -> Once:
        return self

    def __next__(self) -> object:
        return next(self._items)


ITERATORS = {
    "generators": lambda: {"messages": messages_of(*MESSAGES), "tools": messages_of(*TOOLS)},
    "maps": lambda: {"messages": map(dict, MESSAGES), "tools": filter(None, TOOLS)},
    "classes": lambda: {"messages": Once(*MESSAGES), "tools": Once(*TOOLS)},
    "tuples": lambda: {"messages": tuple(MESSAGES), "tools": tuple(TOOLS)},
    "empty": lambda: {"messages": messages_of(), "tools": messages_of()},
    "failing": lambda: {"messages": failing()},
    "inner": lambda: {"messages": [{"role": "user", "content": messages_of({"type": "text", "text": "Hi"})}]},
    "proxies": lambda: {"messages": [MappingProxyType(MESSAGES[0])]},
    "stops": lambda: {"stop": messages_of("a", "b")},
    "unfit": lambda: {"messages": [Unfit()]},
    "no_list": lambda: {"messages": 5, "tools": "text"},
    "sets": lambda: {"messages": {1, 2}},
}


@pytest.mark.parametrize("name", ITERATORS)
@pytest.mark.parametrize("form", ["plain", "stream", "raw"])
def test_what_can_be_iterated_once_is_left_to_the_client(kind, form, name, stand_in, same):
    """The bytes on the wire are the same, and so is an error of the iterator's own, with its traceback."""

    async def host(client, note):
        await use(client, Scenario(CHAT[form].operation, form, ITERATORS[name]()), note)

    same(lambda: observe(stand_in, kind, host, (CHAT[form].answer,)))


def test_a_generators_messages_are_recorded_as_they_pass(kind, stand_in, instrumented, arrived):
    instrumented()

    async def work() -> None:
        client = client_of(kind, stand_in.base_url)
        asked = {"model": "m", "messages": messages_of(*MESSAGES), "tools": messages_of(*TOOLS)}
        await settled(client.chat.completions.create(**asked))
        await settled(client.close())

    run(kind, work())
    (span,) = arrived()
    assert MESSAGES[0]["content"] in span.attributes["gen_ai.input.messages"]
    assert "look" in span.attributes["gen_ai.tool.definitions"]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
@pytest.mark.parametrize("refused", [False, True])
def test_credentials_of_a_call_are_in_no_span(kind, scenario, refused, stand_in, receiver, instrumented, arrived):
    """P54: key, headers, query and organization, also when the call fails."""
    instrumented()
    secret = {
        "extra_headers": {"Authorization": "Bearer canary-header", "Cookie": "canary-cookie", "X-Key": "canary-header"},
        "extra_query": {"key": "canary-query"},
    }
    asked = Scenario(scenario.operation, scenario.form, secret)

    async def work() -> None:
        client = client_of(kind, stand_in.base_url, api_key="sk-canary-key", organization="canary-organization")
        stand_in.script(error(401, "Who are you?") if refused else scenario.answer)
        try:
            await use(client, asked, lambda *_: None)
        except openai.APIError:
            assert refused
        await settled(client.close())

    run(kind, work())
    arrived()
    assert not [secret for secret in SECRETS for request in receiver.requests if secret.encode() in request.body]
    assert stand_in.requests[-1].headers["x-key"] == "canary-header"


UNSET = {"none": None, "NOT_GIVEN": openai.NOT_GIVEN, "omit": getattr(openai, "omit", openai.NOT_GIVEN)}


@pytest.mark.parametrize("value", UNSET.values(), ids=UNSET)
def test_what_is_not_set_is_not_reported(kind, value, stand_in, instrumented, arrived):
    """P7: sentinels are absent."""
    names = ("temperature", "top_p", "max_tokens", "seed", "stop", "n", "user", "tools", "tool_choice", "service_tier")
    unset = dict.fromkeys((*names, "response_format", "presence_penalty", "stream", "extra_body"), value)
    if value is not None:
        unset.pop("extra_body")
    instrumented()

    async def work() -> None:
        client = client_of(kind, stand_in.base_url)
        await settled(client.chat.completions.create(model="m", messages=MESSAGES, **unset))
        await settled(client.close())

    run(kind, work())
    (span,) = arrived()
    reported = {name for name in span.attributes if name.startswith(("gen_ai.request.", "openai.request.", "user"))}
    assert reported == {"gen_ai.request.model"}
    assert "NOT_GIVEN" not in repr(span)
    assert "Omit" not in repr(span)


PROVIDERS = {
    "azure": (lambda url: openai.AzureOpenAI(azure_endpoint=url, api_version="1", api_key="x"), "azure.ai.openai"),
    "other": (lambda url: openai.OpenAI(base_url=f"{url}/v1", api_key="x"), "127.0.0.1"),
}


@pytest.mark.parametrize(("make", "provider"), PROVIDERS.values(), ids=PROVIDERS)
def test_the_provider_is_the_one_that_answers(make, provider, stand_in, instrumented, arrived):
    instrumented()
    with make(stand_in.url) as client:
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert arrived(1)[0].attributes["gen_ai.provider.name"] == provider


class Mine(openai.OpenAI):
    """A client that compares by what it is for, and so cannot be a key."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mine)

    __hash__ = None  # type: ignore[assignment]


def test_a_client_that_cannot_be_a_key_is_recorded_like_any_other(stand_in, instrumented, arrived):
    instrumented()
    with Mine(base_url=stand_in.base_url, api_key="x") as client:
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert arrived(1)[0].attributes["server.address"] == "127.0.0.1"


def test_the_app_s_current_span_is_not_written_into_a_request(kind, stand_in, same):
    provider = TracerProvider()

    async def host(client, note):
        with provider.get_tracer("app").start_as_current_span("request") as span:
            await use(client, CHAT["plain"], note)
            note(trace.get_current_span() is span)

    same(lambda: observe(stand_in, kind, host, (CHAT["plain"].answer,)))


# a timeout that is none makes some versions of the client leave a socket open, with us and without us
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "asked",
    [
        {"model": None},
        {"model": 5},
        {"model": ["m"]},
        {"model": "m", "stream": "yes"},
        {"model": "m", "stream": 1},
        {"model": "m", "temperature": object()},
        {"model": "m", "tools": [None, 5, "x", {"type": []}]},
        {"model": "m", "messages": [None, 5, "x", {"content": {"a": object()}}]},
        {"model": "m", "extra_headers": {5: 6}},
        {"model": "m", "timeout": "soon"},
    ],
    ids=lambda asked: re.sub("<object.*?>", "object", repr(asked)),
)
def test_odd_arguments_have_the_outcome_that_they_have_without_us(kind, asked, stand_in, same):
    operation = Operation("odd", "chat.completions.create", {"messages": MESSAGES, **asked}, CHAT["plain"].answer)

    async def host(client, note):
        await use(client, Scenario(operation, "plain"), note)

    same(lambda: observe(stand_in, kind, host, (CHAT["plain"].answer,)))
    collect()
