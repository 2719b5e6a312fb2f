"""Commands that look into releases: explain, diff, reveal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.app import Json, Out, app, print_result


@app.command()
def explain(
    out: Out,
    id: Annotated[str, typer.Argument(help="A record's id, <source>/<id>.")],
    as_json: Json = False,
) -> None:
    """Tell one record's whole story: each stage's verdict, evidence, its duplicate, where it is now."""
    from curate import release, show

    print_result(release.explain(out, id), as_json, show.story)


@app.command()
def diff(
    out_a: Annotated[str, typer.Argument(help="The earlier release.")],
    out_b: Annotated[str, typer.Argument(help="The later release.")],
    as_json: Json = False,
) -> None:
    """Show what changed between two releases: records, reasons, licenses, mixture, answers."""
    from curate import release
    from curate.show.difference import difference

    print_result(release.diff(out_a, out_b), as_json, difference)


@app.command()
def reveal(
    out: Out,
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Records to print.", show_default="all that hold an encrypted value"),
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="File that holds the secret key.")] = None,
    key_env: Annotated[str | None, typer.Option(help="Environment variable that holds it.")] = None,
    removed: Annotated[
        bool, typer.Option("--removed", help="The records of an encrypted removed/ instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print records, as JSON lines, with what was encrypted restored; needs the key."""
    import orjson

    from curate import unseal
    from curate.io.cells import foreign

    records = unseal.reveal(out, ids or (), key_file=key_file, key_env=key_env, removed=removed)
    if as_json:
        typer.echo(orjson.dumps(list(records), foreign, orjson.OPT_INDENT_2).decode())
        return
    printed = 0
    for record in records:
        typer.echo(orjson.dumps(record, foreign).decode())
        printed += 1
    if not printed:
        typer.echo("no kept record of this release holds an encrypted value", err=True)
