"""A FastAPI service: each request that asks a model is a trace named after its route, the streamed answer included.

    uvicorn --app-dir examples/web fastapi_app:app

Needs the same environment as reference_page.py. Then: curl -H 'x-session-id: session_abc' 'localhost:8000/answers/42?question=Hello'
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

from llm_otel_broadcast import flush, instrument
from llm_otel_broadcast.middleware.asgi import TraceMiddleware

instrument()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    flush(timeout=3)  # uvicorn ends by the very signal that stopped it: exit handlers do not run


app = FastAPI(lifespan=lifespan)
app.add_middleware(
    TraceMiddleware,
    user=lambda scope: scope["path_params"]["user_id"],  # asked when the first call happens: the route is known by then
    metadata=lambda _scope: {"environment": "staging"},
)
client = AsyncOpenAI()


async def answer(question: str) -> AsyncIterator[str]:
    messages = [{"role": "user", "content": question}]
    async for chunk in await client.chat.completions.create(model="openai/gpt-4o-mini", messages=messages, stream=True):
        for choice in chunk.choices:
            yield choice.delta.content or ""


@app.get("/answers/{user_id}")
async def answers(user_id: str, question: str) -> StreamingResponse:
    return StreamingResponse(answer(question), headers={"x-user": user_id}, media_type="text/plain")
