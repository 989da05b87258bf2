"""`python -m llm_otel_broadcast`: the same as the command `llm-otel-broadcast`."""

from llm_otel_broadcast.cli.main import main

main()
