"""Commands that govern a finished release: datasheet, audit, sign, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.app import Json, Out, app, print_json, print_result


@app.command()
def datasheet(
    out: Out,
    answers: Annotated[
        Path | None, typer.Option(help="File with a person's answers (YAML), which enter the manifest.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Render every document again, from the manifest alone; with --answers, take a person's answers in first."""
    from curate import custody

    written = [str(path) for path in custody.datasheet(out, answers)]
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


@app.command()
def sign(
    out: Out,
    key: Annotated[Path | None, typer.Option(help="Private key to sign with (Ed25519, PEM).")] = None,
    new_key: Annotated[
        Path | None, typer.Option(help="Make a key here, its public key beside it as .pub, and sign with it.")
    ] = None,
    passphrase_env: Annotated[
        str | None, typer.Option(help="Environment variable that holds the key's passphrase.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify the release, then sign it: an in-toto statement in a DSSE envelope, manifest.dsse.json."""
    from curate import custody
    from curate.show.verify import signed

    print_result(custody.sign(out, key=key, new_key=new_key, passphrase_env=passphrase_env), as_json, signed)


@app.command()
def verify(
    out: Out,
    key: Annotated[
        list[Path] | None,
        typer.Option(
            help="Public key that must have signed; may be given more than once.", show_default=False
        ),
    ] = None,
    id: Annotated[str | None, typer.Option(help="Prove that this record is in the release.")] = None,
    as_json: Json = False,
) -> None:
    """Recompute every hash, count and document; exit code 1 names the first file, and record, that differs."""
    from curate import custody
    from curate.show.verify import report as view

    report = custody.verify(out, key=key or (), id=id)
    print_result(report, as_json, view)
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def takedown(
    out: Out,
    ids: Annotated[list[str] | None, typer.Option("--id", help="A record's id; may be repeated.")] = None,
    authors: Annotated[list[str] | None, typer.Option("--author", help="All records of an author.")] = None,
    urls: Annotated[
        list[str] | None, typer.Option("--url", help="A page, or a domain with all that is below it.")
    ] = None,
    match: Annotated[
        Path | None,
        typer.Option("--match", help="File with a text, or .jsonl with texts: all that is like them."),
    ] = None,
    contained: Annotated[
        bool, typer.Option("--contained", help="Also records that hold most of a text of --match.")
    ] = False,
    reference: Annotated[str, typer.Option(help="Your own, such as a ticket's number, for the log.")] = "",
    received: Annotated[
        str | None, typer.Option(help="When the request came (ISO time).", show_default="now")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(help="Secret key of the suppression list.", show_default="suppression.key beside OUT"),
    ] = None,
    removed_key: Annotated[
        Path | None, typer.Option(help="File with the key of removed/, where that is encrypted.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the impact and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Erase records, their near-duplicates and their traces; only what held them is written again."""
    from curate import custody
    from curate.show.takedown import takedown as view

    done = custody.takedown(
        out, ids or (), authors or (), urls or (), match, contained=contained, reference=reference,
        received=received, key_file=key_file, removed_key=removed_key, dry_run=dry_run,
    )  # fmt: skip
    print_result(done, as_json, view)
