"""Commands that begin and make a release: init, run, schema, rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.app import Json, app, print_json, print_result

rules_app = typer.Typer(
    no_args_is_help=True, help="The rule packs: list them, run every rule's own examples."
)
app.add_typer(rules_app, name="rules")

Recipe = Annotated[Path, typer.Argument(help="The recipe.", show_default="curate.yaml")]


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
        str | None,
        typer.Option(help="The release folder, or its URL.", show_default="release/ beside the recipe"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes to work in.", show_default="all cores")
    ] = None,
    engine: Annotated[str, typer.Option(help="What maps the work over units: local or ray.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="The Ray cluster: auto, local, host:port or ray://host:port.")
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
        from curate.show.plan import plan as view

        planned = release.plan(recipe, out, workers=workers, engine=engine, address=address, memory=memory)
        print_result(planned, as_json, view)
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
    print_result(done.manifest, as_json, show.funnel)
    if not as_json:
        typer.echo(f"release: {done.place}  (read datasheet.html; manifest.json holds every number)")
    if done.failed_gates:
        raise typer.Exit(1)


@rules_app.command("list")
def rules_list(as_json: Json = False) -> None:
    """List the rule packs and their rules."""
    from rich.table import Table

    from curate import rules, show

    packs = [rules.load(name) for name in rules.names()]
    if as_json:
        print_json(
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
        print_json(
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
def schema(
    of: Annotated[str, typer.Argument(help="recipe, source or answers.")] = "recipe",
) -> None:
    """Print the JSON Schema of a recipe, a source manifest or a file of answers, for editors."""
    from curate.schemas import schema as build

    print_json(build(of))
