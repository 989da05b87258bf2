"""Our name among instrumentations. Apart from what spans are made of, which only the lanes' threads import."""

from typing import Final

SCOPE_NAME: Final = "llm_otel_broadcast"
