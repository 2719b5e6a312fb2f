"""Mix: caps, weights and splits do what a plain twin does, whatever the order; and say what cannot be done."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from reference import mixing
from reference.sketches import batch, chat, judge, resolve

from curate import record
from curate.errors import RecipeError
from curate.record import FACT
from curate.stages.mix import Mix
from curate.stages.mixing import limits as _mixing
from curate.stages.mixing import selecting, sides
from curate.stages.mixing.groups import groups, license_class

LICENSES = ["MIT", "CC-BY-SA-4.0", "CC-BY-NC-4.0", None]


def records(rng: random.Random, n: int) -> list[dict[str, Any]]:
    """Return chats of few prompts, some of them equal, with facts."""
    found = []
    for i in range(n):
        one: dict[str, Any] = chat(f"question {rng.randrange(n // 2)}", "yes " * rng.randrange(1, 9))
        one["facts"] = {
            "language": rng.choice(["en", "en", "de", None]),
            "license_concluded": rng.choice(LICENSES),
            "cluster": rng.choice([None, None, f"c{rng.randrange(n)}"]),
            "exact_cluster": rng.choice([None, None, None, f"e{rng.randrange(n)}"]),
        }
        found.append({"id": f"r{i}", "source": rng.choice(["a", "a", "b"]), **one})
    return found


def units(rows: list[dict[str, Any]], sizes: list[int]) -> list[list[record.Batch]]:
    """Cut records into units of one batch each, with their facts as columns."""
    found, at = [], 0
    for size in [*sizes, len(rows)]:
        some = rows[at : at + size]
        at += size
        if some:
            made = batch([{k: v for k, v in one.items() if k != "facts"} for one in some])
            for name in some[0]["facts"]:
                values = pa.array([one["facts"][name] for one in some], pa.string())
                made = record.with_column(made, FACT + name, values)
            found.append([made])
    return found


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return records as the twin takes them."""
    [[made]] = units(rows, [])
    prompts = sides.prompts(made).tolist()
    shas = made.column("_sha256").to_pylist()
    return [
        {
            "id": one["id"],
            "sha256": sha,
            "bytes": sum(len(turn["content"]) for turn in one["messages"]),
            "source": one["source"],
            "license": license_class(one["facts"]["license_concluded"]),
            "language": one["facts"]["language"] or "none",
            "task": "none",
            "prompt": prompt,
            **{name: one["facts"][name] for name in ("cluster", "exact_cluster")},
        }
        for one, sha, prompt in zip(rows, shas, prompts, strict=True)
    ]


OPTIONS: list[dict[str, Any]] = [
    {
        "caps": {"source": {"a": 40}, "language": {"de": 11, "*": 30}},
        "splits": {"validation": 0.2, "test": 9},
    },
    {"caps": {"source": {"*": 300}}, "count": "bytes", "seed": 3},
    {"weights": {"source": {"a": 0.3, "b": 0.7}}, "caps": {"license": {"non-commercial": 0}}},
    {
        "weights": {"language": {"en": 3, "*": 1}},
        "size": 37,
        "splits": {"one": 5, "two": 5, "validation": 0.1},
    },
    {"weights": {"source": {"a": 1, "b": 0}}, "count": "bytes", "size": 500},
    {"size": 25, "splits": {"validation": 400}},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("collected", [1 << 18, 0])
def test_the_same_records_stay_and_part_as_in_plain_words_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], collected: int
) -> None:
    """collected 0: every digit of every limit is searched for, and nothing is sorted."""
    monkeypatch.setattr(_mixing, "select", partial(selecting.select, collected=collected))
    rng = random.Random(str(options))
    rows = records(rng, 120)
    rows += [{**rows[0], "id": "twin"}, dict(rows[1])]  # of one content; of one content and id
    wanted = mixing.keep(plain(rows), options)
    ids = sorted(one["id"] for one in wanted)
    splits = mixing.split(wanted, options) if "splits" in options else {}
    barrier = Mix(Mix.Options(**options))
    for _ in range(2):
        rng.shuffle(rows)
        parts = units(rows, [rng.randrange(1, 50) for _ in range(2)])
        stage: Any = resolve(barrier, parts, tmp_path)
        said = judge(stage, [one for unit in parts for one in unit])
        stays = sorted(name for name, one in said.items() if one["action"] == "keep")
        assert stays == sorted(set(ids))
        assert {name: one.get("fact:split") for name, one in said.items() if name in splits} == splits
        reasons = {one["reason"] for one in said.values() if one["action"] == "drop"}
        assert reasons <= {"mix/over-cap", "mix/over-weight", "mix/over-size"}
        assert reasons
        if "splits" in options:
            told = {one["split"]: one["records"] for one in stage.summary["splits"]}
            assert sum(told.values()) == len(ids)


def test_a_larger_cap_keeps_all_that_a_smaller_one_keeps_and_a_seed_takes_others(tmp_path: Path) -> None:
    rows = records(random.Random(2), 200)
    parts = units(rows, [])

    def kept(cap: int, seed: int = 1) -> set[str]:
        barrier = Mix(Mix.Options(caps={"source": {"*": cap}}, seed=seed))
        said = judge(resolve(barrier, parts, tmp_path), parts[0])
        return {name for name, one in said.items() if one["action"] == "keep"}

    assert kept(10) < kept(25) < kept(60)
    assert len(kept(25)) == 50
    assert kept(25) != kept(25, seed=2)


