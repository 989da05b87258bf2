"""Watching the clients' own `request`, which every call goes through: those are recorded that pass by the patched methods.

Who calls `client.post("/chat/completions", body=...)` (LiteLLM), and who has got hold of a method before it was patched: the
client caches `with_raw_response` and `with_streaming_response`, whose wrappers hold the bound methods for good; a program may
keep `client.chat.completions.create` itself. What a patched method requests belongs to its call, and is left alone.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple

import wrapt

from llm_otel_broadcast.clients.call import Post, Switch, is_under_way
from llm_otel_broadcast.clients.reader import NOTHING, Reader
from llm_otel_broadcast.clients.tracebacks import unseen
from llm_otel_broadcast.clients.wrappers import callable_of, taking_place, watch
from llm_otel_broadcast.host.guard import Guard

_PATCHING = Guard("patching the openai client")
_LOOKING = Guard("looking at a request")
_MODULE: Final = "openai"
_METHOD: Final = "request"
_CLIENTS: Final = (("OpenAI", False), ("AsyncOpenAI", True))
_FIELDS: Final = ("trace", "session_id")
"""Our fields, where the body itself has them and not the options' `extra_json`."""
_POSTED: Final = "_llm_otel_broadcast_posted"


class Route(NamedTuple):
    """A kind of request that calls a model.

    Attributes:
        endpoint: HTTP method and path, as in `POST /chat/completions`; a path that ends in `/*` has one more segment, which
            is the reader's first positional argument.
        resource: where the client has the method that is made for it, as in `chat.completions`.
        reader: reads it.
    """

    endpoint: str
    resource: str
    reader: Reader


