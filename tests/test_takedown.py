"""Take-downs: what was asked for, what is like it, and every trace of it is gone; all else is as it was."""

from __future__ import annotations

import base64
import io
import random
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import zstandard
from conftest import sentence, write_jsonl

import curate
from curate.errors import IntegrityError, RecipeError
from curate.govern import documents
from curate.govern.descriptions import card, croissant
from curate.govern.takedown import switching
from curate.release import Release

RECIPE = """\
curate: 1
name: small
version: "1"
sources:
  - {name: docs, files: [docs/a.jsonl, docs/b.jsonl], license: CC0-1.0}
  - {name: pairs, files: [pairs.jsonl], license: CC0-1.0}
stages: [exact, {minhash: {similarity: 0.7, recall: 0.99}}, 'toys:Shout']
output: {index: true, shard_size: 6KB}
"""


def make(folder: Path, records: int = 60, recipe: str = RECIPE) -> Path:
    """Write documents with authors, addresses, copies, near copies and bad lines, and pairs without ids."""
    rng = random.Random(11)
    docs: list[dict[str, Any]] = []
    for i in range(records):
        text = sentence(rng, 40) + (" my secret" if i % 6 == 0 else "")
        docs.append(
            {
                "id": f"d{i}",
                "text": text,
                "author": f"Ann {i % 7}",
                "url": f"https://s{i % 5}.example.org/{i}",
            }
        )
    for i in range(0, records, 4):
        docs.append({"id": f"copy{i}", "text": docs[i]["text"].upper(), "author": "Copyist"})
        words = docs[i]["text"].split()
        docs.append(
            {"id": f"near{i}", "text": " ".join([*words[:30], "a", *words[31:]]), "author": "Copyist"}
        )
    half = len(docs) // 2
    write_jsonl(folder / "docs" / "a.jsonl", docs[:half])
    write_jsonl(folder / "docs" / "b.jsonl", docs[half:])
    with (folder / "docs" / "b.jsonl").open(
        "a"
    ) as file:  # lines that are no records, one with a record's text
        file.write('{"id": "cut", "text": "' + docs[5]["text"] + '\n{"id": "none", "text": null}\n')
    pairs = [
        {"instruction": f"Tell {sentence(rng, 8)}", "output": sentence(rng, 30)} for _ in range(records // 2)
    ]
    write_jsonl(folder / "pairs.jsonl", [*pairs, pairs[2]])
    (folder / "curate.yaml").write_text(recipe)
    return folder / "curate.yaml"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut tables small, so that there are shards to leave untouched; render one document alone, they take long."""
    monkeypatch.setattr("curate.io.write.GROUP_RECORDS", 8)
    monkeypatch.setattr(documents, "RENDERERS", (card.render,))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a recipe that has run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.io.write.GROUP_RECORDS", 8)
        patch.setattr(documents, "RENDERERS", (card.render,))
        folder = tmp_path_factory.mktemp("made")
        curate.run(make(folder), workers=1)
    return folder


@pytest.fixture
def release(made: Path, tmp_path: Path) -> Release:
    # Not right in tmp_path: the releases of other tests would lie beside it.
    shutil.copytree(made, tmp_path / "home")
    return curate.load(tmp_path / "home" / "release")


def rows(out: Path, part: str) -> list[dict[str, Any]]:
    return [row for path in sorted((out / part).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def texts(out: Path) -> dict[str, str]:
    """Every record's text by id, in data/ and removed/."""
    found = {}
    for row in [*rows(out, "data"), *rows(out, "removed")]:
        said = [turn["content"] for turn in row.get("messages") or ()]
        found[row["id"]] = row.get("text") or "\n".join(said) or (row["curate"]["raw"] or b"").decode()
    return found


def files(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def contents(out: Path) -> Iterable[tuple[str, bytes]]:
    """Every file's bytes, and what they say unpacked."""
    for name, content in files(out).items():
        yield name, content
        if name.endswith(".parquet"):
            rows = pq.read_table(out / name).to_pylist()
            yield name, repr(rows).encode()
        elif name.endswith(".zst"):
            stream = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content), read_across_frames=True)
            yield name, stream.read()


def windows(text: str, size: int = 8) -> set[str]:
    words = text.split()
    return {" ".join(words[i : i + size]) for i in range(len(words) - size + 1)}


