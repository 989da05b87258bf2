"""`BoundedDict` never holds more than its limit, and what was used last stays longest."""

from __future__ import annotations

import sys
import threading

import pytest

from llm_otel_broadcast.host.bounded import BoundedDict


def touch_by_get(entries):
    assert entries.get("a") == 1


def touch_by_in(entries):
    assert "a" in entries


def touch_by_setdefault(entries):
    assert entries.setdefault("a", 5) == 1


def touch_by_setting(entries):
    entries["a"] = 2


@pytest.mark.parametrize("touch", [touch_by_get, touch_by_in, touch_by_setdefault, touch_by_setting])
def test_the_least_recently_used_entry_goes_first(touch):
    entries = BoundedDict(2)
    entries["a"] = 1
    entries["b"] = 2
    touch(entries)
    entries["c"] = 3
    assert (entries.get("b"), len(entries)) == (None, 2)
    assert "a" in entries


def test_a_default_stays_when_there_is_room_for_one_entry_only():
    entries = BoundedDict(1)
    entries["a"] = 1
    assert entries.setdefault("b", 2) == 2
    assert entries.get("b") == 2
    assert "a" not in entries


def test_what_is_popped_is_gone():
    entries = BoundedDict(2)
    entries["a"] = 1
    assert (entries.pop("a"), entries.pop("a"), len(entries)) == (1, None, 0)


def test_many_threads_at_once_raise_nothing_and_keep_to_the_limit():
    entries, errors = BoundedDict(3), []

    def use(number):
        try:
            for step in range(2_000):
                key = (number + step) % 7
                entries[key] = step
                entries.setdefault(key + 1, step)
                entries.get(key + 2)
                entries.pop(key + 3)
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    assert len(entries) <= 3
