"""The reference page's example: names, ids, user, session and metadata for one call.

Needs an API key and an OTLP backend: OPENAI_API_KEY (and OPENAI_BASE_URL for any compatible API), and
OTEL_EXPORTER_OTLP_ENDPOINT, for instance http://localhost:4318.
"""

from openai import OpenAI

from llm_otel_broadcast import flush, instrument

instrument()
with OpenAI() as client:
    answer = client.chat.completions.create(
        model="openai/gpt-4o",
        messages=[{"role": "user", "content": "Hello!"}],
        user="user_12345",
        extra_body={
            "session_id": "session_abc",
            "trace": {
                "trace_id": "app_trace_001",
                "trace_name": "Chat Handler",
                "generation_name": "Generate Response",
                "environment": "staging",
                "deployment": "us-east-1",
            },
        },
    )
print(answer.choices[0].message.content)
print("delivered" if flush() else "not delivered")
