"""Slow, readable twin of MosaicML Streaming's reader of MDS shards: sample by sample, by the places in the head."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import orjson


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the samples of every shard that the index lists."""
    index = orjson.loads((folder / "index.json").read_bytes())
    assert index["version"] == 2
    found = []
    for shard in index["shards"]:
        content = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert len(content) == shard["raw_data"]["bytes"]
        [samples] = struct.unpack_from("<I", content)
        assert samples == shard["samples"]
        for number in range(samples):
            begin, end = struct.unpack_from("<2I", content, 4 + 4 * number)
            found.append(_sample(content[begin:end], shard["column_names"], shard["column_encodings"]))
    return found


def _sample(data: bytes, names: list[str], encodings: list[str]) -> dict[str, Any]:
    sizes = struct.unpack_from(f"<{len(names)}I", data)
    at, found = 4 * len(names), {}
    for name, encoding, size in zip(names, encodings, sizes, strict=True):
        cell = data[at : at + size]
        found[name] = cell.decode() if encoding == "str" else orjson.loads(cell)
        at += size
    assert at == len(data)
    return found
