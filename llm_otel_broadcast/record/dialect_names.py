"""Which dialects there are, by name: settings offer them, `dialects` has them, and neither imports the other."""

from __future__ import annotations

from typing import Final

DIALECT_NAMES: Final[dict[str, str]] = {
    "semconv": "OpenTelemetry's GenAI conventions",
    "openinference": "OpenInference, for Phoenix, Arize AX and Weave",
}
"""What each dialect follows, for help texts. Our own are rows here; `dialects.register` adds others."""
