"""Tracing a program without changing its code: what `llm-otel-broadcast run` and `opentelemetry-instrument` start."""
