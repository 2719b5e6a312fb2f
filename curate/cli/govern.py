"""Commands that govern a finished release: datasheet, audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.app import Json, Out, app, print_json, print_result


@app.command()
def datasheet(out: Out, as_json: Json = False) -> None:
    """Render the datasheet again, from the manifest alone."""
    from curate import custody

    written = [str(path) for path in custody.datasheet(out)]
    if as_json:
        print_json(written)
        return
    for path in written:
        typer.echo(f"wrote {path}")


@app.command()
def audit(
    out: Out,
    form: Annotated[Path, typer.Argument(help="A filled-in copy of OUT/audit/pii-sample.jsonl.")],
    as_json: Json = False,
) -> None:
    """Take in what a person found in the sample of kept records: the residual risk, with its interval."""
    from curate import custody, show

    print_result(custody.audit(out, form), as_json, show.audit)