def assert_gone(out: Path, erased: dict[str, str], left: dict[str, str]) -> None:
    """No file says anything that only erased records said, nor their ids, in any of the usual disguises."""
    there = set().union(*(windows(text) for text in left.values()))
    named = sorted(name for name in erased if "/" in name)
    needles = []
    for name, text in erased.items():
        only = sorted(windows(text) - there)
        assert only or not text, name
        for phrase in (*only[:1], *only[-1:]):
            needles += [
                phrase.encode(),
                phrase.encode("utf-16-le"),
                phrase.encode("utf-16-be"),
                phrase.upper().encode(),
            ]
            # Of the three ways in which base64 can cut it, what does not depend on what stands around.
            needles += [base64.b64encode(b" " * i + phrase.encode())[4:-8] for i in range(3)]
    ids = re.compile(
        rb"(?<![\w/-])(?:" + b"|".join(re.escape(n.encode()) for n in [*named, "no id"]) + rb")(?![\w/-])"
    )
    for name, content in contents(out):
        for needle in needles:
            assert needle not in content, (name, needle)
        assert not ids.search(content), (name, ids.search(content))


def take(release: Release, *args: Any, **options: Any) -> switching.TakenDown:
    """Take down, and check all that must hold after any take-down."""
    out = release.path
    before, old, held = files(out), curate.load(out).manifest, texts(out)
    done = curate.takedown(out, *args, **options)
    now, new, left = files(out), curate.load(out).manifest, texts(out)
    erased = {name: text for name, text in held.items() if name not in left}
    assert_gone(out, erased, left)
    tables = ("data/", "records/", "removed/", "ledger/", "clusters/", "index/", "audit/")
    changed = {
        name for name in before if name.startswith((*tables, "leaves/")) and before[name] != now.get(name)
    }
    assert changed == set(done.shards)
    assert set(now) >= {name for name in before if name.startswith(tables)}
    for totals in (new["counts"], *new["stages"], *(n for s in new["stages"] for n in s["sources"].values())):
        assert totals["seen"] == totals["kept"] + totals["dropped"] + totals["quarantined"]
    assert new["counts"]["seen"] == old["counts"]["seen"]
    assert new["counts"]["kept"] == old["counts"]["kept"] - done.removed
    assert new["merkle"] == {**old["merkle"], "erased": old["merkle"].get("erased", 0) + done.removed}
    assert new["supersedes"]["root"] == old["root"] != new["root"]
    assert not (out / "work").exists()
    report = curate.verify(out)
    assert report.first is None, report.first
    return done


def test_a_record_goes_with_its_duplicates_and_nothing_else_changes(release: Release) -> None:
    before = texts(release.path)
    done = take(release, ["docs/d8"], reference="T-1", received="2026-11-20T10:00")
    assert set(before) - set(texts(release.path)) == {"docs/d8", "docs/copy8", "docs/near8"}
    assert (done.request, done.records, done.near_duplicates, done.removed) == (1, 1, 2, 1)
    untouched = len(list(release.path.glob("data/*"))) - len(
        [s for s in done.shards if s.startswith("data/")]
    )
    assert untouched >= 1
    manifest = curate.load(release.path).manifest
    [entry] = manifest["takedowns"]
    assert entry | {"by": ["id"], "reference": "T-1", "received": "2026-11-20T10:00:00+00:00"} == entry
    assert sum(manifest["stages"][-1]["reasons"].values()) == 1
    told = [row for row in rows(release.path, "ledger") if row["stage"] == "takedown"]
    assert [re.fullmatch(r"docs/erased-1-\d", row["id"]) is not None for row in told] == [True]
    log = [
        orjson.loads(line) for line in (release.path / "takedown/requests.ndjson").read_bytes().splitlines()
    ]
    assert [line["request"] for line in log] == [1]
    assert log[0]["received"] <= log[0]["verified"] <= log[0]["done"]
    impact = orjson.loads((release.path / "takedown/impact-1.json").read_bytes())
    assert {one["path"] for one in impact["inputs"]} <= {"docs/a.jsonl", "docs/b.jsonl"}
    assert (release.path.parent / "suppression.key").stat().st_mode & 0o077 == 0


def test_of_a_dropped_duplicate_the_kept_record_goes_too(release: Release) -> None:
    before = texts(release.path)
    take(release, ["docs/copy12"])
    assert set(before) - set(texts(release.path)) == {"docs/d12", "docs/copy12", "docs/near12"}


