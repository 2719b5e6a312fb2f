"""Deduplication against earlier releases: what they hold is dropped, without their text."""

from __future__ import annotations

import functools
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from conftest import contents, sentence, write_jsonl
from reference import dedup, sketches

import curate
from curate import show
from curate.errors import IntegrityError, RecipeError
from curate.io import write
from curate.release import Release
from curate.stages.dedup import shuffle
from curate.stages.exact import content_hashes
from curate.stages.minhash import MinHash

NGRAM, SIMILARITY = 3, 0.6
STAGES = f"""\
  - exact: {{{{against: [{{against}}]}}}}
  - minhash: {{{{similarity: {SIMILARITY}, recall: 0.9999, ngram: {NGRAM}, against: [{{against}}]}}}}
"""
EXACT, NEAR = "exact/duplicate-of-release", "minhash/near-duplicate-of-release"


def make(
    folder: Path,
    name: str,
    records: Sequence[dict[str, Any]],
    against: str = "",
    *,
    stages: str = STAGES,
    output: str = "{index: true}",
    **options: Any,
) -> Release:
    """Run a recipe over records of one kind, in files of a source of that name, into folder/name."""
    half = (len(records) + 1) // 2  # several files: several units for the workers
    files = [f"{name}.{start}.jsonl" for start in range(0, len(records), half)]
    for number, file in enumerate(files):
        write_jsonl(folder / file, list(records[number * half : (number + 1) * half]))
    recipe = folder / f"{name}.yaml"
    source = f"{{name: {name}, files: [{', '.join(files)}], license: CC0-1.0}}"
    text = f"curate: 1\nname: {name}\nversion: '1'\nsources: [{source}]\n"
    recipe.write_text(f"{text}stages:\n{stages.format(against=against)}output: {output}\n")
    return curate.run(recipe, folder / name, **{"workers": 1, **options})


def strip(release: Release) -> None:
    """Leave of a release its manifest and its index, nothing else."""
    for path in release.path.iterdir():
        if path.is_dir() and path.name != "index":
            shutil.rmtree(path)
    assert sorted(path.name for path in release.path.iterdir() if path.is_dir()) == ["index"]


def ledger(release: Release) -> list[dict[str, Any]]:
    return pl.read_parquet(release.path / "ledger/*").to_dicts()


def held(release: Release) -> dict[str, dict[str, Any]]:
    """Return, by id, the decisions on records that an earlier release holds."""
    return {line["id"]: line for line in ledger(release) if line["reason"] in (EXACT, NEAR)}


def kept(release: Release) -> list[str]:
    return pl.read_parquet(release.path / "data/*")["id"].to_list()


def edited(rng: random.Random, text: str, edits: int) -> str:
    words = text.split()
    for place in rng.sample(range(len(words)), edits):
        words[place] = f"w{rng.randrange(1000)}"
    return " ".join(words)


def corpora() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return an earlier and a later corpus: copies and chains of look-alikes within and between them."""
    rng = random.Random(3)
    old: list[dict[str, Any]] = [{"id": i, "text": sentence(rng, rng.choice([2, 12, 40]))} for i in range(60)]
    old += [{"id": f"old{i}", "text": edited(rng, old[i]["text"], 1)} for i in range(0, 60, 6)]
    texts: list[str] = []
    for line in old[:40]:
        text = line["text"]
        texts.append(text.upper().replace(" ", "  "))
        for _ in range(3):  # each step further away, and like the one before
            text = edited(rng, text, 1)
            texts.append(text)
    texts += [sentence(rng, 40) for _ in range(30)]
    texts += [edited(rng, text, 2) for text in texts[-30:]] + texts[-5:]
    rng.shuffle(texts)
    return old, [{"id": i, "text": text} for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Release, Release]:
    """A release of which only manifest and index are left, and one made against it."""
    folder = tmp_path_factory.mktemp("two")
    old, new = corpora()
    a = make(folder, "a", old)
    shutil.copytree(a.path, folder / "a-whole")
    strip(a)
    return folder, a, make(folder, "b", new, "a")


@functools.cache
def sets(text: str) -> list[set[int]]:
    """Return a document's shingles, by words and by words and symbols."""
    text = dedup.normalise(text)
    return [set(dedup.shingles(text, NGRAM, symbols=symbols)) for symbols in (False, True)]


