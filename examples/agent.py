"""An agent that searches, uses a tool and asks a model: a span of its kind for each step, and a root that shows question and answer.

Needs the same environment as reference_page.py.
"""

from openai import OpenAI

from llm_otel_broadcast import flush, instrument, trace_context, traced

PAGES = {"Rome": "Rome has a mild winter.", "Oslo": "Oslo has a cold winter."}


@traced(kind="retriever", name="travel guide")
def look_up(query: str) -> list[str]:
    """Its query and what it returns are content."""
    return [page for city, page in PAGES.items() if city in query]


@traced(kind="tool")
def get_weather(city: str) -> dict[str, object]:
    """Its span is called `execute_tool get_weather`."""
    return {"city": city, "degrees": 21}


@traced(kind="agent", name="Travel agent", session_id="session_abc")
def plan_trip(question: str) -> str:
    """The call inside is a generation below it, as ever."""
    notes = [*look_up(question), f"Now: {get_weather('Rome')}"]
    with OpenAI() as client:
        answer = client.chat.completions.create(
            model="openai/gpt-4o-mini",
            messages=[{"role": "system", "content": "\n".join(notes)}, {"role": "user", "content": question}],
        )
    return answer.choices[0].message.content or ""


instrument()
print(plan_trip("What shall I pack for Rome?"))
with trace_context(trace_name="Nightly job", kind="chain") as job:
    job.show(input="all pages", output=f"{len(PAGES)} pages checked")
print("delivered" if flush() else "not delivered")
