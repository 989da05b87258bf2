"""Test Connection and the test trace: what `llm-otel-broadcast destinations test` and `send-test-trace` do, as functions."""