def alike(one: str, other: str) -> float | None:
    """Return how similar two documents of few shingles are, None if not enough."""
    words, symbols = (float(dedup.jaccard(a, b)) for a, b in zip(sets(one), sets(other), strict=True))
    return words if min(words, symbols) >= SIMILARITY else None


def test_what_an_earlier_release_holds_is_dropped_without_its_text(
    two: tuple[Path, Release, Release],
) -> None:
    folder, a, b = two
    before = {row["id"]: row["text"] for row in pl.read_parquet(folder / "a-whole/data/*").to_dicts()}
    texts = {f"b/{line['id']}": line["text"] for line in corpora()[1]}
    found = held(b)
    for name, text in texts.items():
        equal = [one for one, other in before.items() if dedup.normalise(other) == dedup.normalise(text)]
        near = {one: score for one, other in before.items() if (score := alike(text, other)) is not None}
        if equal:
            assert (found[name]["reason"], found[name]["kept_id"], found[name]["score"]) == (
                EXACT,
                equal[0],
                1,
            )
        elif near:  # the most similar one, of equals the first
            best = max(near, key=lambda one: near[one])
            assert (found[name]["reason"], found[name]["kept_id"]) == (NEAR, best)
            assert found[name]["score"] == near[best]
        else:
            assert name not in found
    assert len({line["reason"] for line in found.values()}) == 2
    assert 60 < len(found) < len(texts) - 30
    evidence = orjson.loads(
        found["b/0"]["evidence"] if "b/0" in found else next(iter(found.values()))["evidence"]
    )
    assert evidence["release"] == {"name": "a", "version": "1", "root": a.manifest["root"]}


def test_the_run_s_own_deduplication_is_that_of_the_records_left(
    two: tuple[Path, Release, Release], tmp_path: Path
) -> None:
    _, _, b = two
    gone = held(b)
    left = [line for line in corpora()[1] if f"b/{line['id']}" not in gone]
    alone = make(tmp_path, "b", left)
    names = ("id", "stage", "reason", "kept_id", "score")
    own = [tuple(line[name] for name in names) for line in ledger(b) if line["id"] not in gone]
    assert own == [tuple(line[name] for name in names) for line in ledger(alone)] != []
    assert kept(b) == kept(alone)


def test_records_of_earlier_releases_are_not_counted(two: tuple[Path, Release, Release]) -> None:
    _, a, b = two
    stages = {stage["name"]: stage for stage in b.manifest["stages"]}
    assert b.manifest["counts"]["seen"] == len(corpora()[1])
    for stage in stages.values():
        assert stage["seen"] == stage["kept"] + stage["dropped"] + stage["quarantined"]
    for name, reason in (("exact", EXACT), ("minhash", NEAR)):
        told = stages[name]["resolution"]["against"]
        dropped = stages[name]["reasons"][reason]
        assert told == [
            {
                "name": "a",
                "version": "1",
                "root": a.manifest["root"],
                "records": a.manifest["counts"]["kept"],
                "dropped": dropped,
            }
        ]
        assert stages[name]["resolution"]["dropped"] + dropped == stages[name]["dropped"]


def test_clusters_of_held_records_are_told_apart(two: tuple[Path, Release, Release]) -> None:
    _, _, b = two
    table = pl.read_parquet(b.path / "clusters/*").filter(pl.col("id").is_in(list(held(b))))
    assert table["cluster"].null_count() == 0
    assert table["kept"].sum() == 0
    assert table.group_by("cluster").agg(pl.col("kept_id").n_unique())["kept_id"].max() == 1


