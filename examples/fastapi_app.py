"""A FastAPI application: each request that calls a model is one trace, called by its route, with session and user.

Serve it (`pip install fastapi uvicorn`) and talk to it:

    uvicorn --app-dir examples fastapi_app:app
    curl -X POST -H "x-session-id: session_abc" -H "x-user: ada" "http://127.0.0.1:8000/chats/7?question=Hello"

Run as a program it does both. Needs the same environment as reference_page.py.
"""

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.request import Request, urlopen

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

from llm_otel_broadcast import flush, instrument
from llm_otel_broadcast.middleware.asgi import TraceMiddleware

instrument(request_stream_usage=True)
client = AsyncOpenAI()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await client.close()


app = FastAPI(lifespan=lifespan)
app.add_middleware(
    TraceMiddleware,
    user=lambda scope: dict(scope["headers"]).get(b"x-user", b"").decode(),
    metadata=lambda scope: {"environment": "staging", "client": scope["client"][0]},
)


@app.post("/chats/{chat}")
async def chat(chat: str, question: str) -> StreamingResponse:
    async def answer() -> AsyncIterator[str]:
        stream = await client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": question}],
            stream=True,
            extra_body={"trace": {"chat": chat}},
        )
        async for chunk in stream:
            for choice in chunk.choices:
                yield choice.delta.content or ""

    return StreamingResponse(answer(), media_type="text/plain")


def main() -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    serving = threading.Thread(target=server.run)
    serving.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    headers = {"x-session-id": "session_abc", "x-user": "ada"}
    asked = Request(f"http://127.0.0.1:{port}/chats/7?question=Hello", method="POST", headers=headers)
    with urlopen(asked) as answer:  # noqa: S310
        print(answer.read().decode())
    server.should_exit = True
    serving.join()
    print("delivered" if flush() else "not delivered")


if __name__ == "__main__":
    main()
