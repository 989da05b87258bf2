"""From record to span: pure functions, one dialect a file."""
