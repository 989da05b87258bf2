"""The totals of what has been rendered, estimated costs included. In the background only."""

from __future__ import annotations

from typing import Final

from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.green_threads import Exclusion
from llm_otel_broadcast.record.generation import Generation
from llm_otel_broadcast.record.totals import spent
from llm_otel_broadcast.record.usage import Cost

# Several lanes may render the same record at once.
_adding: Final = Exclusion()
begin_anew_in_child(_adding.begin_anew)


def add_to_totals(record: Generation, cost: Cost | None) -> None:
    """Add what a generation took to the outermost enclosing span's totals, once, whichever destination comes first.

    And its failure to those of the spans around it, where that is known only now.
    """
    totals = record.enclosing_spans[0].totals if record.enclosing_spans else None
    if totals is None:
        return
    with _adding.only_here():
        if not record.is_in_totals:
            record.is_in_totals = True
            totals[1].add(spent(record.usage, cost))
            totals[0].read()
            record.count_failure()
