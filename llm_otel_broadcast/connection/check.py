"""`test_connection`: from the URL to a span that was taken, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llm_otel_broadcast.connection.probe import Probing
from llm_otel_broadcast.connection.reachability import Reaching
from llm_otel_broadcast.connection.report import ConnectionReport, Step
from llm_otel_broadcast.host.guard import Guard
from llm_otel_broadcast.settings.destination import Destination

_TESTING = Guard("testing a connection")


def test_connection(
    destination: Destination,
    *,
    on_step: Callable[[Step], object] = lambda _: None,  # noqa: PT028  # this is no test of pytest's
) -> ConnectionReport:
    """Try a destination out: send one real span there, marked `test=true`, and say how far it got. Never raises.

    Each step takes at most the destination's `timeout`. That a destination is not `enabled` does not matter.

    Args:
        destination: the one to try.
        on_step: called with each step as soon as it is done.
    """
    if not isinstance(destination, Destination):
        return ConnectionReport(False, (), f"destination must be a Destination, got {type(destination).__name__}")  # noqa: FBT003
    test = _Test(destination)
    with _TESTING:
        for step in test.run():
            test.steps.append(step)
            on_step(step)
        return test.report()
    return ConnectionReport(ok=False, steps=tuple(test.steps), message="the test itself failed; please report it")


test_connection.__test__ = False  # type: ignore[attr-defined]  # a test module may import it by name


class _Test:
    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._reaching = Reaching(destination)
        self._probing = Probing(destination)
        self.steps: list[Step] = []

    def run(self) -> Iterator[Step]:
        if self._destination.exporter is None:
            yield from self._reaching.steps()
            if self._reaching.failure is not None:
                return
        yield from self._probing.steps()

    def report(self) -> ConnectionReport:
        failure = self._reaching.failure or self._probing.failure
        suggestion = dict(failure.suggestion if failure is not None else {}) or dict(self._probing.suggestion)
        last = next(step for step in reversed(self.steps) if step.name != "try")
        verdict = "works" if failure is None else f"does not work: {last.name}"
        return ConnectionReport(
            ok=failure is None,
            steps=tuple(self.steps),
            message=f'destination "{self._destination.name}" {verdict}: {last.detail}',
            suggestion=suggestion,
            trace_id=self._probing.trace_id,
        )
