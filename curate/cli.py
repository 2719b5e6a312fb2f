"""The command line: parses and prints, nothing else. Each command is a function of the package."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from curate import __version__

STOPPED = 130  # what a shell reports of a command that Ctrl-C ended

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Curate and govern the text that language models are trained on.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
rules_app = typer.Typer(
    no_args_is_help=True, help="The rule packs: list them, run every rule's own examples."
)
app.add_typer(rules_app, name="rules")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Recipe = Annotated[Path, typer.Argument(help="The recipe.", show_default="curate.yaml")]
Out = Annotated[Path, typer.Argument(help="A release folder.")]


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


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Where to write it.")] = Path()) -> None:
    """Write a commented starter recipe, source manifests and a demo corpus that runs as it is."""
    from curate.demo.starter import init as write

    written = write(folder)
    for path in written:
        typer.echo(f"wrote {path}")
    where = "" if folder == Path() else f"cd {folder} && "
    typer.echo(f"\nnext: {where}curate run")


@app.command()
def run(
    recipe: Recipe = Path("curate.yaml"),
    out: Annotated[
        Path | None, typer.Option(help="The release folder.", show_default="release/ beside the recipe")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes to work in.", show_default="all cores")
    ] = None,
    engine: Annotated[str, typer.Option(help="What maps the work over units: local.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="The cluster's address, for engines that have one.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory budget, like 4GB.", show_default="half of the machine's")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Records judged at a time; never changes the result.", show_default="1024"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and write nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do everything again, reuse nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run a recipe: read, judge, write shards, ledger, manifest and datasheet. Resumes by default."""
    from curate import release, show

    if dry_run:
        planned = release.plan(recipe, workers=workers, memory=memory)
        _print(planned, as_json, show.plan)
        return
    with show.Display() as display:
        done = release.run(
            recipe,
            out,
            workers=workers,
            engine=engine,
            address=address,
            memory=memory,
            batch_size=batch_size,
            fresh=fresh,
            watch=display.watch,
            tick=display.tick,
        )
    if done.reused:
        typer.echo("nothing has changed since this release was made (--fresh makes it again)", err=True)
    _print(done.manifest, as_json, show.funnel)
    if not as_json:
        typer.echo(f"release: {done.path}  (datasheet.md, manifest.json)")
    if done.failed_gates:
        raise typer.Exit(1)


@app.command()
def explain(
    out: Out,
    id: Annotated[str, typer.Argument(help="A record's id, <source>/<id>.")],
    as_json: Json = False,
) -> None:
    """Tell one record's whole story: each stage's verdict, evidence, its duplicate, where it is now."""
    from curate import release, show

    _print(release.explain(out, id), as_json, show.story)


@app.command()
def diff(
    out_a: Annotated[Path, typer.Argument(help="The earlier release.")],
    out_b: Annotated[Path, typer.Argument(help="The later release.")],
    as_json: Json = False,
) -> None:
    """Show what changed between two releases, by stage, reason and source."""
    from curate import release, show

    _print(release.diff(out_a, out_b), as_json, show.difference)


@app.command()
def datasheet(out: Out, as_json: Json = False) -> None:
    """Render the datasheet again, from the manifest alone."""
    from curate import release

    written = [str(path) for path in release.datasheet(out)]
    if as_json:
        _json(written)
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
    from curate import release, show

    _print(release.audit(out, form), as_json, show.audit)


@app.command()
def reveal(
    out: Out,
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Records to print.", show_default="all that hold an encrypted value"),
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="File that holds the secret key.")] = None,
    key_env: Annotated[str | None, typer.Option(help="Environment variable that holds it.")] = None,
    as_json: Json = False,
) -> None:
    """Print kept records, as JSON lines, with the values that pii encrypted restored; needs the key."""
    import orjson

    from curate import unseal
    from curate.io.cells import foreign

    records = unseal.reveal(out, ids or (), key_file=key_file, key_env=key_env)
    if as_json:
        typer.echo(orjson.dumps(list(records), foreign, orjson.OPT_INDENT_2).decode())
        return
    printed = 0
    for record in records:
        typer.echo(orjson.dumps(record, foreign).decode())
        printed += 1
    if not printed:
        typer.echo("no kept record of this release holds an encrypted value", err=True)


