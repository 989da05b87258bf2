"""Which dialects there are, by name: settings offer them, `dialects` has them, and neither imports the other."""

from __future__ import annotations

from typing import Final

PINNED_DIALECTS: Final = ("semconv-1.37", "semconv-1.38", "semconv-1.40", "semconv-1.41")
"""Published versions of the conventions, by which dashboards are not broken when the newest text moves."""
DIALECT_NAMES: Final[dict[str, str]] = {
    "semconv": "OpenTelemetry's GenAI conventions",
    **{name: f"version {name.removeprefix('semconv-')} of them" for name in PINNED_DIALECTS},
    "openinference": "OpenInference, for Phoenix, Arize AX and Weave",
    "openrouter": "the spans of OpenRouter's Broadcast",
}
"""What each dialect follows, for help texts. Our own are rows here; `dialects.register` adds others."""
