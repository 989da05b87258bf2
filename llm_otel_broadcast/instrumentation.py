"""`instrument()` and the life cycle of what it starts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Unpack

from llm_otel_broadcast.clients import LIBRARIES
from llm_otel_broadcast.delivery.broadcaster import flush_all
from llm_otel_broadcast.host.logs import drain, logger
from llm_otel_broadcast.runtime import process_end
from llm_otel_broadcast.runtime.reload import SettingsSource, watcher
from llm_otel_broadcast.runtime.runs import Run, Status, registry
from llm_otel_broadcast.settings.destination import SHORTHAND, Destination, check_field_names
from llm_otel_broadcast.settings.environment import disabling, notices
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.options import AppSpans as AppSpansMode

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from llm_otel_broadcast.delivery.on_generation import FinishedGeneration
    from llm_otel_broadcast.settings.destination_fields import DestinationFields


class Handle:
    """What `instrument()` returns: its run, whichever settings are in force. As a context manager it shuts down at the end."""

    def __init__(self, source: SettingsSource | None) -> None:
        """`source` None: everything is turned off, and the handle does nothing."""
        self._source = source

    def __repr__(self) -> str:
        status = self.status()
        names = ", ".join(destination.name for destination in status.destinations) or "no destination"
        return f"<Handle: {'recording' if status.instrumented else 'not recording'}, {names}>"

    def flush(self, timeout: float = 10.0) -> bool:
        """Send everything recorded so far; wait at most `timeout` seconds for all destinations side by side.

        With a spool it does not wait for a destination that fails, once everything is on disk.

        Returns:
            True when everything has been delivered, False when time ran out, something was lost meanwhile, or waits on disk.
        """
        return flush_all([run.broadcaster for run in self._runs()], timeout)

    def shutdown(self, timeout: float | None = None) -> None:
        """Stop recording, deliver what is left for at most `timeout` seconds (default: `exit_timeout`), end the threads."""
        # First of all: a change of the settings file would start another run.
        if self._source is not None:
            self._source.close()
        _shut_down(self._runs(), timeout)

    def status(self) -> Status:
        """Return the figures of this handle's destinations."""
        if self._source is None or self._source.run is None:
            return Status(instrumented=False, destinations=(), internal_errors={})
        # Several handles may be alive: each counts the runs of its own source only.
        newest, *replaced = self._runs()
        return registry.status([newest], replaced)

    def _runs(self) -> tuple[Run, ...]:
        """Return the newest of this handle's runs, and those before it that still deliver."""
        if self._source is None:
            return ()
        newest = self._source.run
        # A change of the settings file makes a new run; the program has but this handle for all of them.
        replaced = [run for run in registry.running if run.source is self._source and run is not newest]
        return (*((newest,) if newest else ()), *replaced)

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


