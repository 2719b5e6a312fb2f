"""curate verify: what it checks of a release that is whole, what it says of one that is not, proofs of inclusion."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import releases
from conftest import write_jsonl

import curate
from curate import cli, merkle
from curate.errors import RecipeError
from curate.govern.verify import inclusion, rows

CHECKS = ["manifest", "signature", "files", "others", "records", "totals", "measures", "derived", "documents"]
CHECKS += ["described", "superseded"]


@pytest.fixture(scope="module", autouse=True)
def remembered() -> Iterator[None]:
    with releases.rendered_once():
        yield


@pytest.fixture(scope="module", params=["parquet", "jsonl.zst"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return releases.make(tmp_path_factory.mktemp("verify"), request.param)


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "release"))


def test_every_check_tells_how_much_it_went_over(made: Path) -> None:
    report = curate.verify(made, key=made.parent / "key.pub")
    assert report.ok
    assert report.first is None
    assert [check.name for check in report.checks] == CHECKS
    assert {check.state for check in report.checks} == {"ok"}
    manifest = curate.load(made).manifest
    kept = manifest["counts"]["kept"]
    assert report.check("records").counted == {"records": kept, "leaves": kept}
    assert report.check("files").counted["files"] == len(manifest["outputs"])
    files = [path for path in made.rglob("*") if path.is_file()]
    assert report.check("others").counted == {"files": len(files)}
    documents = report.check("documents").counted["documents"]
    assert documents + len(manifest["outputs"]) + 2 == len(files)  # and the manifest, and the signature


def test_a_signature_without_a_key_is_not_checked_and_said_so(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = curate.verify(made)
    assert report.ok
    check = report.check("signature")
    assert check.state == "not checked"
    assert re.fullmatch("signed by key [0-9a-f]{16}…, not checked: give --key", check.said)
    assert cli.main(["verify", str(made)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "– signature not checked: signed by key" in said
    assert "its signature was not checked, so only damage is ruled out, not a forger" in said
    assert cli.main(["verify", str(made), "--key", str(made.parent / "key.pub")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"✓ signature valid under .*✓ files .*✓ superseded .* verifies in [\d.]+ s$", said)


def test_a_key_was_given_and_there_is_no_signature(out: Path, made: Path) -> None:
    (out / "manifest.dsse.json").unlink()
    report = curate.verify(out, key=str(made.parent / "key.pub"))
    assert not report.ok
    assert str(report.first) == (
        "manifest.dsse.json: is missing: a key was given, and the release is not signed"
    )
    assert curate.verify(out).ok
    assert curate.verify(out).check("signature").said == "the release is not signed"


@pytest.mark.parametrize(
    "pattern", ["data/part-*", "records/part-*", "leaves/part-*", "README.md", "manifest.dsse.json"]
)
def test_a_pipe_in_the_place_of_a_file_is_told_and_not_waited_for(out: Path, pattern: str) -> None:
    path = next(out.glob(pattern))
    path.unlink()
    os.mkfifo(path)
    report = curate.verify(out)
    if path.name == "manifest.dsse.json":
        assert report.check("signature").said == "the release is not signed"
    else:
        assert report.first is not None
        assert report.first.file == path.relative_to(out).as_posix()


def test_a_folder_without_a_readable_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecipeError, match="there is no such folder"):
        curate.verify(tmp_path / "none")
    assert str(curate.verify(tmp_path).first) == "manifest.json: is missing: this folder holds no release"
    for content, said in (
        ("{", "is not JSON (line 1)"),
        ("[]", "'format' is not 'curate-manifest/1'; this version cannot read it"),
        ('{"format": "curate-manifest/1"}', "its bytes are not those that curate writes for what it says"),
    ):
        (tmp_path / "manifest.json").write_text(content)
        report = curate.verify(tmp_path, id="a/1")
        assert str(report.first) == f"manifest.json: {said}"
    assert cli.main(["verify", str(tmp_path)]) == 1
    assert "does not verify: manifest.json" in capsys.readouterr().out


def test_a_proof_holds_without_the_release(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check that the module's docstring gives to third parties is run as it stands there."""
    records = pq.read_table(sorted((made / "records").glob("*"))).to_pylist()
    lines = [
        line
        for path in sorted((made / "data").glob("*"))
        for chunk in rows.chunks(path)
        for line in chunk.lines
    ]
    code = str(inclusion.__doc__).split("::\n\n")[1].split("\n\nA proof holds")[0]
    code = "\n".join(line.removeprefix("    ") for line in code.splitlines())
    code = code.replace("#    assert", "assert").replace('json.load(open("proof.json"))', "proof")
    assert len([line for line in code.splitlines() if line and line[0] != "#"]) <= 20
    for at in (0, 100, len(lines) - 1):
        assert cli.main(["verify", str(made), "--id", records[at]["id"], "--json"]) == 0
        [proof] = orjson.loads(capsys.readouterr().out)["proofs"]
        assert proof["verified"] is True
        assert (proof["index"], proof["size"]) == (at, len(lines))
        assert proof["root"] == curate.load(made).manifest["merkle"]["root"]
        assert proof["line_sha256"] == hashlib.sha256(lines[at]).hexdigest()
        exec(code, {"proof": proof, "line": lines[at]})
        for key, value in (
            ("index", at ^ 1),
            ("leaf", "00" * 32),
            ("path", proof["path"][1:]),
            ("salt", "00" * 16),
        ):
            with pytest.raises(AssertionError):
                exec(code, {"proof": {**proof, key: value}, "line": lines[at]})
    with pytest.raises(AssertionError):
        exec(code, {"proof": proof, "line": lines[at] + b" "})


