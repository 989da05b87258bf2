"""Where settings come from, and who wins: arguments over `LLM_OTEL_BROADCAST_*` over `OTEL_EXPORTER_OTLP_*`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from llm_otel_broadcast.settings.destination import SHORTHAND, Destination
from llm_otel_broadcast.settings.environment import destination_from
from llm_otel_broadcast.settings.errors import ConfigError
from llm_otel_broadcast.settings.kinds import kinds_of
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.settings.private import FOR_ALL, tighten
from llm_otel_broadcast.settings.variables import read_variables, variable_of

_NAMING: Final = frozenset({"destinations", "endpoint", "exporter"})
"""The options that say where to send."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source says, by option, and how that source calls an option."""

    said: Mapping[str, object]
    call: Callable[[str], str]


class Setting(NamedTuple):
    """The value of an option, and how its source calls it."""

    value: Any
    origin: str


def settle(given: Mapping[str, object], environ: Mapping[str, str]) -> Options:
    """Return the options that result from the arguments of `instrument()` (None: not given) and from the environment.

    Raises:
        ConfigError: listing every wrong setting, by the name it was given under.
    """
    arguments = {name: value for name, value in given.items() if value is not None}
    settings = merge([Layer(read_variables(environ), variable_of), Layer(arguments, str)])
    faults = [fault for said in settings.values() if isinstance(said.value, ConfigError) for fault in said.value.faults]
    sound = {name: said for name, said in settings.items() if not isinstance(said.value, ConfigError)}
    destinations: tuple[Destination, ...] = ()
    from_environment = False
    try:
        destinations, from_environment = _destinations(sound, environ, is_complete=len(sound) == len(settings))
    except ConfigError as wrong:
        faults += wrong.faults
    rest = {name: said.value for name, said in sound.items() if name not in SHORTHAND and name != "destinations"}
    try:
        options = Options(destinations=destinations, from_environment=from_environment, **rest)
    except ConfigError as wrong:
        faults += wrong.faults
    if faults:
        raise ConfigError(faults)
    return options


def merge(layers: Sequence[Layer]) -> dict[str, Setting]:
    """Put layers over one another, weakest first.

    What a layer says about its one destination (its headers above all) stays with that: when a stronger layer names
    another, it is left out. Privacy is not.
    """
    settings: dict[str, Setting] = {}
    for layer in layers:
        names = _NAMING & layer.said.keys()
        if names and (names != {"endpoint"} or _NAMING & settings.keys()):
            settings = {name: said for name, said in settings.items() if not is_about_one(name)}
        settings |= {name: Setting(value, layer.call(name)) for name, value in layer.said.items()}
    return settings


def is_about_one(name: str) -> bool:
    """Return whether an option names a destination or belongs to the one that is named beside it."""
    return name in _NAMING or (name in SHORTHAND and name not in FOR_ALL)


def names_destination(environ: Mapping[str, str]) -> bool:
    """Return whether a variable of ours says where to send."""
    return bool(_NAMING & read_variables(environ).keys())


def _destinations(
    settings: Mapping[str, Setting], environ: Mapping[str, str], *, is_complete: bool
) -> tuple[tuple[Destination, ...], bool]:
    """Return the destinations, and whether `OTEL_EXPORTER_OTLP_*` named the only one."""
    one = {name: said.value for name, said in settings.items() if name in SHORTHAND}
    if "destinations" in settings:
        return _listed(settings), False
    if "endpoint" in one or "exporter" in one:
        return (Destination(**one),), False
    if not is_complete:  # what is wrong may well be the endpoint
        return (), False
    found = destination_from(environ)
    if found is not None:
        return (replace(found, **one),), True
    if "headers" in one:
        Destination(**one)  # without an endpoint: let it say so
    return (), False


def _listed(settings: Mapping[str, Setting]) -> tuple[Destination, ...]:
    """Return the destinations of a list; what is said about one beside it is refused, but for what keeps things back, which counts for all."""
    said, origin = settings["destinations"]
    faults = [
        f"{settings[name].origin} and {origin} are both given: put the {name} into the destination that it is for"
        for name in settings
        if is_about_one(name) and name != "destinations"
    ]
    if isinstance(said, str | bytes) or not isinstance(said, Sequence):
        faults.append(f"destinations must be a list of Destination, got {type(said).__name__}")
    private = {name: setting for name, setting in settings.items() if name in FOR_ALL}
    kinds = kinds_of(Destination)
    for name, setting in private.items():
        faults += kinds[name].faults(setting.origin, setting.value) if name in kinds else []
    if faults:
        raise ConfigError(faults)
    for_all = {name: setting.value for name, setting in private.items()}
    return tuple(tighten(one, for_all) if for_all and isinstance(one, Destination) else one for one in said)
