"""Watching `client.post("/chat/completions", body=...)`: a call below the methods that are made for it. LiteLLM makes those.

The client's own methods go through `post` too: such a request belongs to their call, and is left alone.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, Final

import wrapt

from llm_otel_broadcast.clients.observe import Post, Switch, callable_of, is_under_way, taking_place, watch
from llm_otel_broadcast.clients.reading import NOTHING, Reader
from llm_otel_broadcast.clients.unseen import unseen
from llm_otel_broadcast.guard import Guard

_PATCHING = Guard("patching the openai client")
_LOOKING = Guard("looking at a post")
_MODULE: Final = "openai"
_CLIENTS: Final = (("OpenAI", False), ("AsyncOpenAI", True))
_FIELDS: Final = ("trace", "session_id")
"""Our fields, where the body itself has them and not the options' `extra_json`."""
_POSTED: Final = "_llm_otel_broadcast_posted"


class Posts:
    """The patch of the clients' `post`, put on and taken off. It waits until the program imports `openai` itself.

    Args:
        switch: says who is watching.
        readers: by path, who reads it.
    """

    def __init__(self, switch: Switch, readers: Mapping[str, Reader]) -> None:
        self._switch = switch
        self._readers = readers
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
            if owner.__dict__.get("post") is not patched:
                continue
            if own is None:
                del owner.post  # type: ignore[attr-defined]
            else:
                owner.post = own  # type: ignore[attr-defined]
            self._applied.remove(applied)

    def _patch(self, module: Any) -> None:
        with _PATCHING:
            if not self._active:
                return
            patched_already = {owner for owner, _, _ in self._applied}
            for name, is_async in _CLIENTS:
                owner = getattr(module, name, None)
                found = None if owner is None else inspect.getattr_static(owner, "post", None)
                if owner is None or found is None or owner in patched_already:
                    continue
                own = owner.__dict__.get("post")
                patched = self._watch(found, is_async=is_async)
                owner.post = patched
                self._applied.append((owner, own, patched))

    def _watch(self, found: Any, *, is_async: bool) -> Callable[..., Any]:
        """Return the function that takes the place of `post`."""
        creates = {
            path: (
                attrgetter(path.strip("/").replace("/", ".")),
                watch(_create, Post(reader, self._switch, encloses=False), is_async=is_async),
            )
            for path, reader in self._readers.items()
        }
        method = callable_of(found)

        def look(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Any]:
            """Return the call to make: a watched one if the path has a method that is made for it."""
            call = None
            with _LOOKING:
                call = _look(creates, partial(method, client), client, args, kwargs)
            return call or partial(method, client, *args, **kwargs)

        def post(client: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                if is_under_way():  # the client's own method goes through here at each call
                    return method(client, *args, **kwargs)
                return look(client, args, kwargs)()
            except BaseException as error:
                unseen(error)
                raise

        async def post_async(client: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                if is_under_way():
                    return await method(client, *args, **kwargs)
                return await look(client, args, kwargs)()
            except BaseException as error:
                unseen(error)
                raise

        return taking_place(found, post_async if is_async else post)


def _look(
    creates: Mapping[str, tuple[Callable[[Any], Any], Any]],
    wrapped: Callable[..., Any],
    client: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Callable[[], Any] | None:
    """Return the request as a call of the method that is made for it, None when there is no such method."""
    path = args[0] if args else kwargs.get("path")
    body = kwargs.get("body")
    if not isinstance(path, str) or not isinstance(body, Mapping) or not all(isinstance(name, str) for name in body):
        return None
    made_for_it = creates.get("/" + path.strip("/"))
    if made_for_it is None:
        return None
    resource_of, create = made_for_it
    resource = resource_of(client)
    posted = _Posted(wrapped, args, kwargs, body)
    return partial(create.__get__(resource, type(resource)), **posted.arguments(), **{_POSTED: posted})


def _create(_resource: Any, /, **arguments: Any) -> Any:
    """Stand for the method that is made for a path: `watch` is put round it."""
    posted: _Posted = arguments.pop(_POSTED)
    try:
        return posted.post(*posted.args, **posted.kwargs(arguments))
    except BaseException as error:
        unseen(error)
        raise


class _Posted:
    """A request as it was given to `post`, and as the method that is made for its path would have been given it."""

    __slots__ = ("_body", "_extra", "_kwargs", "_options", "args", "post")

    def __init__(
        self, post: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], body: Mapping[str, Any]
    ) -> None:
        self.post = post
        self.args = args
        self._kwargs = kwargs
        self._body = body
        options = kwargs.get("options")
        self._options: Mapping[str, Any] = options if isinstance(options, Mapping) else NOTHING
        extra = self._options.get("extra_json")
        fields = {name: body[name] for name in _FIELDS if name in body}
        self._extra = {**fields, **(extra if isinstance(extra, Mapping) else NOTHING)} if fields or extra else None

    def arguments(self) -> dict[str, Any]:
        extra = {"extra_body": self._extra, "extra_headers": self._options.get("headers")}
        return {**self._body, **{name: value for name, value in extra.items() if value is not None}}

    def kwargs(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return what to post with: as it was given, but for changes that were made to its arguments."""
        kwargs = self._kwargs
        body = self._body
        extra = arguments.get("extra_body")
        if extra is not self._extra:
            body = {name: value for name, value in body.items() if name not in _FIELDS}
            kwargs = {**kwargs, "options": {**self._options, "extra_json": extra}}
        if "stream_options" in arguments and "stream_options" not in body:
            body = {**body, "stream_options": arguments["stream_options"]}
        return kwargs if body is self._body else {**kwargs, "body": body}
