"""OpenTelemetry's default resource, with detectors that cannot hold up delivery, a fork or the end of the process.

`Resource.create()` waits for the slowest detector of `OTEL_EXPERIMENTAL_RESOURCE_DETECTORS`, without a bound and again at exit
(open-telemetry/opentelemetry-python#3644), and lets one that raises take the others along (#5545). The variable is set for a
whole fleet, and a detector asks a metadata server that may not be there.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from importlib.metadata import entry_points
from typing import Final

from opentelemetry.sdk import resources, version
from opentelemetry.sdk.environment_variables import OTEL_EXPERIMENTAL_RESOURCE_DETECTORS
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from llm_otel_broadcast.host.forks import begin_anew_in_child
from llm_otel_broadcast.host.guard import or_else
from llm_otel_broadcast.host.import_lock import importing
from llm_otel_broadcast.host.logs import log, own

# For all detectors side by side; well below the default `exit_timeout`, as a short program ends meanwhile.
TIMEOUT_S: Final = 1.5
_GROUP: Final = "opentelemetry_resource_detector"
# The SDK's name for what `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say: last, so that they win.
_OWN: Final = "otel"
_INSTANCE: Final = "service_instance"

_lock = threading.Lock()
_detected: dict[str, Resource] = {}
"""By the variable's value: what the detectors found, asked once by whichever destination comes first."""


def default_resource() -> Resource:
    """Return the resource that `Resource.create()` would make, without what takes too long or fails.

    What is left out is logged once in a process, by the detector's name.
    """
    variable = os.environ.get(OTEL_EXPERIMENTAL_RESOURCE_DETECTORS, "")
    # Held while detecting: destinations that start together ask a metadata server once, not each for itself.
    with _lock:
        if variable not in _detected:
            _detected[variable] = _detect(variable)
        resource = _detected[variable]
    resource = resource.merge(OTELResourceDetector().detect())
    if resource.attributes.get("service.name"):
        return resource
    # As `Resource.create()` itself does; `service_name` replaces it by a better one.
    program = f":{os.path.basename(sys.executable)}" if sys.executable else ""  # noqa: PTH119  # taken as text
    return resource.merge(Resource({"service.name": f"unknown_service{program}"}))


def _after_fork() -> None:
    """Ask again in a child: it has a process id and an instance of its own, and its parent's threads are not there."""
    global _lock  # noqa: PLW0603  # a thread that is not in the child may hold the old one
    _lock = threading.Lock()
    _detected.clear()


begin_anew_in_child(_after_fork)


def _detect(variable: str) -> Resource:
    configured = [name for part in variable.split(",") if (name := part.strip())]
    if "*" in configured:
        with importing:
            configured += sorted(entry_points(group=_GROUP).names)
    names = [name for name in dict.fromkeys((_INSTANCE, *configured)) if name not in ("*", _OWN)]
    resource = Resource(
        {
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": version.__version__,
        }
    )
    # All are started before the first one is waited for.
    detections = [_Detection(name) for name in names]
    # They load their code under this lock. What another lane imports meanwhile takes none of their time, as it may take
    # seconds on a machine that is busy.
    with importing:
        deadline = time.monotonic() + TIMEOUT_S
    for detection in detections:
        resource = resource.merge(detection.result(deadline))
    return resource


class _Detection:
    """One detector at work on a daemon thread: a hanging one is left behind."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._resource: Resource | None = None
        self._failure = "took too long"
        self._is_finished = threading.Event()
        try:
            threading.Thread(target=own(self._run), name=f"llm-otel-broadcast detector {name}", daemon=True).start()
        except RuntimeError:
            # No thread can be started any more once the interpreter ends.
            self._failure = "came too late"
            self._is_finished.set()

    def _run(self) -> None:
        def note(error: BaseException) -> None:
            self._failure = f"failed ({type(error).__name__})"

        # A detector is foreign code, and nobody waits for what its thread raises.
        or_else(self._detect, recover=note)
        self._is_finished.set()

    def _detect(self) -> None:
        if self._name == _INSTANCE:
            # The SDK's own needs no search through all packages, and no import. Older SDKs have none.
            own_detector = getattr(resources, "ServiceInstanceIdResourceDetector", None)
            # It has a lock, which a child that is forked at this moment would inherit held.
            with importing:
                self._resource = Resource({}) if own_detector is None else own_detector().detect()
            return
        with importing:
            entries = list(entry_points(group=_GROUP, name=self._name))
            detector = entries[0].load()() if entries else None
        if detector is not None:
            self._resource = detector.detect()
        else:
            self._failure = "is not installed"

    def result(self, deadline: float) -> Resource:
        """Return what it has found by the deadline (monotonic), an empty resource if nothing."""
        self._is_finished.wait(max(0.0, deadline - time.monotonic()))
        if isinstance(self._resource, Resource):
            return self._resource
        log(
            logging.WARNING,
            "the resource detector %r %s: spans are sent without what it says",
            self._name,
            self._failure,
        )
        return Resource({})
