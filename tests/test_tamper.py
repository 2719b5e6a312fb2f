"""The tamper drill: whatever is changed in a release, verify finds it, and names the file, and the record."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import releases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curate
from curate import cli
from curate.govern import documents, signing
from curate.govern import manifest as manifests
from curate.govern.verify import Report
from curate.io.manifest import dumps

TABLES = ("data", "records", "leaves", "ledger", "removed", "clusters", "audit")
KINDS = (*TABLES, "derived", "document", "manifest.json", "manifest.dsse.json")
FIRST, SECOND = "part-00000.parquet", "part-00001.parquet"


@pytest.fixture(scope="module", autouse=True)
def remembered() -> Iterator[None]:
    with releases.rendered_once():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return releases.make(tmp_path_factory.mktemp("tamper"))


@pytest.fixture(scope="module")
def made_lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return releases.make(tmp_path_factory.mktemp("lines"), "jsonl.zst")


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "release"))


def _key(made: Path) -> Path:
    return made.parent / "key.pub"


def _of_kind(out: Path, kind: str) -> list[str]:
    """Return a release's files of one kind; of shards, the first and the last."""
    manifest = curate.load(out).manifest
    listed = [entry["path"] for entry in manifest["outputs"]]
    tables = {path for path in listed if path.split("/")[0] in TABLES}
    found = {
        "derived": sorted(set(listed) - tables),
        "document": sorted(
            {(Path(p).parent, Path(p).suffix): p for p in documents.render(manifest)}.values()
        ),
        "manifest.json": ["manifest.json"],
        "manifest.dsse.json": ["manifest.dsse.json"],
    }.get(kind, sorted(path for path in tables if path.startswith(f"{kind}/")))
    assert found
    return found if kind in ("derived", "document") else [found[0], found[-1]]


def _flipped(out: Path, path: str, where: int, bit: int) -> Iterator[None]:
    """Flip one bit of a file for a while."""
    content = (out / path).read_bytes()
    damaged = bytearray(content)
    damaged[where % len(content)] ^= 1 << bit
    (out / path).write_bytes(damaged)
    yield
    (out / path).write_bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_one_flipped_bit_is_found_and_its_file_named(made: Path, out: Path, kind: str) -> None:
    rng = random.Random(kind)
    for path in _of_kind(out, kind):
        for where in (rng.randrange(10**9),) if kind == "document" else (0, rng.randrange(10**9), -1):
            for _ in _flipped(out, path, where, rng.randrange(8)):
                report = curate.verify(out, key=_key(made))
                assert report.first is not None, where
                assert report.first.file == path, str(report.first)
    assert curate.verify(out, key=_key(made)).ok


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_flipped_bit_of_an_unsigned_release_is_found(
    made: Path, made_lines: Path, data: st.DataObject
) -> None:
    source = data.draw(st.sampled_from([made, made_lines]))
    out = source.with_name("unsigned")
    if not out.exists():
        shutil.copytree(source, out)
        (out / signing.NAME).unlink()
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and p.stat().st_size]
    path = data.draw(st.sampled_from(files))
    where = data.draw(st.integers(0, path.stat().st_size - 1))
    name = path.relative_to(out).as_posix()
    for _ in _flipped(out, name, where, data.draw(st.integers(0, 7))):
        report = curate.verify(out)
        assert report.first is not None
        assert report.first.file == name, str(report.first)


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_damage_makes_verify_raise(made: Path, made_lines: Path, data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([made, made_lines]))
    files = [p for p in sorted(source.rglob("*")) if p.is_file()]
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    start = data.draw(st.integers(0, max(len(content) - 1, 0)))
    stop = data.draw(st.integers(start, len(content)))
    new = data.draw(st.binary(max_size=40))
    path.write_bytes(content[:start] + new + content[stop:])
    try:
        changed = path.read_bytes() != content
        report = curate.verify(source, key=_key(source), id="docs/3")
        assert report.ok is not changed
        if changed:
            assert report.first is not None
            assert report.first.file == path.relative_to(source).as_posix()
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("field", ["created", "timing", "root"])
def test_a_change_in_what_the_root_leaves_out_is_found_without_a_signature(out: Path, field: str) -> None:
    (out / signing.NAME).unlink()
    manifest = curate.load(out).manifest
    other = {"created": "2020-01-01T00:00:00+00:00", "timing": {**manifest["timing"], "wall_seconds": 1.0}}
    changed = {**manifest, field: other.get(field, "0" * 64)}
    (out / "manifest.json").write_bytes(orjson.dumps(changed, option=orjson.OPT_INDENT_2) + b"\n")
    report = curate.verify(out)
    assert report.first is not None
    assert report.first.file == "manifest.json"


def test_other_bytes_that_say_the_same_are_found(out: Path) -> None:
    path = out / "manifest.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes())))
    assert str(curate.verify(out).first) == (
        "manifest.json: its bytes are not those that curate writes for what it says"
    )


