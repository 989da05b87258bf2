"""Applications made with Starlette and FastAPI."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from tests.middleware.calling import Model

LARGE = 300_000
_kept: set[asyncio.Task[Any]] = set()


class Gate:
    """What a background task of the application waits for."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    async def passed(self) -> None:
        while not self.opened.is_set():
            await asyncio.sleep(0.01)


def starlette_app(model: Model, gate: Gate | None = None) -> Starlette:
    """Return an application with each kind of answer."""
    gate = gate or Gate()

    async def item(request: Request) -> Response:
        return PlainTextResponse(await model.aask())

    def sync_item(request: Request) -> Response:
        return PlainTextResponse(model.ask())

    async def twice(request: Request) -> Response:
        number = request.path_params["number"]
        for turn in range(2):
            await model.aask(extra_body={"trace": {"generation_name": f"call {number}.{turn}"}})
            await asyncio.sleep(0)
        return PlainTextResponse(number)

    async def quiet(request: Request) -> Response:
        return JSONResponse({"path": request.url.path}, 201, {"x-own": "yes"})

    async def streamed(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            for _ in range(2):
                yield f"{await model.aask()}\n"

        return StreamingResponse(body(), media_type="text/plain")

    async def sync_streamed(request: Request) -> Response:
        return StreamingResponse((f"{model.ask()}\n" for _ in range(2)), media_type="text/plain")

    async def events(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "event: begin\ndata: 0\n\n"
            yield f"data: {await model.aask()}\n\n"

        return StreamingResponse(body(), media_type="text/event-stream")

    async def endless(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            while True:
                yield await model.aask()
                await asyncio.sleep(0.02)

        return StreamingResponse(body(), media_type="text/plain")

    async def failing(request: Request) -> Response:
        await model.aask()
        raise LookupError("the launch code")

    async def background(request: Request) -> Response:
        return PlainTextResponse("sent", background=BackgroundTask(model.aask))

    async def left_running(request: Request) -> Response:
        async def later() -> None:
            await gate.passed()
            await model.aask()

        task = asyncio.create_task(later())
        _kept.add(task)
        task.add_done_callback(_kept.discard)
        return PlainTextResponse("begun")

    async def large_and_slow(request: Request) -> Response:
        await request.body()
        return PlainTextResponse("x" * LARGE, background=BackgroundTask(gate.passed))

    async def file(request: Request) -> Response:
        return FileResponse(__file__)

    async def not_found(request: Request, error: Exception) -> Response:
        await model.aask()
        return PlainTextResponse("no such page", 404)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
        yield {"from": "lifespan"}
        await model.aclose()

    users = [Route("/users/{user}", item), Route("/", item)]
    return Starlette(
        routes=[
            Route("/items/{item:int}", item),
            Route("/same/{one}", item, name="one"),
            Route("/same/{one}/{two}", item, name="two"),
            Route("/sync/{item}", sync_item),
            Route("/twice/{number}", twice),
            Route("/quiet/{item}", quiet),
            Route("/streamed", streamed),
            Route("/sync-streamed", sync_streamed),
            Route("/events", events),
            Route("/endless", endless),
            Route("/failing", failing),
            Route("/background", background),
            Route("/left-running", left_running),
            Route("/large-and-slow", large_and_slow, methods=["POST", "GET"]),
            Route("/file", file),
            Mount("/tenants/{tenant}", routes=users),
        ],
        exception_handlers={404: not_found},
        lifespan=lifespan,
    )


def fastapi_app(model: Model) -> FastAPI:
    """Return an application with routers in routers, a mounted application, and a user whom a dependency finds."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await model.aclose()

    async def known(request: Request) -> None:
        request.state.user = "u-7"

    app = FastAPI(lifespan=lifespan)
    inner, outer, mounted = APIRouter(prefix="/things"), APIRouter(prefix="/v1"), FastAPI()

    @app.get("/items/{item}")
    async def item(item: int) -> str:
        return await model.aask()

    @app.get("/sync/{item}")
    def sync_item(item: str) -> str:
        return model.ask()

    @app.get("/known", dependencies=[Depends(known)])
    async def with_user() -> str:
        return await model.aask()

    @inner.get("/{thing}")
    async def thing(thing: str) -> str:
        return await model.aask()

    @mounted.get("/deep/{number}")
    async def deep(number: int) -> str:
        return await model.aask()

    outer.include_router(inner)
    app.include_router(outer, prefix="/api")
    app.mount("/mounted", mounted)
    app.mount("/starlette", starlette_app(model))
    return app
