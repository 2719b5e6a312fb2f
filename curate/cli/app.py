"""What all commands share: the app, its common options, and how results are printed."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from curate import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Curate and govern the text that language models are trained on.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Out = Annotated[str, typer.Argument(help="A release folder, or its URL.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"curate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def print_result(result: Any, as_json: bool, view: Any) -> None:
    """Print a result: as JSON, or as the view of it that people read."""
    from curate import show

    if as_json:
        print_json(
            dataclasses.asdict(result)
            if dataclasses.is_dataclass(result) and not isinstance(result, type)
            else result
        )
    else:
        show.out().print(view(result))


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
