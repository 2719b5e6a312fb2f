"""Docs are tests: every command, stage, rule pack and file is documented, and what README shows is what runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from curate import recipe, rules
from curate.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_command_is_in_the_readme() -> None:
    from typer.main import get_command

    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert f"`curate {name}" in README


def test_every_stage_is_in_the_readme() -> None:
    for name in recipe.STAGES:
        assert f"| `{name}` |" in README


def test_every_extra_is_in_the_readme() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name in set(extras) - {"dev"}:
        assert f"`curate[{name}]`" in README


def test_the_tree_in_the_readme_is_the_tree() -> None:
    tree = README.split("## The house")[1].split("```text")[1].split("```")[0]
    for path in (ROOT / "curate").iterdir():
        if not path.name.startswith("_") and path.name != "py.typed":
            name = path.name + ("/" if path.is_dir() else "")
            assert re.search(rf"(^|\s|\(){re.escape(name)}", tree), name
    for folder in re.findall(r"^(\w+)/", tree, re.MULTILINE):
        assert (ROOT / folder).is_dir()


def test_the_readme_s_recipe_is_a_good_one(tmp_path: Path) -> None:
    text = README.split("## A recipe")[1].split("```yaml")[1].split("```")[0]
    sources = tmp_path / "manifests" / "sources"
    sources.mkdir(parents=True)
    (sources / "handbook.yaml").write_text((ROOT / "manifests/sources/handbook.yaml").read_text())
    (tmp_path / "curate.yaml").write_text(text)
    assert [spec.name for spec in recipe.load(tmp_path / "curate.yaml").stages] == [
        "profile",
        "license",
        "conversation",
        "exact",
        "minhash",
        "language",
        "quality",
        "injection",
        "pii",
    ]


def test_the_readme_s_stage_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import curate

    code = README.split("<!-- stage:")[1].split("```python")[1].split("```")[0]
    lines = code.split("\n\n\n", 1)[1].strip().splitlines()
    assert len([line for line in lines if line.strip()]) <= 15
    (tmp_path / "readme_stage.py").write_text(code)
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "short"}\n{"id": 2, "text": "one two three four"}\n')
    head = "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [a.jsonl]}]\n"
    (tmp_path / "curate.yaml").write_text(head + "stages: ['readme_stage:MaxWords': {words: 3}]\n")
    monkeypatch.setattr(sys, "path", [*sys.path])  # the recipe's folder joins it
    story = curate.run(tmp_path / "curate.yaml", workers=1).explain("a/2")
    assert story.steps[-1].reason == "max_words/too-long"
    assert story.steps[-1].score == 4


def test_the_readme_s_accuracies_are_those_of_the_rule_packs() -> None:
    shown = README.split("<!-- languages:")[1].split("\n\n")[0]
    measured = rules.load("languages").data["measured"]
    for engine in ("cascade", "lid176", "langdetect"):
        [line] = [line for line in shown.splitlines() if line.startswith(f"| `{engine}`")]
        cells = [float(cell) for cell in line.split("|")[2:5]]
        assert cells == [measured[engine][name] for name in ("lingua_sentences", "word_pairs", "udhr_1k")]
    pack = rules.load("pii")
    countries = {rule.data["country"] for rule in pack.rules if "country" in rule.data}
    kinds = sum("country" in rule.data for rule in pack.rules)
    assert f"{kinds} kinds of {len(countries)} countries" in README
    for kind, told in (("CREDIT_CARD", "cards 1.00/.99"), ("PHONE_NUMBER", "telephone numbers .99/.79")):
        both = [f"{pack.rule(kind).data['measured'][name]:.2f}" for name in ("precision", "recall")]
        assert told.endswith("/".join(text.removeprefix("0") for text in both))
        assert told in README


def test_every_rule_says_what_it_finds() -> None:
    for name in rules.names():
        for rule in rules.load(name).rules:
            assert len(rule.description) >= 4, rule.id


def test_text_of_the_project_names_no_machine() -> None:
    wrong = re.compile(r"(^|[^\w.])/(home|root|mnt|srv|opt)/\w")
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if (
            path.suffix in {".py", ".md", ".yaml", ".toml"}
            and not parts[0].startswith(".")
            and parts[0] != "demo"
        ):
            assert not wrong.search(path.read_text()), path
