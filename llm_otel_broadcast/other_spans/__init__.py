"""Spans that other instrumentations made: how they are read, selected, kept private and sent. `runtime.span_processor` takes them."""
