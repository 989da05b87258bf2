"""The application's own telemetry: its spans, its metrics, other instrumentations."""
