"""``python -m curate.demo [--no-tune] [FOLDER]``: the whole demo, from an empty folder to each filter's effect.

Makes the starter recipe and its corpus in FOLDER (default: demo) if there is none yet, runs it as ``curate run`` would,
compares it with what was planted, and measures what the filters did to a small model as ``curate tune`` would.
The exit code is that of the first of these that fails.
"""

from __future__ import annotations

import sys
from pathlib import Path

from curate.demo.score import score, table
from curate.demo.starter import init
from curate.errors import CurateError


def main(arguments: list[str]) -> int:
    """Run the demo and return the exit code."""
    tunes = "--no-tune" not in arguments
    arguments = [argument for argument in arguments if argument != "--no-tune"]
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print("usage: python -m curate.demo [--no-tune] [FOLDER]", file=sys.stderr)
        return 2
    folder = Path(arguments[0] if arguments else "demo")
    try:
        if not (folder / "curate.yaml").exists():
            written = init(folder)
            print(
                f"wrote {len(written)} files to {folder}/: a recipe, source manifests, a corpus and its truth"
            )
        if code := _curate("run", str(folder / "curate.yaml")):
            return code
        _print(folder)
        return _curate("tune", str(folder / "release")) if tunes else 0
    except CurateError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _curate(*arguments: str) -> int:
    """Run a command with the progress and the tables of the command line."""
    from curate.cli import main as curate

    return curate(list(arguments))


def _print(folder: Path) -> None:
    from rich.console import Console

    Console().print(table(score(folder / "release", folder / "truth.jsonl")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
