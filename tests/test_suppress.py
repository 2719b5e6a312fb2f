"""What was taken down stays out of later runs: lists of keyed hashes, and the stage that honours them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import sentence, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import wanted as slow

import curate
from curate import record
from curate.errors import IntegrityError, RecipeError
from curate.kernels import finding
from curate.record import Batch
from curate.stage import Verdict
from curate.stages import suppress
from curate.stages.suppressing import suppression, wanted
from curate.stages.suppressing.wanted import Rule, Wanted

WORDS = st.lists(st.sampled_from(["ape", "bee", "cat", "dog", "elk", "fox"]), max_size=14).map(" ".join)
PAIRS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8)
RULES = st.builds(
    Rule,
    ngram=st.integers(1, 4),
    whole=st.just(False),
    symbols=st.just(False),
    version=st.just(""),
    similarity=st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
KEYS = st.sampled_from([None, (3, 2**64 - 5)])


def batch_of(pairs: list[tuple[str, str]]) -> record.Batch:
    said = [[{"role": "user", "content": a}, {"role": "assistant", "content": b}] for a, b in pairs]
    return pa.record_batch([pa.array(said, record.MESSAGES)], ["messages"])


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=9), st.binary(min_size=16, max_size=16))
def test_keyed_hashes_are_siphash(values: list[int], key: bytes) -> None:
    hashes = np.array(values, np.uint64)
    low, high = (np.uint64(int.from_bytes(key[i : i + 8], "little")) for i in (0, 8))
    finding.keyed(hashes, low, high, hashes)
    assert hashes.tolist() == [slow.siphash(value.to_bytes(8, "little"), key) for value in values]


def test_siphash_is_that_of_its_authors() -> None:
    # vectors_sip64[8] and [15] of their reference implementation: the key 00..0f, the message 00, 01, …
    assert slow.siphash(bytes(range(8)), bytes(range(16))) == 0x93F5F5799A932462
    assert slow.siphash(bytes(range(15)), bytes(range(16))) == 0xA129CA6149BE45E5


@settings(max_examples=200, deadline=None)
@given(PAIRS, PAIRS, RULES, KEYS)
def test_near_duplicates_of_records_are_found_all_and_no_others(
    asked: list[tuple[str, str]], others: list[tuple[str, str]], rule: Rule, key: wanted.Key | None
) -> None:
    found = Wanted(wanted.of_records(batch_of(asked), rule, key), rule, texts=False, key=key).find(
        batch_of(others)
    )
    for row, other in enumerate(others):
        alike = [slow.alike(other, one, rule.ngram, rule.similarity) for one in asked]
        best = max(alike)
        assert found.similarity[row] == pytest.approx(max(best, 0))
        assert (found.entry[row] >= 0) == (best >= 0)
        if best >= 0:
            assert alike[found.entry[row]] == best


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS.filter(bool), min_size=1, max_size=5), PAIRS, RULES, KEYS)
def test_texts_are_found_in_prompt_response_and_whole_and_where_they_are_contained(
    asked: list[str], others: list[tuple[str, str]], rule: Rule, key: wanted.Key | None
) -> None:
    found = Wanted(wanted.of_texts(asked, rule, key), rule, texts=True, key=key).find(batch_of(others))
    for row, (prompt, response) in enumerate(others):
        views = [prompt, response, f"{prompt} {response}"]
        alike = max(
            slow.jaccard(slow.shingles(a, rule.ngram), slow.shingles(b, rule.ngram))
            for a in asked
            for b in views
        )
        assert (found.entry[row] >= 0) == (alike >= rule.similarity)
        held = max(slow.share(text, view, rule.ngram) for text in asked for view in views)
        assert (found.share[row] >= wanted.CONTAINED) == (held >= wanted.CONTAINED)


def test_symbols_tell_short_records_apart_as_they_do_for_minhash() -> None:
    rule = Rule()
    asked, other = batch_of([("what is it", "24 + 5 = 29")]), batch_of([("what is it", "24 - 5 / 29")])
    assert Wanted(wanted.of_records(asked, rule), rule, texts=False).find(asked).entry.tolist() == [0]
    assert Wanted(wanted.of_records(asked, rule), rule, texts=False).find(other).entry.tolist() == [-1]


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("https://Example.org/Page/", "example.org/Page"),
        ("http://example.org:80/Page#top", "example.org/Page"),
        ("//user@example.org/a?b=1", "example.org/a?b=1"),
        ("https://bücher.example/", "xn--bcher-kva.example"),
    ],
)
def test_urls_are_compared_without_what_does_not_matter(address: str, same: str) -> None:
    assert suppression.url(address)[0] == same


def test_a_slash_too_many_does_not_hide_a_domain() -> None:
    assert suppression.url("example.org//page") == ("example.org//page", "example.org")
    assert suppression.url("t.co/http://example.org")[1] == "t.co"


def test_authors_are_compared_without_case_and_spelling() -> None:
    assert suppression.author(" Zoe\u0308 STRASSE ") == suppression.author("zoë straße")
    assert suppression.author("Ann\u00a0 \uff22.") == suppression.author("ann b.")


# What follows runs recipes.

RECIPE = """\
curate: 1
name: small
version: "1"
sources: [{name: a, files: [in.jsonl]}]
stages: [exact, {minhash: {similarity: 0.7}}]
"""


def corpus(folder: Path, extra: list[dict[str, Any]] = []) -> Path:  # noqa: B006 - never changed
    rng = random.Random(3)
    rows = [
        {
            "id": f"r{i}",
            "text": sentence(rng, 40),
            "author": f"Person {i % 5}",
            "url": f"https://w{i % 4}.example.org/{i}",
        }
        for i in range(40)
    ]
    write_jsonl(folder / "in.jsonl", rows + extra)
    (folder / "curate.yaml").write_text(RECIPE)
    return folder / "curate.yaml"


def ids(out: Path, part: str = "data") -> set[str]:
    return set(pq.read_table(out / part, columns=["id"]).column("id").to_pylist())


def test_a_run_without_a_list_has_no_such_stage(tmp_path: Path) -> None:
    manifest = curate.run(corpus(tmp_path), workers=1).manifest
    assert "suppress" not in [stage["name"] for stage in manifest["stages"]]


def test_a_rerun_into_the_same_folder_keeps_out_what_was_taken_down_and_what_is_like_it(
    tmp_path: Path,
) -> None:
    recipe = corpus(tmp_path)
    out = curate.run(recipe, workers=1).path
    text = next(row["text"] for row in pq.read_table(out / "data").to_pylist() if row["id"] == "a/r7")
    before = ids(out)
    curate.takedown(out, ["a/r7"])
    after = ids(out)
    words = text.split()
    new = [
        {"id": "new-near", "text": " ".join([*words[:20], "sudden", *words[21:]])},
        {"id": "new-copy", "text": text.upper()},
        {"id": "new-other", "text": sentence(random.Random(9), 40)},
    ]
    corpus(tmp_path, new)
    with (tmp_path / "in.jsonl").open("a") as file:  # a line that cannot be read may hold it, too
        file.write('{"id": "cut", "text": "' + text + '\n{"id": "other", "text": "some words\n')
    again = curate.run(recipe, workers=1)
    assert again.manifest["counts"]["seen"] == 45
    assert ids(again.path) == after | {"a/new-other"}
    assert before - after == {"a/r7"}
    stage = again.manifest["stages"][1]
    assert (stage["name"], stage["seen"], stage["dropped"]) == ("suppress", 43, 3)
    assert stage["reasons"] == {"suppress/id": 1, "suppress/near-duplicate": 1, "suppress/text": 1}
    assert ids(again.path, "removed") == {"a/in/45"}
    masked = [name for name in ids(again.path, "ledger") if "/suppressed-" in name]
    assert len(masked) == 4
    assert "takedown/suppression.parquet" in [entry["path"] for entry in again.manifest["outputs"]]
    assert curate.verify(again.path).first is None
    assert curate.run(recipe, workers=1).reused


def test_a_record_that_suppress_fails_on_goes_nowhere_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = corpus(tmp_path)
    out = curate.run(recipe, workers=1).path
    curate.takedown(out, ["a/r7"])
    judge = suppress.Suppress.judge

    def fails(stage: suppress.Suppress, batch: Batch) -> Verdict:
        if "a/r9" in batch.column("id").to_pylist():
            raise ValueError("r9")
        return judge(stage, batch)

    monkeypatch.setattr(suppress.Suppress, "judge", fails)
    again = curate.run(recipe, workers=1, fresh=True)
    stage = again.manifest["stages"][1]
    assert (stage["dropped"], stage["quarantined"], stage["reasons"]["suppress/failed"]) == (1, 1, 1)
    assert "a/r9" not in ids(again.path) | ids(again.path, "removed") | ids(again.path, "ledger")
    assert curate.verify(again.path).first is None


def test_a_recipe_s_list_is_honoured_elsewhere_and_is_part_of_the_recipe_s_hash(tmp_path: Path) -> None:
    recipe = corpus(tmp_path)
    out = curate.run(recipe, workers=1).path
    plain = curate.run(recipe, tmp_path / "plain", workers=1)
    taken = curate.takedown(out, authors=["person 2"], urls=["w1.example.org"])
    assert taken.records == 8 + 10 - 2
    extra = [{"id": "late", "text": sentence(random.Random(1), 30), "author": "PERSON 2"}]
    extra += [{"id": "page", "text": sentence(random.Random(2), 30), "url": "http://sub.w1.example.org/x"}]
    recipe = corpus(tmp_path, extra)
    more = "suppress: {lists: [release/takedown/suppression.parquet], key_file: suppression.key}\n"
    recipe.write_text(RECIPE + more)
    one = curate.run(recipe, tmp_path / "one", workers=1)
    assert ids(one.path) == ids(out)
    reasons = one.manifest["stages"][1]["reasons"]
    assert sum(reasons.values()) == 18
    assert {"suppress/author", "suppress/id", "suppress/url"} == set(reasons)
    assert one.manifest["recipe_sha256"] != plain.manifest["recipe_sha256"]
    two = curate.run(recipe, tmp_path / "two", workers=2, batch_size=7)
    assert two.manifest["root"] == one.manifest["root"]
    assert str(tmp_path) not in (one.path / "manifest.json").read_text()


def test_without_its_key_a_list_stops_the_run(tmp_path: Path) -> None:
    recipe = corpus(tmp_path)
    out = curate.run(recipe, workers=1).path
    curate.takedown(out, ["a/r7"])
    key = (tmp_path / "suppression.key").read_text()
    (tmp_path / "suppression.key").unlink()
    with pytest.raises(
        RecipeError, match=r"must not come back, and there is no .*suppression.key; put the key"
    ):
        curate.run(recipe, workers=1)
    (tmp_path / "suppression.key").write_text("another key than that\n")
    with pytest.raises(RecipeError, match="the key given is another"):
        curate.run(recipe, workers=1)
    (tmp_path / "kept.key").write_text(key)
    more = "suppress: {lists: [release/takedown/suppression.parquet], key_file: kept.key}\n"
    recipe.write_text(RECIPE + more)
    assert "a/r7" not in ids(curate.run(recipe, workers=1).path)
    recipe.write_text(RECIPE + more.replace("release/", "elsewhere/"))
    with pytest.raises(RecipeError, match="there is no such suppression list"):
        curate.run(recipe, tmp_path / "other", workers=1)
    (tmp_path / "elsewhere" / "takedown").mkdir(parents=True)
    (tmp_path / "elsewhere" / "takedown" / "suppression.parquet").write_bytes(b"PAR1")
    with pytest.raises(IntegrityError, match="is no suppression list"):
        curate.run(recipe, tmp_path / "other", workers=1)


def test_ids_that_only_say_in_which_row_a_record_stood_are_not_held_against_others(tmp_path: Path) -> None:
    rng = random.Random(4)
    texts = [sentence(rng, 30) for _ in range(6)]
    write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    (tmp_path / "curate.yaml").write_text(RECIPE)
    out = curate.run(tmp_path / "curate.yaml", workers=1).path
    curate.takedown(out, ["a/in/2"])
    write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in texts if text != texts[1]])
    again = curate.run(tmp_path / "curate.yaml", workers=1)
    assert (
        again.manifest["counts"]["kept"] == 5
    )  # the third record now stands in row 2, and is not taken for it
