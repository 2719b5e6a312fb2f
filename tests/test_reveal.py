"""curate reveal: whoever has the key gets the encrypted values back, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

import curate
from curate.cli import main
from curate.errors import IntegrityError, RecipeError

SECRET = "correct horse battery staple"
TALK = [
    {"role": "user", "content": "I am jane@test.com, card 4111 1111 1111 1111 \U0001f600"},
    {"role": "assistant", "content": "Thank you, jane@test.com."},
]
ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "write to john@test.com", "seen": "2026-05-01", "more": {"n": 1}},
    {"id": "b", "text": "nothing here", "seen": "2026-05-02", "more": None},
    {"id": "c", "text": "call (212) 736-5000", "seen": None, "more": [1]},
]
ENCRYPT = "{operator: encrypt, key_file: secret.key}"


@pytest.fixture
def release(tmp_path: Path) -> Callable[..., Path]:
    """Run a recipe with the given options of pii and output over three documents and a conversation."""

    def run(options: str, format: str = "parquet") -> Path:
        (tmp_path / "secret.key").write_text(SECRET + "\n")
        (tmp_path / "docs.jsonl").write_bytes(b"\n".join(map(orjson.dumps, ROWS)))
        (tmp_path / "talk.jsonl").write_bytes(orjson.dumps({"id": "t", "messages": TALK}))
        sources = "[{name: docs, files: [docs.jsonl]}, {name: talk, files: [talk.jsonl]}]"
        head = f"curate: 1\nname: a\nversion: '1'\nsources: {sources}\noutput: {{format: {format}}}\n"
        (tmp_path / "curate.yaml").write_text(f"{head}stages: [pii: {options}]\n")
        return curate.run(tmp_path / "curate.yaml", workers=1).path

    return run


@pytest.mark.parametrize("format", ["parquet", "jsonl.zst"])
def test_the_key_gives_back_what_was_encrypted(
    release: Callable[..., Path], tmp_path: Path, format: str
) -> None:
    out = release(ENCRYPT, format)
    shards = b"".join(path.read_bytes() for path in out.glob("data/*"))
    assert b"john@test.com" not in shards
    revealed = {record["id"]: record for record in curate.reveal(out, key_file=tmp_path / "secret.key")}
    assert set(revealed) == {"docs/a", "docs/c", "talk/t"}  # not b, which holds nothing
    assert revealed["docs/a"]["text"] == ROWS[0]["text"]
    assert revealed["docs/a"]["more"] == {"n": 1}
    assert revealed["docs/a"]["source"] == "docs"
    assert revealed["talk/t"]["messages"] == TALK


def test_ids_name_the_records_that_are_printed(
    release: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = str(release(ENCRYPT))
    monkeypatch.setenv("PII_KEY", SECRET)
    assert main(["reveal", out, "docs/c", "docs/b", "--key-env", "PII_KEY"]) == 0
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["id"], line["text"]) for line in lines] == [
        ("docs/b", ROWS[1]["text"]),
        ("docs/c", ROWS[2]["text"]),
    ]
    assert main(["reveal", out, "talk/t", "--key-file", str(tmp_path / "secret.key"), "--json"]) == 0
    [record] = orjson.loads(capsys.readouterr().out)
    assert record["messages"] == TALK
    assert main(["reveal", out, "docs/z", "--key-env", "PII_KEY"]) == 2
    assert "no kept record has the id 'docs/z'" in capsys.readouterr().err


def test_another_key_is_refused_and_none_is_asked_for(
    release: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = release(ENCRYPT)
    monkeypatch.setenv("PII_KEY", SECRET[::-1])
    with pytest.raises(IntegrityError, match="was encrypted with another key"):
        curate.reveal(out, key_env="PII_KEY")
    assert main(["reveal", str(out), "--key-env", "PII_KEY"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert SECRET not in printed.err
    with pytest.raises(RecipeError, match="needs the key"):
        curate.reveal(out)
    with pytest.raises(RecipeError, match="needs the key"):
        curate.reveal(out, key_env="PII_KEY", key_file="x")
    with pytest.raises(RecipeError, match="cannot be read"):
        curate.reveal(out, key_file="no/such/file")


@pytest.mark.parametrize(
    "options", ["{}", "{operator: hash, key_file: secret.key}", "{operators: {US_SSN: drop}}"]
)
def test_where_nothing_is_encrypted_it_says_so(
    release: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str
) -> None:
    out = release(options)
    assert main(["reveal", str(out), "--key-file", str(tmp_path / "secret.key")]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "no kept record of this release holds an encrypted value\n")


def test_the_release_holds_the_key_s_fingerprint_and_neither_key_nor_its_place(
    release: Callable[..., Path], tmp_path: Path
) -> None:
    out = release(ENCRYPT)
    [stage] = curate.load(out).manifest["recipe"]["stages"]
    assert stage["options"]["key_file"] == "secret.key"
    assert len(stage["fingerprint"]) == 16
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert SECRET.encode() not in written
    assert str(tmp_path).encode() not in (out / "manifest.json").read_bytes()


def test_a_key_file_that_is_not_there_is_a_problem_of_the_recipe(tmp_path: Path) -> None:
    text = "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [a.jsonl]}]\n"
    (tmp_path / "curate.yaml").write_text(f"{text}stages: [pii: {ENCRYPT}]\n")
    with pytest.raises(
        RecipeError, match=r"curate\.yaml:5: stages\[0\]\.pii: operator encrypt needs a secret key"
    ) as caught:
        curate.plan(tmp_path / "curate.yaml")
    assert "secret.key" in str(caught.value)
