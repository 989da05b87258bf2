"""Spans that others made, sent to our destinations: `BroadcastSpanProcessor` for the app's own tracer provider."""
