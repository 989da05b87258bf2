"""`BroadcastSpanProcessor`: spans that other instrumentations made."""