@rules_app.command("list")
def rules_list(as_json: Json = False) -> None:
    """List the rule packs and their rules."""
    from rich.table import Table

    from curate import rules, show

    packs = [rules.load(name) for name in rules.names()]
    if as_json:
        _json(
            [
                {
                    "pack": p.name,
                    "sha256": p.sha256,
                    "rules": [{"id": r.id, "description": r.description} for r in p.rules],
                }
                for p in packs
            ]
        )
        return
    table = Table("rule", "what it finds")
    for pack in packs:
        table.add_section()
        table.add_row(
            f"[bold]{pack.name}[/] {pack.version}",
            f"{pack.description} ({pack.path}, sha256 {pack.sha256[:12]}…)",
        )
        for rule in pack.rules:
            table.add_row(rule.id, rule.description)
    show.out().print(table)


@rules_app.command("test")
def rules_test(as_json: Json = False) -> None:
    """Run every rule's own examples; exit code 1 if one of them fails."""
    from curate import rules

    results = [(pack, rules.check(pack)) for pack in map(rules.load, rules.names())]
    if as_json:
        _json(
            [
                {"pack": pack.name, "rules": len(pack.rules), "failures": [str(f) for f in failures]}
                for pack, failures in results
            ]
        )
    else:
        for pack, failures in results:
            examples = sum(len(rule.match) + len(rule.no_match) for rule in pack.rules)
            typer.echo(f"{pack.name}: {len(pack.rules)} rules, {examples} examples, {len(failures)} failed")
            for failure in failures:
                typer.echo(f"  {failure}")
    if any(failures for _, failures in results):
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the recipe, for editors."""
    from curate.recipe import schema as build

    _json(build())


def _print(result: Any, as_json: bool, view: Any) -> None:
    from curate import show

    if as_json:
        _json(
            dataclasses.asdict(result)
            if dataclasses.is_dataclass(result) and not isinstance(result, type)
            else result
        )
    else:
        show.out().print(view(result))


def _json(value: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 a check failed, 2 wrong usage, 3 bad input."""
    from curate.errors import CurateError, RecipeError

    _stop_on_sigterm()
    try:
        # Not standalone, typer returns the exit code of typer.Exit, and 130 for Ctrl-C, as a value.
        code = int(app(args=arguments, standalone_mode=False) or 0)
    except CurateError as error:
        lines = str(error).splitlines()
        if isinstance(error, RecipeError) and len(lines) > 1:
            lines.insert(0, f"{len(lines)} problems:")
        typer.echo("\n".join(["error: " + lines[0], *("  " + line for line in lines[1:])]), err=True)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        typer.echo(f"error: {error.strerror or error}{where}; what is finished is kept", err=True)
        return 1
    except MemoryError:
        typer.echo("error: out of memory; run again with fewer --workers or a smaller --memory", err=True)
        return 1
    except Exception as error:  # noqa: BLE001  typer keeps the base of its usage errors to itself
        return _usage(error)
    if code == STOPPED:
        typer.echo("stopped; what is finished is kept: the same command goes on from here", err=True)
    return code


def _usage(error: Exception) -> int:
    """Print a usage error as one line; anything else is a defect of ours and keeps its traceback."""
    show = getattr(error, "format_message", None)
    if show is None:
        raise error
    if message := show():  # there is none where the command line was empty and the help has been printed
        typer.echo(f"error: {message}\ntry: curate --help", err=True)
    return 2


def _stop_on_sigterm() -> None:
    """Let a scheduler's SIGTERM unwind like Ctrl-C, so that no worker process is left behind."""
    import signal
    import threading

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)


def entry() -> None:
    """Be the ``curate`` command."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
