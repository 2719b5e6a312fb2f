"""Ids that are not unique in their source: reported, never merged.

Ids begin with their source's name, and those that the reader gives are places in files, so only sources that have ids
of their own are looked at. Workers write 128-bit hashes of the ids (BLAKE2b) in sorted runs, others count one
range of hashes each over all runs, and where something was found twice, the units concerned are read once more for
the flags. Nobody holds more than one range or one run: 16 bytes per record of it, three times while it is sorted.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import ledger, record
from curate.io.store import Store
from curate.outcome import merged
from curate.pipeline import Chain
from curate.record import Batch
from curate.shards.trails import RECORDS, Trail, bundles
from curate.stage import Engine, evidence_json
from curate.unit import READ

DUPLICATE_ID = "read/duplicate-id"
_RUN = 2**20  # records whose hashes are sorted together
_LOOKED_UP = 2**17  # records whose hashes are looked up together
_HASH = np.dtype("S16")
_COUNTED = np.dtype([("hash", _HASH), ("records", "<u8")])
Hashes = npt.NDArray[np.bytes_]  # of _HASH


@dataclass(frozen=True)
class Noting:
    """Units whose ids a worker is to note. ranges: how many the hashes will be counted in."""

    numbers: tuple[int, ...]
    trails: tuple[Trail, ...]
    store: Store
    ranges: int

    @property
    def name(self) -> str:
        """Return the file of the hashes."""
        return f"ids-{self.numbers[0]:08d}"


@dataclass(frozen=True)
class Counting:
    """A range of hashes, for a worker to count. runs: (task that noted it, file, first byte, last byte)."""

    runs: tuple[tuple[int, str, int, int], ...]
    store: Store
    name: str


@dataclass(frozen=True)
class Flagging:
    """Units that have doubled ids. counted: the files that say which, ranges in order."""

    noted: Noting
    counted: tuple[str, ...]


def find(
    chains: Sequence[Chain], trails: Sequence[Trail], store: Store, engine: Engine, memory: int
) -> tuple[dict[int, Trail], dict[str, int]]:
    """Return the trails that have doubled ids, by number, with the flags on them, and the flags of each source.

    store: a folder for what is noted; the flags stay there. memory: bytes that all workers may use together.
    """
    having = [some for some in bundles(chains) if chains[some[0]].plan.fields.get("id")]
    records = sum(chains[number].unit.records for some in having for number in some)
    ranges = 1 + 4 * _HASH.itemsize * records // max(memory // engine.workers, 1)
    notings = [Noting(tuple(some), tuple(trails[n] for n in some), store, ranges) for some in having]
    countings = _countings(notings, engine.map(note, notings))
    counted, concerned = [], set[int]()
    for counting, tasks in zip(countings, engine.map(count, countings), strict=True):
        if tasks:
            counted.append(counting.name)
            concerned |= tasks
    flaggings = [Flagging(notings[task], tuple(counted)) for task in sorted(concerned)]
    flagged: dict[int, Trail] = {}
    totals: Counter[str] = Counter()
    for found in engine.map(flag, flaggings):
        for number, flags in found.items():
            flagged[number] = trails[number].beside(store, _flags(number))
            totals[trails[number].source] += flags
    return flagged, dict(sorted(totals.items()))


def _countings(notings: Sequence[Noting], noted: Iterator[list[list[int]]]) -> list[Counting]:
    runs: dict[int, list[tuple[int, str, int, int]]] = {}
    for task, (noting, found) in enumerate(zip(notings, noted, strict=True)):
        for edges in found:
            for number, (start, stop) in enumerate(pairwise(edges)):
                if start < stop:
                    size = _HASH.itemsize
                    runs.setdefault(number, []).append((task, noting.name, start * size, stop * size))
    return [
        Counting(tuple(runs[number]), notings[0].store, f"doubled-{number:06d}") for number in sorted(runs)
    ]


def note(task: Noting) -> list[list[int]]:
    """Write the hashes of all ids, in sorted runs; return where in the file each range of each run begins, and ends.

    Edges are counted in hashes; there is one more than ranges.
    """
    bounds = np.array([(number << 64) // task.ranges for number in range(task.ranges)], np.uint64)
    edges, start = [], 0
    with task.store.writing(task.name) as path, path.open("wb") as file:
        for names in _runs(task.trails):
            hashes = np.sort(_hashes(names))
            file.write(hashes.tobytes())
            first = np.searchsorted(hashes.view(">u8")[::2].astype(np.uint64), bounds)
            edges.append([*(start + first).tolist(), start + len(hashes)])
            start += len(hashes)
    return edges


def _runs(trails: Sequence[Trail]) -> Iterator[list[str]]:
    held: list[str] = []
    for trail in trails:
        for folder, file in _files(trail):
            for batch in trail.batches(folder, file, ["id", "_row"]):
                held += batch.column("id").to_pylist()
                if len(held) >= _RUN:
                    yield held
                    held = []
    if held:
        yield held


def _files(trail: Trail) -> list[tuple[Store, str]]:
    """Return the files that have each record of a unit once."""
    return [(trail.kept, RECORDS), *trail.named("removed")]


def _hashes(names: Sequence[str]) -> Hashes:
    """Return the hash of each id [n]."""
    size = _HASH.itemsize
    return np.frombuffer(
        b"".join(hashlib.blake2b(name.encode(), digest_size=size).digest() for name in names), _HASH
    )


def count(task: Counting) -> set[int]:
    """Write the hashes that were noted more than once, and how often; return the tasks that noted them."""
    parts = [np.frombuffer(task.store.read_range(*run[1:]), _HASH) for run in task.runs]
    hashes = np.concatenate(parts)
    by = np.repeat([run[0] for run in task.runs], [len(part) for part in parts])
    del parts
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1]))
    sizes = np.diff(starts, append=len(hashes))
    several = sizes > 1
    if not several.any():
        return set()
    found = np.empty(int(several.sum()), _COUNTED)
    found["hash"] = hashes[starts[several]]
    found["records"] = sizes[several]
    task.store.write(task.name, found.tobytes())
    return set(by[order][np.repeat(several, sizes)].tolist())


def flag(task: Flagging) -> dict[int, int]:
    """Write the flags on each unit's records whose id is doubled; return how many there are, by the unit's number."""
    found = {}
    for number, trail in zip(task.noted.numbers, task.noted.trails, strict=True):
        streams = [_flagged(task, trail.batches(*file, _TOLD)) for file in _files(trail)]
        with (
            task.noted.store.writing(_flags(number)) as path,
            pa.ipc.new_stream(str(path), ledger.WORKING) as writer,
        ):
            flags = 0
            for table in merged(streams, ledger.ORDER):
                writer.write_table(table)
                flags += table.num_rows
        if flags:
            found[number] = flags
    return found


def _flags(number: int) -> str:
    return f"ledger.{number:08d}.arrow"


_TOLD = ["id", "source", "_path", "_row"]


def _flagged(task: Flagging, batches: Iterator[Batch]) -> Iterator[pa.Table]:
    for some in _together(batches):
        hashes = _hashes(some.column("id").to_pylist())
        times = np.zeros(len(hashes), np.int64)
        for name in task.counted:
            counted = np.frombuffer(task.noted.store.read(name), _COUNTED)
            at = np.minimum(np.searchsorted(counted["hash"], hashes), len(counted) - 1)
            times = np.where(counted["hash"][at] == hashes, counted["records"][at].astype(np.int64), times)
        hit = np.flatnonzero(times)
        rows = some.take(pa.array(hit)).to_pylist()
        if rows:
            yield pa.Table.from_pylist(
                [_flag(row, n) for row, n in zip(rows, times[hit].tolist(), strict=True)], ledger.WORKING
            )


def _flag(row: dict[str, Any], records: int) -> dict[str, Any]:
    at = record.locator(row["_path"], row["_row"])
    return {
        "id": row["id"],
        "source": row["source"],
        "stage": READ,
        "action": "flag",
        "reason": DUPLICATE_ID,
        "evidence": evidence_json({"at": at, "records": records}),
        "_row": row["_row"],
        "_stage": 0,
    }


def _together(batches: Iterator[Batch]) -> Iterator[pa.Table]:
    """Yield small batches as larger tables: each is looked up in every range."""
    held: list[Batch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= _LOOKED_UP:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)
