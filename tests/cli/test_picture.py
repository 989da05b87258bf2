"""The picture in the README is the demo as it is."""

from __future__ import annotations

from pathlib import Path

from tests.support.picture import PICTURE, draw, words

ROOT = Path(__file__).parent.parent.parent


def test_the_picture_in_the_readme_shows_what_the_demo_shows_today():
    """When this fails: `nox -s picture`, and look at it."""
    shown = words(draw())
    assert "Generate Response openai/gpt-4o 10 in, 8 out $# #" in shown
    assert words(PICTURE.read_text(encoding="utf-8")) == shown


def test_the_picture_is_where_the_readme_looks_for_it_and_loads_nothing_from_elsewhere():
    assert f"({PICTURE.relative_to(ROOT)})" in (ROOT / "README.md").read_text(encoding="utf-8")
    drawn = PICTURE.read_text(encoding="utf-8")
    assert "url(" not in drawn.replace("url(#", "")
    assert "href" not in drawn
