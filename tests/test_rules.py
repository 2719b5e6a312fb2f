from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import rules
from curate.errors import RecipeError

HEAD = "pack: demo\nversion: 1\ndescription: d\ntested_by: operator:contains\n"
RULE = "rules:\n  - {id: demo/a, description: d, match: [x], no_match: [y], word: x}\n"

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> Path:
        path = tmp_path / "demo.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def contains(rule: rules.Rule, example: Any) -> bool:
    return bool(rule.data["word"] in example)


def clumsy(rule: rules.Rule, example: Any) -> Any:
    if example == "boom":
        raise ValueError("cannot read it")
    return example


def test_packs_are_found_and_loaded_once() -> None:
    assert {"conversation", "licenses"} <= set(rules.names())
    assert list(rules.names()) == sorted(rules.names())
    assert rules.load("licenses") is rules.load("licenses")


def test_a_pack_tells_its_path_and_hash() -> None:
    pack = rules.load("conversation")
    raw = (rules.data_folder("rules") / "conversation.yaml").read_bytes()
    assert (pack.name, pack.path) == ("conversation", "rules/conversation.yaml")
    assert pack.sha256 == hashlib.sha256(raw).hexdigest()
    assert pickle.loads(pickle.dumps(pack)) == pack


def test_data_is_found_inside_the_package_as_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "curate"
    (package / "_data" / "rules").mkdir(parents=True)
    monkeypatch.setattr(rules, "__file__", str(package / "rules.py"))
    assert rules.data_folder("rules") == package.resolve() / "_data" / "rules"
    assert rules.data_folder("manifests") == tmp_path.resolve() / "manifests"


def test_a_rule_keeps_every_further_key_as_data(write: Write) -> None:
    pack = rules.read(write(HEAD + "floor: 3\n" + RULE))
    assert pack.data == {"floor": 3}
    assert pack.rules[0].data == {"word": "x"}
    assert (pack.rules[0].match, pack.rules[0].no_match) == (("x",), ("y",))


def test_no_is_a_word_as_in_yaml_1_2(write: Write) -> None:
    rule = rules.read(write(HEAD + RULE.replace("word: x", "words: [no, yes, on, off, NO]"))).rules[0]
    assert rule.data["words"] == ["no", "yes", "on", "off", "NO"]


def test_an_unknown_pack_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match=r"unknown rule pack 'conversatoin'; did you mean 'conversation'\?"):
        rules.load("conversatoin")
    with pytest.raises(RecipeError, match=r"known: .*conversation"):
        rules.load("zzz")


def test_an_unknown_rule_is_answered_with_the_nearest_id() -> None:
    pack = rules.load("conversation")
    assert pack.rule("conversation/empty-turn").id == "conversation/empty-turn"
    with pytest.raises(RecipeError, match="did you mean 'conversation/empty-turn'"):
        pack.rule("conversation/empty-turns")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pack: [", "rules/demo.yaml: not YAML"),
        ("a: 1\na: 2\n", "rules/demo.yaml: not YAML: .*duplicate key"),
        ("- 1\n", "must be a mapping with the keys pack, version"),
        (HEAD.replace("version: 1\n", "") + RULE, "demo.yaml: version: is missing"),
        (
            HEAD.replace("description", "descripton") + RULE,
            "description: is missing .*'descripton' a misspelling",
        ),
        (HEAD.replace("demo", "other", 1) + RULE, "pack: must be the file's stem 'demo', is 'other'"),
        (
            HEAD.replace("version: 1", "version: one") + RULE,
            "version: must be a whole number from 1, is 'one'",
        ),
        (
            HEAD.replace("version: 1", "version: true") + RULE,
            "version: must be a whole number from 1, is True",
        ),
        (HEAD.replace("version: 1", "version: 0") + RULE, "version: must be a whole number from 1, is 0"),
        (
            HEAD.replace("operator:contains", "contains") + RULE,
            "tested_by: must look like 'package.module:callable'",
        ),
        (HEAD + "rules: []\n", "rules: must be a list of at least one rule"),
        (HEAD + "rules: [7]\n", "rule 1: must be a mapping with the keys id, description"),
        (HEAD + "rules: [{id: demo/a}]\n", "rule 1: description: is missing"),
        (HEAD + "rules: [{id: 'a b', description: d}]\n", r"rule 1 \(a b\): id: must hold no space"),
        (HEAD + "rules: [{id: 7, description: d}]\n", "rule 1: id: must be text, is 7"),
        (HEAD + "rules: [{id: a, description: ''}]\n", r"rule 1 \(a\): description: must be text"),
        (HEAD + "rules: [{id: a, description: d, match: x}]\n", "match: must be a list of examples, is str"),
        (HEAD + RULE + RULE[7:], "rule 2: id: 'demo/a' is taken by an earlier rule"),
        (HEAD + "7: x\n" + RULE, "7: keys must be text"),
    ],
)
def test_a_malformed_pack_is_named_with_rule_and_key(write: Write, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        rules.read(write(text))


def test_a_file_that_cannot_be_read_is_a_recipe_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"rules/none\.yaml: cannot be read: No such file"):
        rules.read(tmp_path / "none.yaml")
    (tmp_path / "demo.yaml").write_bytes(b"pack: \xff")
    with pytest.raises(RecipeError, match=r"rules/demo\.yaml: not UTF-8 at byte 6"):
        rules.read(tmp_path / "demo.yaml")


def _checked(write: Write, tester: str, body: str) -> list[str]:
    head = HEAD.replace("operator:contains", f"{__name__}:{tester}")
    return [str(failure) for failure in rules.check(rules.read(write(head + body)))]


def test_examples_that_hold_leave_nothing_to_report(write: Write) -> None:
    assert _checked(write, "contains", RULE) == []


def test_examples_that_do_not_hold_are_all_reported(write: Write) -> None:
    body = "rules:\n  - {id: demo/a, description: d, match: [x, q], no_match: [xy, z], word: x}\n"
    assert _checked(write, "contains", body) == [
        "demo/a: must match 'q'",
        "demo/a: must not match 'xy'",
    ]


def test_a_rule_without_examples_of_both_kinds_fails(write: Write) -> None:
    body = "rules:\n  - {id: demo/a, description: d, word: x}\n"
    assert _checked(write, "contains", body) == [
        "demo/a: has no match example",
        "demo/a: has no no_match example",
    ]


def test_an_example_that_raises_does_not_hide_the_others(write: Write) -> None:
    body = "rules:\n  - {id: demo/a, description: d, match: [boom, false, 7], no_match: [true]}\n"
    assert _checked(write, "clumsy", body) == [
        "demo/a: ValueError on 'boom': cannot read it",
        "demo/a: must match False",
        f"demo/a: {__name__}:clumsy must answer True or False, not 7",
        "demo/a: must not match True",
    ]


def test_a_tester_that_cannot_be_imported_is_named(write: Write) -> None:
    pack = rules.read(write(HEAD.replace("operator:contains", "operator:nothing") + RULE))
    with pytest.raises(RecipeError, match="tested_by: operator:nothing cannot be imported"):
        rules.check(pack)


@pytest.mark.parametrize("name", ["conversation", "licenses"])
def test_every_rule_passes_its_own_examples(name: str) -> None:
    assert [str(failure) for failure in rules.check(rules.load(name))] == []
