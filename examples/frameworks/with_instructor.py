"""Instructor: a typed answer, with trace fields.

Needs `pip install instructor`, and the same environment as ../reference_page.py.
"""

import instructor
from openai import OpenAI
from pydantic import BaseModel

from llm_otel_broadcast import flush, instrument

instrument()  # before `from_openai`, which takes the client's method as it finds it


class City(BaseModel):
    name: str


city = instructor.from_openai(OpenAI()).create(
    model="gpt-4o-mini",
    response_model=City,
    messages=[{"role": "user", "content": "Which city is the largest of Switzerland?"}],
    extra_body={"session_id": "session_abc", "trace": {"trace_name": "City question", "environment": "staging"}},
)
print(city.name)
print("delivered" if flush() else "not delivered")
