"""A program that knows nothing of tracing. Traced all the same by

    llm-otel-broadcast run --endpoint http://localhost:4318 python examples/no_code/app.py

Needs OPENAI_API_KEY (and OPENAI_BASE_URL for any compatible API), and an OTLP backend at that address. More settings come
from the environment, for instance LLM_OTEL_BROADCAST_TRACE_DEFAULTS=environment=staging.
"""

from openai import OpenAI

with OpenAI() as client:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello!"}])
print(answer.choices[0].message.content)
