"""The Merkle tree: as RFC 6962 has it, its salts the same in every run, its root over every kept record."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate import merkle


def _slow(leaves: list[bytes]) -> bytes:
    """The definition, RFC 6962, section 2.1."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + _slow(leaves[:k]) + _slow(leaves[k:])).digest()


@given(st.lists(st.binary(min_size=1, max_size=4), max_size=40))
def test_root_and_paths_are_those_of_the_definition(leaves: list[bytes]) -> None:
    tree = merkle.Tree()
    tree.extend(leaves)
    assert (tree.root(), tree.size) == (_slow(leaves).hex(), len(leaves))
    for index, leaf in enumerate(leaves):
        path = merkle.path(leaves, index)
        assert merkle.root_of_path(leaf, index, len(leaves), path) == tree.root()
        assert merkle.root_of_path(leaf + b"x", index, len(leaves), path) != tree.root()
        assert merkle.root_of_path(leaf, index, len(leaves), [*path, leaf]) != tree.root()
        if path:
            assert merkle.root_of_path(leaf, index, len(leaves), path[:-1]) != tree.root()


@given(st.lists(st.binary(min_size=1, max_size=4), max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_a_tree_of_stretches_hashed_apart_is_the_tree(leaves: list[bytes], cuts: list[int]) -> None:
    tree = merkle.Tree()
    edges = sorted({0, len(leaves), *(cut for cut in cuts if cut < len(leaves))})
    for start, stop in itertools.pairwise(edges):
        nodes = merkle.subtrees(leaves[start:stop], start)
        heights = [height for height, _ in nodes]
        assert all(heights.count(height) <= 2 for height in heights)
        tree.graft(nodes)
    assert (tree.root(), tree.size) == (_slow(leaves).hex(), len(leaves))


@pytest.mark.parametrize("layout", ["parquet", "jsonl.zst"])
def test_leaves_are_the_salted_lines_of_data(corpus: Path, layout: str) -> None:
    recipe = corpus / "curate.yaml"
    recipe.write_text(recipe.read_text() + f"output: {{format: {layout}}}\n")
    release = curate.run(recipe, workers=1)
    records = pq.read_table(release.path / "records")
    leaves = pq.read_table(release.path / "leaves").column("leaf").to_pylist()
    if layout == "parquet":
        lines = [orjson.dumps(row) for row in pq.read_table(release.path / "data").to_pylist()]
    else:
        import zstandard

        packed = (release.path / "data" / "part-00000.jsonl.zst").read_bytes()
        lines = (
            zstandard.ZstdDecompressor()
            .decompressobj(read_across_frames=True)
            .decompress(packed)
            .splitlines()
        )
    assert records.column("leaf").to_pylist() == list(range(len(lines)))
    for salt, line, leaf in zip(records.column("salt").to_pylist(), lines, leaves, strict=True):
        assert hmac.digest(salt, line, "sha256") == leaf
    assert len(set(records.column("salt").to_pylist())) == len(lines)
    told = release.manifest["merkle"]
    assert (told["root"], told["leaves"]) == (_slow(leaves).hex(), len(leaves))


def test_salts_depend_on_every_byte_of_the_input_and_stand_in_no_other_file(corpus: Path) -> None:
    release = curate.run(corpus / "curate.yaml", workers=1)
    before = pq.read_table(release.path / "records", columns=["salt"]).column("salt").to_pylist()
    file = corpus / "docs" / "a.jsonl"
    file.write_bytes(file.read_bytes() + b"\n")  # a blank line: no record changes
    again = curate.run(corpus / "curate.yaml", workers=1)
    after = pq.read_table(again.path / "records", columns=["salt"]).column("salt").to_pylist()
    assert len(before) == len(after)
    assert not set(before) & set(after)
