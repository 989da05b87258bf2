"""Pydantic AI: a tool, and one trace for the whole run.

Needs `pip install "pydantic-ai-slim[openai]"`, and the same environment as ../reference_page.py.
"""

from pydantic_ai import Agent

from llm_otel_broadcast import flush, instrument

instrument()
agent = Agent(
    "openai-chat:gpt-4o-mini",
    model_settings={"extra_body": {"trace": {"trace_id": "weather_001", "trace_name": "Weather run"}}},
)


@agent.tool_plain
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"Rain in {city}"


print(agent.run_sync("How is the weather in Zurich?").output)
print("delivered" if flush() else "not delivered")
