from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from curate.tuning import calibration, selftest, synthetic, world
from curate.tuning.contract import Corpus

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return synthetic.corpus(4000, 140, SEEDS)


def members(corpus: Corpus, name: str, seed: int = 0) -> set[int]:
    return set(next(arm for arm in corpus.arms if arm.name == name).of(seed).tolist())


def test_the_same_number_makes_the_same_corpus(corpus: Corpus) -> None:
    again = synthetic.corpus(4000, 140, SEEDS)
    assert (again.texts, again.items, again.heldout_sha256) == (
        corpus.texts,
        corpus.items,
        corpus.heldout_sha256,
    )
    assert all(members(again, arm.name) == members(corpus, arm.name) for arm in corpus.arms)
    other = synthetic.corpus(4000, 140, SEEDS, seed=8)
    assert other.texts != corpus.texts
    assert other.heldout_sha256 != corpus.heldout_sha256


def test_raw_has_the_stated_shares_of_every_defect() -> None:
    found = Counter(record.defect for record in synthetic.records(4000, 7))
    for defect, share in synthetic.SHARES.items():
        assert found[defect] / 4000 == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("stage", ["dup", "language", "corrupt"])
def test_a_filter_finds_its_defect_and_little_else(corpus: Corpus, stage: str) -> None:
    records = synthetic.records(4000, 7)
    kept = members(corpus, f"only_{stage}")
    has = {place for place, record in enumerate(records) if record.defect == stage}
    assert len(has - kept) / len(has) == pytest.approx(synthetic.RECALL, abs=0.03)
    assert len(set(range(4000)) - has - kept) / (4000 - len(has)) == pytest.approx(0.01, abs=0.006)


def test_the_scrubbing_filter_edits_and_drops_nothing(corpus: Corpus) -> None:
    raw, scrubbed = members(corpus, "raw"), members(corpus, "only_pii")
    keys = [corpus.texts[place].key for place in sorted(raw)]
    assert sorted(corpus.texts[place].key for place in scrubbed) == keys
    edited = [corpus.texts[place] for place in scrubbed - raw]
    assert edited
    assert all("[PHONE]" in text.turns[1].content for text in edited)
    assert not any(any(c.isdigit() for c in text.turns[1].content.split(" Contact ")[1]) for text in edited)


def test_full_drops_what_any_filter_drops_and_chance_drops_as_many(corpus: Corpus) -> None:
    full = members(corpus, "full")
    dropped = set().union(
        *(members(corpus, "raw") - members(corpus, f"only_{s}") for s in ("dup", "language", "corrupt"))
    )
    assert not full & dropped
    assert len(full) == 4000 - len(dropped)
    drawn = [members(corpus, "random_drop", seed) for seed in SEEDS]
    assert {len(one) for one in drawn} == {len(full)}
    assert drawn[0] != drawn[1] != drawn[2]


def test_arms_name_each_text_once_in_order(corpus: Corpus) -> None:
    for arm in corpus.arms:
        for seed in SEEDS:
            places = arm.of(seed)
            assert (np.diff(places) > 0).all()
            assert len({corpus.texts[place].key for place in places}) == len(places)


def test_the_holdout_is_clean_and_not_asked_in_training(corpus: Corpus) -> None:
    asked = {text.turns[0].content for text in corpus.texts}
    new = [item for item in corpus.items if item.text.category not in world.FEW]
    assert sum(item.text.turns[0].content in asked for item in new) <= 3
    assert Counter(item.text.category for item in corpus.items) == {f.__name__: 20 for f in world.FAMILIES}
    assert {item.sets for item in corpus.items} == {frozenset({"eval"})}


def test_the_base_reads_other_forms_than_the_records() -> None:
    texts = synthetic.pretraining(2000)
    assert texts == synthetic.pretraining(2000)
    asked = {record.task.question + record.task.context for record in synthetic.records(2000, 7)}
    with_context = [text.turns[0].content for text in texts if "lives in" in text.turns[0].content]
    assert len(with_context) > 100
    assert not asked & set(with_context)
    assert 0.4 < sum(len(text.turns) == 2 for text in texts) / 2000 < 0.5


def told(found: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """The part of a tune that is judged: arm → effect against raw, Holm's p."""
    return {
        "contrasts": [
            {
                "arm": name, "reference": "raw", "primary": primary, "effect": effect, "relative": effect,
                "holm": p if primary else None,
            }
            for name, (effect, p) in found.items()
            for primary in (True, False)
        ]
    }  # fmt: skip


RIGHT = {
    "only_corrupt": (-0.05, 1e-6),
    "only_language": (-0.02, 0.01),
    "full": (-0.08, 1e-8),
    "random_drop": (0.01, 0.2),
    "only_null": (0.0, 1.0),
}


def test_the_truth_found_passes() -> None:
    rows = selftest.judge(told(RIGHT))
    assert [row["passed"] for row in rows] == [True] * 5
    assert rows[0] == {
        "contrast": "only_corrupt - raw", "expected": "lower", "found": "lower", "relative": -0.05, "holm": 1e-6,
        "passed": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("only_corrupt", (-0.05, 0.2)),  # missed
        ("full", (0.08, 1e-8)),  # the wrong sign
        ("only_null", (-0.03, 0.01)),  # found where nothing is
        ("random_drop", (0.03, 0.01)),
    ],
)
def test_what_differs_from_the_truth_fails(name: str, wrong: tuple[float, float]) -> None:
    rows = selftest.judge(told({**RIGHT, name: wrong}))
    assert [row["contrast"] for row in rows if not row["passed"]] == [f"{name} - raw"]


def test_an_arm_that_is_missing_fails() -> None:
    few = {name: value for name, value in RIGHT.items() if name != "only_language"}
    assert [row["found"] for row in selftest.judge(told(few)) if not row["passed"]] == ["not done"]


def test_a_self_test_is_planned_whole() -> None:
    pytest.importorskip("torch")
    planned = selftest.plan((0, 1))
    assert planned.seeds == (0, 1)
    names = {arm.name for arm in planned.corpus.arms}
    assert {name for pair in selftest.EXPECTED for name in pair} <= names
    assert len(planned.base.texts) == selftest.TEXTS
    assert planned.base.harvested == 0


def test_null_arms_are_drawn_alike_and_apart(corpus: Corpus) -> None:
    null = calibration.corpus(corpus, SEEDS, filters=2, share=0.5)
    assert [arm.name for arm in null.arms][:3] == ["raw", "random_drop", "only_null1"]
    drawn = [frozenset(arm.of(seed).tolist()) for arm in null.arms for seed in SEEDS]
    assert len(set(drawn)) == len(drawn) == 7 * len(SEEDS)
    assert {len(one) for one in drawn} == {2000}
    overlap = np.mean([len(a & b) / 2000 for a, b in pairwise(drawn)])
    assert overlap == pytest.approx(0.5, abs=0.03)
    assert all(one <= members(corpus, "raw") for one in drawn)