def _failed(report: Report) -> list[str]:
    return [check.name for check in report.checks if check.state == "failed"]


def test_a_changed_text_is_named_by_its_record_though_every_hash_was_made_good(out: Path) -> None:
    path = out / "data" / SECOND
    releases.edit(path, lambda rows: rows[4].update(text=rows[4]["text"].replace("e", "a")))
    changed = curate.verify(out)  # the hash is not the listed one: the record is told, too
    releases.cover_up(out)
    forged = curate.verify(out)
    for report in (changed, forged):
        assert report.first is not None
        assert report.first.file == f"data/{SECOND}"
        assert report.first.record is not None
        assert report.first.record.row == 5
        assert report.first.record.leaf == 64
    assert _failed(changed) == ["files", "records"]
    assert _failed(forged) == ["records"]
    first = curate.verify(out, key=[]).first
    assert first == forged.first
    assert not (out / signing.NAME).exists()  # a signature did not outlive the forgery


@pytest.mark.parametrize("tables", [("data",), ("data", "records"), ("data", "records", "leaves")])
def test_rows_that_were_swapped_between_shards_are_found(out: Path, tables: tuple[str, ...]) -> None:
    moved = []
    for table in tables:
        shards = [out / table / FIRST, out / table / SECOND]
        one, two = (pq.read_table(path).to_pylist() for path in shards)
        one[7], two[9] = two[9], one[7]
        moved.append(one[7])
        for path, rows in zip(shards, (one, two), strict=True):
            pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    releases.cover_up(out)
    report = curate.verify(out)
    assert _failed(report) == ["records"]
    assert report.first is not None
    assert report.first.file == f"data/{FIRST}"
    assert report.first.record is not None
    assert report.first.record.id == moved[0]["id"]
    assert report.first.record.row == 8
    [_, second] = report.check("records").findings
    assert (second.file, second.record and second.record.row) == (f"data/{SECOND}", 10)


def test_rows_that_were_swapped_within_a_shard_are_found(out: Path) -> None:
    def swap(rows: list[dict[str, object]]) -> None:
        rows[3], rows[12] = rows[12], rows[3]

    for table in ("data", "records"):
        releases.edit(out / table / FIRST, swap)
    releases.cover_up(out)
    report = curate.verify(out)
    assert report.first is not None
    assert (report.first.file, report.first.record and report.first.record.row) == (f"data/{FIRST}", 4)


def test_a_row_that_was_deleted_is_found(out: Path) -> None:
    releases.edit(out / "data" / SECOND, lambda rows: rows.pop(4))
    report = curate.verify(out)
    assert report.first is not None
    assert (report.first.file, report.first.record and report.first.record.row) == (f"data/{SECOND}", 5)
    releases.cover_up(out)
    report = curate.verify(out)
    assert "records" in _failed(report)
    releases.edit(out / "records" / SECOND, lambda rows: rows.pop(4))
    releases.cover_up(out)
    report = curate.verify(out)
    assert report.first is not None
    assert report.first.file == f"data/{SECOND}"
    assert "1 leaves have no record" in report.first.said
    assert "the record of leaf 64 is gone" in report.first.said
    manifest = curate.load(out).manifest
    releases.cover_up(out, merkle={**manifest["merkle"], "erased": 1})  # as if by a take-down
    report = curate.verify(out)
    assert report.first is not None
    assert "rows, the manifest counts" in report.first.said  # the totals still tell


def test_a_leaf_that_was_changed_is_found(out: Path) -> None:
    releases.edit(out / "leaves" / SECOND, lambda rows: rows[4].update(leaf=b"\0" * 32))
    report = curate.verify(out)
    assert report.first is not None
    assert (report.first.file, report.first.record and report.first.record.row) == (f"leaves/{SECOND}", 5)


def test_a_salt_that_was_changed_is_found(out: Path) -> None:
    releases.edit(out / "records" / SECOND, lambda rows: rows[4].update(salt=b"\0" * 16))
    report = curate.verify(out)
    assert report.first is not None
    assert (report.first.file, report.first.record and report.first.record.row) == (f"records/{SECOND}", 5)


@pytest.mark.parametrize("table", ["ledger", "removed"])
def test_a_decision_that_was_deleted_is_found_by_the_totals(out: Path, table: str) -> None:
    releases.edit(out / table / FIRST, lambda rows: rows.pop(4))
    releases.cover_up(out)
    report = curate.verify(out)
    assert "totals" in _failed(report)
    assert all(str(finding.file).startswith(table) for finding in report.check("totals").findings)


