"""The mixture before and after every stage, and splits in a release: counted again, told and held to account."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from conftest import RECIPE, contents, make_corpus
from reference import mixing

import curate
from curate.govern import findings, mixture
from curate.govern import manifest as manifests
from curate.govern.verify import verify
from curate.io import write
from curate.parts import Gates
from curate.release import finish

MIXED = RECIPE.replace(
    "  - toys:Shout\n",
    "  - mix: {caps: {source: {docs: 100}}, splits: {validation: 0.2, test: 12}}\n  - toys:Shout\n",
)
TAIL = "output: {index: true, shard_size: 6KB}\ngates: {max_mixture_shift: 0.04}\n"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    folder = tmp_path_factory.mktemp("mixed")
    make_corpus(folder, 150)
    (folder / "curate.yaml").write_text(MIXED + TAIL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "GROUP_RECORDS", 16)
        made = curate.run(folder / "curate.yaml", workers=1)
        other = curate.run(folder / "curate.yaml", folder / "other", workers=1, batch_size=7)
    assert contents(other.path) == contents(made.path)
    return made


def table(out: Path, part: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(sorted((out / part).glob("part-*"))).to_pylist()
    return rows


def rows(release: curate.Release) -> list[dict[str, Any]]:
    """Return all records as the twin takes them."""
    order = release.manifest["mixture"]["stages"]
    found = []
    for told, one in zip(table(release.path, "records"), table(release.path, "data"), strict=True):
        found.append({**one, "ended": len(order), "license": told["license_concluded"]})
    for one in table(release.path, "removed"):
        said = one["curate"]
        found.append(
            {**one, "ended": order.index(said["stage"]), "license": said["facts"]["license_concluded"]}
        )
    for one in found:
        texts = [one["text"], *(turn["content"] for turn in one["messages"] or ())]
        one["bytes"] = sum(len(text.encode()) for text in texts if text)
    return found


def test_the_mixture_before_every_stage_is_what_the_tables_hold(release: curate.Release) -> None:
    held = release.manifest["mixture"]
    order = held["stages"]
    assert [one["dimension"] for one in held["dimensions"]] == ["source", "license"]
    assert [one["known_from"] for one in held["dimensions"]] == ["read", "license"]
    everything = rows(release)
    for one in held["dimensions"]:
        start = order.index(one["known_from"])
        wanted = mixing.mixture(everything, order, one["dimension"], start)
        said = {
            group["group"]: list(zip(group["records"][start:], group["bytes"][start:], strict=True))
            for group in one["groups"]
        }
        assert said == wanted
        assert one["all"]["records"][:start] == [None] * start
        for moved in (shift for shift in held["shifts"] if shift["dimension"] == one["dimension"]):
            at = order.index(moved["stage"]) - start
            before, after = ({name: line[k][0] for name, line in wanted.items()} for k in (at, at + 1))
            assert moved["shift"] == round(float(mixing.shift(before, after)), 6)
            assert (moved["before"], moved["after"]) == (before[moved["group"]], after[moved["group"]])
    stages = {stage["name"]: stage for stage in release.manifest["stages"]}
    assert held["dimensions"][0]["all"]["records"] == [
        *(stages[name]["seen"] for name in order),
        release.manifest["counts"]["kept"],
    ]


def test_groups_beyond_the_largest_are_told_as_one() -> None:
    table = {f"g{n:02}": np.array([[n + 1, n], [0, 0]]) for n in range(mixture.LISTED + 3)}
    told = mixture._told("task", ["read"], 0, table, has_bytes=True)
    assert [one["group"] for one in told["groups"]][:2] == ["g14", "g13"]
    assert told["others"] == {"groups": 3, "records": [6, 3], "bytes": [0, 0]}


@pytest.mark.parametrize(
    ("groups", "gone"), [([500, 500], 300), ([900, 60, 40], 950), ([20] * 10, 5), ([7, 3], 5)]
)
def test_removing_at_random_seldom_moves_the_mixture_by_more_than_the_bound(
    groups: list[int], gone: int
) -> None:
    """At most once in a thousand times; the bound is no larger than thrice what 999 of 1,000 draws stay below."""
    rng = np.random.default_rng(7)
    left = sum(groups) - gone
    drawn = rng.multivariate_hypergeometric(groups, left, size=4000)
    moved = np.abs(drawn / left - np.array(groups) / sum(groups)).sum(axis=1) / 2
    bound = mixture.by_chance(groups, left)
    assert (moved > bound).mean() <= mixture.CHANCE
    assert bound <= 3 * np.quantile(moved, 0.999)


def test_a_filter_that_takes_from_one_group_is_a_finding_and_a_few_records_are_none() -> None:
    def told(
        before: dict[str, int], after: dict[str, int], stage: str = "quality", by: str = "source"
    ) -> list[Any]:
        shift = {"stage": stage, "dimension": by, **mixture.shift(before, after)}
        return findings.shifts(Gates(), {"shifts": [shift]})

    [found] = told({"forum": 500, "web": 500}, {"forum": 200, "web": 490})
    assert found["reason"] == "quality/mixture-shift"
    assert "forum lost most, from 500 of 1,000 records (50.0%) to 200 of 690 (29.0%)" in found["message"]
    assert told({"forum": 500, "web": 500}, {"forum": 400, "web": 500}) == []  # below the limit
    assert told({"forum": 5, "web": 5}, {"forum": 2, "web": 5}) == []  # what chance does, too
    assert told({"forum": 500, "web": 500}, {"forum": 200, "web": 490}, "mix") == []  # as it was asked to
    assert told({"de": 500, "en": 500}, {"de": 0, "en": 490}, "language", "language") == []


def test_a_gate_on_the_shift_is_missed_and_says_by_which_stage(release: curate.Release) -> None:
    [gate] = release.failed_gates
    assert gate["gate"] == "max_mixture_shift"
    assert gate["where"] == "stage license, by source"
    assert gate["value"] > gate["limit"] == 0.04
    reasons = [one["reason"] for one in release.manifest["findings"]]
    assert "license/mixture-shift" in reasons
    assert "mix/mixture-shift" not in reasons


def test_no_shard_holds_two_splits_and_the_manifest_names_its_own(release: curate.Release) -> None:
    out = release.path
    listed = [one for one in release.manifest["outputs"] if one["path"].startswith("records/")]
    data = [one for one in release.manifest["outputs"] if one["path"].startswith("data/")]
    assert [one["split"] for one in listed] == [one["split"] for one in data]
    splits = [one["split"] for one in listed]
    assert splits == sorted(splits, key=lambda name: (name != "train", name))
    assert set(splits) == {"train", "test", "validation"}
    for one in listed:
        assert set(pq.read_table(out / one["path"]).column("split").to_pylist()) == {one["split"]}
    held = {part: [one["id"] for one in table(out, part)] for part in ("data", "records", "index")}
    assert held["data"] == held["records"] == held["index"]
    assert [one["leaf"] for one in table(out, "records")] == list(range(len(held["data"])))
    assert all(one["curate"]["facts"]["split"] is None for one in table(out, "removed"))
    assert verify(out).ok


def test_readers_get_the_splits_through_the_card_and_croissant(
    release: curate.Release, tmp_path: Path
) -> None:
    import datasets

    wanted = {
        name: sum(one["records"] for one in release.manifest["outputs"] if one.get("split") == name) // 2
        for name in ("train", "test", "validation")
    }
    loaded = datasets.load_dataset(str(release.path), cache_dir=str(tmp_path))
    assert {name: len(part) for name, part in loaded.items()} == wanted
    told = orjson.loads((release.path / "croissant.json").read_bytes())
    [splits] = [one for one in told["recordSet"] if one["@id"] == "splits"]
    assert [one["splits/name"] for one in splits["data"]] == list(wanted)


def test_a_shard_listed_for_another_split_and_a_forged_mixture_are_found(
    release: curate.Release, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(release.path, tmp_path / "copy"))
    outputs = [
        {**one, "split": "train"} if one.get("split") == "test" and one["path"].startswith("data/") else one
        for one in release.manifest["outputs"]
    ]
    forged = orjson.loads(orjson.dumps(release.manifest["mixture"]))
    forged["shifts"][0]["shift"] = 0.0
    finish(out, manifests.revised(release.manifest, outputs=outputs, mixture=forged))
    said = " ".join(str(finding) for check in verify(out).checks for finding in check.findings)
    assert "listed for another split" in said
    assert "/mixture/shifts/0/shift" in said


def test_a_take_down_leaves_the_splits_as_they_were(release: curate.Release, tmp_path: Path) -> None:
    out = Path(shutil.copytree(release.path, tmp_path / "copy"))
    gone = next(one["id"] for one in table(out, "records") if one["split"] == "validation")
    shards = {one["path"]: one.get("split") for one in release.manifest["outputs"]}
    assert shards[release.explain(gone).places[0]["now"]] == "validation"
    curate.takedown(out, ids=[gone])
    after = curate.load(out)
    assert [one.get("split") for one in after.manifest["outputs"] if one["path"].startswith("data/")] == [
        one.get("split") for one in release.manifest["outputs"] if one["path"].startswith("data/")
    ]
    assert verify(out).ok
    before, now = (one.manifest["mixture"]["dimensions"][0]["all"]["records"] for one in (release, after))
    assert now[-1] == before[-1] - 1
    assert all(n < m for n, m in zip(now, before, strict=True))
    said = "are in no count here, though the stages of the run saw them"
    assert [said in (one / "datasheet.md").read_text() for one in (release.path, out)] == [False, True]


def test_what_was_erased_where_removed_records_are_not_kept_is_taken_off_every_count() -> None:
    rng = random.Random(1)

    def part(kept: dict[str, int], before: dict[str, int]) -> dict[str, Any]:
        def line(names: list[str]) -> dict[str, Any]:
            counts = [sum(some[name] for name in names) for some in (before, kept)]
            return {"records": [None, *counts], "bytes": None}

        ordered = sorted(before, key=lambda name: (-before[name], name))
        groups = [{"group": name, **line([name])} for name in ordered[:2]]
        others = {"groups": len(ordered) - 2, **line(ordered[2:])}
        one = {"dimension": "task", "groups": groups, "others": others, "all": line(ordered)}
        return {"dimensions": [one], "shifts": []}

    kept = {name: rng.randrange(5, 9) for name in "abcd"}
    entered = {name: n + rng.randrange(9) for name, n in kept.items()}
    erased = {**kept, "a": kept["a"] - 2, "d": kept["d"] - 1}
    found = part(erased, erased)
    found["dimensions"][0]["groups"] = [
        {"group": name, "records": [None, n, n], "bytes": None} for name, n in erased.items()
    ]
    less = {name: n - kept[name] + erased[name] for name, n in entered.items()}
    said = mixture.after_erasing(part(kept, entered), found)["dimensions"][0]
    assert said["all"]["records"] == [None, sum(less.values()), sum(erased.values())]
    by_name = {one["group"]: one["records"][1:] for one in said["groups"]}
    assert by_name == {name: [less[name], erased[name]] for name in by_name}


def test_a_group_that_was_large_and_is_small_now_keeps_its_count_after_a_take_down(tmp_path: Path) -> None:
    """Of sixteen tasks, one has most records, and few of these are kept: it is not among the largest then."""
    verbs = "write explain list create give compute sort design suggest describe translate summarize find"
    rows = [
        {"id": f"{verb}{n}", "instruction": f"{verb.title()} it: {n} {verb}.", "output": f"{n} {verb} it is."}
        for verb in verbs.split()
        for n in range(6)
    ]
    rows += [
        {"id": f"r{n}", "instruction": f"Rewrite it: {n}.", "output": "yes" * (n < 2)} for n in range(30)
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    (tmp_path / "curate.yaml").write_text(
        "curate: 1\nname: few\nversion: '1'\nsources: [{name: a, files: [a.jsonl], license: MIT, fields: {id: id}}]\n"
        "stages: [profile: {topics: 0}, conversation]\noutput: {keep_removed: false}\n"
    )
    out = curate.run(tmp_path / "curate.yaml", workers=1).path
    curate.takedown(out, ids=["a/write3"])
    [told] = [one for one in curate.load(out).manifest["mixture"]["dimensions"] if one["dimension"] == "task"]
    last = {group["group"]: group["records"][-1] for group in told["groups"]}
    assert last["rewrite"] == 2
    assert sum(last.values()) + told["others"]["records"][-1] == told["all"]["records"][-1] == 79


def test_the_datasheet_shows_the_mixture_and_what_was_asked_for(release: curate.Release) -> None:
    told = orjson.loads((release.path / "datasheet.json").read_bytes())
    [section] = [one for one in told["sections"] if one["name"] == "mixture"]
    charts = [block for block in section["blocks"] if block["kind"] == "chart"]
    assert [chart["name"] for chart in charts] == ["mixture-source", "mixture-license"]
    for stack in (stack for chart in charts for stack in chart["stacks"]):
        assert abs(sum(float(one["text"].rstrip("%")) for one in stack["shares"]) - 100) < 0.3
    captions = [block["caption"] for block in section["blocks"] if block["kind"] == "table"]
    assert captions == [
        "Mixture by source, stage by stage",
        "Mixture by license class, stage by stage",
        "Shifts of the mixture",
        "Limits by group",
        "Splits",
    ]
    page = (release.path / "datasheet.html").read_text()
    assert "c-mixture-source" in page
    assert "Splits, by number of records: train of" in (release.path / "datasheet.md").read_text()
