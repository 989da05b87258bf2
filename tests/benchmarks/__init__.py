"""What tracing costs the host's thread, as ratios to a plain call and to a hand-written OpenTelemetry span."""
