"""What stands where the client's functions stood is told apart from them by nothing that a program asks a function."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
import pydoc
import sys
import types
import typing
from unittest import mock

import openai
import pytest

import llm_otel_broadcast
from llm_otel_broadcast.clients.openai.targets import TARGETS
from tests.support.client_calls import MESSAGES
from tests.support.host_usage import client_of, run, settled, use
from tests.support.scenarios import CHAT

ASKED = {"model": "gpt-4o-mini", "messages": MESSAGES}
METHODS = [
    (owner, target.method)
    for target in TARGETS
    if (owner := getattr(sys.modules.get(target.module), target.owner, None)) and target.method in vars(owner)
]


def facts(owner: type, name: str) -> dict[str, object]:
    """Everything that is asked of a function by those who look at functions."""
    function = getattr(owner, name)
    bound = function.__get__(object(), owner)
    return {
        "type": type(function),
        "same at each look": getattr(owner, name) is function,
        "inherited": getattr(type("Sub", (owner,), {}), name) is function,
        "bound": (type(bound), bound == function.__get__(bound.__self__, owner), inspect.ismethod(bound)),
        "names": (function.__name__, function.__qualname__, function.__module__, function.__doc__),
        "annotations": function.__annotations__,
        "signature": inspect.signature(function),
        "unwrapped": inspect.unwrap(function),
        "source": inspect.getsource(function),
        "hints": typing.get_type_hints(function, vars(sys.modules[owner.__module__])),
        "kinds": [
            asked(function)
            for asked in (
                inspect.isfunction,
                inspect.isroutine,
                inspect.iscoroutinefunction,
                inspect.isgeneratorfunction,
                inspect.isasyncgenfunction,
                asyncio.iscoroutinefunction,
                callable,
            )
        ],
        "of the bound one": [inspect.iscoroutinefunction(bound), asyncio.iscoroutinefunction(bound)],
        "of a partial": inspect.iscoroutinefunction(functools.partial(function)),
        "copied": copy.copy(function) is copy.deepcopy(function) is function,
        "pickled": pickle.loads(pickle.dumps(function)) is function,
        "help": pydoc.plain(pydoc.render_doc(function)),
        "text": repr(function).partition(" at 0x")[0],
        "deprecated": getattr(function, "__deprecated__", None),
        "place in the class": list(vars(owner)),
    }


@pytest.mark.parametrize(("owner", "name"), METHODS, ids=lambda value: getattr(value, "__qualname__", value))
def test_a_function_is_what_it_was_in_every_respect(owner, name, instrumented):
    original = vars(owner)[name]
    before = facts(owner, name)
    instrumented()
    assert vars(owner)[name] is not original
    assert vars(owner)[name].__wrapped__ is original
    assert facts(owner, name) == before
    llm_otel_broadcast.uninstrument()
    assert vars(owner)[name] is original


@pytest.mark.parametrize("when", ["before", "while"])
@pytest.mark.parametrize("on", ["class", "resource"])
def test_a_mock_with_autospec_takes_what_it_takes_without_us(on, when, kind, instrumented, stand_in):
    """The mock stands above us or below, is called with the same, and goes as it came."""
    client = client_of(kind, stand_in.base_url)
    owner = type(client.chat.completions)
    original = vars(owner)["create"]
    if when == "while":
        instrumented()
    with mock.patch.object(owner if on == "class" else client.chat.completions, "create", autospec=True) as mocked:
        if when == "before":
            instrumented()
        with pytest.raises(TypeError):
            mocked(nonsense=1)
        mocked.return_value = "mocked"
        assert run(kind, settled_now(client)) == "mocked"
        expected = ((client.chat.completions,) if on == "class" else (), ASKED)
        assert (mocked.call_args.args, mocked.call_args.kwargs) == expected
    llm_otel_broadcast.uninstrument()
    assert vars(owner)["create"] is original
    run(kind, settled(client.close()))


async def settled_now(client):
    return await settled(client.chat.completions.create(**ASKED))


def test_a_plain_mock_below_us_is_called_without_self(instrumented, stand_in):
    client = client_of("sync", stand_in.base_url)
    with mock.patch.object(type(client.chat.completions), "create") as mocked:
        instrumented()
        assert client.chat.completions.create(**ASKED) is mocked.return_value
        mocked.assert_called_once_with(**ASKED)
        llm_otel_broadcast.uninstrument()
    client.close()


def test_create_autospec_of_the_method_is_the_same(kind, instrumented, stand_in):
    client = client_of(kind, stand_in.base_url)

    def spec():
        made = mock.create_autospec(client.chat.completions.create)
        return type(made), inspect.signature(made), made.__name__

    before = spec()
    instrumented()
    assert spec() == before
    run(kind, settled(client.close()))


@pytest.mark.skipif(not hasattr(openai.OpenAI, "chat"), reason="this version's resources are not the class's")
def test_a_mock_of_the_whole_client_is_the_same(instrumented):
    def spec():
        made = mock.create_autospec(openai.OpenAI, instance=True)
        return dir(made), repr(type(made.chat)), inspect.signature(made.copy)

    before = spec()
    instrumented()
    assert spec() == before


def test_a_function_of_the_class_may_be_called_with_its_instance(kind, stand_in, instrumented, arrived):
    instrumented()
    client = client_of(kind, stand_in.base_url)

    async def work():
        owner = type(client.chat.completions)
        assert (await settled(owner.create(client.chat.completions, **ASKED))).choices
        with pytest.raises(TypeError, match="Missing required arguments"):
            await settled(owner.create())
        await settled(client.close())

    run(kind, work())
    assert len(arrived()) == 2


def test_wrong_arguments_are_refused_at_the_call_itself(stand_in, instrumented):
    """Not where the coroutine is awaited, which may be somewhere else."""
    instrumented()
    client = client_of("async", stand_in.base_url)
    with pytest.raises(TypeError, match="Missing required arguments"):
        client.chat.completions.create()
    run("async", client.close())


def test_the_module_itself_is_a_client(stand_in, instrumented, arrived, monkeypatch):
    openai._reset_client()
    monkeypatch.setattr(openai, "api_key", "sk-test")
    monkeypatch.setattr(openai, "base_url", f"{stand_in.base_url}/")
    plain = openai.chat.completions.create(**ASKED).choices
    instrumented()
    assert openai.chat.completions.create(**ASKED).choices == plain
    openai._reset_client()
    assert len(arrived()) == 1


@pytest.mark.parametrize("form", list(CHAT))
def test_answers_are_copied_and_pickled_as_without_us(kind, form, stand_in, instrumented):
    """Responses of the HTTP client too, before and after they are read or closed."""

    def attempts() -> list[object]:
        stand_in.script(CHAT[form].answer)
        return run(kind, work())

    async def work() -> list[object]:
        client = client_of(kind, stand_in.base_url)
        done: list[object] = []

        def note(what, *things) -> None:
            for thing in things:
                for ask in (copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))):
                    done.append((what, type(thing).__name__, tried(ask, thing)))
                response = getattr(thing, "http_response", None) or getattr(thing, "response", None)
                if isinstance(getattr(response, "headers", None), typing.Mapping):
                    done.append((what, "response", tried(lambda it: pickle.loads(pickle.dumps(it)), response)))

        await use(client, CHAT[form], note)
        await settled(client.close())
        return done

    before = attempts()
    instrumented()
    assert attempts() == before


def tried(ask, thing):
    """Copy a thing; return what comes of it in a form that can be compared."""
    try:
        made = ask(thing)
    except Exception as error:
        return type(error), str(error).partition(" at 0x")[0]
    return type(made), made if hasattr(made, "model_dump") else sorted(vars(made)) if hasattr(
        made, "__dict__"
    ) else made


def test_a_client_is_copied_as_without_us(kind, stand_in, instrumented, arrived):
    client = client_of(kind, stand_in.base_url)

    def attempts() -> list[object]:
        asks = (copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it)))
        return [tried(ask, client)[0] for ask in asks]

    before = attempts()
    instrumented()
    assert attempts() == before

    async def work() -> None:
        for copied in (
            copy.copy(client),
            client.copy(),
            client.with_options(timeout=5),
            client.copy(api_key="sk-other"),
        ):
            assert type(copied) is type(client)
            await settled(copied.chat.completions.create(**ASKED))
        await settled(client.close())

    run(kind, work())
    assert len(arrived()) == 4


def test_nothing_of_ours_is_found_on_an_answer(kind, stand_in, instrumented):
    instrumented()

    async def work() -> None:
        client = client_of(kind, stand_in.base_url)
        answer = await settled(client.chat.completions.create(**ASKED))
        found = [name for thing in (answer, answer.choices[0]) for name in dir(thing) if "broadcast" in name]
        assert not found
        assert isinstance(client.chat.completions.create, types.MethodType)
        await settled(client.close())

    run(kind, work())
