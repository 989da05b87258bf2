"""OpenAI Agents SDK: a tool, and one trace for the whole run; the SDK's own tracing, which goes to OpenAI, is off.

Needs `pip install openai-agents`, and the same environment as ../reference_page.py.
"""

from agents import Agent, ModelSettings, Runner, function_tool, set_default_openai_api, set_tracing_disabled

from llm_otel_broadcast import flush, instrument

instrument()
set_tracing_disabled(True)
set_default_openai_api("chat_completions")


@function_tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"Rain in {city}"


settings = ModelSettings(extra_body={"trace": {"trace_id": "weather_001", "trace_name": "Weather run"}})
agent = Agent(name="Meteorologist", model="gpt-4o-mini", tools=[weather], model_settings=settings)
print(Runner.run_sync(agent, "How is the weather in Zurich?").final_output)
print("delivered" if flush() else "not delivered")
