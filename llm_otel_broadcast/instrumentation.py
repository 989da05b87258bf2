"""`instrument()` and the life cycle of what it starts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from llm_otel_broadcast.clients.openai.choosing import covering
from llm_otel_broadcast.delivery.broadcaster import flush_all
from llm_otel_broadcast.host.logs import drain, logger
from llm_otel_broadcast.runtime import process_end
from llm_otel_broadcast.runtime.reload import SettingsSource, watcher
from llm_otel_broadcast.runtime.runs import Run, Status, registry
from llm_otel_broadcast.settings.destination import Compression, Destination, Encoding
from llm_otel_broadcast.settings.environment import disabling, notices
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.options import AppSpans as AppSpansMode

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider

    from llm_otel_broadcast.delivery.on_generation import FinishedGeneration


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

        Returns:
            True when everything has been delivered, False when time ran out or something was lost meanwhile.
        """
        return flush_all([run.broadcaster for run in self._runs()], timeout)

    def shutdown(self, timeout: float | None = None) -> None:
        """Stop recording, deliver what is left for at most `timeout` seconds (default: `exit_timeout`), end the threads."""
        if self._source is not None:
            self._source.close()
        _shut_down(self._runs(), timeout)

    def status(self) -> Status:
        """Return the figures of this handle's destinations."""
        if self._source is None or self._source.run is None:
            return Status(instrumented=False, destinations=(), internal_errors={})
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
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    encoding: Encoding | None = None,
    compression: Compression | None = None,
    privacy_mode: bool | None = None,
    timeout: float | None = None,
    certificate: str | None = None,
    client_certificate: str | None = None,
    client_key: str | None = None,
    sampling_rate: float | None = None,
    errors_always: bool | None = None,
    api_keys: Mapping[str, Sequence[str]] | None = None,
    filter_rules: Mapping[str, Any] | None = None,
    hide: Collection[str] | None = None,
    redact: Callable[[str], str] | None = None,
    metadata_allow: Sequence[str] | None = None,
    metadata_deny: Sequence[str] | None = None,
    hash_user: bool | None = None,
    dialect: Literal["semconv"] | None = None,
    exporter: SpanExporter | None = None,
    destinations: Sequence[Destination] | None = None,
    client: Any = None,
    trace_defaults: Mapping[str, object] | None = None,
    service_name: str | None = None,
    capture_content: bool | None = None,
    app_spans: AppSpansMode | None = None,
    tracer_provider: TracerProvider | None = None,
    capture_content_in_app_spans: bool | None = None,
    on_generation: Callable[[FinishedGeneration], Any] | None = None,
    forward_trace_fields: bool | None = None,
    link_gateway: bool | None = None,
    join_app_traces: bool | None = None,
    baggage_metadata: Sequence[str] | None = None,
    request_stream_usage: bool | None = None,
    estimate_cost: bool | None = None,
    max_content_chars: int | None = None,
    max_queue_bytes: int | None = None,
    exit_timeout: float | None = None,
    to: Sequence[str] | None = None,
    strict: bool | None = None,
) -> Handle:
    """Record every call of the `openai` client and broadcast it. Calling it again changes the settings.

    What is not given is taken from the variable `LLM_OTEL_BROADCAST_` + NAME, else from the settings file, else it has the
    default named here. With `LLM_OTEL_BROADCAST_DISABLED=true` or `OTEL_SDK_DISABLED=true` nothing is done at all; with
    `enabled = false` in the file nothing is recorded until that changes.

    Args:
        endpoint: traces URL of one OTLP/HTTP backend; shorthand for one `Destination`, as are `headers`, `encoding`,
            `compression`, `privacy_mode`, `timeout` (seconds), `exporter` and the others that say "see `Destination`".
        headers: see `Destination`.
        encoding: see `Destination`.
        compression: see `Destination`.
        privacy_mode: see `Destination`; True with `destinations` makes all of them private.
        timeout: see `Destination`.
        certificate: see `Destination`.
        client_certificate: see `Destination`.
        client_key: see `Destination`.
        sampling_rate: see `Destination`.
        errors_always: see `Destination`.
        api_keys: see `Destination`.
        filter_rules: see `Destination`.
        hide: see `Destination`. This and the four below count for each of `destinations` too, besides its own.
        redact: see `Destination`.
        metadata_allow: see `Destination`.
        metadata_deny: see `Destination`.
        hash_user: see `Destination`.
        dialect: see `Destination`.
        exporter: see `Destination`.
        destinations: several destinations instead. With neither, here, in the variables and in the file,
            `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT` (and `..._HEADERS`) name one.
        client: watch this client, or this resource of one (`client.chat`), instead of all; the handle undoes it. Other
            clients stay as they are.
        trace_defaults: trace fields for calls that do not say them: the keys of `trace`, `session_id` and `user`.
        service_name: `service.name` of the resource; default: the app provider's resource, else `OTEL_SERVICE_NAME`,
            else the program's name.
        capture_content: False: prompts and answers are not even referenced. Default: True.
        app_spans: a standard span in the app's own tracer provider as well: `auto` (default), True or False.
        tracer_provider: the provider for those spans; default: the global one, looked up at each call.
        capture_content_in_app_spans: True puts content on those spans too. Default: False.
        on_generation: is shown each finished generation in the background, before anything is sent, and may add attributes:
            `on_generation=lambda generation: generation.attributes.update(team="search")`. If it fails or takes over 2
            seconds, the span is sent without. Default: none.
        forward_trace_fields: default: OpenRouter gets the fields a call carries, other hosts none; True: merged fields go
            to any host; False: to none.
        link_gateway: True: OpenRouter's own broadcast spans are told to hang below ours. Default: False.
        join_app_traces: False: what is sent never hangs below the app's own spans, for backends that do not see those.
            Default: True.
        baggage_metadata: keys of the OpenTelemetry baggage that become metadata. Default: none.
        request_stream_usage: True asks for token counts in streams that do not ask themselves. Default: False.
        estimate_cost: False: no cost unless the response states it. Default: True.
        max_content_chars: length of one content attribute, at most; what is cut stays valid JSON and says so. Default:
            1,000,000.
        max_queue_bytes: memory for records that wait, all destinations together. Default: 64 MiB.
        exit_timeout: seconds the process waits for delivery at its end, at most. Default: 3.
        to: names of destinations in the settings file: only these are used. Default: all of them.
        strict: True: a settings file that is wrong raises. Default: it is one logged error, for several programs share it;
            nothing is recorded until it is mended.

    Returns:
        A handle: `flush`, `shutdown`, `status`; also a context manager.

    Raises:
        ConfigError: listing every wrong argument and variable of ours, with `strict` also what is wrong with the file.
            What is wrong in OpenTelemetry's own variables is left out and logged.
    """
    given = dict(locals())  # before there is anything but the arguments
    del given["client"]
    disabled_by = disabling(os.environ)
    if disabled_by:
        logger.debug("nothing is recorded: %s is true", disabled_by)
        return Handle(None)
    covers = None if client is None else covering(client)
    if client is not None and covers is None:
        raise ConfigError(
            [f"client must be an openai client or a resource of one, such as client.chat, got {type(client).__name__}"]
        )
    source = SettingsSource(given, os.environ, covers)
    source.begin()
    for warning in notices(os.environ):
        logger.warning("%s", warning)
    process_end.watch()
    return Handle(source)


def instrument_was_called() -> bool:
    """Return whether `instrument()` has been called in this process: a start without code then leaves it alone."""
    return bool(registry.current() or watcher.sources)


def uninstrument() -> None:
    """Take the patches off: the very same functions are back. What was recorded is still delivered.

    `flush()` and `status()` go on working. Does nothing when nothing is instrumented.
    """
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
    return flush_all([run.broadcaster for run in registry.running], timeout)


def shutdown(timeout: float | None = None) -> None:
    """Stop recording, deliver what is left and end the threads; see `Handle.shutdown`."""
    watcher.close_all()
    current = registry.current()
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
