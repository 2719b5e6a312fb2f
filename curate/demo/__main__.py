"""``python -m curate.demo [FOLDER]``: the whole demo, from an empty folder to precision and recall.

Makes the starter recipe and its corpus in FOLDER (default: demo) if there is none yet, runs it as
``curate run`` would, and compares the release with what was planted. The exit code is that of the run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from curate.demo.score import score, table
from curate.demo.starter import init
from curate.errors import CurateError


def main(arguments: list[str]) -> int:
    """Run the demo and return the exit code."""
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print("usage: python -m curate.demo [FOLDER]", file=sys.stderr)
        return 2
    folder = Path(arguments[0] if arguments else "demo")
    try:
        if not (folder / "curate.yaml").exists():
            written = init(folder)
            print(
                f"wrote {len(written)} files to {folder}/: a recipe, source manifests, a corpus and its truth"
            )
        if code := _run(folder / "curate.yaml"):
            return code
        _print(folder)
    except CurateError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _run(recipe: Path) -> int:
    """Run the recipe with the progress and the funnel of the command line."""
    from curate.cli import main as curate

    return curate(["run", str(recipe)])


def _print(folder: Path) -> None:
    from rich.console import Console

    Console().print(table(score(folder / "release", folder / "truth.jsonl")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
