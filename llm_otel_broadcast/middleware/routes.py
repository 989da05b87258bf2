"""Which route a request took, in the frameworks' own words. Asks only frameworks that the program has imported itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from llm_otel_broadcast.host.guard import or_else

_MAX_LAYERS: Final = 30


def asgi_route(scope: Mapping[str, Any], before: Mapping[str, Any], app: Any) -> str | None:
    """Return the route of an ASGI request.

    Starlette and FastAPI are asked again which of their routes it takes: what they leave behind lacks where an application or
    a router is mounted, and is lost when a middleware copies the scope. Litestar leaves it, Django's resolver knows it.

    Args:
        scope: the request's, which the application has had.
        before: a copy from before.
        app: the application that the middleware is put round.
    """
    template = scope.get("path_template")
    if isinstance(template, str):
        return template
    for known, at in ((before.get("app") or app, before), (scope.get("app"), scope)):
        routes = or_else(lambda known=known: _routes_of(known), None)  # type: ignore[misc]
        found = routes and or_else(lambda routes=routes, at=at: _path(routes, _afresh(at)), None)  # type: ignore[misc]
        if found:
            return str(found)
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str) or "app" in scope:
        return path
    return _django(str(scope.get("path", "")).removeprefix(str(scope.get("root_path", ""))))


def _routes_of(app: Any) -> Any:
    """Return an application's routes; other middleware may be put round it."""
    for _ in range(_MAX_LAYERS):
        routes = getattr(app, "routes", None)
        if routes is not None or app is None:
            return routes
        app = getattr(app, "app", None)
    return None


def _afresh(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scope to look for a route with: routing writes into it."""
    found = {"endpoint", "fastapi", "path_params", "route", "router"}
    return {key: value for key, value in scope.items() if key not in found}


def _path(routes: Iterable[Any], scope: dict[str, Any]) -> str | None:
    for route in _flat(routes):
        match, inside = route.matches(scope)
        if match.name == "FULL":
            path, below = getattr(route, "path", None) or "", getattr(route, "routes", None)
            return f"{path}{_path(below, {**scope, **inside}) or ''}" if below else str(path)
    return None


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    """Return routes with those of included routers, which FastAPI keeps as they are since 0.137."""
    for route in routes:
        included = getattr(route, "effective_route_contexts", None)
        if included is None:
            yield route
        else:
            yield from (getattr(one, "starlette_route", None) or one for one in included())


class WsgiRoute:
    """The route of a WSGI request: Flask's request has it, Django's resolver knows it.

    Flask's is gone when the body is produced, so it is looked at when the answer begins.
    """

    def __init__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> None:
        self._environ = environ
        self._start_response = start_response
        self._found: str | None = None

    def start_response(self, *args: Any, **kwargs: Any) -> Any:
        """Begin the answer, as the server's own function does."""
        self._found = or_else(self._rule, None)
        return self._start_response(*args, **kwargs)

    def _rule(self) -> str | None:
        rule = getattr(getattr(self._environ.get("werkzeug.request"), "url_rule", None), "rule", None)
        return rule if isinstance(rule, str) else None

    def __call__(self) -> str | None:
        return self._rule() or self._found or _django(str(self._environ.get("PATH_INFO", "")))


def _django(path: str) -> str | None:
    urls = sys.modules.get("django.urls")
    if urls is None or not sys.modules["django.conf"].settings.configured:
        return None
    route = urls.resolve(path).route
    return f"/{route}" if isinstance(route, str) else None
