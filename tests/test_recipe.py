"""Recipes: what is accepted, and the message that each mistake gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate import recipe
from curate.errors import RecipeError

GOOD = """\
curate: 1
name: demo
version: 1.0.0
sources:
  - name: forum
    files: ["*.jsonl"]
    license: CC-BY-SA-4.0
stages:
  - exact
"""


def _write(folder: Path, text: str, **files: str) -> Path:
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content)
    (folder / "curate.yaml").write_text(text)
    return folder / "curate.yaml"


def _problems(folder: Path, text: str, **files: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        recipe.load(_write(folder, text, **files))
    return list(caught.value.problems)


MISTAKES = [
    # what is wrong with GOOD, and the message (a part of it that says file, line, what and what to do)
    ("name: demo", "nam: demo", "curate.yaml:2: nam: unknown key; did you mean 'name'?"),
    (
        "name: demo",
        "name: 'two words'",
        "curate.yaml:2: name: may hold letters, digits, '.', '_' and '-'; found 'two words'",
    ),
    ("curate: 1", "curate: 2", "curate.yaml:1: curate: 2 is not one of 1"),
    ("version: 1.0.0", "version: 1.0", "curate.yaml:3: version: quote it: version: '1.0'"),
    ("version: 1.0.0\n", "", "curate.yaml:1: version: is required and missing"),
    ("  - exact", "  - exakt", "curate.yaml:9: stages[0]: unknown stage 'exakt'; did you mean 'exact'?"),
    ("  - exact", "  - exact\n  - exact", "curate.yaml:10: stages[1]: stage 'exact' appears twice"),
    (
        "  - exact",
        "  - {exact: {}, minhash: {}}",
        "curate.yaml:9: stages[0]: a stage is a name, or a name with",
    ),
    (
        "  - exact",
        "  - minhash: {similarty: 0.8}",
        "curate.yaml:9: stages[0].minhash.similarty: unknown key; did you mean 'similarity'?",
    ),
    ("  - exact", "  - minhash: {similarity: 8}", "curate.yaml:9: stages[0].minhash.similarity: "),
    ("  - exact", "  - language: {allow: [en, no, xx]}", "curate.yaml:9: stages[0].language.allow"),
    ("  - exact", "  - language: {allow: [en, false]}", "curate.yaml:9: stages[0].language.allow"),
    ("  - exact", "  - license: {allow: comercial}", "curate.yaml:9: stages[0].license.allow"),
    (
        "  - exact",
        "  - no.such.module:Stage",
        "curate.yaml:9: stages[0]: stage 'no.such.module:Stage' cannot be",
    ),
    ("  - exact", "  - curate.errors:InputError", "lacks name, version, rules, Options"),
    ("stages:\n  - exact\n", "stages: []\n", "curate.yaml:8: stages: needs at least 1 entry; found none"),
    ('files: ["*.jsonl"]', "files: []", "curate.yaml:6: sources[0].files: "),
    ('files: ["*.jsonl"]', "fles: [a]", "curate.yaml:6: sources[0].fles: unknown key; did you mean 'files'?"),
    ("license: CC-BY-SA-4.0", "license: CC-BY-SA-5.0", "curate.yaml:7: sources[0].license: "),
    ("license: CC-BY-SA-4.0", "format: alpacca", "curate.yaml:7: sources[0].format: 'alpacca' is not one of"),
    ("license: CC-BY-SA-4.0", "fields: {outptu: a}", "unknown key; did you mean 'output'?"),
    ("license: CC-BY-SA-4.0", "max_record: big", "'big' is not a size; write it like 256MB or 2GiB"),
    (
        "  - name: forum\n",
        "  - manifest: forum.yaml\n",
        "a source is either 'manifest: FILE' alone or written inline",
    ),
    ("name: demo", "name: demo\nname: again", "curate.yaml:3: found duplicate key"),
    ("name: demo", "name: [demo", "curate.yaml:3: "),
    ("name: demo", "name: demo\noutput: {format: csv}", "curate.yaml:3: output.format: 'csv' is not one of"),
    ("name: demo", "name: demo\ngates: {max_source_loss: 5}", "curate.yaml:3: gates.max_source_loss: "),
]


@pytest.mark.parametrize(("good", "bad", "message"), MISTAKES, ids=[bad[:40] for _, bad, _ in MISTAKES])
def test_each_mistake_gives_one_line_that_says_where_and_what_to_do(
    tmp_path: Path, good: str, bad: str, message: str
) -> None:
    assert good in GOOD
    problems = _problems(tmp_path, GOOD.replace(good, bad))
    assert any(message in problem for problem in problems), problems


def test_all_problems_are_reported_together_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = GOOD.replace("name: demo", "nam: demo").replace("CC-BY-SA-4.0", "Foo-1").replace("exact", "exakt")
    problems = _problems(tmp_path, text)
    assert [problem.split(":")[1] for problem in problems] == ["1", "2", "7", "9"]


def test_a_manifest_s_mistakes_name_the_manifest(tmp_path: Path) -> None:
    text = GOOD.replace(
        'name: forum\n    files: ["*.jsonl"]\n    license: CC-BY-SA-4.0', "manifest: forum.yaml"
    )
    problems = _problems(tmp_path, text, forum="name: forum\nfiles: [a.jsonl]\nlicence: MIT\n")
    assert problems == [
        p for p in problems if p.startswith("forum.yaml:3: licence: unknown key; did you mean 'license'?")
    ]
    (tmp_path / "forum.yaml").unlink()
    assert "curate.yaml:5: sources[0].manifest: forum.yaml: no such file" in _problems(tmp_path, text)[0]


def test_a_missing_recipe_says_what_is_there(tmp_path: Path) -> None:
    _write(tmp_path, GOOD)
    with pytest.raises(RecipeError, match=r"other\.yaml: no such file .* has curate\.yaml"):
        recipe.load(tmp_path / "other.yaml")


def test_two_sources_need_two_names(tmp_path: Path) -> None:
    text = GOOD.replace("stages:", '  - name: forum\n    files: ["b.jsonl"]\nstages:')
    assert "curate.yaml:8: sources[1]: a second source named 'forum'" in _problems(tmp_path, text)[0]


def test_yaml_1_2_reads_no_as_a_word(tmp_path: Path) -> None:
    loaded = recipe.load(_write(tmp_path, GOOD.replace("  - exact", "  - language: {allow: [en, no]}")))
    assert loaded.stages[0].resolved()["options"]["allow"] == ["en", "no"]


def test_the_resolved_form_ignores_the_order_of_sources_and_files(tmp_path: Path) -> None:
    one = GOOD.replace('["*.jsonl"]', "[a.jsonl, b.jsonl]").replace(
        "stages:", "  - {name: aa, files: [c]}\nstages:"
    )
    two = GOOD.replace('["*.jsonl"]', "[b.jsonl, a.jsonl]").replace(
        "sources:", "sources:\n  - {name: aa, files: [c]}"
    )
    assert one != two
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    first, second = recipe.load(_write(tmp_path / "1", one)), recipe.load(_write(tmp_path / "2", two))
    assert first.resolved() == second.resolved()
    assert first.sha256() == second.sha256()


def test_the_resolved_form_writes_every_default_out(tmp_path: Path) -> None:
    resolved = recipe.load(_write(tmp_path, GOOD)).resolved()
    assert resolved["output"] == {"format": "parquet", "shard_size": 256_000_000, "keep_removed": True}
    assert resolved["stages"][0]["version"]


@pytest.mark.parametrize(
    ("text", "size"), [("256MB", 256 * 10**6), ("2GiB", 2 << 30), ("1.5kb", 1500), (7, 7)]
)
def test_sizes(text: object, size: int) -> None:
    assert recipe.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1 MB 2", True, "0"])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"size|byte"):
        recipe.parse_size(text)


def test_the_schema_knows_every_stage_and_its_options() -> None:
    schema = recipe.schema()
    stages = {
        name
        for part in schema["properties"]["stages"]["items"]["anyOf"]
        for name in part.get("properties", {})
    }
    assert stages == set(recipe.STAGES)
    minhash = next(
        p for p in schema["properties"]["stages"]["items"]["anyOf"] if "minhash" in p.get("properties", {})
    )
    assert "similarity" in minhash["properties"]["minhash"]["properties"]
