"""Servers for long runs: they keep nothing of what they were asked."""

from __future__ import annotations

from llm_otel_broadcast.stand_in.answers import Answer
from llm_otel_broadcast.stand_in.server import SeenRequest, StandIn


class ForgetfulStandIn(StandIn):
    """A model that answers as usual, whose memory does not grow with the requests."""

    def answer(self, request: SeenRequest) -> Answer:
        return self.usual_answer(request)
