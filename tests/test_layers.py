"""Imports point one way, bottom to top."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "curate"
# Each line may import from itself and from the lines above it.
LAYERS = """
errors
record rules licenses licensenames keys kernels software yamlread yamlfile
stage
provenance
source
parts
recipe io ledger
lock copies
scores
stages engine
outcome careful unit pipeline
clusters merkle sealed shards forecast context unseal
inspect handoff
govern
work
folder
remote
release schemas
custody
tuning
exporting
show demo
cli
__main__
demo.__main__
"""
LEVEL = {name: level for level, line in enumerate(LAYERS.split("\n")) for name in line.split()}


def _layer(module: str) -> str:
    return module if module in LEVEL else module.split(".")[0]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "curate":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("curate."):
            found.add((node.module or "").removeprefix("curate."))
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("curate.") for a in node.names if a.name.startswith("curate.")}
    return found - {"__version__"}


def test_imports_point_from_top_to_bottom() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if module == "__init__":
            continue
        level = LEVEL[_layer(module)]
        wrong += [f"{module} imports {name}" for name in _imports(path) if LEVEL[_layer(name)] > level]
    assert wrong == []


def test_every_module_has_a_layer() -> None:
    parts = {
        p.stem if p.is_file() else p.name
        for p in PACKAGE.iterdir()
        if not p.name.startswith(("_", "py.typed"))
    }
    assert parts - set(LEVEL) == set()
