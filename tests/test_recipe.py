"""Recipes: what is accepted, and the message that each mistake gives."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest

from curate import recipe, source
from curate.errors import RecipeError
from curate.yamlfile import YamlFile

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


SOURCE_KEYS = (
    "name, files, format, fields, license, collected, max_record, title, description, homepage, creator, "
    "collection, terms, contact, version, publisher, selection, category, collected_from, ongoing, terms_url, "
    "consent, notice, crawler, signals, generated_by, personal_data, languages, jurisdiction, sha256"
)
NAMES = "allowed: letters, digits, '.', '_' and '-', the first a letter or digit; rename it"
MISTAKES = [
    # what is wrong with GOOD, and the message: file, line, key, what was found, what is allowed, what to do;
    # where a stage or the licenses have words of their own, the part of it that is ours
    (
        "name: demo",
        "nam: demo",
        "curate.yaml:2: nam: unknown key; did you mean 'name'? allowed: curate, name, version, sources, "
        "stages, about, answers, suppress, output, gates, tune; write one of these",
    ),
    ("name: demo", "nam: demo", "curate.yaml:1: name: is required and missing; add 'name: …'"),
    ("name: demo", "name: 'two words'", f"curate.yaml:2: name: found 'two words'; {NAMES}"),
    ("name: demo", "name: ''", f"curate.yaml:2: name: found ''; {NAMES}"),
    ("curate: 1", "curate: 2", "curate.yaml:1: curate: found 2; allowed: 1; correct it"),
    (
        "version: 1.0.0",
        "version: 1.0",
        "curate.yaml:3: version: found the number 1.0; allowed: text; put it in quotes, like '1.0'",
    ),
    (
        "version: 1.0.0",
        "version: [a]",
        "curate.yaml:3: version: found ['a']; allowed: text, in quotes; correct it",
    ),
    (
        "version: 1.0.0\n",
        "",
        "curate.yaml:1: version: is required and missing; add 'version: …' (version of the release)",
    ),
    (
        "  - exact",
        "  - exakt",
        "curate.yaml:9: stages[0]: unknown stage 'exakt'; did you mean 'exact'? allowed: boilerplate, conversation, "
        "decontaminate, exact, injection, language, license, minhash, mix, pii, profile, quality, score, semantic; "
        "write one of these, or package.module:Class",
    ),
    (
        "  - exact",
        "  - exact\n  - exact",
        "curate.yaml:10: stages[1]: stage 'exact' appears twice (the first is on line 9); each stage runs once; "
        "take one out",
    ),
    (
        "  - exact",
        "  - {exact: {}, minhash: {}}",
        "curate.yaml:9: stages[0]: found {'exact': {}, 'minhash': {}}; allowed: a name, or one name with its "
        "options; write {minhash: {similarity: 0.8}}",
    ),
    (
        "  - exact",
        "  - exact: 3",
        "curate.yaml:9: stages[0].exact: found 3; allowed: keys with values (against, conflicts, prefer, max_cluster); "
        "write it like {key: value}",
    ),
    (
        "  - exact",
        "  - minhash: {similarty: 0.8}",
        "curate.yaml:9: stages[0].minhash.similarty: unknown key; did you mean 'similarity'? allowed: against,",
    ),
    (
        "  - exact",
        "  - minhash: {similarity: 8}",
        "curate.yaml:9: stages[0].minhash.similarity: found 8; allowed: 1.0 or less; correct it",
    ),
    ("  - exact", "  - language: {allow: [en, no, xx]}", "curate.yaml:9: stages[0].language.allow: "),
    ("  - exact", "  - language: {allow: [en, false]}", "curate.yaml:9: stages[0].language.allow: "),
    ("  - exact", "  - license: {allow: comercial}", "curate.yaml:9: stages[0].license.allow: "),
    (
        "  - exact",
        "  - no.such.module:Stage",
        "curate.yaml:9: stages[0]: stage 'no.such.module:Stage' cannot be imported (ModuleNotFoundError: No module "
        "named 'no'); correct the name, install what is missing, or lay its module beside the recipe",
    ),
    (
        "  - exact",
        "  - curate.errors:InputEror",
        "curate.yaml:9: stages[0]: stage 'curate.errors:InputEror' cannot be imported (AttributeError: module "
        "'curate.errors' has no attribute 'InputEror'); correct the name, or mend the module",
    ),
    (
        "  - exact",
        "  - curate.errors:InputError",
        "curate.yaml:9: stages[0]: stage 'curate.errors:InputError': lacks name, version, rules, Options; allowed: "
        "a class with name, version, rules, Options; the docstring of curate.stage says what a stage has; name "
        "or write such a class",
    ),
    (
        "stages:\n  - exact\n",
        "stages: []\n",
        "curate.yaml:8: stages: found 0; allowed: 1 or more entries; add one",
    ),
    (
        "stages:\n  - exact\n",
        "stages: exact\n",
        "curate.yaml:8: stages: found 'exact'; allowed: a list, like [a, b]; correct it",
    ),
    (
        'files: ["*.jsonl"]',
        "files: []",
        "curate.yaml:6: sources[0].files: found 0; allowed: 1 or more entries; add one",
    ),
    (
        'files: ["*.jsonl"]',
        "files: [*.jsonl]",
        "curate.yaml:6: not YAML: found undefined alias '.jsonl'; quote a text that begins with *, or define the "
        "anchor before its alias",
    ),
    (
        'files: ["*.jsonl"]',
        "fles: [a]",
        f"curate.yaml:6: sources[0].fles: unknown key; did you mean 'files'? allowed: {SOURCE_KEYS}; write one "
        "of these",
    ),
    (
        'files: ["*.jsonl"]',
        "fles: [a]",
        "curate.yaml:5: sources[0].files: is required and missing; add 'files: …' (paths, globs or URLs, relative "
        "to the recipe)",
    ),
    (
        "license: CC-BY-SA-4.0",
        "license: CC-BY-SA-5.0",
        "curate.yaml:7: sources[0].license: license 'CC-BY-SA-5.0' is not a known license; did you mean "
        "'CC-BY-SA-4.0'? allowed: an SPDX expression; correct it, or leave it out",
    ),
    (
        "license: CC-BY-SA-4.0",
        "format: alpacca",
        "curate.yaml:7: sources[0].format: found 'alpacca'; did you mean 'alpaca'? allowed: 'text', 'alpaca', "
        "'openai', 'sharegpt', 'preference' or 'auto'; correct it",
    ),
    (
        "license: CC-BY-SA-4.0",
        "fields: {outptu: a}",
        "curate.yaml:7: sources[0].fields.outptu: unknown key; did you mean 'output'? allowed: text, messages, "
        "conversations, instruction, input, output, prompt, chosen, rejected, system, id, license, url, author, "
        "created; write one of these",
    ),
    (
        "license: CC-BY-SA-4.0",
        "max_record: big",
        "curate.yaml:7: sources[0].max_record: 'big' is not a size; write it like 256MB or 2GiB",
    ),
    (
        "license: CC-BY-SA-4.0",
        "collected: yesterday",
        "curate.yaml:7: sources[0].collected: found 'yesterday'; allowed: a date like 2026-05-01; correct it",
    ),
    (
        "  - name: forum\n",
        "  - forum\n  - name: forum\n",
        "curate.yaml:5: sources[0]: found 'forum'; allowed: {manifest: FILE}, or keys with at least 'name' and "
        "'files'; write one of these",
    ),
    (
        "  - name: forum\n",
        "  - manifest: forum.yaml\n",
        "curate.yaml:5: sources[0].manifest: found files, license beside it; allowed: either 'manifest: FILE' "
        "alone or a source written inline; take one of them out",
    ),
    (
        "name: demo",
        "name: demo\nname: again",
        "curate.yaml:3: the key 'name' appears twice (first on line 2); each may appear once; take one out",
    ),
    (
        "name: demo",
        "name: [demo",
        "curate.yaml:3: not YAML: expected ',' or ']', but got ':'; mend this line or the one before it",
    ),
    (
        "name: demo",
        "name: demo\noutput: {format: csv}",
        "curate.yaml:3: output.format: found 'csv'; allowed: 'parquet' or 'jsonl.zst'; correct it",
    ),
    (
        "name: demo",
        "name: demo\noutput: parquet",
        "curate.yaml:3: output: found 'parquet'; allowed: keys with values (format, shard_size, keep_removed, "
        "encrypt_removed, bom, spdx, index); write it like {key: value}",
    ),
    (
        "name: demo",
        "name: demo\noutput: {keep_removed: maybe}",
        "curate.yaml:3: output.keep_removed: found 'maybe'; allowed: true or false; correct it",
    ),
    (
        "name: demo",
        "name: demo\ngates: {max_source_loss: 5}",
        "curate.yaml:3: gates.max_source_loss: found 5; allowed: 1.0 or less; correct it",
    ),
    (
        "name: demo",
        "name: demo\ntune: {seeds: 1.5}",
        "curate.yaml:3: tune.seeds: found 1.5; allowed: a whole number; correct it",
    ),
]


@pytest.mark.parametrize(("good", "bad", "message"), MISTAKES, ids=[bad[:40] for _, bad, _ in MISTAKES])
def test_each_mistake_gives_one_line_that_says_where_and_what_to_do(
    tmp_path: Path, good: str, bad: str, message: str
) -> None:
    assert good in GOOD
    problems = _problems(tmp_path, GOOD.replace(good, bad))
    if message.endswith((": ", ",")):
        message = next((problem for problem in problems if problem.startswith(message)), "")
    assert message in problems
    assert all("\n" not in problem for problem in problems)


NOT_A_RECIPE = [
    # a whole file, and its one line
    (
        "",
        "1: found nothing; a recipe is a mapping that begins with 'curate: 1'; write it as 'key: value' lines",
    ),
    ("# only this\n", "1: found nothing; a recipe is"),
    ("- curate: 1\n", "1: found a list; a recipe is"),
    ("curate\n", "1: found the single value 'curate'; a recipe is"),
    (f"{GOOD}---\n{GOOD}", "10: not YAML: found another document; a file holds one document; take out"),
    (f"%YAML 1.1\n---\n{GOOD}", "1: found %YAML 1.1; allowed: YAML 1.2, where a bare no is text; take the"),
    (f"# words\n%YAML 1.1\n---\n{GOOD}", "2: found %YAML 1.1; allowed: YAML 1.2"),
    (
        "curate: 1\n\tname: demo\n",
        "2: not YAML: found character '\\t' that cannot start any token; indent with ",
    ),
    ("a: " + "[" * 60 + "]" * 60, "1: nested too deeply; allowed: 50 levels; make it flatter"),
    ("[" * 5000 + "]" * 5000, "1: nested too deeply; allowed: 50 levels; make it flatter"),
    ("a: &a [*a]\n", "1: an alias inside of what it stands for; write it out"),
    ("b: 1\na: &a {<<: *a}\n", "2: a mapping that merges itself; write it out"),
    ("a: b\x00c\n", "1: found the control character U+0000; allowed: printable text; take it out"),
    ('a: 1\nb: "\\UFFFFFFFF"\n', "1: not YAML (OverflowError"),
    ("a: `b`\n", "1: not YAML: found character '`' that cannot start any token; quote a text that begins"),
    (b"a: 1\nb: \xff\n", "2: is not UTF-8 text; expected UTF-8; save it as that"),
    ("1: a\n", "1: found the key 1, which is no text; allowed: text; quote it"),
    ("~: a\n", "1: found the key ~, which is no text; allowed: text; quote it"),
    ("? [a, b]\n: c\n", "1: found a key of several values, which is no text; allowed: text; quote it"),
    ('"a\\nb": 1\n', "1: found the key 'a\\nb'; allowed: printable text; correct it"),
    ('"\\uD800": 1\n', "1: found the key '\\ud800'; allowed: printable text; correct it"),
    ("a:\n  - b: .nan\n", "2: a[0].b: found .nan; allowed: finite numbers; write one, or leave it out"),
    ("a: -.inf\n", "1: a: found -.inf; allowed: finite numbers"),
    ("a: 1e999\n", "1: a: found 1e999; allowed: finite numbers"),
    (f"a: {2**63}\n", "1: a: found a whole number of more than 64 bits; write a smaller one"),
    (
        "a: !!omap [b: 1]\n",
        "1: a: found the tag !!omap; allowed: plain mappings, lists and values; take the tag",
    ),
    ("a: !!set {b, c}\n", "1: a: found the tag !!set; allowed"),
    ("a: !mine b\n", "1: a: found the tag !mine; allowed"),
    ("a: !!int b\n", "1: a: found 'b', which is no int (ValueError); correct it, or quote it if it is text"),
    (
        "a: 2026-13-01\n",
        "1: a: found '2026-13-01', which is no timestamp (ValueError); correct it, or quote it",
    ),
    ('a: "\\uD800"\n', "1: a: found half of a surrogate pair; allowed: text; write the character"),
    (
        "b: 1\n<<: 3\n",
        "2: <<: found no mapping to merge; allowed: an alias of a mapping, or a list of these; name",
    ),
]


@pytest.mark.parametrize(("text", "line"), NOT_A_RECIPE, ids=[str(text)[:30] for text, _ in NOT_A_RECIPE])
def test_what_is_no_recipe_at_all_gives_one_line(tmp_path: Path, text: str | bytes, line: str) -> None:
    (tmp_path / "curate.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecipeError) as caught:
        recipe.load(tmp_path / "curate.yaml")
    (problem,) = caught.value.problems
    assert problem.startswith(f"curate.yaml:{line}")
    assert "\n" not in problem


def test_aliases_of_aliases_cannot_fill_the_memory(tmp_path: Path) -> None:
    names = "abcdefgh"
    lists = ["a: &a [" + "x, " * 10 + "]"]
    lists += [f"{b}: &{b} [" + f"*{a}, " * 10 + "]" for a, b in pairwise(names)]
    merges = ["a: &a {x: 1}"]
    merges += [f"{b}: &{b} {{<<: [" + f"*{a}, " * 10 + "]}" for a, b in pairwise(names)]
    for lines in (lists, merges):
        with pytest.raises(RecipeError, match=r"curate\.yaml:\d+: more than 100,000 values, aliases written"):
            recipe.load(_write(tmp_path, "\n".join(lines)))


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


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is a folder; expected a YAML file; name one in it"):
        recipe.load(tmp_path)


def test_two_sources_need_two_names(tmp_path: Path) -> None:
    text = GOOD.replace("stages:", '  - name: forum\n    files: ["b.jsonl"]\nstages:')
    assert _problems(tmp_path, text) == [
        "curate.yaml:8: sources[1]: a second source named 'forum' (the first is on line 5); names must be unique; "
        "rename one"
    ]


def test_yaml_1_2_reads_no_as_a_word(tmp_path: Path) -> None:
    loaded = recipe.load(_write(tmp_path, GOOD.replace("  - exact", "  - language: {allow: [en, no]}")))
    assert loaded.stages[0].resolved()["options"]["allow"] == ["en", "no", "nn"]


def test_merge_keys_bring_what_is_not_written_and_keep_their_lines(tmp_path: Path) -> None:
    sources = """\
