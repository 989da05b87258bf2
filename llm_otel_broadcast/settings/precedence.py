"""Where settings come from, and who wins: arguments over `LLM_OTEL_BROADCAST_*` over the file over `OTEL_EXPORTER_OTLP_*`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from llm_otel_broadcast.host.forks import importing
from llm_otel_broadcast.settings.destination import SHORTHAND, Destination, tighten
from llm_otel_broadcast.settings.environment import read_variables, variable_of
from llm_otel_broadcast.settings.errors import ConfigError, FileError
from llm_otel_broadcast.settings.locations import Lookup, Stamp, look, missing
from llm_otel_broadcast.settings.options import Options
from llm_otel_broadcast.settings.otel_environment import AmbientDestination, destination_from
from llm_otel_broadcast.settings.privacy import FOR_ALL
from llm_otel_broadcast.settings.validators import TEXTS, kinds_of

if TYPE_CHECKING:
    from llm_otel_broadcast.settings.file import FileSettings

FileFound: TypeAlias = "FileSettings | ConfigError | None"
"""What the settings file says, what is wrong with it, or None: there is no file."""

_NAMING: Final = frozenset({"destinations", "endpoint", "exporter"})
"""The options that say where to send."""
_PRIVACY: Final = "privacy_mode"
_TO: Final = "to"
"""The option that chooses among the file's destinations."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source says, by option, and how that source calls an option."""

    said: Mapping[str, object]
    call: Callable[[str], str]
    is_file: bool = False


class Setting(NamedTuple):
    """The value of an option, and how its source calls it."""

    value: Any
    origin: str
    is_file: bool = False


class Settled(NamedTuple):
    """The options that result from all sources, what was said of each, by whom, and what of others' variables was left out."""

    options: Options
    said: Mapping[str, Setting]
    warnings: tuple[str, ...] = ()
    file: FileSettings | None = None


def settle(given: Mapping[str, object], environ: Mapping[str, str], file: FileFound = None) -> Options:
    """Return the options that result from the arguments of `instrument()` (None: not given), the environment and the file.

    Raises:
        FileError: listing what is wrong with the file, when nothing else is wrong and `strict` is not asked for.
        ConfigError: listing every wrong setting, by the name it was given under.
    """
    return settle_told(given, environ, file).options


def settle_told(given: Mapping[str, object], environ: Mapping[str, str], file: FileFound = None) -> Settled:
    """Do as `settle`, and tell where each setting comes from."""
    arguments = {name: value for name, value in given.items() if value is not None}
    read = None if isinstance(file, ConfigError) else file
    weakest = [file_layer(read)] if read else []
    settings = merge([*weakest, Layer(read_variables(environ), variable_of), Layer(arguments, str)])
    file_faults = file.faults if isinstance(file, ConfigError) else ()
    faults = [fault for said in settings.values() if isinstance(said.value, ConfigError) for fault in said.value.faults]
    sound = {name: said for name, said in settings.items() if not isinstance(said.value, ConfigError)}
    is_complete = len(sound) == len(settings) and not isinstance(file, ConfigError)
    if _TO in sound and sound[_TO].value and not isinstance(file, ConfigError):
        try:
            read = _chosen(sound, read)
        except ConfigError as wrong:
            faults += wrong.faults
    destinations: tuple[Destination, ...] = ()
    ambient = AmbientDestination()
    try:
        named = {name: said for name, said in sound.items() if name != _TO}
        destinations, ambient = _destinations(named, environ, read, is_complete=is_complete)
    except ConfigError as wrong:
        faults += wrong.faults
    rest = {name: said.value for name, said in sound.items() if name not in (*SHORTHAND, "destinations", _TO)}
    try:
        to = tuple(sound[_TO].value) if _TO in sound and not faults else ()
        options = Options(destinations=destinations, to=to, from_environment=ambient.destination is not None, **rest)
    except ConfigError as wrong:
        faults += wrong.faults
    if faults or file_faults:
        only_file = isinstance(file, FileError) and not faults and not options.strict
        raise (FileError if only_file else ConfigError)([*file_faults, *faults])
    return Settled(options, settings, ambient.warnings, read)


def file_found(environ: Mapping[str, str]) -> FileFound:
    """Return what the settings file says that is in use here, or what is wrong with it."""
    lookup = look(environ)
    return file_at(lookup.stamp(), lookup, environ)


def file_at(stamp: Stamp | None, lookup: Lookup, environ: Mapping[str, str]) -> FileFound:
    """Return what the file says, or what is wrong with it; `environ` has what `${...}` in it stands for."""
    if stamp is None:
        return missing(lookup)
    with importing:
        from llm_otel_broadcast.settings.file import read_file
    try:
        return read_file(stamp.path, environ)
    except ConfigError as wrong:
        return FileError(wrong.faults)