def test_records_that_share_an_id_are_all_proved_and_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", [{"id": i % 3, "text": f"text {i}"} for i in range(8)])
    (tmp_path / "curate.yaml").write_text(
        "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [in.jsonl]}]\nstages: [conversation]\n"
    )
    out = curate.run(tmp_path / "curate.yaml", workers=1).path
    report = curate.verify(out, id="a/1")
    assert [(proof.row, proof.index, proof.verified) for proof in report.proofs] == [
        (2, 1, True),
        (5, 4, True),
        (8, 7, True),
    ]
    report = curate.verify(out, id="a/9")
    assert not report.ok
    assert report.proofs == ()
    assert "no kept record has the id 'a/9': none had it, or a stage removed it" in str(report.first)
    assert cli.main(["verify", str(out), "--id", "a/9"]) == 1


def _erased(path: Path, row: int) -> dict[str, Any]:
    """Take a row out of a shard of parquet or JSON lines, and return it."""
    if path.suffix == ".parquet":
        gone: list[dict[str, Any]] = []
        releases.edit(path, lambda held: gone.append(held.pop(row)))
        return gone[0]
    import zstandard

    lines = [line for chunk in rows.chunks(path) for line in chunk.lines]
    line = lines.pop(row)
    path.write_bytes(zstandard.ZstdCompressor().compress(b"".join(held + b"\n" for held in lines)))
    return dict(orjson.loads(line))


def test_a_leaf_without_a_record_is_a_tombstone_if_the_manifest_counts_it(out: Path, made: Path) -> None:
    manifest = curate.load(out).manifest
    suffix = manifest["recipe"]["output"]["format"]
    gone = _erased(out / "data" / f"part-00001.{suffix}", 6)
    _erased(out / "records" / "part-00001.parquet", 6)
    releases.cover_up(out, merkle={**manifest["merkle"], "erased": 1})
    report = curate.verify(out, id=gone["id"])
    assert report.check("records").state == "ok"
    assert report.check("records").counted["leaves"] == report.check("records").counted["records"] + 1
    [finding] = report.check("inclusion").findings
    assert "or it is one of the 1 that take-downs erased" in finding.said
    other = next(row for row in pq.read_table(out / "records" / "part-00001.parquet").to_pylist()[6:])
    [proof] = curate.verify(out, id=other["id"]).proofs
    assert proof.verified  # the tombstone keeps the path to the root whole
    assert proof.index == other["leaf"] == 60 + 7
    releases.cover_up(out, merkle={**manifest["merkle"], "erased": 2})
    [finding] = curate.verify(out).check("records").findings
    assert finding.said == "1 leaves have no record, the manifest says that 2 were erased"


def test_a_release_without_removed_records_verifies(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", [{"id": i, "text": f"text {i % 5}"} for i in range(8)])
    (tmp_path / "curate.yaml").write_text(
        "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [in.jsonl]}]\nstages: [exact]\n"
        "output: {keep_removed: false}\n"
    )
    report = curate.verify(curate.run(tmp_path / "curate.yaml", workers=1).path)
    assert report.ok
    assert report.check("measures").state == "not checked"


def test_an_empty_release_verifies(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", [{"id": 1, "text": ""}])
    (tmp_path / "curate.yaml").write_text(
        "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [in.jsonl]}]\nstages: [conversation]\n"
    )
    report = curate.verify(curate.run(tmp_path / "curate.yaml", workers=1).path)
    assert report.ok
    assert report.check("records").counted == {"records": 0, "leaves": 0}


def test_audit_paths_made_together_are_those_made_one_by_one() -> None:
    leaves = [bytes([n]) * 32 for n in range(11)]
    assert merkle.paths(leaves, [10, 0, 5]) == [merkle.path(leaves, n) for n in (10, 0, 5)]
    assert merkle.paths([], []) == []


def test_findings_hold_no_text_of_records(out: Path) -> None:
    """A damaged shard may make a reader raise with what it read in the message."""
    for path in sorted((out / "data").glob("*")) + sorted((out / "records").glob("*")):
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 0xFF
        path.write_bytes(content)
    report = curate.verify(out, id="docs/3")
    words = {
        word
        for chunk_path in (out / "audit").glob("*")
        for word in re.findall("[a-z]{5,}", chunk_path.read_text())
    }
    said = " ".join(finding.said for check in report.checks for finding in check.findings)
    assert {"river", "harbour", "lantern"} <= words
    assert not {"river", "harbour", "lantern", "violin", "meadow"} & set(re.findall("[a-z]+", said))
    assert {finding.file for finding in report.check("files").findings} == {
        path.relative_to(out).as_posix()
        for folder in ("data", "records")
        for path in (out / folder).iterdir()
    }