sources:
  - &one
    name: forum
    files: ["*.jsonl"]
    license: MIT
  - &two {name: other, files: [o], title: Other, license: CC0-1.0}
  - name: merged
    <<: [*one, *two]
    files: [m]
  - <<: *one
    name: last
"""
    text = GOOD[: GOOD.index("sources:")] + sources + GOOD[GOOD.index("stages:") :]
    loaded = recipe.load(_write(tmp_path, text))
    about = {s.name: (s.files, s.license, s.title) for s in loaded.sources}
    assert about["merged"] == (("m",), "MIT", "Other")  # its own keys first, then those of the first named
    assert about["last"] == (("*.jsonl",), "MIT", None)
    problems = _problems(tmp_path, text.replace("license: MIT", "licence: MIT"))
    assert [problem.partition(": unknown")[0] for problem in problems] == [
        f"curate.yaml:8: sources[{i}].licence" for i in (0, 2, 3)
    ]


def test_what_yaml_1_2_allows_is_read(tmp_path: Path) -> None:
    text = "\ufeff%YAML 1.2\n---\n" + GOOD.replace("name: demo", "'name': &x demo").replace(
        "forum", "&x forum"
    )
    loaded = recipe.load(_write(tmp_path, text.replace('"*.jsonl"', "*x")))
    assert (loaded.name, loaded.sources[0].files) == ("demo", ("forum",))


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
    wanted = {"format": "parquet", "shard_size": 256_000_000, "keep_removed": True, "index": False}
    wanted |= {"encrypt_removed": None, "bom": False, "spdx": False}
    assert resolved["output"] == wanted
    assert resolved["stages"][0]["version"]


@pytest.mark.parametrize(
    ("text", "size"), [("256MB", 256 * 10**6), ("2GiB", 2 << 30), ("1.5kb", 1500), (7, 7)]
)
def test_sizes(text: object, size: int) -> None:
    assert source.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1 MB 2", True, "0", "9" * 400, "9999999999TB"])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"size|byte"):
        source.parse_size(text)


def _schema_accepts(text: str) -> bool:
    data = YamlFile.read(Path(text)).data
    plain = json.loads(json.dumps(data, default=str))
    return bool(jsonschema.Draft202012Validator(recipe.schema()).is_valid(plain))


def test_the_schema_accepts_good_recipes_and_refuses_what_the_recipe_refuses(tmp_path: Path) -> None:
    starter = Path(__file__).parent.parent / "manifests" / "recipes" / "starter.yaml"
    assert _schema_accepts(str(starter))
    more = "  - my_module:Stage\n  - {my_module:Other: {a: 1}}\n  - minhash: {similarity: 0.9}\n"
    assert _schema_accepts(str(_write(tmp_path, GOOD + more)))
    for wrong in (
        "  - exat\n",
        "  - {minhsh: {}}\n",
        "  - minhash: {similarty: 1}\n",
        "  - {exact: {}, pii: {}}\n",
    ):
        assert not _schema_accepts(str(_write(tmp_path, GOOD + wrong))), wrong


def test_the_schema_knows_every_stage_and_its_options() -> None:
    parts = recipe.schema()["properties"]["stages"]["items"]["anyOf"]
    options = {name: part for one in parts for name, part in one.get("properties", {}).items()}
    assert set(options) == set(recipe.STAGES)
    assert "similarity" in options["minhash"]["anyOf"][0]["properties"]


STAGE = """\
from curate.stage import StageOptions, Verdict