def instrument(  # noqa: PLR0913  # all by keyword, none needed
    *,
    destinations: Sequence[Destination] | None = None,
    client: object = None,
    trace_defaults: Mapping[str, object] | None = None,
    service_name: str | None = None,
    capture_content: bool | None = None,
    app_spans: AppSpansMode | None = None,
    tracer_provider: TracerProvider | None = None,
    capture_content_in_app_spans: bool | None = None,
    on_generation: Callable[[FinishedGeneration], object] | None = None,
    forward_trace_fields: bool | None = None,
    link_gateway: bool | None = None,
    join_app_traces: bool | None = None,
    baggage_metadata: Sequence[str] | None = None,
    request_stream_usage: bool | None = None,
    estimate_cost: bool | None = None,
    max_content_chars: int | None = None,
    max_queue_bytes: int | None = None,
    exit_timeout: float | None = None,
    spool: str | PathLike[str] | Mapping[str, object] | None = None,
    to: Sequence[str] | None = None,
    strict: bool | None = None,
    **destination: Unpack[DestinationFields],
) -> Handle:
    """Record every call of the `openai` client and broadcast it. Calling it again changes the settings.

    An argument that is not given takes its value from the variable `LLM_OTEL_BROADCAST_` + NAME, else from the settings file,
    else the default named here. With `LLM_OTEL_BROADCAST_DISABLED=true` or `OTEL_SDK_DISABLED=true` nothing is done at all; with
    `enabled = false` in the file nothing is recorded until that changes.

    Args:
        destinations: where to send, each with its own queue and thread. The fields of a single one can be given directly, see
            `**destination`. Where no source names a destination, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or
            `OTEL_EXPORTER_OTLP_ENDPOINT` (and `..._HEADERS`) name one.
        client: watch this client, or this resource of one (`client.chat`), instead of all; the handle undoes it. Other
            clients stay as they are.
        trace_defaults: trace fields for calls that do not have them: the keys of `trace`, `session_id` and `user`.
        service_name: `service.name` of the resource; default: the app provider's resource, else `OTEL_SERVICE_NAME`,
            else the program's name.
        capture_content: False: prompts and answers are not even referenced. Default: True.
        app_spans: a standard span in the app's own tracer provider as well: `auto` (default), True or False.
        tracer_provider: the provider for those spans; default: the global one, looked up at each call.
        capture_content_in_app_spans: True puts content on those spans too. Default: False.
        on_generation: a function that gets each finished generation in the background, before anything is sent, and may add attributes:
            `on_generation=lambda generation: generation.attributes.update(team="search")`. If it fails or takes over 2
            seconds, the span is sent without. Default: none.
        forward_trace_fields: default: OpenRouter gets the fields a call carries, other hosts none; True: merged fields go
            to any host; False: to none.
        link_gateway: True: OpenRouter's own broadcast spans become children of ours. Default: False.
        join_app_traces: False: no span that is sent has one of the app's own as its parent, for backends that do not get those.
            Default: True.
        baggage_metadata: keys of the OpenTelemetry baggage that become metadata. Default: none.
        request_stream_usage: True asks for token counts in streams whose caller does not ask for them. Default: False.
        estimate_cost: False: no cost unless the response states it. Default: True.
        max_content_chars: maximum length of one content attribute; a cut one stays valid JSON and is marked. Default:
            1,000,000.
        max_queue_bytes: memory in bytes for records that wait, all destinations together. Default: 64 MiB.
        exit_timeout: maximum time in seconds that the process waits for delivery at its end. Default: 2.5.
        spool: a directory on disk. What a destination does not take, there and then or before the process ends, is kept there, encoded as
            it would go out, and sent by whichever process is next. `{"directory": ..., "max_bytes": ..., "max_age": ...}` bounds it;
            by default it has 512 MiB, and keeps a week (in seconds). Default: none.
        to: names of destinations in the settings file: only these are used. Default: all of them.
        strict: True: a faulty settings file raises. Default: it is one logged error, as several programs share the file;
            nothing is recorded until it is corrected.
        **destination: the fields of one `Destination`, which documents each. Where to: `endpoint` (traces URL of an OTLP/HTTP
            backend), `headers`, or `exporter`. How: `encoding`, `compression`, `timeout` (seconds), `certificate`,
            `client_certificate`, `client_key`, `dialect`, `ids`, `generation_metadata`, `aliases`, `resource_attributes`, `method`, `durable`
            (with `spool`: it survives a kill of the process). Which generations: `sampling_rate`, `errors_always`, `api_keys`,
            `hosts`, `filter_rules`. What is withheld: `privacy_mode`, `hide`, `redact`, `metadata_allow`, `metadata_deny`, `hash_user`;
            these six and `durable` count for each of `destinations` too, in addition to its own.

    Returns:
        A handle: `flush`, `shutdown`, `status`; also a context manager.

    Raises:
        ConfigError: listing every faulty argument and variable of ours, with `strict` also the faults of the file.
            Faulty values of OpenTelemetry's own variables are ignored and logged.
        TypeError: there is no argument of that name.
    """
    # `Unpack` is for type checkers: at run time `**destination` takes any name.
    check_field_names("instrument", destination, argument_names())
    arguments: dict[str, object] = {
        **destination,
        "destinations": destinations,
        "trace_defaults": trace_defaults,
        "service_name": service_name,
        "capture_content": capture_content,
        "app_spans": app_spans,
        "tracer_provider": tracer_provider,
        "capture_content_in_app_spans": capture_content_in_app_spans,
        "on_generation": on_generation,
        "forward_trace_fields": forward_trace_fields,
        "link_gateway": link_gateway,
        "join_app_traces": join_app_traces,
        "baggage_metadata": baggage_metadata,
        "request_stream_usage": request_stream_usage,
        "estimate_cost": estimate_cost,
        "max_content_chars": max_content_chars,
        "max_queue_bytes": max_queue_bytes,
        "exit_timeout": exit_timeout,
        "spool": spool,
        "to": to,
        "strict": strict,
    }
    disabled_by = disabling(os.environ)
    # Nothing is done then: no thread is started, nothing is patched, and the settings file is not read.
    if disabled_by:
        logger.debug("nothing is recorded: %s is true", disabled_by)
        return Handle(None)
    source = SettingsSource(arguments, os.environ, None if client is None else _covering(client))
    source.begin()
    for warning in notices(os.environ):
        logger.warning("%s", warning)
    process_end.watch()
    return Handle(source)