def test_the_bytes_are_the_same_for_any_workers_and_batches(
    two: tuple[Path, Release, Release], tmp_path: Path
) -> None:
    folder, _, b = two
    whole = contents(folder / "a-whole")
    old, new = corpora()
    assert contents(make(tmp_path, "a", old, workers=2, batch_size=7).path) == whole
    assert contents(make(tmp_path, "b", new, "a/index", workers=2, batch_size=50).path) == contents(b.path)


def test_where_the_earlier_release_lies_makes_no_difference_and_what_it_holds_does(
    two: tuple[Path, Release, Release], tmp_path: Path
) -> None:
    _, a, b = two
    old, new = corpora()
    shutil.copytree(a.path, tmp_path / "other place" / "release")
    moved = make(tmp_path, "b", new, "'other place/release'")
    assert contents(moved.path) == contents(b.path)
    make(tmp_path, "a", old[:30])
    other = make(tmp_path, "b", new, "a")
    assert not other.reused
    assert other.manifest["recipe_sha256"] != b.manifest["recipe_sha256"]
    assert len(kept(other)) > len(kept(b))
    assert make(tmp_path, "b", new, "a").reused


def test_small_row_groups_and_shards_make_no_difference(
    two: tuple[Path, Release, Release], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "GROUP_RECORDS", 8)
    old, new = corpora()
    a = make(tmp_path, "a", old, output="{index: true, shard_size: 20KB}")
    files = [entry for entry in a.manifest["outputs"] if entry["path"].startswith("index/")]
    assert len(files) > 2
    assert sum(entry["records"] for entry in files) == a.manifest["index"]["records"]
    found = held(make(tmp_path, "b", new, "a"))
    for name, line in held(two[2]).items():
        for key in ("reason", "kept_id", "score"):
            assert found[name][key] == line[key]


