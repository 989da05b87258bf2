"""Applications made with Flask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Flask, Response, g, send_file, stream_with_context

from tests.middleware.model_calls import Model


class Pages:
    """Each kind of answer."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def ready(self) -> str:
        return "ready"

    def item(self, **_: Any) -> str:
        return self.model.ask()

    async def asynchronous(self, item: str) -> str:
        own = Model(self.model.base_url)
        try:
            return await own.aask()
        finally:
            await own.aclose()

    def twice(self, number: str) -> str:
        for turn in range(2):
            self.model.ask(extra_body={"trace": {"generation_name": f"call {number}.{turn}"}})
        return number

    def quiet(self) -> Any:
        return {"quiet": True}, 201, {"x-own": "yes"}

    def streamed(self) -> Response:
        return Response((f"{self.model.ask()}\n" for _ in range(2)), mimetype="text/plain")

    def streamed_with_context(self) -> Response:
        g.word = "own"

        def body() -> Iterator[str]:
            yield f"{g.word} {self.model.ask()}\n"
            yield f"{g.word} {self.model.ask()}\n"

        return Response(stream_with_context(body()), mimetype="text/plain")

    def endless(self) -> Response:
        return Response(iter(lambda: self.model.ask() * 100, ""), mimetype="text/plain")

    def closing(self) -> Response:
        response = Response("closing")
        response.call_on_close(self.model.ask)
        return response

    def failing(self) -> str:
        self.model.ask()
        raise LookupError("the launch code")

    def file(self) -> Response:
        return send_file(__file__)

    def not_found(self, error: Exception) -> tuple[str, int]:
        self.model.ask()
        return "no such page", 404


def flask_app(model: Model) -> Flask:
    app, pages = Flask(__name__), Pages(model)
    for rule, page in {
        "/ready": pages.ready,
        "/items/<int:item>": pages.item,
        "/async/<item>": pages.asynchronous,
        "/twice/<number>": pages.twice,
        "/quiet": pages.quiet,
        "/streamed": pages.streamed,
        "/streamed-with-context": pages.streamed_with_context,
        "/endless": pages.endless,
        "/closing": pages.closing,
        "/failing": pages.failing,
        "/file": pages.file,
    }.items():
        app.add_url_rule(rule, view_func=page)
    things = Blueprint("things", __name__)
    things.add_url_rule("/<thing>", view_func=pages.item)
    app.register_blueprint(things, url_prefix="/things")
    app.register_blueprint(things, url_prefix="/all/<kind>", name="all")
    app.register_error_handler(404, pages.not_found)
    return app
