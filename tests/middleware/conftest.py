"""An application of each framework behind the middleware, on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import openai
import pytest

from llm_otel_broadcast.middleware import asgi, wsgi
from tests.middleware import apps
from tests.middleware.serving import asgi_served, wsgi_served

FRAMEWORKS = (*apps.ASGI, *apps.WSGI)


@pytest.fixture
def kit(stand_in) -> Iterator[apps.Kit]:
    http = openai.DefaultHttpxClient(verify=False)
    with openai.OpenAI(api_key="sk-test", base_url=stand_in.base_url, max_retries=0, http_client=http) as client:
        yield apps.Kit(client)


@pytest.fixture(params=FRAMEWORKS)
def framework(request) -> str:
    return request.param


@pytest.fixture
def served(kit) -> Callable[..., AbstractContextManager[int]]:
    """Serve a framework's application behind the middleware, or without; yields the port."""

    @contextmanager
    def serve(framework: str, *, around: Callable[[Any], Any] | None = None, traced: bool = True, **options: Any):
        is_asgi = framework in apps.ASGI
        app = {**apps.ASGI, **apps.WSGI}[framework](kit)
        if traced:
            app = (asgi if is_asgi else wsgi).TraceMiddleware(app, **options)
        if around is not None:
            app = around(app)
        with (_without_lifespan if framework == "django_asgi" else asgi_served if is_asgi else wsgi_served)(
            app
        ) as port:
            yield port

    return serve


def _without_lifespan(app: Any) -> AbstractContextManager[int]:
    """Django knows HTTP only."""

    async def http_only(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        await app(scope, receive, send)

    return asgi_served(http_only)
