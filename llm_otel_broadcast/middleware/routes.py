"""Which route a request took, in the frameworks' own words. Asks only frameworks that the program has imported itself."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any


def asgi_route(scope: Mapping[str, Any]) -> str | None:
    """Return the route of an ASGI request: FastAPI, Starlette and Litestar leave it in the scope, Django in its resolver."""
    route = scope.get("route")
    path = getattr(route, "path", None) or getattr(route, "path_format", None)
    if isinstance(path, str):
        return path
    template = scope.get("path_template")
    if isinstance(template, str):
        return template
    routes = getattr(scope.get("app"), "routes", None)
    if routes:
        return _starlette(routes, scope, scope.get("endpoint"))
    return _django(str(scope.get("path", "")))


def _starlette(routes: Iterable[Any], scope: Mapping[str, Any], endpoint: Any) -> str | None:
    """Find the route whose endpoint has been called; plain Starlette names the endpoint only."""
    if endpoint is None:
        return None
    for route in routes:
        path = getattr(route, "path", "")
        if getattr(route, "endpoint", None) is endpoint:
            return str(path)
        below = _starlette(getattr(route, "routes", None) or (), scope, endpoint)
        if below is not None:
            return f"{path}{below}"
    return None


def wsgi_route(environ: Mapping[str, Any]) -> str | None:
    """Return the route of a WSGI request: Flask's request has it, Django's resolver knows it."""
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    if isinstance(rule, str):
        return rule
    return _django(str(environ.get("PATH_INFO", "")))


def _django(path: str) -> str | None:
    urls = sys.modules.get("django.urls")
    if urls is None or not sys.modules["django.conf"].settings.configured:
        return None
    route = urls.resolve(path).route
    return f"/{route}" if isinstance(route, str) else None
