"""The hold-out: drawn before any filter, apart from every arm, and the user's own evaluation files beside it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
import zstandard
from conftest import sentence, write_jsonl
from reference import held_out as reference
from test_tune_arms import build, make, named, quick, run, trained  # noqa: F401 - quick is a fixture

from curate.engine.local import LocalEngine
from curate.errors import RecipeError
from curate.tuning import heldout
from curate.tuning.contract import DOCUMENT, Item, Text, Turn


def text(said: str, asked: str | None = None, key: str = "") -> Text:
    turns = (Turn(DOCUMENT, said),) if asked is None else (Turn("user", asked), Turn("assistant", said))
    return Text(key, turns, "s")


def altered(rng: random.Random, said: str) -> str:
    words = said.split()
    for _ in range(rng.choice([0, 1, 2, 4, 8])):
        if words:
            words[rng.randrange(len(words))] = sentence(rng, 1)
    return " ".join(words[rng.randrange(3) :]) + rng.choice(["", " ", ".", "!"])


@pytest.mark.parametrize("seed", range(8))
def test_passages_are_compared_as_their_readable_twin_does(seed: int) -> None:
    rng = random.Random(seed)
    said = [sentence(rng, rng.choice([1, 3, 7, 8, 9, 12, 30, 60])) for _ in range(40)]
    held = [text(one, rng.choice([None, "Why?"])) for one in said]
    training = [text(altered(rng, rng.choice(said)), rng.choice([None, "Why?", "How?"])) for _ in range(60)]
    training += [text(one.upper(), "Why?") for one in said[:5]]
    training += [text(said[30] if len(said[30].split()) > 8 else sentence(rng, 9)) for _ in range(12)]
    groups = [rng.randrange(40) for _ in training]
    found = heldout.known(heldout.Passages.of(held), heldout.Passages.of(training))
    assert found.tolist() == reference.known(held, training)
    assert any(found)
    assert not all(found)
    assert heldout.leaving(held, training, groups) == reference.leaving(held, training, groups)


def test_nothing_is_known_of_nothing() -> None:
    items = [Item(text("a b c d e f g h i j k"), frozenset({"raw"})), Item(text("no"), frozenset({"raw"}))]
    assert heldout.clean(items, []) == (tuple(items), 0)
    assert heldout.clean([], [text("a")]) == ((), 0)
    assert heldout.leaving([], [text("a")], [0]) == set()
    assert heldout.leaving([text("a")], [], []) == set()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with near copies that no filter looks for, and passages that stand in many records."""
    folder = tmp_path_factory.mktemp("held")
    make(folder, 200)
    rng = random.Random(2)
    template = sentence(rng, 40)
    docs = pl.read_ndjson(folder / "docs" / "a.jsonl").to_dicts()
    docs += [{"id": f"t{i}", "text": f"{sentence(rng, 2)} {template}", "task": "t"} for i in range(40)]
    write_jsonl(folder / "docs" / "a.jsonl", docs)
    run(folder, "  - conversation\n  - exact\n  - pii\n")
    return folder


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Any:
    import curate

    return build(curate.load(folder / "release"), folder, heldout=80)


def test_the_hold_out_is_in_no_arm_and_nothing_near_it_is(corpus: Any) -> None:
    assert corpus.items
    assert corpus.counts["kept_out"] > 0
    assert corpus.counts["contaminated"] > 0
    held = [item.text for item in corpus.items]
    keys = {one.key for one in held}
    for arm in corpus.arms:
        for seed in (0, 1):
            members = [corpus.texts[place] for place in arm.of(seed)]
            assert not keys & {one.key for one in members}
            if arm.kind != "planted":
                assert not any(reference.known(held, members)), arm.name
    templates = [one for one in held if one.category == "t"]
    assert templates == []


def test_raw_and_accepted_versions_are_items_of_their_own(folder: Path, corpus: Any) -> None:
    kept = pl.read_parquet(folder / "release" / "data" / "*")["text"].drop_nulls().to_list()
    by_key: dict[str, list[Item]] = {}
    for item in corpus.items:
        by_key.setdefault(item.text.key, []).append(item)
    both = [items for items in by_key.values() if len(items) == 2]
    assert both
    for raw, accepted in both:
        assert raw.sets == {"raw"}
        assert accepted.sets == {"accepted"}
        assert "<EMAIL_ADDRESS>" in repr(accepted.text.turns) or "<PHONE_NUMBER>" in repr(accepted.text.turns)
        assert "<EMAIL" not in repr(raw.text.turns)
    for item in corpus.items:
        if "accepted" in item.sets and item.text.source == "docs":
            assert item.text.turns[-1].content in kept
    contents = [item.text.turns for item in corpus.items]
    assert len(set(contents)) == len(contents)
    assert corpus.counts["heldout"]["raw"] == sum("raw" in item.sets for item in corpus.items)
    assert corpus.heldout_sha256 == corpus.counts["heldout_sha256"] == heldout.digest(corpus.items)


