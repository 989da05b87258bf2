"""LangChain: a chain, streamed, with trace fields.

Needs `pip install langchain-openai`, and the same environment as ../reference_page.py.
"""

from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

from llm_otel_broadcast import flush, instrument

instrument()
model = ChatOpenAI(model="gpt-4o-mini", extra_body={"session_id": "session_abc", "trace": {"trace_name": "LangChain"}})
for chunk in (ChatPromptTemplate.from_template("Count to {limit}.") | model).stream({"limit": "five"}):
    print(chunk.content, end="", flush=True)
print()
print("delivered" if flush() else "not delivered")
