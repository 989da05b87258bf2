"""Which route a request took, in the frameworks' own words. Asks only frameworks that the program has imported itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from llm_otel_broadcast.host.guard import or_else

# middleware that refers to itself as `app` would be followed forever
_MAX_LAYERS: Final = 30
_ROUTING_KEYS: Final = frozenset({"endpoint", "fastapi", "path_params", "route", "router"})
"""What Starlette and FastAPI write into a scope when they look for a route."""


class _Match(Protocol):
    """How far a route fits a request; a member of an enumeration of Starlette's."""

    name: str


class _Route(Protocol):
    """A route of Starlette's or FastAPI's; their classes are told apart by their attributes alone."""

    def matches(self, scope: dict[str, object], /) -> tuple[_Match, Mapping[str, object]]: ...


def asgi_route(scope: Mapping[str, object], initial_scope: Mapping[str, object], app: object) -> str | None:
    """Return the route of an ASGI request.

    Starlette and FastAPI are asked again which of their routes they take: what they leave behind lacks where an application or
    a router is mounted, and is lost when a middleware copies the scope. Litestar leaves it, Django's resolver knows it.

    Args:
        scope: the request's, which the application has had.
        initial_scope: a copy of it from before the application had it.
        app: the application that the middleware is put around.
    """
    # Litestar
    template = scope.get("path_template")
    if isinstance(template, str):
        return template
    # first the outermost application with the scope as it was: its route has the mounts; then whoever is left in the scope
    for application, its_scope in ((initial_scope.get("app") or app, initial_scope), (scope.get("app"), scope)):
        routes = or_else(lambda application=application: _routes_of(application), None)  # type: ignore[misc]
        if routes:
            fresh_scope = {key: value for key, value in its_scope.items() if key not in _ROUTING_KEYS}
            path = or_else(lambda routes=routes, fresh_scope=fresh_scope: _path(routes, fresh_scope), None)  # type: ignore[misc]
            if path:
                return str(path)
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str) or "app" in scope:
        return path
    return _django_route(str(scope.get("path", "")).removeprefix(str(scope.get("root_path", ""))))


def _routes_of(app: object) -> Iterable[_Route] | None:
    """Return an application's routes; other middleware may be put around it."""
    for _ in range(_MAX_LAYERS):
        routes = getattr(app, "routes", None)
        if routes is not None or app is None:
            return routes
        app = getattr(app, "app", None)
    return None


def _path(routes: Iterable[_Route], scope: dict[str, object]) -> str | None:
    for registered in routes:
        # FastAPI keeps the routers that are included as they are since 0.137, each with its routes below.
        contexts = getattr(registered, "effective_route_contexts", None)
        flat = [registered]
        if contexts is not None:
            flat = [getattr(context, "starlette_route", None) or context for context in contexts()]
        for route in flat:
            match, child_scope = route.matches(scope)
            if match.name == "FULL":
                path, mounted = getattr(route, "path", None) or "", getattr(route, "routes", None)
                return f"{path}{_path(mounted, {**scope, **child_scope}) or ''}" if mounted else str(path)
    return None


class WsgiRoute:
    """The route of a WSGI request: Flask's request has it, Django's resolver knows it."""

    # `Any`: what a server's `start_response` takes and returns is between it and the application
    def __init__(self, environ: Mapping[str, object], start_response: Callable[..., object]) -> None:
        self._environ = environ
        self._start_response = start_response
        self._flask_rule: str | None = None

    def start_response(self, *args: object, **kwargs: object) -> object:
        """Begin the answer, as the server's own function does."""
        # Flask's rule is gone when the body is produced
        self._flask_rule = or_else(self._current_flask_rule, None)
        return self._start_response(*args, **kwargs)

    def _current_flask_rule(self) -> str | None:
        rule = getattr(getattr(self._environ.get("werkzeug.request"), "url_rule", None), "rule", None)
        return rule if isinstance(rule, str) else None

    def __call__(self) -> str | None:
        rule = self._current_flask_rule() or self._flask_rule
        return rule or _django_route(str(self._environ.get("PATH_INFO", "")))


def _django_route(path: str) -> str | None:
    urls = sys.modules.get("django.urls")
    # without settings it would raise, or load some
    if urls is None or not sys.modules["django.conf"].settings.configured:
        return None
    route = urls.resolve(path).route
    return f"/{route}" if isinstance(route, str) else None
