"""LlamaIndex: a streamed answer with token counts, which LlamaIndex does not ask for itself.

Needs `pip install llama-index-llms-openai`, and the same environment as ../reference_page.py.
"""

import os

from llama_index.llms.openai import OpenAI

from llm_otel_broadcast import flush, instrument

instrument(request_stream_usage=True)
fields = {"session_id": "session_abc", "trace": {"trace_name": "LlamaIndex", "environment": "staging"}}
llm = OpenAI(model="gpt-4o-mini", api_base=os.environ.get("OPENAI_BASE_URL"), additional_kwargs={"extra_body": fields})
for piece in llm.stream_complete("Count to five."):
    print(piece.delta, end="", flush=True)
print()
print("delivered" if flush() else "not delivered")
