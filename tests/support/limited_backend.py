"""A backend that takes no request over a limit, and `instrument` with it as the destination."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass

import llm_otel_broadcast
from llm_otel_broadcast import Destination
from tests.support.scripted_backends import Backend, serving


@dataclass(frozen=True)
class Limited(Backend):
    """Takes no request over a limit, as proxies in front of a backend do."""

    limit: int = 100_000

    def answer(self, request):
        return super().answer(request) if len(request.body) <= self.limit else (413, {}, b"")


@contextmanager
def limited(limit, **settings):
    with serving(Limited(limit=limit)) as running:
        destination = Destination(name="backend", endpoint=running.endpoint, **settings)
        handle = llm_otel_broadcast.instrument(destinations=[destination])
        yield running, handle


def taken(running, limit):
    """Return the spans that were taken, each as a mapping of its attributes, by name."""
    documents = [json.loads(request.body) for request in running.requests if len(request.body) <= limit]
    spans = [
        span
        for document in documents
        for resource in document["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    return {
        span["name"]: {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]} for span in spans
    }
