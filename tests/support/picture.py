"""Draw docs/demo.svg from a real run of the demo: `nox -s picture`. Times and ids in it are what they were."""

from __future__ import annotations

import io
import re
from pathlib import Path
from xml.etree import ElementTree as ET

from rich.console import Console

from llm_otel_broadcast.cli.demonstration import run

PICTURE = Path(__file__).parents[2] / "docs" / "demo.svg"
WIDTH = 120
"""Characters: nothing in the demo breaks, and the README's column still shows it large enough."""


def draw() -> str:
    """Run the demo and return what a terminal would show, as SVG that loads nothing from anywhere."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print("$ llm-otel-broadcast demo", style="bold green", highlight=False)
    run(console, None, {})
    svg = console.export_svg(title="llm-otel-broadcast", unique_id="demo")
    return re.sub(r"@font-face\s*{[^}]*}\s*", "", svg)


def words(svg: str) -> str:
    """Return what a picture says, without what differs from run to run: ids, ports, prices, times."""
    texts = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    said = " ".join("".join(text.itertext()) for text in texts)
    same = re.sub(r"\b[0-9a-f]{32}\b|(?<=127\.0\.0\.1:)\d+|(?<=\$)[\d.]+|[\d.]+\sm?s\b", "#", said)
    return " ".join(same.split())


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(), encoding="utf-8")
    print(f"wrote {PICTURE}")
