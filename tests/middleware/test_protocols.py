"""What is between server and application passes through as it is."""

from __future__ import annotations

import asyncio
import io
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest

from llm_otel_broadcast.middleware import asgi, wsgi

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/",
    "SCRIPT_NAME": "",
    "QUERY_STRING": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.input": io.BytesIO(),
    "wsgi.errors": io.StringIO(),
    "wsgi.multithread": False,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
    "wsgi.file_wrapper": FileWrapper,
}


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "something new"])
def test_what_is_no_request_reaches_the_application_as_the_very_same_objects(kind, instrumented, arrived):
    seen = []

    async def app(scope, receive, send) -> None:
        seen.extend((scope, receive, send))

    async def receive():
        return {}

    async def send(_message) -> None:
        return

    scope = {"type": kind}
    instrumented()
    asyncio.run(asgi.TraceMiddleware(app)(scope, receive, send))
    assert [id(thing) for thing in seen] == [id(thing) for thing in (scope, receive, send)]
    assert scope == {"type": kind}
    arrived(0)


def test_a_request_reaches_the_application_as_the_very_same_objects(instrumented):
    seen = []

    async def app(scope, receive, send) -> None:
        seen.extend((scope, receive, send))

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    before = dict(scope)
    instrumented()
    asyncio.run(asgi.TraceMiddleware(app)(scope, id, repr))
    assert (seen, scope) == ([scope, id, repr], before)


def test_an_exception_of_an_asgi_application_is_the_same_object(instrumented):
    error = KeyboardInterrupt()

    async def app(_scope, _receive, _send) -> None:
        raise error

    async def call() -> BaseException | None:
        try:  # here: a KeyboardInterrupt that leaves the loop ends pytest itself
            await asgi.TraceMiddleware(app)({"type": "http", "headers": []}, id, id)
        except KeyboardInterrupt as caught:
            return caught
        return None

    instrumented()
    assert asyncio.run(call()) is error
    assert error.__context__ is None


def called(app, environ=ENVIRON, start_response=lambda *_: None):
    return wsgi.TraceMiddleware(app)(dict(environ), start_response)


@pytest.mark.parametrize("body", [[b"a", b"b"], (b"a",), FileWrapper(io.BytesIO(b"a"))], ids=["list", "tuple", "file"])
def test_a_body_that_is_there_is_handed_on_as_it_is(body, instrumented):
    """Servers measure it, or send it their own way."""
    instrumented()
    assert called(lambda *_: body) is body


def test_without_instrument_every_body_is_handed_on_as_it_is():
    body = iter([b"a"])
    assert called(lambda *_: body) is body


def test_what_the_application_is_called_with_are_the_very_same_objects(instrumented):
    seen = []

    def app(environ, start_response):
        seen.extend((environ, start_response))
        return [b""]

    instrumented()
    environ = dict(ENVIRON)
    wsgi.TraceMiddleware(app)(environ, id)
    assert (seen[0] is environ, seen[1] is id, environ) == (True, True, ENVIRON)


class Body:
    """A body that counts what is done to it."""

    def __init__(self) -> None:
        self.closed = 0
        self.begun = 0

    def __iter__(self):
        self.begun += 1
        yield b"a"
        yield b"b"

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("read", [0, 1, 2, 3], ids=lambda read: f"{read} pieces")
def test_a_body_is_closed_once_however_much_of_it_was_read(read, instrumented):
    instrumented()
    body = Body()
    given = called(lambda *_: body)
    assert [piece for piece in (next(given, None) for _ in range(read)) if piece] == [b"a", b"b"][:read]
    assert body.closed == 0
    given.close()
    assert (body.closed, body.begun) == (1, min(read, 1))


def test_a_body_that_cannot_be_closed_needs_not_be(instrumented):
    instrumented()
    given = called(lambda *_: iter([b"a"]))
    assert list(given) == [b"a"]
    given.close()


def test_an_error_in_the_middle_of_a_body_is_the_same_object(instrumented):
    error = ValueError("in the middle")

    def pieces():
        yield b"a"
        raise error

    instrumented()
    given = called(lambda *_: pieces())
    assert next(given) == b"a"
    with pytest.raises(ValueError, match="in the middle") as caught:
        next(given)
    assert caught.value is error
    given.close()


def test_an_error_of_a_wsgi_application_is_the_same_object(instrumented):
    error = ValueError("at once")

    def app(_environ, _start_response):
        raise error

    instrumented()
    with pytest.raises(ValueError, match="at once") as caught:
        called(app)
    assert caught.value is error


@pytest.mark.parametrize("traced", [False, True])
def test_the_standard_librarys_validator_finds_nothing_wrong_on_either_side(traced, instrumented):
    def app(_environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"

    if traced:
        instrumented()
    validated = validator(wsgi.TraceMiddleware(validator(app)))
    body = validated(dict(ENVIRON), lambda *_: lambda _: None)
    assert list(body) == [b"a"]
    body.close()


@pytest.mark.parametrize("middleware", [asgi.TraceMiddleware, wsgi.TraceMiddleware], ids=["asgi", "wsgi"])
@pytest.mark.parametrize("name", ["user", "metadata", "trace_name"])
def test_a_wrong_argument_is_refused_where_it_is_given(middleware, name):
    async def later(_request):
        return "user"

    with pytest.raises(TypeError, match=f"TraceMiddleware: {name} must be a function of the request, got int"):
        middleware(id, **{name: 5})
    with pytest.raises(TypeError, match=f"{name} must be a plain function, not a coroutine function"):
        middleware(id, **{name: later})
