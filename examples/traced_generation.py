"""Functions as spans: one that calls an API that is watched, and one whose model we know nothing of.

Needs the same environment as reference_page.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from openai import OpenAI

from llm_otel_broadcast import current_generation, flush, instrument, traced_generation


@dataclass
class Request:
    session: str
    question: str


@traced_generation(
    trace_name="Chat Handler",
    generation_name="Generate Response",
    session_id=lambda request: request.session,
    environment="staging",
)
def answer(request: Request) -> str:
    """Its span is called `answer`; the call inside is the generation below it."""
    with OpenAI() as client:
        made = client.chat.completions.create(
            model="openai/gpt-4o-mini", messages=[{"role": "user", "content": request.question}]
        )
    return made.choices[0].message.content or ""


@traced_generation(generation_name="Local model", capture=("prompt",))
def local_model(prompt: str, words: tuple[str, ...] = ("Once ", "upon ", "a ", "time.")) -> Iterator[str]:
    """No call that is watched: its own span is the generation, and what it yields is the answer."""
    yield from words
    current_generation().record(
        model="llama-3.2-3b",
        provider="local",
        input_tokens=len(prompt.split()),
        output_tokens=len(words),
        cost=0.0,
        finish_reason="stop",
    )


instrument()
print(answer(Request(session="session_abc", question="Hello!")))
print("".join(local_model("Tell me a story.")))
print("delivered" if flush() else "not delivered")
