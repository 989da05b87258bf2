"""The current context is the one that the API's own functions see, whoever keeps it."""

from __future__ import annotations

import subprocess
import sys

from opentelemetry import context as otel_context
from opentelemetry import trace

from llm_otel_broadcast.host.current_context import attach, get_current, reset, span_in, with_span

SPAN = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
OWN_KEEPER = """
from opentelemetry import context as otel_context

class Keeper:
    current = otel_context.Context()
    def get_current(self):
        return self.current
    def attach(self, context):
        token, self.current = self.current, context
        return token
    def detach(self, token):
        self.current = token

otel_context._RUNTIME_CONTEXT = Keeper()

from llm_otel_broadcast.host.current_context import attach, get_current
token = attach(otel_context.Context({"own": 1}))
assert Keeper.current == {} and otel_context._RUNTIME_CONTEXT.current == {"own": 1} == get_current()
otel_context.detach(token)
assert get_current() == {}
"""


def test_what_is_attached_is_current_for_the_api_until_it_is_reset():
    before = otel_context.get_current()
    token = attach(with_span(SPAN, get_current()))
    try:
        assert otel_context.get_current() is get_current()
        assert trace.get_current_span() is SPAN
        assert span_in(get_current()) is SPAN
    finally:
        reset(token)
    assert otel_context.get_current() is before


def test_what_the_api_attaches_is_current_here():
    context = otel_context.set_value("own", 1, trace.set_span_in_context(SPAN))
    token = otel_context.attach(context)
    try:
        assert get_current() is context
        assert with_span(trace.INVALID_SPAN, context) == trace.set_span_in_context(trace.INVALID_SPAN, context)
    finally:
        otel_context.detach(token)


def test_a_context_without_a_span_has_none():
    assert span_in(otel_context.Context()) is None
    assert span_in(trace.set_span_in_context("no span", otel_context.Context())) is None  # type: ignore[arg-type]


def test_a_token_that_has_been_used_is_passed_over():
    token = attach(with_span(SPAN, get_current()))
    reset(token)
    reset(token)
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_keeper_of_the_programs_own_is_asked():
    subprocess.run([sys.executable, "-c", OWN_KEEPER], check=True, timeout=120)