def test_little_memory_makes_no_difference(
    two: tuple[Path, Release, Release], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, a, b = two
    plan = shuffle.plan

    def small(records: int, keys: int, memory: int, *more: int) -> shuffle.Plan:
        return plan(records, keys, 3000, *more)._replace(partitions=8)

    monkeypatch.setattr(shuffle, "plan", small)
    shutil.copytree(a.path, tmp_path / "a")
    assert contents(make(tmp_path, "b", corpora()[1], "a", memory="256MB").path) == contents(b.path)


def test_a_plan_counts_the_earlier_records_and_the_index(
    two: tuple[Path, Release, Release], tmp_path: Path
) -> None:
    _, a, _ = two
    shutil.copytree(a.path, tmp_path / "a")
    make(tmp_path, "b", corpora()[1])
    plain = curate.plan(tmp_path / "b.yaml", workers=1)
    recipe = (tmp_path / "b.yaml").read_text()
    (tmp_path / "b.yaml").write_text(recipe.replace("against: []", "against: [a]"))
    against = curate.plan(tmp_path / "b.yaml", workers=1)
    states: list[Any] = [plan.memory["dedup_state"] for plan in (plain, against)]
    assert (
        0 < states[1] - states[0] <= MinHash.bytes_per_record * a.manifest["counts"]["kept"]
    )  # fewer records get so far
    (tmp_path / "b.yaml").write_text(recipe.replace("{index: true}", "{}"))
    assert curate.plan(tmp_path / "b.yaml", workers=1).disk["needed"] < plain.disk["needed"]


def test_the_index_holds_the_sets_and_hashes_of_what_the_stage_saw(
    two: tuple[Path, Release, Release],
) -> None:
    folder, a, _ = two
    index = pl.read_parquet(a.path / "index/*")
    data = pl.read_parquet(folder / "a-whole/data/*")
    assert index["id"].to_list() == data["id"].to_list()
    assert index["source"].to_list() == data["source"].to_list()
    texts = data["text"].to_list()
    hashes = content_hashes(sketches.batch([{"text": text} for text in texts]))
    assert index["exact_high"].to_list() == hashes[:, 0].tolist()
    assert index["exact_low"].to_list() == hashes[:, 1].tolist()
    for row, text in zip(index.to_dicts(), texts, strict=True):
        words, symbols = sets(text)
        assert row["minhash_prompt"] == row["minhash_prompt_symbols"] == []
        assert row["minhash_response"] == sorted(words)  # in order of reading they would tell it
        assert row["minhash_response_symbols"] == sorted(symbols)
    scheme = a.manifest["index"]["stages"]["minhash"]
    assert scheme["bands"] == sum(name.startswith("minhash_band_") for name in index.columns)
    assert (scheme["ngram"], scheme["similarity"], scheme["seed"], scheme["on"]) == (
        NGRAM,
        SIMILARITY,
        1,
        "both",
    )


def test_three_releases_in_a_chain(tmp_path: Path) -> None:
    rng = random.Random(8)
    first, second, third = ([sentence(rng, 40) for _ in range(12)] for _ in range(3))

    def lines(*groups: Sequence[str]) -> list[dict[str, Any]]:
        return [{"id": i, "text": text} for i, text in enumerate(text for group in groups for text in group)]

    one = make(tmp_path, "one", lines(first))
    two = make(tmp_path, "two", lines(first[:6], [edited(rng, text, 1) for text in first[6:]], second), "one")
    assert kept(two) == [f"two/{i}" for i in range(12, 24)]
    strip(one)
    strip(two)
    assert pl.read_parquet(two.path / "index/*")["id"].to_list() == [f"two/{i}" for i in range(12, 24)]
    again = [edited(rng, text, 1) for text in [*first, *second]]
    three = make(tmp_path, "three", lines(first, second, again, third), "two, one/index")
    assert kept(three) == [f"three/{i}" for i in range(48, 60)]
    found = held(three)
    assert {line["kept_id"].split("/")[0] for line in found.values()} == {"one", "two"}
    for line in found.values():
        assert orjson.loads(line["evidence"])["release"]["name"] == line["kept_id"].split("/")[0]
    for stage in three.manifest["stages"][1:]:
        assert [(r["name"], r["dropped"]) for r in stage["resolution"]["against"]] == [
            ("two", 12),
            ("one", 12),
        ]


def test_of_equal_records_in_two_releases_that_of_the_first_named_stands(tmp_path: Path) -> None:
    text = sentence(random.Random(1), 40)
    for name in ("one", "two"):
        make(tmp_path, name, [{"id": 1, "text": text}], output="{index: true}")
    new = [{"id": 1, "text": text}, {"id": 2, "text": f"{text} more"}]
    for against, stands in (("one, two", "one/1"), ("two, one", "two/1")):
        found = held(make(tmp_path, "new", new, against))
        assert {line["kept_id"] for line in found.values()} == {stands}
        assert {line["reason"] for line in found.values()} == {EXACT, NEAR}


def test_prompt_and_response_must_both_be_held(tmp_path: Path) -> None:
    rng = random.Random(2)
    prompts, answers = ([sentence(rng, 30) for _ in range(4)] for _ in range(2))
    make(tmp_path, "a", [sketches.chat(p, r) for p, r in zip(prompts, answers, strict=True)])
    new = [sketches.chat(f"now {prompts[0]}", f"well {answers[0]}")]
    new += [sketches.chat(prompts[1], sentence(rng, 30)), sketches.chat(sentence(rng, 30), answers[1])]
    new += [sketches.chat(prompts[2], answers[3]), sketches.chat(prompts[3], answers[3])]
    found = held(make(tmp_path, "b", new, "a"))
    assert {name: line["reason"] for name, line in found.items()} == {"b/b.0/1": NEAR, "b/b.3/2": EXACT}
    evidence = orjson.loads(found["b/b.0/1"]["evidence"])
    assert evidence["similarity"] == min(evidence["prompt_similarity"], evidence["response_similarity"])


def test_short_and_empty_records_and_symbols_are_compared_as_in_a_run(tmp_path: Path) -> None:
    old = ["yes", "", "2 + 2 is", "( not not True and not False ) is", "今天天气很好我们一起去公园散步"]
    new = [
        "Yes",
        " \n",
        "2 - 2 is",
        "not not ( True ) and not False is",
        "今天天气很好我们一起去公园散步了",
        "no",
    ]
    make(tmp_path, "a", [{"id": i, "text": text} for i, text in enumerate(old)])
    found = held(make(tmp_path, "b", [{"id": i, "text": text} for i, text in enumerate(new)], "a"))
    reasons = {"b/0": EXACT, "b/1": EXACT, "b/4": NEAR}
    assert {name: line["reason"] for name, line in found.items()} == reasons
    words = "  - minhash: {{similarity: 0.6, ngram: 3, symbols: false, against: [{against}]}}\n"
    a = make(tmp_path, "c", [{"id": i, "text": text} for i, text in enumerate(old)], stages=words)
    assert "minhash_response_symbols" not in pl.read_parquet(a.path / "index/*").columns
    found = held(
        make(tmp_path, "d", [{"id": i, "text": text} for i, text in enumerate(new)], "c", stages=words)
    )
    assert set(found) == {"d/0", "d/1", "d/2", "d/3", "d/4"}


def test_edits_after_deduplication_do_not_hide_a_record(tmp_path: Path) -> None:
    old = [{"id": 1, "text": "the secret of the river is a stone"}, {"id": 2, "text": "a secret"}]
    a = make(tmp_path, "a", old, stages=STAGES + "  - toys:Shout\n")
    assert pl.read_parquet(a.path / "data/*")["text"].to_list()[1] == "a XXXXXX"
    b = make(tmp_path, "b", [*old, {"id": 3, "text": "a XXXXXX"}], "a")
    assert kept(b) == ["b/3"]
    assert {line["reason"] for line in held(b).values()} == {EXACT}


def test_few_permutations_need_no_bits_of_minima(tmp_path: Path) -> None:
    few = "  - minhash: {{num_perm: 40, recall: 0.9, against: [{against}]}}\n"
    rng = random.Random(4)
    old = [{"id": i, "text": sentence(rng, 60)} for i in range(5)]
    a = make(tmp_path, "a", old, stages=few)
    assert pl.read_parquet(a.path / "index/*")["minhash_planes"].to_list() == [[]] * 5
    assert len(held(make(tmp_path, "b", old, "a", stages=few))) == 5


def test_an_empty_index_holds_nothing(tmp_path: Path) -> None:
    none = "  - license: {{allow: [MIT]}}\n" + STAGES
    rows = [{"id": i, "text": sentence(random.Random(i), 30)} for i in range(4)]
    a = make(tmp_path, "a", rows, stages=none)
    assert a.manifest["index"]["records"] == a.manifest["counts"]["kept"] == 0
    b = make(tmp_path, "b", rows, "a")
    assert len(kept(b)) == 4
    assert [one["dropped"] for one in b.manifest["stages"][1]["resolution"]["against"]] == [0]
    assert len(held(make(tmp_path, "c", rows, "b"))) == 4
    nothing = make(tmp_path, "d", rows, "b", stages=none)
    assert nothing.manifest["counts"]["kept"] == 0
    assert held(nothing) == {}


def test_releases_have_no_index_unless_asked_for(tmp_path: Path) -> None:
    rows = [{"id": 1, "text": "one"}]
    a = make(tmp_path, "a", rows)
    assert (a.path / "index").is_dir()
    again = make(tmp_path, "a", rows, output="{}")
    assert not (again.path / "index").exists()
    assert "index" not in again.manifest
    with pytest.raises(
        RecipeError, match=r"b\.yaml:6: .*release a 1 keeps no index; run its recipe again with"
    ):
        make(tmp_path, "b", rows, "a")


def test_an_index_without_a_stage_that_makes_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"output\.index: found true; allowed: true with a stage exact"):
        make(tmp_path, "a", [{"id": 1, "text": "one"}], stages="  - conversation\n")


