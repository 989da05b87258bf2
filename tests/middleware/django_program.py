"""What gunicorn and uvicorn run: a Django application of one file with the middleware, as the environment says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import include, path, re_path

from llm_otel_broadcast import instrument
from llm_otel_broadcast.middleware import asgi, wsgi
from tests.middleware.model_calls import Model

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="tests", USE_TZ=True)
django.setup()
instrument()
model = Model()


def ready(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ready")


def item(request: HttpRequest, **_: Any) -> HttpResponse:
    return HttpResponse(model.ask())


async def async_item(request: HttpRequest, **_: Any) -> HttpResponse:
    own = Model()
    try:
        return HttpResponse(await own.aask())
    finally:
        await own.aclose()


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        yield model.ask()
        yield model.ask()

    return StreamingHttpResponse(body(), content_type="text/plain")


async def async_streamed(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        own = Model()
        try:
            yield await own.aask()
            yield await own.aask()
        finally:
            await own.aclose()

    return StreamingHttpResponse(body(), content_type="text/plain")


inner = [path("<int:item>/", item), path("async/<slug:item>/", async_item)]
urlpatterns = [
    path("ready", ready),
    path("items/", include(inner)),
    re_path(r"^old/(?P<item>[0-9]+)$", item),
    path("streamed", streamed),
    path("async-streamed", async_streamed),
]
wsgi_app = wsgi.TraceMiddleware(get_wsgi_application())
asgi_app = asgi.TraceMiddleware(get_asgi_application())
