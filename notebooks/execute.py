"""Run the notebooks on the demo, from the top, and keep what they show.

    python notebooks/execute.py [--check] [--folder DIR] [NOTEBOOK …]

All run in one folder (default: a temporary one), where the first makes the demo. ``--check`` writes nothing: it fails
if a notebook does, or if one no longer shows the pictures that it holds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
SECONDS = 600  # that a cell may take
PICTURES = ("image/svg+xml", "image/png")


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Return the notebook with what its cells give, without the times at which they ran. Raises CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    client.execute()
    notebook.metadata.get("language_info", {}).pop(
        "version", None
    )  # of the Python that it happened to run on
    for cell in notebook.cells:
        cell.get("outputs", [])[:] = [
            # Progress is for whoever waits; what it says differs from run to run.
            one
            for one in cell.get("outputs", [])
            if not (one.output_type == "stream" and one.name == "stderr")
        ]
    return notebook


def pictures(notebook: nbformat.NotebookNode) -> int:
    """Return how many pictures the notebook shows."""
    shown = [one.get("data", {}) for cell in notebook.cells for one in cell.get("outputs", [])]
    return sum(any(kind in data for kind in PICTURES) for data in shown)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        for path in args.notebooks or sorted(HERE.glob("*.ipynb")):
            held = pictures(nbformat.read(path, as_version=4))
            try:
                notebook = executed(path, folder)
            except CellExecutionError as error:
                print(f"{path.name}: {error}", file=sys.stderr)
                failed += 1
                continue
            shown = pictures(notebook)
            print(f"{path.name}: {shown} pictures")
            if args.check:
                failed += shown < max(held, 1)
            else:
                nbformat.write(notebook, path)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