@pytest.mark.parametrize(
    ("options", "differs"),
    [
        ("similarity: 0.7, recall: 0.9999, ngram: 3", "similarity is 0.6 there, 0.7 here"),
        (
            "similarity: 0.6, recall: 0.9999, ngram: 5",
            "ngram is 3 there, 5 here; give this stage the same, or run",
        ),
        ("similarity: 0.6, recall: 0.9999, ngram: 3, seed: 2", "seed is 1 there, 2 here"),
        ("similarity: 0.6, recall: 0.9999, ngram: 3, on: whole", "on is both there, whole here"),
        ("similarity: 0.6, recall: 0.5, ngram: 3", "recall is 0.9999 there, 0.5 here, bands is 42 there"),
    ],
)
def test_an_index_of_another_scheme_is_refused(
    two: tuple[Path, Release, Release], tmp_path: Path, options: str, differs: str
) -> None:
    shutil.copytree(two[1].path, tmp_path / "a")
    stages = f"  - minhash: {{{{{options}, against: [{{against}}]}}}}\n"
    with pytest.raises(
        RecipeError, match=rf"stages\[0\].minhash: .*release a 1 does not fit minhash: .*{differs}"
    ):
        make(tmp_path, "b", [{"id": 1, "text": "one"}], "a", stages=stages)
    assert not (tmp_path / "b").exists()


