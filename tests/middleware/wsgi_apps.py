"""Applications made with Flask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Flask, Response, g, send_file, stream_with_context

from tests.middleware.calling import Model


def flask_app(model: Model) -> Flask:
    """Return an application with each kind of answer."""
    app = Flask(__name__)
    things = Blueprint("things", __name__, url_prefix="/things")

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    @app.get("/items/<int:item>")
    def item(item: int) -> str:
        return model.ask()

    @things.get("/<thing>")
    def thing(thing: str, kind: str = "") -> str:
        return model.ask()

    @app.get("/twice/<number>")
    def twice(number: str) -> str:
        for turn in range(2):
            model.ask(extra_body={"trace": {"generation_name": f"call {number}.{turn}"}})
        return number

    @app.get("/async/<item>")
    async def asynchronous(item: str) -> str:
        answer = await model.aask()
        await model.aclose()
        return answer

    @app.get("/quiet")
    def quiet() -> Any:
        return {"quiet": True}, 201, {"x-own": "yes"}

    @app.get("/streamed")
    def streamed() -> Response:
        def body() -> Iterator[str]:
            for _ in range(2):
                yield f"{model.ask()}\n"

        return Response(body(), mimetype="text/plain")

    @app.get("/streamed-with-context")
    def streamed_with_context() -> Response:
        g.word = "own"

        def body() -> Iterator[str]:
            yield f"{g.word} {model.ask()}\n"
            yield f"{g.word} {model.ask()}\n"

        return Response(stream_with_context(body()), mimetype="text/plain")

    @app.get("/endless")
    def endless() -> Response:
        def body() -> Iterator[str]:
            while True:
                yield model.ask() * 100

        return Response(body(), mimetype="text/plain")

    @app.get("/broken-off")
    def broken_off() -> Response:
        def body() -> Iterator[str]:
            yield model.ask()
            raise LookupError("the launch code")

        return Response(body(), mimetype="text/plain")

    @app.get("/closing")
    def closing() -> Response:
        response = Response("closing")
        response.call_on_close(model.ask)
        return response

    @app.get("/failing")
    def failing() -> str:
        model.ask()
        raise LookupError("the launch code")

    @app.get("/file")
    def file() -> Response:
        return send_file(__file__)

    @app.errorhandler(404)
    def not_found(error: Exception) -> tuple[str, int]:
        model.ask()
        return "no such page", 404

    app.register_blueprint(things, url_prefix="/all/<kind>")
    app.register_blueprint(things, name="plain")
    return app