def test_the_hold_out_is_drawn_before_any_filter(folder: Path, corpus: Any, tmp_path: Path) -> None:
    for name in ("docs/a.jsonl", "docs/b.jsonl", "pairs.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    other = build(run(tmp_path, "  - exact\n"), tmp_path, heldout=80)
    raw, other_raw = (
        {item.text.turns for item in one.items if "raw" in item.sets} for one in (corpus, other)
    )
    assert raw == other_raw


def test_a_fifth_of_a_small_release_is_held_out_at_most(folder: Path) -> None:
    import curate

    most = build(curate.load(folder / "release"), folder, heldout=10_000, wanted="each")
    assert "a fifth" in most.counts["notes"][0]
    assert most.counts["heldout"]["raw"] + most.counts["contaminated"] <= 0.25 * most.counts["raw"]
    assert trained(most, named(most)["full"])


def test_eval_files_of_every_format_are_items(tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "alpaca.jsonl",
        [{"instruction": "Add", "input": "1 1", "output": "2", "category": "sums", "kwargs": [{"n": 1}, {}]}],
    )
    messages = [{"role": "user", "content": "Which?"}]
    rows = [
        {"messages": messages, "choices": ["red", "blue"], "gold": 1},
        {"messages": messages, "choices": ["red", "green"], "gold": 0},
    ]
    packed = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    (tmp_path / "chat [1].jsonl.zst").write_bytes(zstandard.compress(packed))
    turn = {"from": "human", "value": "Hi"}
    pl.DataFrame(
        {"conversations": [[turn, {"from": "gpt", "value": "Hello"}]], "task_type": ["talk"]}
    ).write_parquet(tmp_path / "share.parquet")
    with LocalEngine(1) as engine:
        found = heldout.evals(
            [tmp_path / name for name in ("alpaca.jsonl", "chat [1].jsonl.zst", "share.parquet")], engine
        )
    assert [item.text.turns[-1] for item in found] == [
        Turn("assistant", said) for said in ("2", "blue", "red", "Hello")
    ]
    assert all(item.sets == {"eval"} for item in found)
    assert [item.text.category for item in found] == ["sums", None, None, "talk"]
    assert found[0].extra["kwargs"] == [{"n": 1}, {}]
    assert found[1].extra["choices"] == ["red", "blue"]
    assert len({item.text.key for item in found}) == 4


def test_an_eval_item_that_stands_in_training_is_left_out_and_counted(folder: Path, tmp_path: Path) -> None:
    import curate

    docs = [
        orjson.loads(line)["text"] for line in (folder / "docs" / "b.jsonl").read_bytes().splitlines()[:9]
    ]
    rng = random.Random(9)
    rows = [{"text": f"Read this: {docs[5]}"}, {"text": sentence(rng, 50)}]
    write_jsonl(tmp_path / "eval.jsonl", rows)
    corpus = build(curate.load(folder / "release"), tmp_path, evals=[tmp_path / "eval.jsonl"], wanted="each")
    assert [item.text.turns[0].content for item in corpus.items] == [rows[1]["text"]]
    assert corpus.counts["contaminated"] == 1
    assert corpus.counts["heldout"] == {"raw": 0, "accepted": 0, "eval": 1}
    assert corpus.counts["kept_out"] == 0


def test_a_file_that_is_no_eval_file_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "odd.jsonl", [{"a": 1}])
    (tmp_path / "cut.jsonl").write_text('{"text": "whole"}\n{"text": "a secret li\n')
    with LocalEngine(1) as engine:
        with pytest.raises(RecipeError, match=r"odd\.jsonl: cannot be used"):
            heldout.evals([tmp_path / "odd.jsonl"], engine)
        with pytest.raises(RecipeError, match="line 2 is no record") as raised:
            heldout.evals([tmp_path / "cut.jsonl"], engine)
    assert "secret" not in str(raised.value)


def test_arms_are_built_without_torch() -> None:
    said = (
        "import sys, curate.tuning.arms; assert 'torch' not in sys.modules; assert 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", said], check=True)