def test_a_person_s_records_and_a_site_s_go_however_written(release: Release) -> None:
    held = [*rows(release.path, "data"), *rows(release.path, "removed")]
    asked = {row["id"] for row in held if row["author"] == "Ann 3" or "s2.example.org" in (row["url"] or "")}
    asked |= {"docs/d20"}
    before = set(texts(release.path))
    done = take(release, authors=[" ANN 3 "], urls=["S2.example.org", "http://s0.example.org/20/"])
    gone = before - set(texts(release.path))
    assert asked <= gone
    assert all(
        name in asked or name.startswith(("docs/copy", "docs/near")) or "docs/b/" in name for name in gone
    )
    reasons = curate.load(release.path).manifest["stages"][-1]["reasons"]
    assert {"takedown/author", "takedown/url"} <= set(reasons)
    assert sum(reasons.values()) == done.removed


def test_a_text_finds_records_like_it_and_tells_of_those_that_hold_it(
    release: Release, tmp_path: Path
) -> None:
    held = texts(release.path)
    words = held["docs/d9"].split()
    answer = next(row for row in rows(release.path, "data") if row["id"] == "pairs/pairs/4")["messages"][1][
        "content"
    ]
    asked = [
        " ".join([*words[:20], "otherwise", *words[21:]]),
        answer.upper(),
        " ".join(held["docs/d10"].split()[:20]),
    ]
    match = tmp_path / "texts.jsonl"
    match.write_bytes(b"\n".join(map(orjson.dumps, [*asked[:1], {"text": asked[1]}, asked[2]])))
    would = curate.takedown(release.path, match=match, dry_run=True)
    assert would.contained == ("docs/d10",)
    assert (would.records, would.near_duplicates) == (2, 0)
    take(release, match=match)
    assert set(held) - set(texts(release.path)) == {"docs/d9", "pairs/pairs/4"}
    take(release, match=match, contained=True)
    assert "docs/d10" not in texts(release.path)


def test_a_record_that_quotes_an_erased_one_is_told_of(tmp_path: Path) -> None:
    rng = random.Random(3)
    told = sentence(rng, 50)
    write_jsonl(
        tmp_path / "docs.jsonl", [{"id": "said", "text": told}, {"id": "b", "text": sentence(rng, 50)}]
    )
    asked = {"id": "quotes", "instruction": "What did they write? " + sentence(rng, 20), "output": told}
    other = {"id": "other", "instruction": "And then?", "output": sentence(rng, 30)}
    write_jsonl(tmp_path / "pairs.jsonl", [asked, other])
    (tmp_path / "curate.yaml").write_text(
        "curate: 1\nname: a\nversion: '1'\nstages: [exact, minhash]\nsources:\n"
        "  - {name: docs, files: [docs.jsonl]}\n  - {name: pairs, files: [pairs.jsonl]}\n"
    )
    release = curate.run(tmp_path / "curate.yaml", workers=1)
    done = curate.takedown(release.path, ["docs/said"])
    assert (done.records, done.near_duplicates, done.contained) == (1, 0, ("pairs/quotes",))


def test_a_key_without_its_list_stops_the_next_run(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "moved")
    (tmp_path / "moved" / "suppression.key").write_text("5f2c1d0e9b8a7766554433221100ffee")
    with pytest.raises(RecipeError, match="is the key of a suppression list"):
        curate.run(tmp_path / "moved" / "curate.yaml", tmp_path / "moved" / "other", workers=1)


def test_lines_that_are_no_records_go_with_the_text_that_they_hold(release: Release) -> None:
    raw = [row for row in rows(release.path, "removed") if row["curate"]["raw"]]
    assert len(raw) == 2
    text = texts(release.path)["docs/d5"].encode()
    assert any(text in row["curate"]["raw"] for row in raw)
    take(release, ["docs/d5"])
    assert [row["curate"]["reason"] for row in rows(release.path, "removed") if row["curate"]["raw"]] == [
        "read/null-text"
    ]


