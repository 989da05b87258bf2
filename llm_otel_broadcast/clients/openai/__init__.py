"""The `openai` client."""
