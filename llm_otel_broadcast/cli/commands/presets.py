"""`llm-otel-broadcast destinations presets`."""

from __future__ import annotations

import click

from llm_otel_broadcast.cli.output import as_json, faults_as_usage, say_json, terminal


@click.command()
@click.argument("name", required=False)
@as_json
def presets(*, name: str | None, as_json: bool) -> None:
    """List the known backends, or show one.

    What each wants to know, for 'destinations add --preset NAME --param KEY=VALUE' and Destination.preset(); in brackets what
    has a default or may be left out.
    """
    from llm_otel_broadcast.cli.views.presets import preset_json, preset_lines, preset_table
    from llm_otel_broadcast.settings.presets import PRESETS, find_preset

    with faults_as_usage():
        preset = find_preset(name) if name is not None else None
    if as_json:
        say_json([preset_json(preset) for preset in ([preset] if preset else PRESETS.values())])
    else:
        terminal().print(preset_lines(preset) if preset else preset_table())
