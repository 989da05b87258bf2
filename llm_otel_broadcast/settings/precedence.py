"""Where settings come from, and who wins: arguments over `LLM_OTEL_BROADCAST_*` over the file over `OTEL_EXPORTER_OTLP_*`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from llm_otel_broadcast.host.import_lock import importing
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

FileResult: TypeAlias = "FileSettings | ConfigError | None"
"""The settings of the file, the error that they are, or None where there is no file."""

# The options that say where to send.
_NAMING: Final = frozenset({"destinations", "endpoint", "exporter"})
_PRIVACY: Final = "privacy_mode"
# The option that chooses among the file's destinations.
_TO: Final = "to"


class Layer(NamedTuple):
    """The values that one source gives, by option, and how messages call an option of that source."""

    values: Mapping[str, object]
    label_of: Callable[[str], str]
    is_file: bool = False


class Setting(NamedTuple):
    """The value of an option, and its name in its source, such as `LLM_OTEL_BROADCAST_TIMEOUT`."""

    value: Any
    origin: str
    is_file: bool = False


class ResolvedSettings(NamedTuple):
    """The options that result from all sources.

    Attributes:
        options: the options.
        provenance: the value and the origin of each option that a source gives.
        warnings: what is left out of OpenTelemetry's own variables.
        file: the settings file in use.
    """

    options: Options
    provenance: Mapping[str, Setting]
    warnings: tuple[str, ...] = ()
    file: FileSettings | None = None


def resolve_options(arguments: Mapping[str, object], environ: Mapping[str, str], file: FileResult = None) -> Options:
    """Resolve the settings: arguments of `instrument()` (None: not given) over the environment over the file.

    Raises:
        FileError: listing what is wrong with the file, when nothing else is wrong and `strict` is not asked for.
        ConfigError: listing every wrong setting, by the name it was given under.
    """
    return resolve_settings(arguments, environ, file).options


def resolve_settings(
    arguments: Mapping[str, object], environ: Mapping[str, str], file: FileResult = None
) -> ResolvedSettings:
    """Resolve the settings and return the provenance of each. Raises as `resolve_options` does."""
    present_arguments = {name: value for name, value in arguments.items() if value is not None}
    # A faulty file does not hide faults of the other sources: the error lists all of them.
    file_settings = None if isinstance(file, ConfigError) else file
    weakest = [file_layer(file_settings)] if file_settings else []
    settings = merge_layers([*weakest, Layer(read_variables(environ), variable_of), Layer(present_arguments, str)])
    file_faults = file.faults if isinstance(file, ConfigError) else ()
    faults = [
        fault
        for setting in settings.values()
        if isinstance(setting.value, ConfigError)
        for fault in setting.value.faults
    ]
    valid_settings = {name: setting for name, setting in settings.items() if not isinstance(setting.value, ConfigError)}
    is_complete = len(valid_settings) == len(settings) and not isinstance(file, ConfigError)
    if _TO in valid_settings and valid_settings[_TO].value and not isinstance(file, ConfigError):
        try:
            file_settings = _choose_destinations(valid_settings, file_settings)
        except ConfigError as error:
            faults += error.faults
    destinations: tuple[Destination, ...] = ()
    ambient = AmbientDestination()
    try:
        naming = {name: setting for name, setting in valid_settings.items() if name != _TO}
        destinations, ambient = _destinations(naming, environ, file_settings, is_complete=is_complete)
    except ConfigError as error:
        faults += error.faults
    other_values = {
        name: setting.value for name, setting in valid_settings.items() if name not in (*SHORTHAND, "destinations", _TO)
    }
    try:
        to = tuple(valid_settings[_TO].value) if _TO in valid_settings and not faults else ()
        options = Options(
            destinations=destinations, to=to, from_environment=ambient.destination is not None, **other_values
        )
    except ConfigError as error:
        faults += error.faults
    if faults or file_faults:
        # Several programs share the file: one that has no fault of its own runs untraced instead of failing.
        only_file = isinstance(file, FileError) and not faults and not options.strict
        raise (FileError if only_file else ConfigError)([*file_faults, *faults])
    return ResolvedSettings(options, settings, ambient.warnings, file_settings)


def read_file_in_use(environ: Mapping[str, str]) -> FileResult:
    """Read the settings file in use here; an error is returned, not raised."""
    lookup = look(environ)
    return read_file_at(lookup.stamp(), lookup, environ)


def read_file_at(stamp: Stamp | None, lookup: Lookup, environ: Mapping[str, str]) -> FileResult:
    """Read a settings file; an error is returned, not raised. `environ` has the variables that `${...}` in it names."""
    if stamp is None:
        return missing(lookup)
    # Most programs have no file and never load the TOML parser. The thread that watches the file may import while the
    # program forks, so it imports under `importing`.
    with importing:
        from llm_otel_broadcast.settings.file import read_file
    try:
        return read_file(stamp.path, environ)
    except ConfigError as error:
        return FileError(error.faults)


def file_layer(file: FileSettings) -> Layer:
    """Return the settings file as a layer."""
    values: dict[str, object] = dict(file.defaults)
    if file.destinations:
        values["destinations"] = file.destinations

    def label_of(name: str) -> str:
        return f"{file.path}: [[destinations]]" if name == "destinations" else f"{file.path}: [defaults] {name}"

    return Layer(values, label_of, is_file=True)


def merge_layers(layers: Sequence[Layer]) -> dict[str, Setting]:
    """Merge layers, weakest first.

    The fields of a layer's one destination are left out when a stronger layer names another destination, but for the
    privacy settings, which count for all.
    """
    settings: dict[str, Setting] = {}
    for layer in layers:
        naming_options = _NAMING & layer.values.keys()
        if naming_options and (naming_options != {"endpoint"} or _NAMING & settings.keys()):
            # The headers of one backend hold its key: they must not go to another one.
            settings = {name: setting for name, setting in settings.items() if not is_about_one(name)}
        settings |= {name: Setting(value, layer.label_of(name), layer.is_file) for name, value in layer.values.items()}
    return settings


def is_about_one(name: str) -> bool:
    """Return whether an option names destinations, or belongs to the one destination of its source."""
    return name in _NAMING or name == _TO or (name in SHORTHAND and name not in FOR_ALL)


def names_destination(environ: Mapping[str, str], arguments: Mapping[str, object] | None = None) -> bool:
    """Return whether a variable of ours, or an argument, names a destination."""
    argument_names = {name for name, value in (arguments or {}).items() if value is not None}
    return bool(_NAMING & (read_variables(environ).keys() | argument_names))


def _choose_destinations(settings: dict[str, Setting], file: FileSettings | None) -> FileSettings | None:
    """Return the file with those of its destinations that `to` names, and have the settings say the same.

    Raises:
        ConfigError: `to` is no list of names, the file has no such destination, or where to send is not said by a file.
    """
    names, origin, _ = settings[_TO]
    faults = TEXTS.faults(origin, names)
    destinations = settings.get("destinations")
    rivals = sorted(_NAMING & settings.keys())
    if destinations is None and rivals:
        faults.append(
            f"{origin} chooses among the destinations of a settings file, but {settings[rivals[0]].origin} names one"
        )
    elif destinations is None or not destinations.is_file:
        faults.append(f"{origin} names destinations of a settings file, and there are none in one")
    if faults or destinations is None or file is None:
        raise ConfigError(faults)
    try:
        chosen_file = file.only(names)
    except ConfigError as error:
        raise ConfigError([f"{origin}: {fault}" for fault in error.faults]) from None
    settings["destinations"] = destinations._replace(value=chosen_file.destinations)
    return chosen_file


def _destinations(
    settings: Mapping[str, Setting], environ: Mapping[str, str], file: FileSettings | None, *, is_complete: bool
) -> tuple[tuple[Destination, ...], AmbientDestination]:
    """Return the destinations; where no source of ours names one, that of `OTEL_EXPORTER_OTLP_*`."""
    shorthand = {name: setting.value for name, setting in settings.items() if name in SHORTHAND}
    if "destinations" in settings:
        if settings["destinations"].is_file and file is not None:
            return _destinations_of_file(settings, file), AmbientDestination()
        return _destinations_of_list(settings), AmbientDestination()
    if "endpoint" in shorthand or "exporter" in shorthand:
        return (Destination(**shorthand),), AmbientDestination()
    # The faulty setting may well be the endpoint: another one must not take its place.
    if not is_complete:
        return (), AmbientDestination()
    ambient = destination_from(environ)
    if ambient.destination is not None:
        return (replace(ambient.destination, **shorthand),), ambient
    if "headers" in shorthand and not ambient.warnings:
        # There is no endpoint: the constructor raises the error that says so.
        Destination(**shorthand)
    return (), ambient


def _destinations_of_list(settings: Mapping[str, Setting]) -> tuple[Destination, ...]:
    """Return the destinations of a list. Fields of one destination beside the list are refused; privacy settings count for all."""
    destinations, origin, _ = settings["destinations"]
    faults = [
        f"{settings[name].origin} and {origin} are both given: put the {name} into the destination that it is for"
        for name in settings
        if is_about_one(name) and name != "destinations"
    ]
    if isinstance(destinations, str | bytes) or not isinstance(destinations, Sequence):
        faults.append(f"destinations must be a list of Destination, got {type(destinations).__name__}")
    common_settings = {name: setting for name, setting in settings.items() if name in FOR_ALL}
    kinds = kinds_of(Destination)
    for name, setting in common_settings.items():
        faults += kinds[name].faults(setting.origin, setting.value) if name in kinds else []
    if faults:
        raise ConfigError(faults)
    common_values = {name: setting.value for name, setting in common_settings.items()}
    return tuple(
        tighten(destination, common_values) if common_values and isinstance(destination, Destination) else destination
        for destination in destinations
    )


def _destinations_of_file(settings: Mapping[str, Setting], file: FileSettings) -> tuple[Destination, ...]:
    """Return the file's destinations, which have `[defaults]` already. Fields from stronger sources complete the only one."""
    stronger = {name: setting for name, setting in settings.items() if name in SHORTHAND and not setting.is_file}
    single_fields = {name: setting for name, setting in stronger.items() if is_about_one(name)}
    if "headers" in single_fields:
        # They may hold a key: not for whatever destination a file in the current directory names.
        origin = single_fields["headers"].origin
        endpoint = "endpoint" if origin == "headers" else variable_of("endpoint")
        fault = f"{origin} is given without an endpoint, and {file.path} names where to send"
        raise ConfigError([f"{fault}: give {endpoint} too, or put the headers into the file"])
    completing = single_fields if len(file.destinations) == 1 else {}
    destinations = _destinations_of_list(
        {
            name: setting
            for name, setting in settings.items()
            if name not in SHORTHAND or name in stronger.keys() - completing
        }
    )
    if completing:
        destinations = (replace(destinations[0], **{name: setting.value for name, setting in completing.items()}),)
    # A stronger `privacy_mode=False` replaces that of [defaults], never what a table says about itself.
    if _PRIVACY in stronger and not stronger[_PRIVACY].value:
        destinations = tuple(
            destination if _PRIVACY in table else replace(destination, privacy_mode=False)
            for destination, table in zip(destinations, file.tables, strict=True)
        )
    return destinations