def test_a_record_over_a_cap_says_by_what_and_how_it_ranked(tmp_path: Path) -> None:
    parts = units(records(random.Random(3), 30), [])
    stage: Any = resolve(Mix(Mix.Options(caps={"language": {"de": 0}})), parts, tmp_path)
    dropped = [one for one in judge(stage, parts[0]).values() if one["action"] == "drop"]
    assert dropped
    assert {one["reason"] for one in dropped} == {"mix/over-cap"}
    assert '"by":"language","group":"de","rank":"' in dropped[0]["evidence"]
    [line] = stage.summary["limits"]
    assert (line["there"], line["target"], line["kept"]) == (len(dropped), 0, 0)


def test_weights_that_cannot_be_met_keep_the_shares_and_name_who_runs_short(tmp_path: Path) -> None:
    rows = records(random.Random(4), 100)
    few = sum(one["source"] == "b" for one in rows)
    parts = units(rows, [])
    stage: Any = resolve(Mix(Mix.Options(weights={"source": {"a": 1, "b": 1}}, size=90)), parts, tmp_path)
    said = judge(stage, parts[0])
    assert sum(one["action"] == "keep" for one in said.values()) == 2 * few
    [finding] = stage.findings
    assert finding["reason"] == "mix/short"
    assert f"b has {few} records, its weight asks for 45" in finding["message"]
    assert stage.summary["weights_bound_by"] == ["b"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"caps": {"source": {"aa": 5}}}, "caps.source names 'aa'.* there is: a, b"),
        ({"caps": {"task": {"write story": 5}}}, "there is: none; the stage profile tells them, before mix"),
        ({"weights": {"source": {"a": 1}}}, "says nothing of b; give each a weight"),
        ({"weights": {"source": {"a": 1, "b": 1, "*": 1}}}, "has a weight for '\\*', and every group"),
    ],
)
def test_groups_that_are_not_there_or_have_no_weight_are_named(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    parts = units(records(random.Random(5), 40), [])
    with pytest.raises(RecipeError, match=said):
        resolve(Mix(Mix.Options(**options)), parts, tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "nothing to do"),
        ({"weights": {"source": {"a": 1}, "language": {"en": 1}}}, "make the others caps"),
        ({"weights": {"source": {"a": 0}}}, "at least one above 0"),
        ({"caps": {"source": {"a": True}}}, "valid integer"),
        ({"caps": {"color": {"a": 1}}}, "'source', 'license', 'language' or 'task'"),
        ({"splits": {"train": 0.1}}, "which the rest is"),
        ({"splits": {"validation": 1.5}}, "a share above 0 and below 1"),
        ({"splits": {"a": 0.5, "b": 0.5}}, "some are left to train on"),
        ({"size": 5, "repeat": 2}, "Extra inputs"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Mix.Options(**options)


def test_no_prompt_and_no_cluster_stands_on_two_sides_over_any_number_of_steps(tmp_path: Path) -> None:
    """A chain of clusters and equal prompts, in other words and white space, is one side; answers do not count."""
    rows = []
    for i in range(60):
        one = chat(f"  QUESTION {i // 2}" if i % 2 else f"question {i // 2} ", f"answer {i}")
        facts = {"cluster": f"c{(i + 1) // 2}"}
        rows.append({"id": f"r{i}", **one, "facts": facts})
    parts = units(rows, [7, 20])
    stage: Any = resolve(Mix(Mix.Options(splits={"validation": 0.4})), parts, tmp_path)
    said = judge(stage, [one for unit in parts for one in unit])
    assert len({one["fact:split"] for one in said.values()}) == 1
    assert [finding["reason"] for finding in stage.findings] == ["mix/split-size"]
    far = [{**one, "facts": {"cluster": None}} for one in rows]
    said = judge(
        resolve(Mix(Mix.Options(splits={"validation": 0.5})), units(far, []), tmp_path), units(far, [])[0]
    )
    assert {one["fact:split"] for one in said.values()} == {"train", "validation"}
    assert all(said[f"r{i}"]["fact:split"] == said[f"r{i + 1}"]["fact:split"] for i in range(0, 60, 2))


def test_a_share_keeps_a_record_on_its_side_when_others_join(tmp_path: Path) -> None:
    rows = [{**one, "facts": {"cluster": None}} for one in records(random.Random(6), 300)]
    barrier = Mix(Mix.Options(splits={"validation": 0.3, "test": 20}))
    some, every = units(rows[:100], []), units(rows, [])
    first = judge(resolve(barrier, some, tmp_path), some[0])
    second = judge(resolve(barrier, every, tmp_path), every[0])
    held = {name for name, one in first.items() if one["fact:split"] == "validation"}
    assert 15 < len(held) < 45
    assert held == {name for name in first if second[name]["fact:split"] == "validation"}


def test_links_travel_over_long_chains() -> None:
    n = 3000
    prompts = np.repeat(np.arange(n, dtype=np.uint64), 2)[1:-1]
    clusters = np.repeat(np.arange(n - 1, dtype=np.uint64), 2)
    found = sides.linked(prompts, clusters)
    assert set(found.of(np.arange(n + 2, dtype=np.uint64)).tolist()) == {0, n, n + 1}


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("MIT", "permissive"),
        ("CC-BY-4.0", "permissive"),
        ("CC-BY-SA-4.0", "share-alike"),
        ("CC-BY-NC-4.0", "non-commercial"),
        ("CC-BY-NC-SA-4.0", "non-commercial"),
        ("CC-BY-ND-4.0", "no-derivatives"),
        ("MIT AND CC-BY-NC-4.0", "non-commercial"),
        ("MIT OR GPL-3.0-only", "permissive"),
        ("no such license", "unknown"),
        (None, "unknown"),
    ],
)
def test_licenses_have_a_class(expression: str | None, wanted: str) -> None:
    assert license_class(expression) == wanted
    made = batch([{"text": "a"}])
    made = record.with_column(made, "license", pa.array([expression], pa.string()))
    assert groups(made, "license").to_pylist() == [wanted]  # where no stage has concluded one
