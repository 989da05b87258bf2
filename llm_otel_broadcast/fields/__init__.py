"""What the caller said about a call: the `trace` object, its ids, and how sources merge."""