def test_options_that_do_not_change_the_scheme_may_differ(
    two: tuple[Path, Release, Release], tmp_path: Path
) -> None:
    shutil.copytree(two[1].path, tmp_path / "a")
    stages = (
        "  - minhash: {{similarity: 0.6, recall: 0.9998, ngram: 3, max_cluster: 9, against: [{against}]}}\n"
    )
    make(tmp_path, "b", [{"id": 1, "text": "one"}], "a", stages=stages)


def test_an_index_of_another_version_is_refused(
    two: tuple[Path, Release, Release], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(two[1].path, tmp_path / "a")
    monkeypatch.setattr("curate.stages.exact.SIGNED", "0")
    with pytest.raises(RecipeError, match=r"version is .* there, 0 here; run that release"):
        make(tmp_path, "b", [{"id": 1, "text": "one"}], "a")


def test_an_index_of_another_stage_is_refused(tmp_path: Path) -> None:
    rows = [{"id": 1, "text": "one"}]
    make(tmp_path, "a", rows, stages="  - exact\n")
    with pytest.raises(RecipeError, match="the index of release a 1 is of exact, not of minhash"):
        make(tmp_path, "b", rows, "a")


@pytest.mark.parametrize(
    ("against", "message"),
    [
        ("nowhere", "found 'nowhere', which is no release: there is no manifest.json; name the folder"),
        ("a, a/index", "found 'a/index', the same release as 'a'; take one out"),
    ],
)
def test_names_of_no_release_and_of_one_release_are_refused(
    two: tuple[Path, Release, Release], tmp_path: Path, against: str, message: str
) -> None:
    shutil.copytree(two[1].path, tmp_path / "a")
    with pytest.raises(RecipeError, match=message):
        make(tmp_path, "b", [{"id": 1, "text": "one"}], against)


def test_a_run_against_the_release_it_would_replace_is_refused(tmp_path: Path) -> None:
    rows = [{"id": 1, "text": "one"}]
    make(tmp_path, "a", rows)
    with pytest.raises(RecipeError, match="against names a, which is the --out of this run"):
        make(tmp_path, "a", rows, "a")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def reword(path: Path) -> None:
    manifest = orjson.loads(path.read_bytes())
    manifest["index"]["stages"]["minhash"]["similarity"] = 0.5
    path.write_bytes(orjson.dumps(manifest))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "index/part-00000.parquet",
            flip,
            "part-00000.parquet: is not the file that its release's manifest names",
        ),
        (
            "index/part-00000.parquet",
            Path.unlink,
            "part-00000.parquet: is missing from the index; restore index/",
        ),
        ("manifest.json", reword, "manifest.json was changed after its run"),
    ],
)
def test_an_index_that_was_tampered_with_is_refused(
    two: tuple[Path, Release, Release],
    tmp_path: Path,
    file: str,
    change: Callable[[Path], None],
    message: str,
) -> None:
    shutil.copytree(two[1].path, tmp_path / "a")
    change(tmp_path / "a" / file)
    with pytest.raises(IntegrityError, match=message):
        make(tmp_path, "b", [{"id": 1, "text": "one"}], "a")


