"""A signed release of several shards for the tests of verify, and a way to forge one by every means but the key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import RECIPE as PLAIN
from conftest import make_corpus

import curate
from curate.govern import documents
from curate.govern import manifest as manifests
from curate.io import write
from curate.io.manifest import dumps
from curate.release import finish

RECIPE = PLAIN.replace("toys:Shout", "pii: {audit: 10}")


@contextmanager
def rendered_once() -> Iterator[None]:
    """Render the documents of one manifest once: the renderers are pure, and these tests verify it many times."""
    render, known = documents.render, dict[bytes, dict[str, bytes]]()

    def again(manifest: documents.Manifest) -> dict[str, bytes]:
        key = dumps(manifest)
        if key not in known:
            known[key] = render(manifest)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "render", again)
        yield


def make(folder: Path, layout: str = "parquet") -> Path:
    """Write a release whose tables have several shards each, signed by ``folder``/key."""
    make_corpus(folder)
    recipe = folder / "curate.yaml"
    recipe.write_text(f"{RECIPE}output: {{format: {layout}, shard_size: 1KB}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "GROUP_RECORDS", 60)
        out = curate.run(recipe, workers=1).path
    curate.sign(out, new_key=folder / "key")
    return out


def edit(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Rewrite a parquet file with its rows changed, in its own schema."""
    schema = pq.read_schema(path)
    rows = pq.read_table(path).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def cover_up(out: Path, **changes: Any) -> None:
    """Write the hashes of the files as they now are into the manifest, with its root, and render the documents."""
    manifest = {**curate.load(out).manifest, **changes}
    outputs = []
    for entry in manifest["outputs"]:
        path = out / entry["path"]
        if path.is_file():
            records = (
                pq.ParquetFile(path).metadata.num_rows if path.suffix == ".parquet" else entry["records"]
            )
            outputs.append(manifests.output(write.finished(path, records), out))
    finish(out, manifests.revised(manifest, outputs=outputs))
