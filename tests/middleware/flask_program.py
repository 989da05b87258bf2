"""What gunicorn runs: a Flask application with the middleware, as the environment says."""

from __future__ import annotations

from llm_otel_broadcast import instrument
from llm_otel_broadcast.middleware.wsgi import TraceMiddleware
from tests.middleware.model_calls import Model
from tests.middleware.wsgi_apps import flask_app

instrument()
plain = flask_app(Model())
app = TraceMiddleware(plain)
