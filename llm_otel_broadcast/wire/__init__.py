"""Bytes and sockets: OTLP encodings, HTTP, and when to try again. Knows spans, never records."""
