"""What a transport raises before it sends. Apart from the rest of `wire`, which only the lanes' threads import."""


class OversizedError(Exception):
    """Spans that can be sent in several requests are larger than one request may be."""
