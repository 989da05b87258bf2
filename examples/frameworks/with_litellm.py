"""LiteLLM, on its way to OpenAI and what is compatible: a streamed answer, with trace fields.

Needs `pip install litellm`, and the same environment as ../reference_page.py.
"""

import litellm

from llm_otel_broadcast import flush, instrument

instrument()
chunks = litellm.completion(
    model="openai/gpt-4o-mini",
    messages=[{"role": "user", "content": "Count to five."}],
    stream=True,
    stream_options={"include_usage": True},
    extra_body={"session_id": "session_abc", "trace": {"trace_name": "LiteLLM", "environment": "staging"}},
)
for chunk in chunks:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print()
print("delivered" if flush() else "not delivered")
