"""The page about the backends has the pictures that it shows, and they are small."""

from __future__ import annotations

import re

from tests.backends.page import MAX_PICTURE_BYTES, PAGE, PICTURES


def test_the_page_shows_each_picture_that_is_there():
    shown = re.findall(r"!\[[^]]+]\(pictures/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert shown == [name for name, _ in PICTURES]
    assert sorted(shown) == sorted(path.name for path in (PAGE.parent / "pictures").iterdir())


def test_the_pictures_are_small():
    sizes = {name: (PAGE.parent / "pictures" / name).stat().st_size for name, _ in PICTURES}
    assert {name: size for name, size in sizes.items() if not 0 < size <= MAX_PICTURE_BYTES} == {}
