"""The judge of the soak sees what it is there for: each kind of fault in an otherwise sound soak, and nothing in a sound one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.soak_findings import Arrivals, Life, faults, figures
from tests.faults.soak_ledger import Books, Ledger, LedgerContent, Sample, read_ledger

NOW = 1_000_000.0
SOUND = Books("steady", produced=9, delivered=5, dropped=1, left_out=1, queued=1, spooled=1)


def sample(books=SOUND, **changes):
    return Sample(pid=7, at=NOW, memory_bytes=50_000_000, descriptors=10, internal_errors=0, books=(books,))._replace(
        **changes
    )


def life(**changes):
    ledger = LedgerContent({"1.7.0": NOW - 10, "1.7.1": NOW - 0.5}, [sample()] * 60, None, NOW)
    return replace(Life(1, "threads", "sys.exit", 0, NOW + 1, None, "", ledger), **changes)


def killed():
    return life(killed_at=NOW, exit_code=-9, ledger=life().ledger._replace(leaving_at=None))


def arrivals(*, is_steady=True, **acknowledged):
    destination = Arrivals("steady" if is_steady else "faulty", is_steady)
    destination.acknowledged.update({"1.7.0": [NOW - 9], "1.7.1": [NOW - 0.4]})
    destination.acknowledged.update({name.replace("_", "."): times for name, times in acknowledged.items()})
    return destination


def judged(one_life, destination=None, *, spool=False, durable=False):
    destination = destination or arrivals()
    return faults([one_life], [destination], exit_timeout_s=5.0, spool=spool, durable=durable)


def without(*call_ids, is_steady=True):
    destination = arrivals(is_steady=is_steady)
    for call_id in call_ids:
        del destination.acknowledged[call_id]
    return destination


def test_a_sound_soak_is_judged_to_be_sound():
    assert judged(life()) == []
    assert judged(killed(), without("1.7.1"), spool=True, durable=True) == []


@pytest.mark.parametrize(
    ("one_life", "fault"),
    [
        (life(exit_code=1), "exit code 1"),
        (life(ended_at=NOW + 60), "took 60.0 s to end"),
        (life(errors="Traceback (most recent call last):"), "wrote to stderr"),
    ],
    ids=["exit code", "slow end", "traceback"],
)
def test_a_bad_end_is_seen(one_life, fault):
    (seen,) = judged(one_life)
    assert fault in seen


@pytest.mark.parametrize(
    ("samples", "fault"),
    [
        ([sample(SOUND._replace(queued=2))], "out by -1"),
        ([sample(internal_errors=1)], "errors of our own"),
        ([sample()] * 45 + [sample(memory_bytes=80_000_000)] * 15, "grew by 29 MiB"),
        ([sample()] * 45 + [sample(descriptors=30)] * 15, "20 more file descriptors"),
    ],
    ids=["books", "internal errors", "memory", "descriptors"],
)
def test_a_process_that_goes_wrong_is_seen(samples, fault):
    one_life = life()
    (seen,) = judged(replace(one_life, ledger=one_life.ledger._replace(samples=samples)))
    assert fault in seen


def test_what_came_twice_is_seen_unless_its_answer_may_have_been_lost():
    twice = arrivals(**{"1_7_0": [NOW - 20, NOW - 5]})
    assert judged(life(), twice) == ["steady: 1.7.0 came 2 times"]
    twice.resets.append(NOW - 19)
    assert judged(life(), twice) == []


def test_what_a_killed_process_had_answered_in_its_last_second_may_come_again():
    assert judged(killed(), arrivals(**{"1_7_1": [NOW - 0.4, NOW + 3]})) == []
    assert judged(killed(), arrivals(**{"1_7_0": [NOW - 9, NOW + 3]})) != []


def test_with_a_spool_the_request_under_way_as_a_process_ended_may_come_again():
    ends = {"1_7_1": [NOW - 0.4, NOW + 3], "1_7_2": [NOW - 0.4, NOW + 3]}
    assert judged(life(), arrivals(**ends), spool=True) == []
    assert len(judged(life(), arrivals(**ends))) == 2


@pytest.mark.parametrize(
    "times",
    [{"1_7_1": [NOW - 0.4, NOW + 3], "1_7_2": [NOW - 0.2, NOW + 3]}, {"1_7_0": [NOW - 9, NOW + 3]}],
    ids=["a second request", "earlier"],
)
def test_with_a_spool_no_other_request_may_come_again(times):
    assert len(judged(life(), arrivals(**times), spool=True)) == 1


def test_what_is_missing_at_a_destination_that_works_is_seen():
    (seen,) = judged(life(), without("1.7.0"))
    assert "1 calls of life 1" in seen


def test_a_destination_in_trouble_may_lack_what_the_books_say_was_dropped():
    one_life = life()
    final = sample(SOUND._replace(name="faulty", dropped=1, queued=0))
    counted = replace(one_life, ledger=one_life.ledger._replace(final=final))
    assert judged(counted, without("1.7.0", is_steady=False)) == []
    assert len(judged(counted, without("1.7.0", "1.7.1", is_steady=False))) == 1


def test_the_books_of_a_process_are_not_asked_for_what_its_children_lost():
    one_life = life()
    calls = {**one_life.ledger.calls, "1.8.0": NOW - 5}
    final = sample(SOUND._replace(name="faulty", dropped=0, queued=0))
    forked = replace(one_life, ledger=one_life.ledger._replace(final=final, calls=calls))
    assert judged(forked, without(is_steady=False)) == []
    assert len(judged(forked, without("1.7.0", is_steady=False))) == 1


def test_with_a_spool_nothing_may_be_missing_but_the_last_second_before_a_kill():
    assert len(judged(life(), without("1.7.0", is_steady=False), spool=True)) == 1
    assert len(judged(killed(), without("1.7.0", is_steady=False), spool=True, durable=True)) == 1
    assert judged(killed(), without("1.7.0", is_steady=False), spool=True) == []


def test_records_that_still_wait_after_a_shutdown_are_seen():
    one_life = life()
    (seen,) = judged(replace(one_life, ledger=one_life.ledger._replace(final=sample())))
    assert "1 records still wait" in seen


def test_what_a_process_writes_down_is_read_back(tmp_path):
    ledger = Ledger(str(tmp_path / "life.jsonl"))
    ledger.note_call("1.7.0")
    ledger.note_sample()
    ledger.write("leaving", NOW)
    ledger.note_sample("final")
    content = read_ledger(tmp_path / "life.jsonl")
    assert list(content.calls) == ["1.7.0"]
    assert content.leaving_at == NOW
    assert [*content.samples][-1] is content.final
    assert figures([life(ledger=content)], [arrivals()])["calls"] == 1