def test_the_original_of_an_edited_record_goes_and_is_kept_out_too(release: Release) -> None:
    home = release.path.parent
    assert any(row["id"] == "docs/d6" for row in rows(release.path, "removed"))
    take(release, ["docs/d6"])
    lines = (home / "docs" / "a.jsonl").read_bytes().splitlines()
    row = next(orjson.loads(line) for line in lines if b'"d6"' in line)
    write_jsonl(home / "docs" / "a.jsonl", [row | {"id": "renamed", "author": "Nobody", "url": None}])
    again = curate.run(home / "curate.yaml", workers=1)
    assert "docs/renamed" not in texts(again.path)


def test_take_downs_add_up_and_their_reruns_bring_nothing_back(release: Release) -> None:
    take(release, ["docs/d8"])
    with pytest.raises(RecipeError, match="--id docs/d8: was taken down by request 1"):
        curate.takedown(release.path, ["docs/d8"])
    take(release, ["docs/d9", "pairs/pairs/3"])
    manifest = curate.load(release.path).manifest
    assert [entry["request"] for entry in manifest["takedowns"]] == [1, 2]
    stage = manifest["stages"][-1]
    assert (stage["name"], stage["dropped"]) == ("takedown", 3)
    left = texts(release.path)
    again = curate.run(release.path.parent / "curate.yaml", workers=1)
    assert {n: t for n, t in texts(again.path).items() if not n.startswith("docs/b/")} == {
        n: t for n, t in left.items() if not n.startswith("docs/b/")
    }
    assert curate.verify(again.path).first is None
    assert take(again, ["docs/d10"]).request == 3


@pytest.mark.parametrize("fmt", ["parquet", "jsonl.zst"])
def test_random_requests_leave_every_other_record_as_it_was(tmp_path: Path, fmt: str) -> None:
    recipe = RECIPE.replace("index: true", f"index: true, format: {fmt}")
    release = curate.run(make(tmp_path, recipe=recipe), workers=1)
    rng = random.Random(fmt)
    for size in (1, 5, 20):
        names = sorted(row["id"] for row in rows(release.path, "records"))
        asked = rng.sample(names, size)
        records = {row["id"]: row for row in rows(release.path, "records")}
        take(release, asked)
        after = {row["id"]: row for row in rows(release.path, "records")}
        assert all(records[name] == row for name, row in after.items())
        assert not set(asked) & set(after)


def test_all_records_can_go(release: Release) -> None:
    names = [row["id"] for row in rows(release.path, "records")]
    done = take(release, names)
    assert done.removed == len(names)
    assert rows(release.path, "data") == []


def test_all_lines_of_json_can_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "RENDERERS", (card.render, croissant.render))
    recipe = RECIPE.replace("index: true", "format: jsonl.zst")
    release = curate.run(make(tmp_path, records=8, recipe=recipe), workers=1)
    take_all = [row["id"] for row in rows(release.path, "records")]
    assert curate.takedown(release.path, take_all).removed == len(take_all)
    assert (release.path / croissant.NAME).is_file()
    assert curate.verify(release.path).first is None


def test_of_records_that_share_an_id_one_can_go(tmp_path: Path) -> None:
    rng = random.Random(2)
    lines = [{"id": "x", "text": sentence(rng, 30), "author": name} for name in ("Eve", "Bob")]
    write_jsonl(tmp_path / "docs" / "a.jsonl", [*lines, {"id": "y", "text": sentence(rng, 30)}])
    write_jsonl(tmp_path / "docs" / "b.jsonl", [{"id": "z", "text": sentence(rng, 30)}])
    write_jsonl(tmp_path / "pairs.jsonl", [{"instruction": "Say it", "output": sentence(rng, 20)}])
    (tmp_path / "curate.yaml").write_text(RECIPE)
    out = curate.run(tmp_path / "curate.yaml", workers=1).path
    curate.takedown(out, authors=["eve"])
    assert [row["text"] for row in rows(out, "data") if row["id"] == "docs/x"] == [lines[1]["text"]]
    assert_gone(out, {"no id": lines[0]["text"]}, texts(out))
    assert curate.verify(out).first is None
    again = curate.run(tmp_path / "curate.yaml", workers=1).path
    assert [row["text"] for row in rows(again, "data") if row["id"] == "docs/x"] == [lines[1]["text"]]


def test_a_dry_run_tells_all_and_writes_nothing(release: Release) -> None:
    before = files(release.path.parent)
    would = curate.takedown(release.path, ["docs/d8"], dry_run=True)
    assert files(release.path.parent) == before
    done = curate.takedown(release.path, ["docs/d8"])
    assert (would.records, would.near_duplicates, would.removed) == (
        done.records,
        done.near_duplicates,
        done.removed,
    )
    assert would.shards == done.shards


