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

from tests.middleware.model_calls import Model

LARGE = 300_000


class Gate:
    """What tasks of the application wait for; opened by a test, in another thread."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    async def passed(self) -> None:
        await asyncio.to_thread(self.opened.wait, 10)


class Pages:
    """Each kind of answer."""

    def __init__(self, model: Model, gate: Gate) -> None:
        self.model = model
        self.gate = gate
        self.tasks: set[asyncio.Task[Any]] = set()

    async def item(self, request: Request) -> Response:
        return PlainTextResponse(await self.model.aask())

    def sync_item(self, request: Request) -> Response:
        return PlainTextResponse(self.model.ask())

    async def twice(self, request: Request) -> Response:
        number = request.path_params["number"]
        for turn in range(2):
            await self.model.aask(extra_body={"trace": {"generation_name": f"call {number}.{turn}"}})
        return PlainTextResponse(number)

    async def three_times(self, request: Request) -> Response:
        for turn in range(3):
            await self.model.aask(extra_body={"trace": {"generation_name": f"call {turn}"}})
        return PlainTextResponse("three")

    async def quiet(self, request: Request) -> Response:
        return JSONResponse({"path": request.url.path}, 201, {"x-own": "yes"})

    async def streamed(self, request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            for _ in range(2):
                yield f"{await self.model.aask()}\n"

        return StreamingResponse(body(), media_type="text/plain")

    async def sync_streamed(self, request: Request) -> Response:
        return StreamingResponse((f"{self.model.ask()}\n" for _ in range(2)), media_type="text/plain")

    async def events(self, request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "event: begin\ndata: 0\n\n"
            yield f"data: {await self.model.aask()}\n\n"

        return StreamingResponse(body(), media_type="text/event-stream")

    async def endless(self, request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield await self.model.aask()
            while True:
                await asyncio.sleep(0.01)  # it is cancelled here, not in a call, whose connection would be cut in two
                yield "more"

        return StreamingResponse(body(), media_type="text/plain")

    async def failing(self, request: Request) -> Response:
        await self.model.aask()
        raise LookupError("the launch code")

    async def background(self, request: Request) -> Response:
        return PlainTextResponse("sent", background=BackgroundTask(self.model.aask))

    async def left_running(self, request: Request) -> Response:
        task = asyncio.create_task(self._later())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return PlainTextResponse("begun")

    async def _later(self) -> None:
        await self.gate.passed()
        await self.model.aask()

    async def large_and_slow(self, request: Request) -> Response:
        await request.body()
        return PlainTextResponse("x" * LARGE, background=BackgroundTask(self.gate.passed))

    async def file(self, request: Request) -> Response:
        return FileResponse(__file__)

    async def not_found(self, request: Request, error: Exception) -> Response:
        await self.model.aask()
        return PlainTextResponse("no such page", 404)

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        yield
        await self.model.aclose()


def starlette_app(model: Model, gate: Gate | None = None) -> Starlette:
    pages = Pages(model, gate or Gate())
    return Starlette(
        routes=[
            Route("/items/{item:int}", pages.item),
            Route("/same/{one}", pages.item, name="one"),
            Route("/same/{one}/{two}", pages.item, name="two"),
            Route("/sync/{item}", pages.sync_item),
            Route("/twice/{number}", pages.twice),
            Route("/three-times", pages.three_times),
            Route("/quiet/{item}", pages.quiet),
            Route("/streamed", pages.streamed),
            Route("/sync-streamed", pages.sync_streamed),
            Route("/events", pages.events),
            Route("/endless", pages.endless),
            Route("/failing", pages.failing),
            Route("/background", pages.background),
            Route("/left-running", pages.left_running),
            Route("/large-and-slow", pages.large_and_slow, methods=["POST"]),
            Route("/file", pages.file),
            Mount("/tenants/{tenant}", routes=[Route("/users/{user}", pages.item), Route("/", pages.item)]),
        ],
        exception_handlers={404: pages.not_found},
        lifespan=pages.lifespan,
    )


async def _known(request: Request) -> None:
    request.state.user = "u-7"


def fastapi_app(model: Model) -> FastAPI:
    """Return an application with routers in routers, mounted applications, and a user whom a dependency finds."""
    app = FastAPI(lifespan=Pages(model, Gate()).lifespan)
    inner, outer, mounted = APIRouter(prefix="/things"), APIRouter(prefix="/v1"), FastAPI()

    @app.get("/items/{item}")
    async def item(item: int) -> str:
        return await model.aask()

    @app.get("/sync/{item}")
    def sync_item(item: str) -> str:
        return model.ask()

    @app.get("/known", dependencies=[Depends(_known)])
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