def test_a_number_that_was_edited_in_the_manifest_is_found(out: Path) -> None:
    manifest = curate.load(out).manifest
    counts = {**manifest["counts"], "kept": manifest["counts"]["kept"] + 1}
    statistics = orjson.loads(orjson.dumps(manifest["statistics"]))
    statistics["licenses"][0]["records"] += 1
    stages = orjson.loads(orjson.dumps(manifest["stages"]))
    stages[2]["reasons"] = {"conversation/no-response": 1}
    for name, check, said in (
        ("counts", "totals", "counts: seen is not kept + dropped + quarantined"),
        ("statistics", "measures", "/statistics/licenses/0/records is not what the tables hold"),
        ("stages", "totals", "stage conversation: the reasons do not add up"),
    ):
        changed = {"counts": counts, "statistics": statistics, "stages": stages}[name]
        releases.cover_up(out, **{name: changed})
        report = curate.verify(out)
        assert check in _failed(report)
        assert said in str(report.check(check).findings[0])
        releases.cover_up(out, **{name: manifest[name]})
        assert curate.verify(out).ok


def test_a_number_that_was_edited_in_a_document_is_found_with_its_line(made: Path, out: Path) -> None:
    path = out / "datasheet.md"
    kept = str(curate.load(out).manifest["counts"]["kept"])
    lines = path.read_text().split("\n")
    at = next(n for n, line in enumerate(lines) if kept in line)
    lines[at] = lines[at].replace(kept, str(int(kept) + 1), 1)
    path.write_text("\n".join(lines))
    said = f"datasheet.md: line {at + 1} differs from what the manifest gives"
    assert str(curate.verify(out).first) == said
    assert str(curate.verify(out, key=_key(made)).first) == said
    edited = path.read_bytes()
    releases.cover_up(out, software={**curate.load(out).manifest["software"], "curate": "9.9"})
    path.write_bytes(edited)
    assert "(made by curate 9.9, this is 0.1.0: verify with that one)" in str(curate.verify(out).first)


def test_a_derived_file_that_was_edited_is_found_though_its_hash_was_made_good(out: Path) -> None:
    [path, *_] = _of_kind(out, "derived")
    with (out / path).open("ab") as file:
        file.write(b"1,2,3\n")
    releases.cover_up(out)
    report = curate.verify(out)
    assert report.first is not None
    assert report.first.file == path
    assert "what the tables give" in report.first.said


def test_files_that_are_missing_or_too_many_are_named(out: Path) -> None:
    for path in (*_of_kind(out, "document")[:2], "data/part-00001.parquet", "audit/pii-sample.jsonl"):
        content = (out / path).read_bytes()
        (out / path).unlink()
        report = curate.verify(out)
        assert report.first is not None
        assert report.first.file == path
        (out / path).write_bytes(content)
    for path in ("notes.txt", "data/part-00099.parquet", ".hidden", "takedown/notes.txt", "extra/a/b"):
        (out / path).parent.mkdir(exist_ok=True, parents=True)
        (out / path).write_text("mine")
        assert str(curate.verify(out).first) == f"{path}: is in the folder, and nothing lists it"
        (out / path).unlink()
    (out / "link").symlink_to(out.parent)
    assert str(curate.verify(out).first) == "link: is in the folder, and nothing lists it"


def test_an_old_manifest_that_is_put_back_is_found(made: Path, out: Path) -> None:
    old = (out / "manifest.json").read_bytes()
    recipe = made.parent / "curate.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("similarity: 0.7", "similarity: 0.9"))
    try:
        curate.run(recipe, out, workers=1)
    finally:
        recipe.write_text(text)
    new = (out / "manifest.json").read_bytes()
    curate.sign(out, key=made.parent / "key")
    envelope = (out / signing.NAME).read_bytes()
    for content in (old, orjson.dumps({**orjson.loads(new), "created": "2020-01-01"}) + b"\n"):
        (out / "manifest.json").write_bytes(content)
        report = curate.verify(out, key=_key(made))
        assert report.first is not None
        assert report.first.file == "manifest.json"
    manifest = {**orjson.loads(new), "created": "2020-01-01"}  # with every hash and document made good
    documents.write(out, manifests.revised(manifest))
    (out / "manifest.json").write_bytes(dumps(manifests.revised(manifest)))
    (out / signing.NAME).write_bytes(envelope)
    assert (
        str(curate.verify(out, key=_key(made)).first) == "manifest.json: is not the manifest that was signed"
    )
    (out / "manifest.json").write_bytes(old)
    (out / signing.NAME).unlink()
    report = curate.verify(out)  # unsigned, the files that it tells wrong of
    assert report.first is not None
    assert report.first in report.check("files").findings


def test_the_command_line_names_the_file_and_the_record(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    releases.edit(out / "data" / SECOND, lambda rows: rows[4].update(text="another"))
    assert cli.main(["verify", str(out)]) == 1
    said = capsys.readouterr().out
    assert "✗  files" in said
    assert f"does not verify: data/{SECOND}, record docs/" in said.replace("\n", " ")
    assert cli.main(["verify", str(out), "--json"]) == 1
    told = orjson.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert told["first"]["file"] == f"data/{SECOND}"
    assert told["first"]["record"]["row"] == 5
    assert all(check["seconds"] >= 0 for check in told["checks"])
