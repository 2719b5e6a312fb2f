"""The command that measures what filters did to a model: tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from curate.cli.app import Json, app, print_json, print_result

Budget = Literal["tokens", "passes", "both"]


@app.command()
def tune(
    out: Annotated[
        str | None, typer.Argument(help="A release folder.", show_default="none with --self-test")
    ] = None,
    arms: Annotated[
        str | None,
        typer.Option(
            help="leave-one-out, each, all, or arms by name, comma between.", show_default="leave-one-out"
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of each arm.", show_default="3")] = None,
    base: Annotated[
        str | None,
        typer.Option(help="tiny, a Hugging Face id, or a folder with a model.", show_default="tiny"),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            help="Tokens that one pass over the unfiltered records may hold.", show_default="by the base"
        ),
    ] = None,
    budget: Annotated[
        Budget | None,
        typer.Option(
            help="What all arms have the same of: tokens, passes, or each in turn.", show_default="tokens"
        ),
    ] = None,
    mixture: Annotated[
        Literal["free", "fixed"] | None,
        typer.Option(
            help="fixed: every arm keeps the sources' shares of the unfiltered records.", show_default="free"
        ),
    ] = None,
    heldout: Annotated[
        int | None, typer.Option(help="Records held out before any filter.", show_default="300")
    ] = None,
    evals: Annotated[
        list[Path] | None, typer.Option("--eval", help="File with your own texts to score; may be repeated.")
    ] = None,
    tasks: Annotated[
        list[Path] | None,
        typer.Option("--tasks", help="lm-evaluation-harness task (YAML); may be repeated."),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.", show_default="by the base")] = None,
    second: Annotated[
        bool,
        typer.Option("--second/--no-second", help="Confirm effects under 1 % at a second learning rate."),
    ] = True,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", help="Also measure how often arms without an effect would seem to have one."
        ),
    ] = False,
    self_test: Annotated[
        bool,
        typer.Option(
            "--self-test", help="Tune a synthetic corpus whose truth is known, and judge the result."
        ),
    ] = False,
    executor: Annotated[
        str, typer.Option(help="auto, stacked, pool, peft or ray: how runs are trained.")
    ] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Processes to train in, on a CPU.", show_default="all cores")
    ] = None,
    removed_key: Annotated[
        Path | None, typer.Option(help="File with the key of removed/, where that is encrypted.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the arms and runs, and train nothing.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do every run again, reuse none.")] = False,
    as_json: Json = False,
) -> None:
    """Measure what each filter did to a model: LoRA fine-tunes with and without it, with error bars and controls."""
    from curate.errors import RecipeError
    from curate.show import tune as view
    from curate.tuning import experiment

    if self_test:
        with view.TuneDisplay() as display:
            judged = experiment.self_test(workers=workers, executor=executor, fresh=fresh, watch=display)
        if as_json:
            print_json(judged.rows)
        else:
            print_result(judged, False, view.selftest)
        if not judged.passed:
            raise typer.Exit(1)
        return
    if out is None:
        raise RecipeError("tune needs a release folder: curate tune OUT (or --self-test, which needs none)")
    named = None if arms is None else (tuple(arms.split(",")) if "," in arms else arms)
    wanted = {
        "arms": named, "seeds": seeds, "base": base, "tokens": tokens, "budget": budget, "mixture": mixture,
        "heldout": heldout, "eval": evals or None, "tasks": tasks or None, "rate": rate,
    }  # fmt: skip
    if dry_run:
        print_result(experiment.plan(out, removed_key=removed_key, **wanted), as_json, view.plan)
        return
    with view.TuneDisplay() as display:
        done = experiment.tune(
            out, second=second, calibrate=calibrate, executor=executor, workers=workers,
            removed_key=removed_key, fresh=fresh, watch=display, **wanted,
        )  # fmt: skip
    if as_json:
        print_json(done.told)
    else:
        print_result(done, False, view.tuned)
