"""An encrypted removed/ tells nothing of contents without the key, and gives all of it back with the key."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

import curate
from curate import sealed
from curate.errors import IntegrityError, RecipeError

KEY = "5f2c1d0e9b8a7766554433221100ffee"
OUTPUT = "output: {encrypt_removed: {key_file: removed.key}}\n"


@pytest.fixture
def both(corpus: Path) -> tuple[curate.Release, curate.Release]:
    """The release as it is, and with removed/ encrypted."""
    (corpus / "removed.key").write_text(KEY)
    plain = curate.run(corpus / "curate.yaml", corpus / "plain", workers=1)
    recipe = corpus / "curate.yaml"
    recipe.write_text(recipe.read_text() + OUTPUT)
    return plain, curate.run(recipe, corpus / "sealed", workers=1)


def test_with_the_key_everything_comes_back_as_it_was(both: tuple[curate.Release, curate.Release]) -> None:
    for name in ("part-00000.parquet", "edited-00000.parquet"):
        plain, closed = (pq.read_table(release.path / "removed" / name) for release in both)
        assert sealed.is_sealed(closed.schema)
        assert not sealed.is_sealed(plain.schema)
        assert sealed.unseal(closed, KEY.encode()).equals(plain)
        assert plain.num_rows


def test_without_the_key_no_content_is_there(both: tuple[curate.Release, curate.Release]) -> None:
    plain, closed = (release.path / "removed" for release in both)
    with duckdb.connect() as db:
        rows = db.execute(
            "SELECT coalesce(text, messages[1].content), curate.sha256_in, curate.raw::VARCHAR "
            f"FROM read_parquet('{plain}/*.parquet')"
        ).fetchall()
    secret = {value for row in rows for value in row if value}
    assert len(secret) > 100
    shown = b""
    for path in closed.glob("*.parquet"):
        table = pq.read_table(path)
        shown += repr(table.to_pylist()).encode() + path.read_bytes() + str(table.schema.metadata).encode()
    assert [value for value in secret if value.encode() in shown] == []


def test_the_rest_of_the_release_is_the_same(both: tuple[curate.Release, curate.Release]) -> None:
    plain, closed = both
    for name in ("data", "records", "ledger", "leaves"):
        for path in (plain.path / name).iterdir():
            assert path.read_bytes() == (closed.path / name / path.name).read_bytes()
    assert plain.manifest["statistics"] == closed.manifest["statistics"]
    story, told = (release.explain("docs/near-0") for release in both)
    assert (story.fate, story.steps) == (told.fate, told.steps)
    assert curate.run(closed.path.parent / "curate.yaml", closed.path).reused


def test_another_key_or_a_changed_byte_opens_nothing(both: tuple[curate.Release, curate.Release]) -> None:
    table = pq.read_table(both[1].path / "removed" / "part-00000.parquet")
    with pytest.raises(IntegrityError, match="not the one it was encrypted with"):
        sealed.unseal(table, KEY[::-1].encode())
    swapped = table.set_column(0, "id", table.column("id")).take([1, 0, *range(2, table.num_rows)])
    moved = table.set_column(4, table.schema.field(4), swapped.column(4))
    with pytest.raises(IntegrityError, match="was changed"):
        sealed.unseal(moved, KEY.encode())


def test_reveal_prints_removed_records(both: tuple[curate.Release, curate.Release], tmp_path: Path) -> None:
    plain, closed = both
    rows = list(curate.reveal(closed.path, ["docs/near-0"], key_file=tmp_path / "removed.key", removed=True))
    there = pq.read_table(plain.path / "removed" / "part-00000.parquet").to_pylist()
    assert rows == [row for row in there if row["id"] == "docs/near-0"]
    other = tmp_path / "other.key"
    other.write_text(KEY[::-1])
    with pytest.raises(IntegrityError, match="another key"):
        list(curate.reveal(closed.path, key_file=other, removed=True))
    with pytest.raises(RecipeError, match="no removed record has the id 'docs/none'"):
        list(curate.reveal(closed.path, ["docs/none"], key_file=tmp_path / "removed.key", removed=True))


def test_a_missing_key_is_an_error_of_the_recipe(corpus: Path) -> None:
    recipe = corpus / "curate.yaml"
    recipe.write_text(recipe.read_text() + OUTPUT)
    with pytest.raises(RecipeError, match=r"curate.yaml:\d+: output.encrypt_removed.*cannot be read"):
        curate.run(recipe, workers=1)
