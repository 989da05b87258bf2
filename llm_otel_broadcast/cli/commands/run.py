"""`llm-otel-broadcast run`."""

from __future__ import annotations

import click

from llm_otel_broadcast.cli.destination_options import header_option, split_headers
from llm_otel_broadcast.cli.settings_file import complete_name, config_option, use_settings_file


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--endpoint", "-e", metavar="URL", help="Send the traces to this OTLP/HTTP backend.")
@header_option("An HTTP header for it, for instance its API key; 'Name: value' will do; may be repeated.")
@click.option(
    "--to",
    metavar="NAME",
    multiple=True,
    shell_complete=complete_name,
    help="Send to this destination of the settings file only; may be repeated.",
)
@click.option("--service-name", metavar="NAME", help="service.name of the program; default: the program's own name.")
@click.option("--privacy-mode", is_flag=True, help="Send no prompts and no answers anywhere.")
@config_option
@click.argument("program", nargs=-1, type=click.UNPROCESSED, required=True, metavar="PROGRAM [ARGS]...")
def run(*, program: tuple[str, ...], headers: tuple[str, ...], config: str | None, **options: object) -> None:
    """Run a program with every LLM call traced, in it and in all Python programs that it starts. Its code stays as it is.

    \b
        llm-otel-broadcast run --endpoint http://localhost:4318 python app.py
        llm-otel-broadcast run gunicorn app:app
        llm-otel-broadcast run -m module          (with this Python)

    Without --endpoint and --to the environment says where to: LLM_OTEL_BROADCAST_ENDPOINT, LLM_OTEL_BROADCAST_HEADERS and so on, else
    the settings file, else OTEL_EXPORTER_OTLP_ENDPOINT and its like. If something is wrong with that, one line says so and the program runs untraced.
    """  # noqa: D301  # click's sign for lines to be left alone
    from llm_otel_broadcast.cli.launcher import launch

    # Options in front of the program are ours, all behind it are the program's own.
    if program[0].startswith("-") and (program[0] != "-m" or len(program) == 1):
        raise click.UsageError(f"{program[0]} is no option of run; options of a program stand behind its name")
    if options["to"] and options["endpoint"]:
        raise click.UsageError(
            "--to chooses among the settings file's destinations, --endpoint names one: leave one out"
        )
    use_settings_file(config)
    options["headers"] = split_headers(headers)
    launch(program, {name: value for name, value in options.items() if value})