@pytest.fixture(scope="module")
def whole(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A release after a take-down that nobody stopped, at a time that stands still; and its root."""
    out = tmp_path_factory.mktemp("whole") / "far" / "away" / "release"
    shutil.copytree(made / "release", out)
    (out.parent / "suppression.key").write_text("a key that both use\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.io.write.GROUP_RECORDS", 8)
        patch.setattr(documents, "RENDERERS", (card.render,))
        patch.setattr("curate.govern.takedown.account.now", lambda: NOON)
        return out, str(curate.takedown(out, ["docs/d8", "docs/d13"]).root)


NOON = "2026-11-21T12:00:00+00:00"


@pytest.mark.parametrize("step", [0, 1, 3, 4, 5, 6, 9, 13, 17])
def test_a_take_down_that_is_stopped_anywhere_is_finished_by_the_same_command(
    release: Release, monkeypatch: pytest.MonkeyPatch, step: int, whole: tuple[Path, str]
) -> None:
    monkeypatch.setattr("curate.govern.takedown.account.now", lambda: NOON)
    out = release.path
    (out.parent / "suppression.key").write_text("a key that both use\n")
    left = step

    class Stopped(Exception):
        pass

    def counting(function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Stopped
            return function(*args, **options)

        return call

    with monkeypatch.context() as patch:
        for owner, name in (
            (Path, "replace"),
            (Path, "unlink"),
            (switching, "finished"),
            (switching, "write_bytes"),
        ):
            patch.setattr(owner, name, counting(getattr(owner, name)))
        with pytest.raises(Stopped):
            curate.takedown(out, ["docs/d8", "docs/d13"])
    prepared = (out / "work" / "takedown" / "journal.json").is_file()
    if prepared:
        with pytest.raises(RecipeError, match="take-down was stopped half-way"):
            curate.run(out.parent / "curate.yaml", workers=1)
    else:
        assert curate.load(out).manifest["root"] == release.manifest["root"]
    done = curate.takedown(out, ["docs/d8", "docs/d13"])
    assert (done.root, done.resumed) == (whole[1], prepared)
    assert files(out) == files(whole[0])


def test_a_take_down_that_was_stopped_at_its_very_end_leaves_a_later_signature_alone(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, key = release.path, release.path.parent / "key"
    curate.sign(out, new_key=key)
    with monkeypatch.context() as patch:
        patch.setattr("curate.work.clean", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            curate.takedown(out, ["docs/d8"])
    curate.sign(out, key=key)
    before = {name: content for name, content in files(out).items() if not name.startswith("work/")}
    assert curate.takedown(out, ["docs/d8"]).resumed
    assert files(out) == before
    assert curate.verify(out, key=key.with_name("key.pub")).ok


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give --id, --author, --url or --match"),
        ({"ids": ["docs/d88"]}, "no record has the id 'docs/d88'; did you mean 'docs/d8'"),
        ({"ids": ["d8"]}, "ids look like <source>/<id>"),
        ({"authors": ["Nobody"]}, "nothing matches, and nothing was changed"),
        ({"urls": ["co.uk"]}, "is a public suffix"),
        ({"ids": ["docs/d8"], "contained": True}, "--contained: goes with --match"),
        ({"ids": ["docs/d8"], "received": "yesterday"}, "is no time"),
        ({"match": "none.txt"}, "none.txt: cannot be read"),
    ],
)
def test_a_request_that_cannot_be_carried_out_changes_nothing(
    release: Release, options: dict[str, Any], message: str
) -> None:
    before = files(release.path.parent)
    with pytest.raises(RecipeError, match=re.escape(message)):
        curate.takedown(release.path, **options)
    after = files(release.path.parent)
    after.pop("suppression.key", None)
    assert after == before


def test_the_key_must_lie_outside_and_be_the_same(release: Release, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="lies in the release"):
        curate.takedown(release.path, ["docs/d8"], key_file=release.path / "key")
    curate.takedown(release.path, ["docs/d8"])
    (release.path.parent / "suppression.key").rename(tmp_path / "moved.key")
    with pytest.raises(RecipeError, match="there is no such key"):
        curate.takedown(release.path, ["docs/d9"])
    (tmp_path / "other.key").write_text("0123456789abcdef\n")
    with pytest.raises(IntegrityError, match="is another key"):
        curate.takedown(release.path, ["docs/d9"], key_file=tmp_path / "other.key")
    assert curate.takedown(release.path, ["docs/d9"], key_file=tmp_path / "moved.key").request == 2


def test_without_removed_records_what_only_the_ledger_knows_is_erased_and_kept_out(tmp_path: Path) -> None:
    home = tmp_path / "home"
    recipe = RECIPE.replace("index: true", "keep_removed: false")
    out = curate.run(make(home, recipe=recipe), workers=1).path
    gone = next(row for row in rows(out, "ledger") if row["stage"] == "minhash")
    curate.takedown(out, [gone["id"]])
    assert_gone(out, {gone["id"]: "", gone["kept_id"]: ""}, {})
    assert curate.verify(out).first is None
    left = {row["id"] for row in rows(out, "data")}
    again = curate.run(home / "curate.yaml", workers=1).path
    assert {row["id"] for row in rows(again, "data")} == left


def test_without_removed_records_an_edited_one_is_kept_out_by_the_id_it_had(tmp_path: Path) -> None:
    lines = [{"text": f"Write to ann{i}@example.com of {i} or a{i}@example.org"} for i in range(9)]
    write_jsonl(tmp_path / "a.jsonl", lines)
    recipe = """\
curate: 1
name: small
version: "1"
sources: [{name: docs, files: [a.jsonl], license: CC0-1.0}]
stages: [pii]
output: {keep_removed: false}
"""
    (tmp_path / "curate.yaml").write_text(recipe)
    out = curate.run(tmp_path / "curate.yaml", workers=1).path
    asked = rows(out, "data")[4]
    assert "ann4" not in asked["text"]
    curate.takedown(out, [asked["id"]])
    left = {row["id"] for row in rows(out, "data")}
    again = curate.run(tmp_path / "curate.yaml", workers=1).path
    assert {row["id"] for row in rows(again, "data")} == left


def test_real_records_are_erased_and_a_rerun_leaves_them_out(real_data: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    names = ("gsm8k_test", "vigogne_oasst_fr", "gpteacher_codegen")
    for name in names:
        shutil.copyfile(real_data / "instruct" / f"{name}.jsonl.zst", home / f"{name}.jsonl.zst")
    sources = [f"  - {{name: {name}, files: [{name}.jsonl.zst], license: MIT}}" for name in names]
    text = "\n".join(
        ["curate: 1", "name: real", "version: '1'", "sources:", *sources, "stages: [exact, minhash]", ""]
    )
    (home / "curate.yaml").write_text(text)
    release = curate.run(home / "curate.yaml", workers=1)
    before = {row["id"] for row in rows(release.path, "records")}
    asked = random.Random(1).sample(sorted(before), 10)
    done = curate.takedown(release.path, asked)
    left = {row["id"] for row in rows(release.path, "records")}
    assert len(before) - len(left) == done.removed >= 10
    assert not set(asked) & left
    assert curate.verify(release.path).first is None
    again = curate.run(home / "curate.yaml", workers=1)
    assert {row["id"] for row in rows(again.path, "records")} == left


def test_encrypted_removed_records_are_searched_and_erased_with_their_key(tmp_path: Path) -> None:
    home = tmp_path / "home"
    recipe = make(home, recipe=RECIPE.replace("index: true", "encrypt_removed: {key_file: removed.key}"))
    (home / "removed.key").write_text("a key for what was removed\n")
    out = curate.run(recipe, workers=1).path
    before = len(pq.read_table(out / "removed", columns=["id"]))
    with pytest.raises(RecipeError, match="removed/ is encrypted"):
        curate.takedown(out, ["docs/d5"])
    (home / "other.key").write_text("not the key of removed\n")
    with pytest.raises(IntegrityError, match="is not the key that removed/ was encrypted with"):
        curate.takedown(out, ["docs/d5"], removed_key=home / "other.key")
    # A line that could not be read holds its text.
    done = curate.takedown(out, ["docs/d5"], removed_key=home / "removed.key")
    assert (done.near_duplicates, len(pq.read_table(out / "removed", columns=["id"]))) == (1, before - 1)
    assert curate.verify(out).first is None
