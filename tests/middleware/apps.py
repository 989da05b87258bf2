"""One small application in each framework: the same routes, which ask a model, in the framework's own words."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import django
import openai
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import include, path
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from flask import Blueprint, Flask, Response
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route

from tests.clients.calling import MESSAGES

ASKED = {"model": "gpt-4o-mini", "messages": MESSAGES}


@dataclass(frozen=True)
class Kit:
    """What the handlers use."""

    client: openai.OpenAI

    def ask(self) -> str:
        return self.client.chat.completions.create(**ASKED).choices[0].message.content or ""

    async def ask_async(self) -> str:
        http = openai.DefaultAsyncHttpxClient(verify=False)  # one a call: the server's loop ends before the test does
        async with openai.AsyncOpenAI(api_key="x", base_url=self.client.base_url, http_client=http) as client:
            answer = await client.chat.completions.create(**ASKED)
        return answer.choices[0].message.content or ""

    def pieces(self) -> Iterator[str]:
        for number in range(2):
            yield f"{number} {self.ask()}\n"

    async def pieces_async(self) -> AsyncIterator[str]:
        for number in range(2):
            yield f"{number} {await self.ask_async()}\n"
            await asyncio.sleep(0)


def fastapi(kit: Kit) -> Any:
    app = FastAPI()
    below = APIRouter(prefix="/below")

    @app.get("/items/{item_id}")
    def item(item_id: str) -> PlainTextResponse:  # in a thread of the pool
        return PlainTextResponse(f"{item_id} {kit.ask()}")

    @below.get("/items/{item_id}")
    async def item_below(item_id: str) -> PlainTextResponse:
        return PlainTextResponse(f"{item_id} {await kit.ask_async()}")

    @app.get("/stream/{item_id}")
    async def stream(item_id: str) -> StreamingResponse:
        return StreamingResponse(kit.pieces_async(), headers={"x-item": item_id}, media_type="text/event-stream")

    @app.get("/quiet")
    def quiet() -> PlainTextResponse:
        return PlainTextResponse("quiet")

    @app.get("/broken/{item_id}")
    async def broken(item_id: str) -> None:
        await kit.ask_async()
        raise ValueError(item_id)

    @app.exception_handler(404)
    async def missing(_request: Request, _error: Exception) -> PlainTextResponse:
        return PlainTextResponse(await kit.ask_async(), status_code=404)

    app.include_router(below)
    return app


def starlette(kit: Kit) -> Any:
    async def item(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.path_params['item_id']} {await kit.ask_async()}")

    def item_below(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.path_params['item_id']} {kit.ask()}")

    async def stream(request: Request) -> StreamingResponse:
        headers = {"x-item": request.path_params["item_id"]}
        return StreamingResponse(kit.pieces(), headers=headers, media_type="text/event-stream")

    async def quiet(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("quiet")

    async def broken(request: Request) -> None:
        await kit.ask_async()
        raise ValueError(request.path_params["item_id"])

    async def missing(_request: Request, _error: Exception) -> PlainTextResponse:
        return PlainTextResponse(await kit.ask_async(), status_code=404)

    routes = [
        Route("/items/{item_id}", item),
        Mount("/below", app=Starlette(routes=[Route("/items/{item_id}", item_below)])),
        Route("/stream/{item_id}", stream),
        Route("/quiet", quiet),
        Route("/broken/{item_id}", broken),
    ]
    return Starlette(routes=routes, exception_handlers={404: missing})


def flask(kit: Kit) -> Any:
    app = Flask("app")
    below = Blueprint("below", "app", url_prefix="/below")

    @app.get("/items/<item_id>")
    @below.get("/items/<item_id>")
    def item(item_id: str) -> Response:
        return Response(f"{item_id} {kit.ask()}", mimetype="text/plain")

    @app.get("/stream/<item_id>")
    def stream(item_id: str) -> Response:
        return Response(kit.pieces(), headers={"x-item": item_id}, mimetype="text/event-stream")

    @app.get("/quiet")
    def quiet() -> str:
        return "quiet"

    @app.get("/broken/<item_id>")
    def broken(item_id: str) -> str:
        kit.ask()
        raise ValueError(item_id)

    @app.errorhandler(404)
    def missing(_error: Exception) -> tuple[str, int]:
        return kit.ask(), 404

    app.register_blueprint(below)
    app.logger.disabled = True
    return app


def _django_urls(kit: Kit, *, is_async: bool) -> ModuleType:
    def item(_request: Any, item_id: str) -> HttpResponse:
        return HttpResponse(f"{item_id} {kit.ask()}")

    async def item_async(_request: Any, item_id: str) -> HttpResponse:
        return HttpResponse(f"{item_id} {await kit.ask_async()}")

    def stream(_request: Any, item_id: str) -> StreamingHttpResponse:
        pieces = kit.pieces_async() if is_async else kit.pieces()
        return StreamingHttpResponse(pieces, headers={"x-item": item_id}, content_type="text/event-stream")

    def quiet(_request: Any) -> HttpResponse:
        return HttpResponse("quiet")

    def broken(_request: Any, item_id: str) -> HttpResponse:
        kit.ask()
        raise ValueError(item_id)

    def missing(_request: Any, exception: Exception) -> HttpResponse:
        return HttpResponse(kit.ask(), status=404)

    urls = ModuleType("tests_middleware_urls")
    urls.urlpatterns = [
        path("items/<item_id>", item_async if is_async else item),
        path("below/", include([path("items/<item_id>", item)])),
        path("stream/<item_id>", stream),
        path("quiet", quiet),
        path("broken/<item_id>", broken),
    ]
    urls.handler404 = missing
    return urls


def _django(kit: Kit, *, is_async: bool) -> None:
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            SECRET_KEY="x",
            ROOT_URLCONF="tests_middleware_urls",
            MIDDLEWARE=[],
            LOGGING_CONFIG=None,
        )
        django.setup()
    from django.urls import clear_url_caches

    sys.modules["tests_middleware_urls"] = _django_urls(kit, is_async=is_async)
    clear_url_caches()


def django_asgi(kit: Kit) -> Any:
    _django(kit, is_async=True)
    return get_asgi_application()


def django_wsgi(kit: Kit) -> Any:
    _django(kit, is_async=False)
    return get_wsgi_application()


ASGI: dict[str, Callable[[Kit], Any]] = {"fastapi": fastapi, "starlette": starlette, "django_asgi": django_asgi}
WSGI: dict[str, Callable[[Kit], Any]] = {"flask": flask, "django_wsgi": django_wsgi}
ITEM = {
    "fastapi": "/items/{item_id}",
    "starlette": "/items/{item_id}",
    "flask": "/items/<item_id>",
    "django_asgi": "/items/<item_id>",
    "django_wsgi": "/items/<item_id>",
}
"""How each framework writes the route."""
