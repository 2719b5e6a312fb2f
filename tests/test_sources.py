"""Source manifests: every key described, files held to their declared hashes, records found again in their files."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_jsonl
from reading import Serial
from ruamel.yaml import YAML

import curate
from curate import recipe, source
from curate.demo import starter
from curate.errors import InputError, RecipeError
from curate.io.scan import scan
from curate.record import content_sha256
from curate.source import Source

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "manifests" / "schema"


@pytest.mark.parametrize("made", [source, recipe])
def test_the_schema_file_is_that_of_the_model(made: Any) -> None:
    name = made.__name__.rpartition(".")[2]
    held = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    again = f"write json.dumps(curate.{name}.schema(), indent=2, ensure_ascii=False) to it again"
    assert held == json.loads(json.dumps(made.schema())), again


def test_every_key_of_a_source_is_described() -> None:
    whole = source.schema()
    for part in (whole, *whole["$defs"].values()):
        for key, about in part["properties"].items():
            assert about.get("description"), key


def _plain(path: Path) -> Any:
    return json.loads(json.dumps(YAML(typ="safe").load(path), default=str))


def test_the_demo_s_manifests_say_where_everything_comes_from(tmp_path: Path) -> None:
    starter.init(tmp_path)
    manifests = sorted((tmp_path / "manifests" / "sources").glob("*.yaml"))
    assert len(manifests) == 6
    for path in manifests:
        first, data = path.read_text(encoding="utf-8").splitlines()[0], _plain(path)
        schema = path.parent / first.removeprefix("# yaml-language-server: $schema=")
        assert schema.resolve().read_bytes() == (SCHEMAS / "source.schema.json").read_bytes()
        jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(data)
        told = {
            "category",
            "version",
            "collected_from",
            "collected",
            "ongoing",
            "generated_by",
            "personal_data",
        }
        assert told | {"consent", "contact", "languages", "creator", "terms", "sha256"} <= set(data)
        files = sorted((tmp_path / "data" / data["name"]).iterdir())
        assert data["sha256"] == {
            file.relative_to(tmp_path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
        }
    recipe.load(tmp_path / "curate.yaml")


def _recipe(folder: Path, *lines: str, files: str = '["*.jsonl"]') -> Path:
    path = folder / "curate.yaml"
    text = f"curate: 1\nname: a\nversion: '1'\nsources:\n  - name: s\n    files: {files}\n"
    path.write_text(text + "".join(f"    {line}\n" for line in lines) + "stages: [exact]\n")
    return path


MISTAKES = [
    ("category: crawl", "sources[0].category: found 'crawl'; did you mean 'crawled'? allowed: "),
    (
        "sha256: {a.jsonl: 12ab}",
        "sources[0].sha256: a.jsonl: found '12ab'; allowed: the file's SHA-256 as 64 hex",
    ),
    ("generated_by: [{version: '1'}]", "sources[0].generated_by[0].model: is required and missing"),
    (
        "languages: [en, english!]",
        "sources[0].languages[1]: found 'english!'; allowed: language codes like en",
    ),
    ("crawler: {robot: respected}", "sources[0].crawler.robot: unknown key; did you mean 'robots'?"),
    ("crawler: {robots: yes}", "sources[0].crawler.robots: found 'yes'; allowed: 'respected', 'partly'"),
    ("signals: [{kind: robots.txt}]", "sources[0].signals[0].says: is required and missing"),
    (
        "personal_data: false",
        "sources[0].personal_data: found False; allowed: 'yes', 'no' or 'unknown'; quote it",
    ),
    ("{collected: 2026-01-01, collected_from: 2026-02-01}", "collected_from is 2026-02-01, after collected"),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_wrong_key_is_named_with_what_is_allowed(tmp_path: Path, line: str, message: str) -> None:
    lines = line.strip("{}").split(", ") if line.startswith("{") else [line]
    with pytest.raises(RecipeError) as caught:
        recipe.load(_recipe(tmp_path, *lines))
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "deep/a"):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": f"in {name}"}])
    return tmp_path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_run_refuses_a_file_with_another_hash_before_anything_is_written(folder: Path) -> None:
    declared = {name: _digest(folder / name) for name in ("a.jsonl", "b.jsonl")}
    path = _recipe(folder, f"sha256: {json.dumps(declared)}")
    curate.run(path, folder / "good", workers=1)
    with (folder / "b.jsonl").open("ab") as file:
        file.write(b'{"text": "slipped in"}\n')
    with pytest.raises(InputError) as caught:
        curate.run(path, folder / "bad", workers=1)
    message, found = str(caught.value), _digest(folder / "b.jsonl")
    assert message.startswith(
        f"b.jsonl: SHA-256 is {found}; expected {declared['b.jsonl']}, which source 's' declares; "
        "restore that file, or declare the new hash"
    )
    assert "\n" not in message
    assert not (folder / "bad").exists()
    with pytest.raises(InputError, match=r"b\.jsonl: SHA-256 is"):
        curate.plan(path, workers=1)


COVERAGE = [
    (["*.jsonl"], ["a.jsonl"], "b.jsonl: is not under sha256 of source 's'; expected every file"),
    (["*.jsonl"], [], "a.jsonl: is not under sha256 of source 's' (2 files are not)"),
    (
        ["*.jsonl"],
        ["a.jsonl", "b.jsonl", "c.jsonl"],
        "c.jsonl: stands under sha256 of source 's', but no file of",
    ),
    (["**/*.jsonl"], ["a.jsonl", "b.jsonl"], "deep/a.jsonl: is not under sha256"),
    (["deep/*.jsonl", "deep/a.jsonl"], ["a.jsonl"], ""),  # by its name; two patterns, one file
    (["*.jsonl"], ["./a.jsonl", "b.jsonl"], ""),
    (["**/*.jsonl"], ["deep/a.jsonl", "a.jsonl", "b.jsonl"], ""),
    (
        ["deep/*.jsonl", "x/*.jsonl"],
        ["a.jsonl"],
        "a.jsonl: stands under sha256 of source 's', but 2 files have that name",
    ),
]


@pytest.mark.parametrize(("files", "named", "problem"), COVERAGE)
def test_declared_hashes_cover_every_file_and_nothing_else(
    folder: Path, files: list[str], named: list[str], problem: str
) -> None:
    (folder / "x").mkdir()
    (folder / "x" / "a.jsonl").write_bytes((folder / "deep" / "a.jsonl").read_bytes())
    if files[-1] != "x/*.jsonl":
        (folder / "x" / "a.jsonl").unlink()
    where = {name: folder / ("deep" if files[0].startswith("deep") else ".") / name for name in named}
    declared = {name: _digest(path) if path.exists() else "0" * 64 for name, path in where.items()}
    told = Source(name="s", files=tuple(files), sha256=declared)
    if not problem:
        scan([told], folder, Serial())
        return
    with pytest.raises(InputError) as caught:
        scan([told], folder, Serial())
    assert any(line.startswith(problem) for line in str(caught.value).split("\n")), str(caught.value)


def test_files_on_other_storage_are_held_to_their_hashes_too(tmp_path: Path) -> None:
    import fsspec

    url, content = "memory://held/a.jsonl", b'{"text": "far away"}\n'
    fsspec.filesystem("memory").pipe_file("/held/a.jsonl", content)
    right = hashlib.sha256(content).hexdigest()
    for name in (url, "a.jsonl"):
        scan(
            [Source(name="s", files=("memory://held/*.jsonl",), sha256={name: right.upper()})],
            tmp_path,
            Serial(),
        )
        with pytest.raises(InputError, match=r"^memory://.*a\.jsonl: SHA-256 is"):
            scan([Source(name="s", files=(url,), sha256={name: "0" * 64})], tmp_path, Serial())


def _lines(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).split(b"\n")


def _at(folder: Path, locator: str) -> Any:
    """Return a record's text by its locator alone, by other means than the reader's."""
    name, _, row = locator.rpartition("#")
    path, place = folder / name, int(row) - 1
    if path.suffix == ".parquet":
        return pq.read_table(path).slice(place, 1).to_pylist()[0]["text"]
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            lines = file.readlines()
        return next(csv.DictReader(lines[place:], fieldnames=["id", "text"]))["text"]
    return orjson.loads(_lines(path)[place])["text"]


def test_following_a_locator_gives_the_record_back(tmp_path: Path) -> None:
    texts = [f'The {i}th text, told\nover two lines, with a quote: "{"x" * (i % 7)}".' for i in range(60)]
    write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts[:15]])
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(b'\n{"text": \n')  # a blank line, and one that is no record
        file.write(orjson.dumps({"text": "after the gap"}) + b"\n")
    with gzip.open(tmp_path / "b.jsonl.gz", "wb") as file:
        file.write(b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts[15:30]))
    pq.write_table(pa.table({"text": texts[30:45]}), tmp_path / "c.parquet", row_group_size=4)
    with (tmp_path / "d.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "text"])
        writer.writerows([[f"d{i}", text] for i, text in enumerate(texts[45:])])
    path = _recipe(tmp_path, "format: text", files="[a.jsonl, b.jsonl.gz, c.parquet, d.csv]")
    release = curate.run(path, workers=1)
    kept = pq.read_table(release.path / "records").to_pylist()
    assert len(kept) == 61
    for row in kept:
        found = pa.array([_at(tmp_path, row["locator"])])
        assert content_sha256(found)[0].as_py() == row["sha256_in"], row["locator"]
    removed = pq.read_table(release.path / "removed").to_pylist()
    assert [
        _lines(tmp_path / "a.jsonl")[int(r["curate"]["locator"].rpartition("#")[2]) - 1] for r in removed
    ] == [b'{"text": ']