def file_layer(file: FileSettings) -> Layer:
    """Return what the settings file says."""
    said: dict[str, object] = dict(file.defaults)
    if file.destinations:
        said["destinations"] = file.destinations

    def call(name: str) -> str:
        return f"{file.path}: [[destinations]]" if name == "destinations" else f"{file.path}: [defaults] {name}"

    return Layer(said, call, is_file=True)


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
        settings |= {name: Setting(value, layer.call(name), layer.is_file) for name, value in layer.said.items()}
    return settings


def is_about_one(name: str) -> bool:
    """Return whether an option names destinations or belongs to the one that is named beside it."""
    return name in _NAMING or name == _TO or (name in SHORTHAND and name not in FOR_ALL)


def names_destination(environ: Mapping[str, str], given: Mapping[str, object] | None = None) -> bool:
    """Return whether a variable of ours, or an argument, says where to send."""
    arguments = {name for name, value in (given or {}).items() if value is not None}
    return bool(_NAMING & (read_variables(environ).keys() | arguments))


def _chosen(settings: dict[str, Setting], file: FileSettings | None) -> FileSettings | None:
    """Return the file with those of its destinations that `to` names, and have the settings say the same.

    Raises:
        ConfigError: `to` is no list of names, the file has no such destination, or where to send is not said by a file.
    """
    names, origin, _ = settings[_TO]
    faults = TEXTS.faults(origin, names)
    listed = settings.get("destinations")
    others = sorted(_NAMING & settings.keys())
    if listed is None and others:
        faults.append(
            f"{origin} chooses among the destinations of a settings file, but {settings[others[0]].origin} names one"
        )
    elif listed is None or not listed.is_file:
        faults.append(f"{origin} names destinations of a settings file, and there are none in one")
    if faults or listed is None or file is None:
        raise ConfigError(faults)
    try:
        chosen = file.only(names)
    except ConfigError as wrong:
        raise ConfigError([f"{origin}: {fault}" for fault in wrong.faults]) from None
    settings["destinations"] = listed._replace(value=chosen.destinations)
    return chosen


def _destinations(
    settings: Mapping[str, Setting], environ: Mapping[str, str], file: FileSettings | None, *, is_complete: bool
) -> tuple[tuple[Destination, ...], AmbientDestination]:
    """Return the destinations, and what `OTEL_EXPORTER_OTLP_*` says where nothing else names one."""
    one = {name: said.value for name, said in settings.items() if name in SHORTHAND}
    if "destinations" in settings:
        if settings["destinations"].is_file and file is not None:
            return _filed(settings, file), AmbientDestination()
        return _listed(settings), AmbientDestination()
    if "endpoint" in one or "exporter" in one:
        return (Destination(**one),), AmbientDestination()
    if not is_complete:  # what is wrong may well be the endpoint
        return (), AmbientDestination()
    ambient = destination_from(environ)
    if ambient.destination is not None:
        return (replace(ambient.destination, **one),), ambient
    if "headers" in one and not ambient.warnings:
        Destination(**one)  # without an endpoint: let it say so
    return (), ambient


def _listed(settings: Mapping[str, Setting]) -> tuple[Destination, ...]:
    """Return the destinations of a list; what is said about one beside it is refused, but for what keeps things back, which counts for all."""
    said, origin, _ = settings["destinations"]
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


def _headers_fault(headers: Setting, file: FileSettings) -> str:
    """Say that headers, which may hold a key, do not go to whatever destination a file in the current directory names."""
    endpoint = "endpoint" if headers.origin == "headers" else variable_of("endpoint")
    return (
        f"{headers.origin} is given without an endpoint, and {file.path} names where to send: "
        f"give {endpoint} too, or put the headers into the file"
    )


def _filed(settings: Mapping[str, Setting], file: FileSettings) -> tuple[Destination, ...]:
    """Return the file's destinations, `[defaults]` in them already. What stronger sources say about one completes the only one."""
    stronger = {name: said for name, said in settings.items() if name in SHORTHAND and not said.is_file}
    about_one = {name: said for name, said in stronger.items() if is_about_one(name)}
    if "headers" in about_one:
        raise ConfigError([_headers_fault(about_one["headers"], file)])
    completed = about_one if len(file.destinations) == 1 else {}
    listed = _listed(
        {name: said for name, said in settings.items() if name not in SHORTHAND or name in stronger.keys() - completed}
    )
    if completed:
        listed = (replace(listed[0], **{name: said.value for name, said in completed.items()}),)
    if _PRIVACY in stronger and not stronger[_PRIVACY].value:
        listed = tuple(
            made if _PRIVACY in table else replace(made, privacy_mode=False)
            for made, table in zip(listed, file.tables, strict=True)
        )
    return listed
