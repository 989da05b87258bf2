"""The shipped stand-in, extended by the operations that only tests call."""

from __future__ import annotations

from llm_otel_broadcast.stand_in import server
from llm_otel_broadcast.stand_in.answers import Answer
from llm_otel_broadcast.stand_in.routes import usual_answer
from llm_otel_broadcast.stand_in.server import SeenRequest
from tests.support.stand_in.forms import read_members
from tests.support.stand_in.routes import ROUTES


class StandIn(server.StandIn):
    """A stand-in for the whole API, uploads included; it keeps all that it got, as tests count it."""

    max_body_bytes = 256 * 1024 * 1024
    max_requests = 10**9
    max_kept_bytes = 10**12

    def usual_answer(self, request: SeenRequest) -> Answer:
        return usual_answer(request.path, request.body, request.parameters, routes=ROUTES, read_members=read_members)
