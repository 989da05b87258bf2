"""One generation of each kind is sent to real backends, and what they show of it is what the API stated; docs/backends.md is the table."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from tests.backends.columns import COLUMNS, Column, read, send
from tests.backends.generations import GENERATIONS, SECRET
from tests.backends.page import PAGE, WRITE, page
from tests.backends.programs import version_of
from tests.backends.views import View

pytestmark = pytest.mark.backend
each_column = pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)


@pytest.fixture(scope="module")
def shown(request):
    """Return what gives the views of a column, by title; its calls are made once."""
    shown: dict[str, Mapping[str, View]] = {}

    def views(column: Column) -> Mapping[str, View]:
        if column.name not in shown:
            address = request.getfixturevalue(column.program)
            send(column, address)
            shown[column.name] = read(column, address)
        return shown[column.name]

    return views


@each_column
@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda generation: generation.title)
def test_it_shows_what_the_api_stated(shown, column, generation):
    view = shown(column)[generation.title]
    assert column.unseen(generation, view) == column.gaps_of(generation.title), view.facts


@each_column
def test_nothing_private_is_anywhere_in_it(shown, column):
    view = shown(column)["Private"]
    assert len(view.document) > len("[]")
    assert SECRET not in view.document
    assert "Erwin" not in view.document


def test_the_page_says_what_was_seen(shown):
    now = page({column.name: shown(column) for column in COLUMNS}, {name: version_of(name) for name in _programs()})
    if os.environ.get(WRITE):
        PAGE.write_text(now, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == now, "nox -s backends -- --write"


def _programs():
    return {column.program for column in COLUMNS}
