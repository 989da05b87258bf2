"""How often a problem is worth a line in the log."""

from __future__ import annotations

from llm_otel_broadcast.host import guard
from llm_otel_broadcast.host.guard import Callback
from llm_otel_broadcast.host.reminders import Reminder


def logged_at(reminder: Reminder, seconds) -> list[int]:
    return [second for second in seconds if reminder.occurs(float(second))]


def test_a_problem_that_lasts_is_logged_at_once_and_after_pauses_that_double_up_to_an_hour():
    minutes = [second // 60 for second in logged_at(Reminder(), range(0, 6 * 3600, 10))]
    assert minutes == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303]


def test_a_problem_that_comes_and_goes_is_one_problem():
    assert logged_at(Reminder(), (0, 30, 59, 60, 100, 179, 180)) == [0, 60, 180]


def test_a_problem_that_has_been_away_for_long_begins_anew():
    reminder = Reminder()
    assert logged_at(reminder, (0, 60, 180)) == [0, 60, 180]
    assert logged_at(reminder, (10_000, 10_059, 10_060)) == [10_000, 10_060]


def test_an_error_of_the_programs_function_is_logged_again_after_the_pause(caplog):
    """Who started to look after the first line never saw that it went on."""
    failing = Callback("redact", lambda: 1 / 0, "the span goes without content")
    for _ in range(3):
        failing()
    assert len(caplog.records) == 1
    guard.reminders["redact"]._due_s -= 60
    failing()
    assert len(caplog.records) == 2
    assert guard.errors["redact"] == 4
