"""The notebooks run from the top on the demo, and show the pictures that they hold."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("nbclient")

from curate.tuning.tiny import TinyRecipe, trained

FOLDER = Path(__file__).parent.parent / "notebooks"


def test_every_notebook_runs_on_the_demo_and_shows_its_pictures(tmp_path: Path) -> None:
    base = trained(TinyRecipe().quick(), tmp_path / "bases")
    small = {
        "base": str(base),
        "arms": ["without_license"],
        "seeds": 2,
        "tokens": 6000,
        "heldout": 40,
        "second": False,
    }
    command = [sys.executable, str(FOLDER / "execute.py"), "--check", "--folder", str(tmp_path)]
    ran = subprocess.run(
        command, env={**os.environ, "CURATE_TUNE": json.dumps(small)}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert len(ran.stdout.splitlines()) == len(list(FOLDER.glob("*.ipynb"))) == 4


def test_what_the_notebooks_hold_was_run_and_names_no_machine() -> None:
    for path in FOLDER.glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert sum(bool(cell["outputs"]) for cell in code) >= len(code) - 3, path.name  # imports say nothing
        assert not re.search(r"(^|[^\w.])/(home|root|tmp|work|usr)/\w", path.read_text()), path.name
