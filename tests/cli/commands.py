"""Commands about the settings file as a user and as a script meet them: what a test of them starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

CANARY = "s3cr3t"
TWO = f"""
[defaults]
service_name = "checkout"

[[destinations]]
name = "axiom"
endpoint = "https://me:{CANARY}@api.axiom.co/v1/traces?key={CANARY}"
headers = {{ Authorization = "Bearer {CANARY}", X-Axiom-Dataset = "{CANARY}" }}
encoding = "json"
privacy_mode = true

[[destinations]]
name = "local"
endpoint = "http://localhost:4318"
headers = {{ X-Key = "{CANARY} ${{TOKEN}}" }}
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o600)


def lines(text: str) -> list[list[str]]:
    """Return the words of each line that has any."""
    return [line.split() for line in text.splitlines() if line.strip("─ ")]
