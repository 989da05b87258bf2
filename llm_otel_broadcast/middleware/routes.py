"""Which route a request took, in the frameworks' own words. Asks only frameworks that the program has imported itself."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def asgi_route(scope: Mapping[str, Any], app: Any) -> str | None:
    """Return the route of an ASGI request: Starlette and FastAPI keep them in the app, Litestar in the scope, Django in its resolver.

    Args:
        scope: the request's, after the app has seen it.
        app: the outermost application that is known.
    """
    template = scope.get("path_template")
    if isinstance(template, str):
        return template
    endpoint = scope.get("endpoint")
    if endpoint is not None:
        found = list(_paths(getattr(app, "routes", None) or (), endpoint, scope.get("route")))
        if len(found) > 1:  # one function at several paths
            wanted = set(scope.get("path_params") or ())
            found = [path for path in found if set(_names(path)) == wanted] or found
        if found:
            return found[0]
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    if "app" in scope or hasattr(app, "routes"):
        return None
    return _django(str(scope.get("path", "")).removeprefix(str(scope.get("root_path", ""))))


def _paths(routes: Iterable[Any], endpoint: Any, taken: Any) -> Iterator[str]:
    """Find the routes whose endpoint has been called, mounted applications included: their own paths lack where they are mounted."""
    for route in routes:
        path = str(getattr(route, "path", ""))
        own = getattr(route, "endpoint", None)
        if (taken is not None and route is taken) or (taken is None and own is not None and own is endpoint):
            yield path
        for below in _paths(getattr(route, "routes", None) or (), endpoint, taken):
            yield f"{path}{below}"


def _names(path: str) -> Iterator[str]:
    """Return the names of a path's parameters: `/items/{id:int}`."""
    for part in path.split("{")[1:]:
        yield part.partition("}")[0].partition(":")[0]


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
