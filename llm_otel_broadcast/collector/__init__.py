"""Configurations for the OpenTelemetry Collector: how large things must be, the YAML, and a check of it. Sends nothing."""
