"""Recorded exchanges of real providers, replayed through the real client, and what a span has to say of each.

`data` has 336 request and answer bodies and 38 realtime sessions from the public recordings of opentelemetry-python-contrib,
opentelemetry-python-genai, openinference, logfire and elastic-otel-python (Apache-2.0, MIT): secrets and personal details
replaced, base64 shortened, headers dropped. `nox -s replay` runs this room with each major version of `openai`.
"""
