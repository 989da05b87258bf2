"""One scenario under callgrind: `python -m tests.benchmarks.scenario MODE WORK CALLS`; counting begins after a warm-up.

Records go to a destination that swallows them on the lane's own thread, which is counted apart.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.benchmarks.host import WORK, by_hand, client

WARM_UP = 12


class Nowhere(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def main(mode: str, name: str, calls: int) -> None:
    work, made = WORK[name], client()
    if mode == "span":
        work = by_hand(work)
    elif mode != "plain":
        import llm_otel_broadcast

        destination = llm_otel_broadcast.Destination(exporter=Nowhere(), privacy_mode=mode == "ours")
        llm_otel_broadcast.instrument(destinations=[destination], app_spans=False)
    for _ in range(WARM_UP):
        work(made)
    gc.collect()
    gc.freeze()
    control("on")
    for _ in range(calls):
        work(made)
    control("off")
    os._exit(0)


def control(state: str) -> None:
    subprocess.run(["callgrind_control", f"--instr={state}", str(os.getpid())], check=True, capture_output=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