def _covering(client: object) -> Callable[[object], bool]:
    """Return a test for the calls of one client.

    Raises:
        ConfigError: no library that is watched has such a client.
    """
    # Each library knows its own clients, and the resources that belong to one.
    for library in LIBRARIES:
        covers = library.covering(client)
        if covers is not None:
            return covers
    packages = " or ".join(library.package for library in LIBRARIES)
    raise ConfigError(
        [f"client must be an {packages} client or a resource of one, such as client.chat, got {type(client).__name__}"]
    )


def argument_names() -> tuple[str, ...]:
    """Return the names of all arguments of `instrument()`: those of its one destination, and its own."""
    # From the signature itself, so that a new argument is not forgotten here.
    return (*SHORTHAND, *(instrument.__kwdefaults__ or ()))


def instrument_was_called() -> bool:
    """Return whether `instrument()` has been called in this process: a start without code then leaves it alone."""
    return bool(registry.current() or watcher.sources)


def uninstrument() -> None:
    """Take the patches off: the very same functions are back. What was recorded is still delivered.

    `flush()` and `status()` go on working. Does nothing when nothing is instrumented.
    """
    # First of all: a change of the settings file would patch again.
    watcher.close_all()
    for run in registry.current():
        registry.release(run)
        # Nobody may call `flush()` or `shutdown()` after this.
        run.broadcaster.hurry()
    process_end.unwatch()


def flush(timeout: float = 10.0) -> bool:
    """Send everything recorded so far, also under settings that were replaced; see `Handle.flush`.

    True when nothing was ever instrumented.
    """
    # Those too that were replaced or released: what they recorded is the program's as well.
    return flush_all([run.broadcaster for run in registry.running], timeout)


def shutdown(timeout: float | None = None) -> None:
    """Stop recording, deliver what is left and end the threads; see `Handle.shutdown`."""
    watcher.close_all()
    current = registry.current()
    # Runs whose settings were replaced may still have something to deliver.
    _shut_down((*current, *(other for other in registry.running if other not in current)), timeout)


def _shut_down(runs: Sequence[Run], timeout: float | None) -> None:
    start = time.monotonic()
    for run in runs:
        run.shutdown(timeout)
    # What went wrong in delivery is logged by a thread, and the program may end right after this.
    limit_s = max((run.exit_timeout for run in runs), default=0.0) if timeout is None else timeout
    drain(start + limit_s)
    process_end.unwatch()


def status() -> Status:
    """Return the figures of the newest `instrument()`, of those for single clients, and of settings that were replaced.

    Destinations of replaced settings are there, under the same name as before, until nothing waits for them any more.
    """
    return registry.status(registry.current(), registry.replaced())
