"""The stand-in answers on the responses API the way the APIs do."""

from __future__ import annotations

import openai
import pytest

from tests.support.client_calls import needs_responses, respond
from tests.support.stand_in import responses

pytestmark = needs_responses


def test_an_openai_answer_has_openais_members(stand_in):
    answer = respond("sync", stand_in.base_url)
    assert answer.id.startswith("resp_")
    assert answer.status == "completed"
    assert "cost" not in answer.usage.model_dump()


def test_a_model_with_a_slash_is_answered_openrouters_way(stand_in):
    answer = respond("sync", stand_in.base_url, model="openai/gpt-4o").model_dump()
    assert answer["id"].startswith("gen-")
    assert answer["provider"] == "OpenAI"
    parts = answer["usage"]["cost_details"]
    assert answer["usage"]["cost"] == pytest.approx(
        parts["upstream_inference_input_cost"] + parts["upstream_inference_output_cost"]
    )


@pytest.mark.parametrize("model", ["gpt-4o", "openai/gpt-4o"])
def test_a_stream_adds_up_to_its_last_event(stand_in, model):
    events = respond("sync", stand_in.base_url, model=model, stream=True)
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == events[-1].response.output_text


def test_the_clients_own_helper_accepts_the_events(stand_in, client):
    if not hasattr(client.responses, "stream"):
        pytest.skip("the installed client has no such helper")
    call = responses.function_call("call_1", "f", '{"a": 1}')
    stand_in.script(responses.streamed(responses.reasoning("Hm."), responses.text("Hi.", refusal="No."), call))
    with client.responses.stream(model="gpt-4o", input="Hello!") as events:
        final = events.get_final_response()
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]


def test_a_background_response_is_queued_and_then_fetched(stand_in, client):
    made = client.responses.create(model="gpt-4o", input="Hello!", background=True)
    assert (made.status, made.usage) == ("queued", None)
    fetched = client.responses.retrieve(made.id)
    assert (fetched.id, fetched.status) == (made.id, "completed")
    assert list(client.responses.retrieve(made.id, stream=True))[-1].response.id == made.id


def test_error_words_are_refused(stand_in):
    with pytest.raises(openai.BadRequestError):
        respond("sync", stand_in.base_url, input="trigger error")
