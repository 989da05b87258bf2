"""Watching the clients' own `request`, which every call goes through: those are recorded that pass by the patched methods.

Who calls `client.post("/chat/completions", body=...)` (LiteLLM), and who has got hold of a method before it was patched: the
client caches `with_raw_response` and `with_streaming_response`, whose wrappers hold the bound methods for good; a program may
keep `client.chat.completions.create` itself. What a patched method requests belongs to its call, and is left alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache, partial
from operator import attrgetter
from typing import Any, Final, NamedTuple

from llm_otel_broadcast.clients.call import Patchpoint, is_under_way
from llm_otel_broadcast.clients.openai.targets import ROUTES, Route
from llm_otel_broadcast.clients.patching import Target
from llm_otel_broadcast.clients.reader import NOTHING, Reader
from llm_otel_broadcast.clients.request_fields import MEMBERS
from llm_otel_broadcast.clients.tracebacks import drop_own_frames
from llm_otel_broadcast.clients.wrappers import callable_of, taking_place, watch
from llm_otel_broadcast.host.guard import Guard

_LOOKING = Guard("looking at a request")
_REQUEST: Final = "_llm_otel_broadcast_request"
"""The name under which the argument of `_create` travels that is no argument of the method it stands for."""


def _watch_request(target: Target, original: Any, patchpoint: Patchpoint) -> Callable[..., Any]:
    """Return the function that takes the place of `request`."""
    # of several with one endpoint the first counts
    makers = {
        route.endpoint: cache(partial(_method_for, route, patchpoint, is_async=target.is_async))
        for route in reversed(ROUTES)
    }
    method = callable_of(original)

    def call_of(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
        """Return the call to make: a watched one if the request calls a model."""
        call = None
        with _LOOKING:
            call = _watched_call(makers, partial(method, client), client, args, kwargs)
        return call or partial(method, client, *args, **kwargs)

    # not by `watch`, which would make a record of each request, also of those that call no model
    def request(client: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            # the client's own method goes through here at each call, whether anybody watches it or not
            if is_under_way() or patchpoint.watcher_of(client) is None:
                return method(client, *args, **kwargs)
            return call_of(client, args, kwargs)()
        except BaseException as error:
            drop_own_frames(error)
            raise

    async def request_async(client: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            if is_under_way() or patchpoint.watcher_of(client) is None:
                return await method(client, *args, **kwargs)
            return await call_of(client, args, kwargs)()
        except BaseException as error:
            drop_own_frames(error)
            raise

    return taking_place(original, request_async if target.is_async else request)


class _Method(NamedTuple):
    """What stands for the method that is made for an endpoint."""

    resource_of: Callable[[Any], Any]
    reader: Reader
    create: Any


def _method_for(route: Route, patchpoint: Patchpoint, *, is_async: bool | None) -> _Method:
    """Return what stands for a method, once somebody goes past it."""
    reader = route.make_reader()
    create = watch(_create, Patchpoint(patchpoint.library, reader, patchpoint.switch), is_async=is_async)
    return _Method(attrgetter(route.resource), reader, create)


def _watched_call(
    makers: Mapping[str, Callable[[], _Method]],
    request: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Callable[[], Any] | None:
    """Return the request as a call of the method that is made for it, None when it calls no model."""
    options = args[1] if len(args) > 1 else kwargs.get("options")
    verb, url = getattr(options, "method", None), getattr(options, "url", None)
    if not isinstance(verb, str) or not isinstance(url, str):
        return None
    verb = verb.upper()
    path, mark, query = url.partition("?")
    path = "/" + path.strip("/")
    # with the query first: `?beta=true` is an API of its own, any other query is not
    make = makers.get(f"{verb} {path}{mark}{query}") or makers.get(f"{verb} {path}")
    segments: tuple[str, ...] = ()
    if make is None:
        # the last segment of the path names what the endpoint is about
        parent, _, segment = path.rpartition("/")
        make = makers.get(f"{verb} {parent}/*{mark}{query}") or makers.get(f"{verb} {parent}/*")
        segments = (segment,)
    if make is None:
        return None
    method = make()
    raw = _RawRequest(request, args, kwargs, options)
    arguments = {**raw.arguments(), **dict(zip(method.reader.positional, segments, strict=False))}
    # a body is any mapping, but only texts can be keyword arguments
    if not all(isinstance(name, str) for name in arguments):
        return None
    resource = method.resource_of(client)
    return partial(method.create.__get__(resource, type(resource)), **arguments, **{_REQUEST: raw})


def _create(_resource: Any, /, **arguments: Any) -> Any:
    """Stand for the method that is made for an endpoint: `watch` is put round it."""
    raw: _RawRequest = arguments.pop(_REQUEST)
    try:
        args, kwargs = raw.prepared(arguments)
        return raw.request(*args, **kwargs)
    except BaseException as error:
        drop_own_frames(error)
        raise


class _RawRequest:
    """A request as it was given to `request`, and as the method that is made for its endpoint would have been given it."""

    __slots__ = ("_args", "_body", "_extra", "_kwargs", "_options", "request")

    def __init__(
        self, request: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: Any
    ) -> None:
        self.request = request
        self._args = args
        self._kwargs = kwargs
        self._options = options
        self._body = _mapping_of(options, "json_data")
        extra = _mapping_of(options, "extra_json")
        # who posts a body of their own has our fields in it; the methods take them apart from it
        fields = {name: self._body[name] for name in MEMBERS if name in self._body}
        self._extra = {**fields, **extra} if fields or extra else None

    def arguments(self) -> dict[Any, Any]:
        """Return the arguments as the method that is made for the endpoint has them."""
        extra = {"extra_body": self._extra, "extra_headers": _mapping_of(self._options, "headers") or None}
        files: dict[str, Any] = {}
        uploads = getattr(self._options, "files", None) or ()
        for name, file in uploads.items() if isinstance(uploads, Mapping) else uploads:
            # the client spells the files of a list as `image[]`
            argument = str(name).partition("[")[0]
            files[argument] = [*files[argument], file] if argument in files else [file]
        return {
            **_mapping_of(self._options, "params"),
            **self._body,
            **files,
            **{name: value for name, value in extra.items() if value is not None},
        }

    def prepared(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what to request with: as it was given, but for changes that were made to its arguments."""
        body, extra = self._body, arguments.get("extra_body")
        if "stream_options" in arguments and arguments["stream_options"] is not body.get("stream_options"):
            body = {**body, "stream_options": arguments["stream_options"]}
        if extra is self._extra and body is self._body:
            return self._args, self._kwargs
        # the options are the caller's own, who may use them again
        options = copy.copy(self._options)
        if extra is not self._extra:
            body = {name: value for name, value in body.items() if name not in MEMBERS}
            options.extra_json = extra
        options.json_data = body
        if len(self._args) > 1:
            return (self._args[0], options, *self._args[2:]), self._kwargs
        return self._args, {**self._kwargs, "options": options}


def _mapping_of(options: Any, name: str) -> Mapping[Any, Any]:
    value = getattr(options, name, None)
    return value if isinstance(value, Mapping) else NOTHING


class _NoReader(Reader):
    """Reads nothing: each request has the reader of its endpoint."""

    operation = ""


TARGETS: Final = tuple(
    # The module that defines the clients, not `openai` itself: a start without code begins in the middle of the import of
    # `openai`, which has no clients yet. The class inherits the method from one that others of the client's are made of too.
    Target("openai._client", owner, "request", _NoReader, is_async, is_inherited=True, replace=_watch_request)
    for owner, is_async in (("OpenAI", False), ("AsyncOpenAI", True))
)
