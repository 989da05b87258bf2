"""A tool, an agent and a retriever are that to real backends, and no calls of a model."""

from __future__ import annotations

import pytest

from tests.backends.agents import ANSWER, KINDS, QUESTION, run_agent, trace_id_of
from tests.backends.broadcasts import hashed
from tests.backends.columns import COLUMNS

pytestmark = [
    pytest.mark.backend,
    pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name, scope="module"),
]


@pytest.fixture(scope="module")
def address(request, column):
    """Return the backend's address, when it has the trace of an agent."""
    address = request.getfixturevalue(column.program)
    run_agent(column, address)
    return address


def test_each_span_is_what_it_was_said_to_be(column, address):
    assert column.read_kinds(address, hashed(trace_id_of(column))) == KINDS


def test_the_row_of_the_agent_shows_the_question_and_the_answer(column, address):
    view = column.read(address, hashed(trace_id_of(column)), "agents")
    row = "\n".join(view.overview)
    assert QUESTION in row
    assert ANSWER in row
