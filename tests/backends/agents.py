"""A run of an agent: a retriever, a call of the model that wants a tool, the tool, and a call that answers."""

from __future__ import annotations

import llm_otel_broadcast
from llm_otel_broadcast import traced
from llm_otel_broadcast.stand_in.answers import completion, message, usage_of
from tests.backends.broadcasts import TOOL
from tests.backends.columns import Column
from tests.backends.generations import USER, client_of
from tests.support.stand_in.server import StandIn

QUESTION = "Do I need a coat in Oslo?"
ANSWER = "Yes: it is 7 degrees."
KINDS = {
    "invoke_agent Travel agent": "agent",
    "retrieval climate_of": "retriever",
    "chat gpt-4o-mini": "llm",
    "execute_tool get_weather": "tool",
}
"""What each span of the run is, by its name."""
_ANSWERS = (
    completion(message(tool_calls=[("call_1", "get_weather", '{"city": "Oslo"}')]), usage=usage_of(1_480, 90)),
    completion(message(ANSWER), usage=usage_of(1_620, 30)),
)


def trace_id_of(column: Column) -> str:
    """Return the `trace_id` that the run states."""
    return f"agent in {column.name}"


def run_agent(column: Column, address: str) -> None:
    """Run the agent, and return when the backend has taken its trace."""
    destination = column.destination(address)
    with (
        StandIn() as api,
        client_of(api, "http://api.openai.com/v1") as client,
        llm_otel_broadcast.instrument(destinations=[destination], service_name="tour") as handle,
    ):
        api.script(*_ANSWERS)

        @traced(kind="agent", name="Travel agent", trace_id=trace_id_of(column), session_id="agents", user=USER)
        def travel_agent(question: str) -> str | None:
            climate_of("Oslo")
            asked = [{"role": "user", "content": question}]
            first = client.chat.completions.create(model="gpt-4o-mini", messages=asked, tools=[TOOL])
            (call,) = first.choices[0].message.tool_calls
            result = {"role": "tool", "tool_call_id": call.id, "content": str(get_weather("Oslo"))}
            messages = [*asked, first.choices[0].message, result]
            last = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
            return last.choices[0].message.content

        assert travel_agent(QUESTION) == ANSWER
        assert handle.flush(60.0), handle.status()


@traced(kind="tool")
def get_weather(city: str) -> dict[str, object]:
    """Return the weather of a city."""
    return {"city": city, "degrees": 7}


@traced(kind="retriever")
def climate_of(city: str) -> list[str]:
    """Return what is known of a city's climate."""
    return [f"{city} has long winters."]