class Mine:
    name = "mine"
    version = "1"
    rules = ()

    class Options(StageOptions):
        pass

    def __init__(self, options):
        pass

    def judge(self, batch):
        return Verdict.of(batch.num_rows)
"""
NAME_RULE = "allowed: a-z, 0-9, '_' and '-', the first a letter or digit, and not 'read'"
NOT_STAGES = [
    # what is wrong with STAGE, and what is said of it
    ('"mine"', "7", f"name is 7; {NAME_RULE}"),
    ('"mine"', '"My stage"', f"name is 'My stage'; {NAME_RULE}"),
    ('"mine"', '"read"', f"name is 'read'; {NAME_RULE}"),
    ('version = "1"', "version = 1", "version is 1; allowed: text, such as '1'"),
    ("rules = ()", 'rules = "pii"', "rules is 'pii'; allowed: a tuple of names of rule packs, such as ()"),
    (
        "rules = ()",
        'rules = ("langauge",)',
        "rules names the unknown pack 'langauge'; did you mean 'languages'? ",
    ),
    (
        "    class Options(StageOptions):\n        pass",
        "    Options = dict",
        "Options is <class 'dict'>; allowed: a subclass of curate.stage.StageOptions",
    ),
    ("def judge", "def jugde", "of its methods it has none of them; allowed: judge, or sketch and resolve"),
    ("def judge", "def sketch", "of its methods it has sketch; allowed: judge, or sketch and resolve"),
    ("class Mine", "Mine = 3\nclass Other", "found a int; allowed: a class"),
]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module stage_of_mine.py that can be imported, and is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path / "lib")
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path / "lib" / "stage_of_mine.py"
    sys.modules.pop("stage_of_mine", None)


def _stage_problems(folder: Path, target: str) -> list[str]:
    return _problems(folder, GOOD.replace("  - exact", f"  - '{target}'"))


def test_a_stage_of_ones_own_is_taken(tmp_path: Path, module: Path) -> None:
    module.write_text(STAGE + "class Outer:\n    Inner = Mine\n")
    for target in ("stage_of_mine:Mine", "stage_of_mine:Outer.Inner"):
        loaded = recipe.load(_write(tmp_path, GOOD.replace("  - exact", f"  - {target}")))
        assert loaded.stages[0].name == "mine"
        assert loaded.stages[0].resolved()["class"] == target


@pytest.mark.parametrize(("good", "bad", "said"), NOT_STAGES, ids=[bad[:30] for _, bad, _ in NOT_STAGES])
def test_a_class_that_is_no_stage_is_refused_with_what_it_lacks(
    tmp_path: Path, module: Path, good: str, bad: str, said: str
) -> None:
    assert good in STAGE
    module.write_text(STAGE.replace(good, bad))
    (problem,) = _stage_problems(tmp_path, "stage_of_mine:Mine")
    assert problem.startswith(f"curate.yaml:9: stages[0]: stage 'stage_of_mine:Mine': {said}")
    assert problem.endswith("the docstring of curate.stage says what a stage has; name or write such a class")


def test_all_that_a_class_lacks_is_said_together(tmp_path: Path, module: Path) -> None:
    module.write_text(STAGE.replace('"mine"', "7").replace('"1"', "1").replace("def judge", "def jugde"))
    assert len(_stage_problems(tmp_path, "stage_of_mine:Mine")) == 3


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("class Mine(:\n", "SyntaxError: "),
        ("import no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("from curate import no_such_thing\n", "ImportError: "),
        ("raise RuntimeError('first\\nsecond')\n", "RuntimeError: first second)"),
        ("1 / 0\n", "ZeroDivisionError: "),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(
    tmp_path: Path, module: Path, code: str, said: str
) -> None:
    module.write_text(code)
    (problem,) = _stage_problems(tmp_path, "stage_of_mine:Mine")
    start = f"curate.yaml:9: stages[0]: stage 'stage_of_mine:Mine' cannot be imported ({said}"
    assert problem.startswith(start)
    assert "; correct the name, " in problem
    assert "\n" not in problem


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_whoever_stops_an_import_stops_it(tmp_path: Path, module: Path, raised: type[BaseException]) -> None:
    module.write_text(f"raise {raised.__name__}\n")
    with pytest.raises(raised):
        recipe.load(_write(tmp_path, GOOD.replace("  - exact", "  - stage_of_mine:Mine")))


@pytest.mark.parametrize("target", [":X", ".x:X", "x:", "a b:C", "x:Y:Z", "x:.Y", "1x:Y"])
def test_what_can_name_no_class_is_refused(tmp_path: Path, target: str) -> None:
    assert _stage_problems(tmp_path, target) == [
        f"curate.yaml:9: stages[0]: found {target!r}; allowed: a stage's name, or package.module:Class; correct it"
    ]


def _install(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    installed = EntryPoints(EntryPoint(name, value, recipe.ENTRY_POINTS) for name, value in points)
    monkeypatch.setattr("importlib.metadata.entry_points", installed.select)


def test_an_installed_stage_is_known_by_its_name(
    tmp_path: Path, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module.write_text(STAGE)
    _install(monkeypatch, ("mine", "stage_of_mine:Mine"), ("mine", "stage_of_mine:Mine [extra]"))
    loaded = recipe.load(_write(tmp_path, GOOD.replace("  - exact", "  - mine")))
    assert loaded.stages[0].target == "stage_of_mine:Mine"
    assert "did you mean 'mine'?" in _problems(tmp_path, GOOD.replace("  - exact", "  - mien"))[0]


def test_a_name_that_two_stages_claim_is_refused_and_both_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(monkeypatch, ("exact", "theirs:Exact"), ("twice", "b:B"), ("twice", "a:A"))
    assert _problems(tmp_path, GOOD) == [
        "curate.yaml:9: stages[0]: the name 'exact' belongs to curate.stages.exact:Exact and theirs:Exact; allowed: "
        "one of these; write it in full"
    ]
    assert "'twice' belongs to a:A and b:B" in _problems(tmp_path, GOOD.replace("- exact", "- twice"))[0]
    ours = recipe.load(_write(tmp_path, GOOD.replace("- exact", "- curate.stages.exact:Exact")))
    monkeypatch.undo()
    assert ours.sha256() == recipe.load(_write(tmp_path, GOOD)).sha256()  # ours, however it is named
