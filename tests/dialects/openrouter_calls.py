"""What the tests of the `openrouter` dialect call with, and the names that they look for."""

from __future__ import annotations

import hashlib

MODEL = "openai/gpt-4o"
ASKED = [{"role": "user", "content": "Hi"}]
SERVICE = "trace.metadata.openrouter."


def digest(text, digits):
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
