"""Presets on the terminal and as JSON."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Group
from rich.table import Table
from rich.text import Text

from llm_otel_broadcast.settings.presets import PRESETS, Preset


def preset_table() -> Table:
    """Return a row for each preset, with the names of its parameters: in brackets those that may be left out."""
    table = Table.grid(padding=(0, 2))
    for preset in PRESETS.values():
        names = (
            Text(parameter.name) if parameter.default is None else Text(f"[{parameter.name}]", "dim")
            for parameter in preset.parameters
        )
        table.add_row(Text(preset.name, "bold"), Text(" ").join(names), Text(preset.docs, "dim"))
    return table


def preset_lines(preset: Preset) -> Group:
    """Return one preset in full."""
    grid = Table.grid(padding=(0, 2))
    for parameter in preset.parameters:
        # None: it must be given; empty: it may be left out.
        remarks = ["secret"] if parameter.secret else []
        if parameter.default is not None:
            remarks.append(f"default {parameter.default}" if parameter.default else "optional")
        grid.add_row(f"  {parameter.name}", Text.assemble(parameter.prompt, (f"  {', '.join(remarks)}", "dim")))
    encoding = "JSON, else protobuf" if preset.encoding == "auto" else preset.encoding
    compression = ", gzip" if preset.compression == "gzip" else ""
    dialect = f", {preset.dialect}" if preset.dialect != "semconv" else ""
    names = [Text(f"  aliases {', '.join(preset.aliases)}", "dim")] if preset.aliases else []
    note = [Text(f"  {preset.note}", "yellow")] if preset.note else []
    return Group(
        Text.assemble((preset.name, "bold"), f"  {preset.endpoint}"),
        grid,
        *note,
        *names,
        Text(f"  {encoding}{compression}{dialect}  {preset.docs} ({preset.checked})", "dim"),
    )


def preset_json(preset: Preset) -> dict[str, object]:
    """Return one preset as a JSON document."""
    return {
        "name": preset.name,
        "endpoint": preset.endpoint,
        "headers": dict(preset.headers),
        "encoding": preset.encoding,
        "compression": preset.compression,
        "dialect": preset.dialect,
        "aliases": dict(preset.aliases),
        "resource_attributes": dict(preset.resource),
        "max_content_chars": preset.max_content_chars,
        "checked": preset.checked,
        "docs": preset.docs,
        "note": preset.note or None,
        "parameters": [asdict(parameter) for parameter in preset.parameters],
    }
