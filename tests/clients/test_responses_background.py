"""A background response: its tokens are reported once, by whoever sees its end first, and by nobody else (`background`)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from llm_otel_broadcast.clients.openai.responses.background import Background
from llm_otel_broadcast.stand_in.answers import error
from tests.support.client_calls import needs_responses, respond
from tests.support.stand_in import responses

pytestmark = needs_responses


def tokens_of(span) -> list:
    return [key for key in span.attributes if key.startswith("gen_ai.usage")]


def test_a_response_that_goes_on_in_the_background_has_no_end_yet(kind, stand_in, instrumented, arrived):
    instrumented()
    respond(kind, stand_in.base_url, background=True)
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.status"] == "queued"
    assert span.attributes["openai.request.background"] is True
    assert "gen_ai.response.finish_reasons" not in span.attributes
    assert "gen_ai.output.messages" not in span.attributes
    assert not tokens_of(span)
    assert span.status_code == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_the_first_fetch_that_finds_it_finished_carries_its_tokens(
    kind, as_openai, stand_in, instrumented, arrived, streamed
):
    instrumented()
    made = respond(kind, as_openai, background=True)
    stand_in.script(responses.whole(id=made.id, status="in_progress"))
    for _ in range(3):
        respond(kind, as_openai, made.id, method="retrieve", stream=streamed)
    begun, going_on, first, second = arrived(4)
    assert [span.name for span in (going_on, first, second)] == ["fetch_response"] * 3
    assert [bool(tokens_of(span)) for span in (begun, going_on, first, second)] == [False, False, True, False]
    assert first.attributes["gen_ai.usage.cost.source"] == "estimated"
    assert second.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert second.attributes["gen_ai.response.id"] == made.id


def test_a_response_of_another_process_is_fetched_without_tokens(kind, stand_in, instrumented, arrived):
    instrumented()
    respond(kind, stand_in.base_url, "resp_elsewhere", method="retrieve")
    (span,) = arrived(1)
    expected = {
        "gen_ai.operation.name": "fetch_response",
        "openai.api.type": "responses",
        "gen_ai.response.id": "resp_elsewhere",
        "gen_ai.response.model": "gpt-4o-mini",
        "gen_ai.response.status": "completed",
    }
    assert expected.items() <= span.attributes.items()
    assert "How can I help" in span.attributes["gen_ai.output.messages"]
    assert not tokens_of(span)


def test_a_background_response_that_failed_fails_the_fetch_that_finds_out(stand_in, instrumented, arrived):
    """Fetching it again succeeds: what failed is another call."""
    problem = {"code": "server_error", "message": "The model broke."}
    instrumented()
    made = respond("sync", stand_in.base_url, background=True)
    stand_in.script(*[responses.whole(id=made.id, status="failed", error=problem)] * 2)
    respond("sync", stand_in.base_url, made.id, method="retrieve")
    respond("sync", stand_in.base_url, made.id, method="retrieve")
    _, first, second = arrived(3)
    assert (first.status_code, first.attributes["error.type"]) == (2, "server_error")
    assert second.status_code == 0
    assert second.attributes["gen_ai.response.finish_reasons"] == ["error"]


def test_a_background_stream_that_is_left_is_completed_by_a_fetch(stand_in, client, instrumented, arrived):
    instrumented()
    with client.responses.create(model="gpt-4o", input="Hello!", background=True, stream=True) as events:
        made = next(events).response
    for _ in client.responses.retrieve(made.id, stream=True):
        pass
    left, fetched = arrived(2)
    assert left.attributes["error.type"] == "abandoned"
    assert not tokens_of(left)
    assert tokens_of(fetched)


def test_a_stream_in_the_foreground_that_is_left_is_completed_by_nobody(client, instrumented, arrived):
    """It ends with its connection: there is nothing to wait for."""
    instrumented()
    with client.responses.create(model="gpt-4o", input="Hello!", stream=True) as events:
        made = next(events).response
    client.responses.retrieve(made.id)
    assert not any(map(tokens_of, arrived(2)))


def test_a_background_stream_read_to_its_end_leaves_nothing_to_a_fetch(client, instrumented, arrived):
    instrumented()
    *_, last = client.responses.create(model="gpt-4o", input="Hello!", background=True, stream=True)
    client.responses.retrieve(last.response.id)
    made, fetched = arrived(2)
    assert tokens_of(made)
    assert not tokens_of(fetched)


def test_a_raw_fetch_carries_the_tokens_too(client, instrumented, arrived):
    instrumented()
    made = client.responses.create(model="gpt-4o", input="Hello!", background=True)
    assert client.responses.with_raw_response.retrieve(made.id).parse().id == made.id
    assert tokens_of(arrived(2)[-1])


def test_a_fetch_that_fails_names_what_was_asked_for(kind, stand_in, instrumented, arrived):
    stand_in.script(error(404, "No such response."))
    instrumented()
    with pytest.raises(openai.NotFoundError):
        respond(kind, stand_in.base_url, "resp_gone", method="retrieve")
    (span,) = arrived(1)
    assert span.attributes["gen_ai.response.id"] == "resp_gone"
    assert span.attributes["error.type"] == "NotFoundError"


def test_the_helper_that_resumes_a_stream_is_a_fetch(client, instrumented, arrived):
    if not hasattr(client.responses, "stream"):
        pytest.skip("the installed client has no such helper")
    instrumented()
    with client.responses.stream(response_id="resp_1") as events:
        for _ in events:
            pass
    (span,) = arrived(1)
    assert span.name == "fetch_response"
    assert span.attributes["gen_ai.request.stream"] is True


def test_a_fetch_says_where_it_resumes(client, instrumented, arrived):
    instrumented()
    list(client.responses.retrieve("resp_1", stream=True, starting_after=3))
    assert arrived(1)[0].attributes["gen_ai.request.stream_cursor"] == "3"


@pytest.mark.parametrize("forward", [None, True])
def test_a_fetch_goes_out_as_it_does_without_us(client, stand_in, instrumented, forward):
    client.responses.retrieve("resp_1")
    instrumented(forward_trace_fields=forward, trace_defaults={"environment": "staging"})
    client.responses.retrieve("resp_1")
    plain, traced = stand_in.requests
    assert (traced.method, traced.path, traced.query, traced.body) == (
        plain.method,
        plain.path,
        plain.query,
        plain.body,
    )


def test_what_only_keeps_house_is_untouched(client, stand_in, instrumented, arrived):
    instrumented()
    made = client.responses.create(model="gpt-4o", input="Hello!", background=True)
    stand_in.script(*[responses.whole(id=made.id, status="cancelled")] * 3)
    client.responses.cancel(made.id)
    client.responses.input_items.list(made.id)
    client.responses.delete(made.id)
    arrived(1)


def test_the_list_of_what_is_awaited_is_bounded():
    awaited = Background(limit=2)
    for name in ("one", "two", "three"):
        awaited.await_end(name)
    assert [awaited.end(name) for name in ("one", "two", "three")] == [False, True, True]


def test_of_many_threads_one_sees_the_end_first():
    awaited = Background()
    for number in range(200):
        awaited.await_end(str(number))
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(awaited.end, [str(number % 200) for number in range(1_600)]))
    assert sum(seen) == 200


def test_a_child_process_awaits_nothing_of_its_parents():
    awaited = Background()
    awaited.await_end("resp_1")
    child = os.fork()
    if child == 0:
        os._exit(1 if awaited.end("resp_1") else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert awaited.end("resp_1")
