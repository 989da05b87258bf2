"""One request, named once: every call made while it is handled lands below it, however deep and in whichever task.

Needs the same environment as reference_page.py.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from openai import AsyncOpenAI, OpenAI

from llm_otel_broadcast import flush, instrument, propagate, trace_context

MODEL = "openai/gpt-4o-mini"


async def ask(client: AsyncOpenAI, question: str) -> str:
    answer = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": question}])
    return answer.choices[0].message.content or ""


def summarise(texts: list[str]) -> str:
    with OpenAI() as client:
        answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "\n".join(texts)}])
    return answer.choices[0].message.content or ""


async def handle(question: str) -> str:
    async with trace_context(
        trace_name="Research request", session_id="session_abc", user="user_12345", environment="staging"
    ) as trace:
        async with trace_context(span_name="Gather", generation_name="Search"), AsyncOpenAI() as client:
            found = await asyncio.gather(*(ask(client, f"{question} ({where})") for where in ("news", "papers")))
        trace.set(sources=len(found))  # known only now
        with ThreadPoolExecutor() as pool, trace_context(generation_name="Summarise"):
            return await asyncio.wrap_future(pool.submit(propagate(summarise), found))


instrument()
print(asyncio.run(handle("What is new about tracing?")))
print("delivered" if flush() else "not delivered")
