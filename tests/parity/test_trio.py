"""The async client works under trio as well, and so do we: nothing of ours knows the loop."""

from __future__ import annotations

import openai
import pytest
import trio
from opentelemetry import context

import llm_otel_broadcast
from tests.parity.observation import described
from tests.support.client_calls import MESSAGES
from tests.support.host_usage import client_of, use
from tests.support.scenarios import CHAT, Scenario
from tests.support.stand_in.server import StandIn

ASKED = {"model": "gpt-4o-mini", "messages": MESSAGES}


def _works() -> bool:
    """Return whether the installed client works under trio by itself."""

    async def ask() -> None:
        async with client_of("async", api.base_url) as client:
            await client.chat.completions.create(**ASKED)

    with StandIn() as api:
        try:
            trio.run(ask)
        except Exception:
            return False
    return True


pytestmark = [
    pytest.mark.skipif(not _works(), reason="this version of the client does not work under trio"),
    # the client leaves generators of its own to the garbage collector, which trio warns of, with us and without us
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
]


def seen(stand_in: StandIn, scenario: Scenario, *, seconds: float = 20) -> list[object]:
    """Return what a host sees of a call under trio that may take so long."""
    notes: list[object] = []

    async def host() -> None:
        before = context.get_current()
        async with client_of("async", stand_in.base_url) as client:
            try:
                with trio.move_on_after(seconds) as scope:
                    await use(client, scenario, lambda *facts: notes.append((facts, context.get_current() == before)))
                notes.append(scope.cancelled_caught)
            except openai.OpenAIError as error:
                notes.append(described(error))

    trio.run(host)
    return notes


@pytest.mark.parametrize("form", list(CHAT))
def test_a_host_under_trio_sees_the_same(form, stand_in, instrumented, arrived):
    stand_in.script(CHAT[form].answer, CHAT[form].answer)
    plain = seen(stand_in, CHAT[form])
    instrumented()
    assert seen(stand_in, CHAT[form]) == plain
    assert arrived(1)[0].status_code == 0


@pytest.mark.parametrize("form", ["plain", "stream"])
def test_a_call_that_trio_cancels_has_ended_as_cancelled(form, stand_in, instrumented, arrived):
    slow = CHAT[form].answer.slower(**({"pause": 1} if form == "stream" else {"delay": 1}))
    stand_in.script(slow, slow)
    plain = seen(stand_in, CHAT[form], seconds=0.2)
    instrumented()
    assert seen(stand_in, CHAT[form], seconds=0.2)[-1] == plain[-1] is True
    assert arrived(1)[0].attributes["error.type"] == "Cancelled"


def test_calls_of_a_nursery_keep_their_fields_apart(stand_in, instrumented, arrived):
    instrumented()

    async def ask(client, number) -> None:
        await client.chat.completions.create(**ASKED, extra_body={"trace": {"number": number}})

    async def host() -> None:
        async with client_of("async", stand_in.base_url) as client, trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(ask, client, number)

    trio.run(host)
    assert sorted(span.attributes["trace.metadata.number"] for span in arrived(30)) == list(range(30))
    llm_otel_broadcast.uninstrument()
