"""The wheel: what a user installs holds the rules and the templates, and says what it needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_rules_templates_and_phrases_travel_in_the_wheel(unpacked: Path) -> None:
    for kind, pattern in (("rules", "*.yaml"), ("manifests", "**/*.yaml")):
        here = {path.relative_to(ROOT / kind) for path in (ROOT / kind).glob(pattern)}
        packed = unpacked / "curate" / "_data" / kind
        assert here == {path.relative_to(packed) for path in packed.glob(pattern)} != set()
    assert {path.name for path in (unpacked / "curate/demo/banks").iterdir()} == {
        path.name for path in (ROOT / "curate/demo/banks").iterdir()
    }
    assert (unpacked / "curate" / "py.typed").is_file()
    assert not (unpacked / "tests").exists()


RECIPE = """\
curate: 1
name: small
version: "1"
sources: [{name: here, files: [data/support/tickets.jsonl.gz], license: CC0-1.0}]
stages: [license, conversation, injection, pii]
"""


def test_the_wheel_runs_without_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r}); import curate, curate.cli; "
        f"assert curate.__file__.startswith({str(unpacked)!r}); main = curate.cli.main; "
        f"code = main(['init', 'here']); open('here/small.yaml', 'w').write({RECIPE!r}); "
        "sys.exit(code or main(['run', 'here/small.yaml', '--workers', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "datasheet.html" in done.stdout
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        "curate.yaml",
        "data",
        "manifests",
        "release",
        "small.yaml",
        "truth.jsonl",
    ]