class Posts:
    """The patch of the clients' `request`, put on and taken off. It waits until the program imports `openai` itself.

    Args:
        switch: says who is watching.
        routes: what is recorded; of several with one endpoint the first counts.
    """

    def __init__(self, switch: Switch, routes: Iterable[Route]) -> None:
        self._switch = switch
        self._routes = {route.endpoint: route for route in reversed(tuple(routes))}
        self._active = False
        self._hooked = False
        self._applied: list[tuple[type, Any, Any]] = []

    def apply(self) -> None:
        self._active = True
        if _MODULE in sys.modules:
            self._patch(sys.modules[_MODULE])
        elif not self._hooked:
            wrapt.register_post_import_hook(self._patch, _MODULE)
            self._hooked = True

    def remove(self) -> None:
        """Have the very same functions back. Where somebody has patched above us, ours stays below and does nothing."""
        self._active = False
        for applied in list(self._applied):
            owner, own, patched = applied
            if owner.__dict__.get(_METHOD) is not patched:
                continue
            if own is None:
                delattr(owner, _METHOD)
            else:
                setattr(owner, _METHOD, own)
            self._applied.remove(applied)

    def _patch(self, module: Any) -> None:
        with _PATCHING:
            if not self._active:
                return
            patched_already = {owner for owner, _, _ in self._applied}
            for name, is_async in _CLIENTS:
                owner = getattr(module, name, None)
                found = None if owner is None else inspect.getattr_static(owner, _METHOD, None)
                if owner is None or found is None or owner in patched_already:
                    continue
                own = owner.__dict__.get(_METHOD)
                patched = self._watch(found, is_async=is_async)
                setattr(owner, _METHOD, patched)
                self._applied.append((owner, own, patched))

    def _watch(self, found: Any, *, is_async: bool) -> Callable[..., Any]:
        """Return the function that takes the place of `request`."""
        creates = {
            endpoint: _Create(
                attrgetter(route.resource),
                route.reader,
                watch(_create, Post(route.reader, self._switch, encloses=False), is_async=is_async),
            )
            for endpoint, route in self._routes.items()
        }
        method = callable_of(found)

        def look(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
            """Return the call to make: a watched one if the request calls a model."""
            call = None
            with _LOOKING:
                call = _look(creates, partial(method, client), client, args, kwargs)
            return call or partial(method, client, *args, **kwargs)

        def request(client: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                if is_under_way():  # the client's own method goes through here at each call
                    return method(client, *args, **kwargs)
                return look(client, args, kwargs)()
            except BaseException as error:
                unseen(error)
                raise

        async def request_async(client: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                if is_under_way():
                    return await method(client, *args, **kwargs)
                return await look(client, args, kwargs)()
            except BaseException as error:
                unseen(error)
                raise

        return taking_place(found, request_async if is_async else request)


class _Create(NamedTuple):
    """What stands for the method that is made for an endpoint."""

    resource_of: Callable[[Any], Any]
    reader: Reader
    create: Any


def _look(
    creates: Mapping[str, _Create],
    request: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Callable[[], Any] | None:
    """Return the request as a call of the method that is made for it, None when it calls no model."""
    options = args[1] if len(args) > 1 else kwargs.get("options")
    method, url = getattr(options, "method", None), getattr(options, "url", None)
    if not isinstance(method, str) or not isinstance(url, str):
        return None
    found = _find(creates, method.upper(), url)
    if found is None:
        return None
    made_for_it, segments = found
    named = dict(zip(getattr(made_for_it.reader, "positional", ()), segments, strict=False))
    posted = _Posted(request, args, kwargs, options)
    arguments = {**posted.arguments(), **named}
    if not all(isinstance(name, str) for name in arguments):
        return None
    resource = made_for_it.resource_of(client)
    return partial(made_for_it.create.__get__(resource, type(resource)), **arguments, **{_POSTED: posted})


def _find(creates: Mapping[str, _Create], method: str, url: str) -> tuple[_Create, tuple[str, ...]] | None:
    """Return what is made for an endpoint, and the segments of the path that name what it is about."""
    path, mark, query = url.partition("?")
    path = "/" + path.strip("/")
    exact = creates.get(f"{method} {path}{mark}{query}") or creates.get(f"{method} {path}")
    if exact is not None:
        return exact, ()
    parent, _, segment = path.rpartition("/")
    below = creates.get(f"{method} {parent}/*{mark}{query}") or creates.get(f"{method} {parent}/*")
    return None if below is None else (below, (segment,))


def _create(_resource: Any, /, **arguments: Any) -> Any:
    """Stand for the method that is made for an endpoint: `watch` is put round it."""
    posted: _Posted = arguments.pop(_POSTED)
    try:
        args, kwargs = posted.prepared(arguments)
        return posted.request(*args, **kwargs)
    except BaseException as error:
        unseen(error)
        raise


class _Posted:
    """A request as it was given to `request`, and as the method that is made for its endpoint would have been given it."""

    __slots__ = ("_args", "_body", "_extra", "_kwargs", "_options", "request")

    def __init__(
        self, request: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: Any
    ) -> None:
        self.request = request
        self._args = args
        self._kwargs = kwargs
        self._options = options
        self._body = _mapping(options, "json_data")
        extra = _mapping(options, "extra_json")
        fields = {name: self._body[name] for name in _FIELDS if name in self._body}
        self._extra = {**fields, **extra} if fields or extra else None

    def arguments(self) -> dict[Any, Any]:
        extra = {"extra_body": self._extra, "extra_headers": _mapping(self._options, "headers") or None}
        return {
            **_mapping(self._options, "params"),
            **self._body,
            **_files(getattr(self._options, "files", None)),
            **{name: value for name, value in extra.items() if value is not None},
        }

    def prepared(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what to request with: as it was given, but for changes that were made to its arguments."""
        options = self._changed(arguments)
        if options is self._options:
            return self._args, self._kwargs
        if len(self._args) > 1:
            return (self._args[0], options, *self._args[2:]), self._kwargs
        return self._args, {**self._kwargs, "options": options}

    def _changed(self, arguments: Mapping[str, Any]) -> Any:
        body, extra = self._body, arguments.get("extra_body")
        if "stream_options" in arguments and arguments["stream_options"] is not body.get("stream_options"):
            body = {**body, "stream_options": arguments["stream_options"]}
        if extra is self._extra and body is self._body:
            return self._options
        changed = copy.copy(self._options)
        if extra is not self._extra:
            body = {name: value for name, value in body.items() if name not in _FIELDS}
            changed.extra_json = extra
        changed.json_data = body
        return changed


def _mapping(options: Any, name: str) -> Mapping[Any, Any]:
    value = getattr(options, name, None)
    return value if isinstance(value, Mapping) else NOTHING


def _files(uploads: Any) -> dict[str, Any]:
    """Return the uploads of a multipart request by the names of the arguments that they come from."""
    if not uploads:
        return {}
    files: dict[str, Any] = {}
    for name, file in uploads.items() if isinstance(uploads, Mapping) else uploads:
        argument = str(name).partition("[")[0]
        files[argument] = [*files[argument], file] if argument in files else [file]
    return files