def test_comparisons_left_out_are_reported(tmp_path: Path) -> None:
    rng = random.Random(6)
    words = sentence(rng, 85).split()
    cousins = []  # each like all others, but not enough
    for i in range(5, 80, 6):
        cousins.append({"id": i, "text": " ".join([*words[:i], f"w{i}", *words[i + 1 :]])})
    stages = "  - minhash: {{max_bucket: 2, against: [{against}]}}\n"
    a = make(tmp_path, "a", cousins[:-1], stages=stages)
    assert len(kept(a)) == len(cousins) - 1
    b = make(tmp_path, "b", cousins[-1:], "a", stages=stages)
    found = next(f for f in b.manifest["findings"] if f["reason"] == "minhash/capped-bucket-of-release")
    assert found["severity"] == "warning"
    assert found["count"] > 0


def text_of(story: Any) -> str:
    with show.out().capture() as captured:
        pass
    console = show.out()
    with console.capture() as captured:
        console.print(show.story(story), soft_wrap=True)
    return captured.get()


def test_explain_follows_a_duplicate_into_the_earlier_release(tmp_path: Path) -> None:
    rng = random.Random(5)
    text = sentence(rng, 40)
    a = make(tmp_path / "first", "s", [{"id": 1, "text": text}, {"id": 2, "text": sentence(rng, 40)}])
    near = edited(rng, text, 1)
    new = [{"id": 1, "text": near}, {"id": 2, "text": near.upper()}, {"id": 3, "text": sentence(rng, 40)}]
    b = make(tmp_path / "second", "s", new, "'../first/s'")
    stories = {name: b.explain(name) for name in ("s/1", "s/2")}
    copy = next(story for story in stories.values() if story.steps[-1].stage == "exact")
    last = copy.represented_by[-1]
    assert [step.reason for step in copy.represented_by] == [NEAR, None]
    assert last.evidence is not None
    assert (last.kept_id, last.evidence["release"]["root"]) == ("s/1", a.manifest["root"])
    assert last.evidence["places"] == [
        {"read_from": "s.0.jsonl#1", "now": "data/part-00000.parquet", "row": 1}
    ]
    said = text_of(copy)
    assert f"s/1, which stands for it, is kept in release s 1 (root {a.manifest['root'][:16]}…)" in said
    assert "first/s, data/part-00000.parquet, row 1" in said
    first = next(name for name, story in stories.items() if story is not copy)
    assert b.explain(first).duplicates == (
        copy.id,
    )  # and none that an earlier release's record of that id stands for
    shutil.move(tmp_path / "first", tmp_path / "second" / "elsewhere")
    assert "which is not beside this one" in text_of(b.explain(copy.id))


def test_the_datasheet_lists_the_releases(two: tuple[Path, Release, Release]) -> None:
    _, a, b = two
    sheet = (b.path / "datasheet.md").read_text()
    section = sheet.split("## Earlier and later releases")[1].split("\n## ")[0]
    dropped = b.manifest["stages"][2]["reasons"][NEAR]
    root, records = a.manifest["root"], a.manifest["counts"]["kept"]
    assert f"| minhash | a | 1 | `{root}` | {records} | {dropped} |" in section
    assert "index/" in section
    assert (
        f"Deduplicated against the index of release a 1 (root \\`{root}\\`" in sheet
    )  # a note is shown as it is
    assert "Earlier and later releases" not in (
        (make(two[0], "plain", [{"id": 1, "text": "one"}], output="{}").path / "datasheet.md").read_text()
    )
