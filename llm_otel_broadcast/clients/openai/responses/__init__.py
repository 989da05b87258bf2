"""The responses API: items, events, whole answers."""
