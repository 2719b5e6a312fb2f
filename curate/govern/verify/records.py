"""Every record held to its leaf of the Merkle tree, and the tree to the manifest's root (:mod:`curate.merkle`).

The shards of data/, records/ and leaves/ that have one number belong together: row by row the first two, while a row
of leaves/ whose record was erased has none beside it. Of each shard that differs, the first record that does is
found. Where a row does not give its leaf, one of three files is to blame: the one whose hash is not the listed one,
else (someone wrote the hashes anew) that of data/.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate import merkle
from curate.govern.verify import rows
from curate.govern.verify.inclusion import Found
from curate.govern.verify.report import Outcome, Place


@dataclass
class Shard:
    """The three files of one number; None: the manifest lists none."""

    data: str | None = None
    records: str | None = None
    leaves: str | None = None
    count: int = 0  # of leaves, as the manifest lists them

    @property
    def names(self) -> list[str]:
        """Return the paths of those there are."""
        return [path for path in (self.data, self.records, self.leaves) if path]


def shards(manifest: Mapping[str, Any]) -> list[Shard]:
    """Return the release's shards by number."""
    found: dict[str, Shard] = {}
    for entry in manifest["outputs"]:
        folder, _, name = str(entry["path"]).partition("/")
        if folder in ("data", "records", merkle.FOLDER) and name.startswith("part-"):
            shard = found.setdefault(name.split(".")[0], Shard())
            setattr(shard, folder, f"{folder}/{name}")
            if folder == merkle.FOLDER:
                shard.count = int(entry["records"])
    return [found[name] for name in sorted(found, key=lambda name: int(name.removeprefix("part-")))]


@dataclass
class Walk:
    """One pass over all shards, as far as they can be read.

    differing: files whose hash is not the listed one. wanted: an id whose records are looked for.
    """

    out: Path
    manifest: Mapping[str, Any]
    differing: Collection[str]
    wanted: str | None = None
    first: dict[str, Place] = field(default_factory=dict)  # shard → the first record of it that differs
    found: list[Found] = field(default_factory=list)  # records of the wanted id that give their leaf
    leaves: list[bytes] = field(default_factory=list)  # all of them, where an id is wanted
    whole: bool = True  # every shard could be read to its end

    def check(self, outcome: Outcome) -> None:
        """Do it, and fill in the outcome."""
        tree, base, count = merkle.Tree(), 0, 0
        gap: tuple[str, Place] | None = None
        for shard in shards(self.manifest):
            pair = _Pair(self, shard, base, outcome)
            pair.check()
            tree.extend(leaf for leaf in pair.leaves if leaf is not None)
            self.whole = self.whole and pair.whole
            base, count = base + len(pair.leaves), count + pair.count
            gap = gap or pair.gap
            if self.wanted is not None:
                self.leaves += [leaf for leaf in pair.leaves if leaf is not None]
        outcome.counted = {"records": count, "leaves": tree.size}
        outcome.said = f"{count:,} records give their leaves, the leaves the root; {self._erased:,} erased"
        self._tree(tree, tree.size - count, gap, outcome)

    def differs(self, outcome: Outcome, path: str, place: Place, said: str) -> None:
        """Note what differs: of each shard, the first record."""
        if path not in self.first:
            self.first[path] = place
            outcome.wrong(path, said, place)

    def blame(self, *paths: str | None) -> str:
        """Return the first of the files whose hash differs, else the first of them."""
        held = [path for path in paths if path]
        return next((path for path in held if path in self.differing), held[0])

    @property
    def _erased(self) -> int:
        return int(self.manifest["merkle"].get("erased", 0))

    def _tree(self, tree: merkle.Tree, erased: int, gap: tuple[str, Place] | None, outcome: Outcome) -> None:
        """Hold the tree to the manifest, and the leaves without a record to its count of erased ones."""
        told = self.manifest["merkle"]
        if not self.whole or self.first:
            return  # what differs is told; all that follows from it is not
        if tree.size != told["leaves"]:
            outcome.wrong(merkle.FOLDER, f"{tree.size:,} leaves, the manifest says {told['leaves']:,}")
        elif tree.root() != told["root"]:
            outcome.wrong(merkle.FOLDER, "the leaves do not give the Merkle root of the manifest")
        if erased != self._erased:
            said = f"{erased:,} leaves have no record, the manifest says that {self._erased:,} were erased"
            if gap is None or self._erased:  # which of them was erased by right, nothing tells any more
                outcome.wrong(None, said)
            else:
                outcome.wrong(
                    gap[0], f"{said}; the record of leaf {gap[1].leaf} is gone from before this row", gap[1]
                )


class _Pair:
    """The files of one number, side by side. base: the number of leaves before these."""

    def __init__(self, walk: Walk, shard: Shard, base: int, outcome: Outcome) -> None:
        self.shard, self.base, self.whole, self.count = shard, base, True, 0
        self.gap: tuple[str, Place] | None = None  # the row behind the first leaf without a record
        self.leaves: list[bytes | None] = []
        self._walk, self._outcome = walk, outcome
        self._last = base - 1  # the leaf of the record before
        self._side = rows.Sides()

    def check(self) -> None:
        """Hold the records to one another and to their leaves."""
        shard = self.shard
        if shard.leaves is None:
            self.whole = False
            self._outcome.wrong(shard.names[0], f"no shard of {merkle.FOLDER}/ stands beside it")
            return
        self.leaves, broken = rows.leaves(self._walk.out / shard.leaves, shard.count)
        if shard.data is not None and shard.records is not None:
            self._side = rows.sides(self._walk.out / shard.records)
            self._data(self._walk.out / shard.data)
            if self._side.broken:
                self.whole = False
                self._differs(shard.records, Place(None, self._side.broken.row), self._side.broken.said)
        elif shard.data or shard.records:
            self.whole = False
            self._outcome.wrong(shard.names[0], "data/ and records/ do not have the same shards")
        if broken:
            self.whole = False
            self._differs(shard.leaves, Place(None, broken.row, self.base + broken.row - 1), broken.said)
        if self.gap is None and self.leaves and self._last < self.base + len(self.leaves) - 1:
            place = Place(None, self.count + 1, self._last + 1)
            self.gap = (shard.data or shard.leaves, place)

    def _data(self, path: Path) -> None:
        side = self._side
        try:
            for chunk in rows.chunks(path):
                self.count += len(chunk.ids)
                self._chunk(chunk)
        except rows.UnreadableError as error:
            self.whole = False
            known = error.row <= len(side.ids)
            at = error.row - 1
            place = Place(side.ids[at], error.row, side.leaves[at]) if known else Place(None, error.row)
            self._differs(self.shard.data, place, error.said)
            return
        if self.count < len(side.ids):
            place = Place(side.ids[self.count], self.count + 1, side.leaves[self.count])
            self._differs(self.shard.data, place, f"the row is missing; {self.shard.records} has it")

    def _chunk(self, chunk: rows.Chunk) -> None:
        side, start, data, records = self._side, chunk.start, self.shard.data, self.shard.records
        count = min(len(chunk.ids), max(len(side.ids) - start, 0))
        if count < len(chunk.ids):
            said = side.broken.said if side.broken else f"the row is missing; {data} has it"
            self._differs(records, Place(chunk.ids[count], start + count + 1), said)
        if not count:
            return
        blamed = self._walk.blame(data, records)
        other = records if blamed == data else data
        for name, values, beside in (
            ("id", chunk.ids, side.ids),
            ("source", chunk.sources, side.sources),
            ("sha256_out", chunk.digests, side.digests),
        ):
            if (held := values[:count]) != (expected := beside[start : start + count]):
                at = next(i for i in range(count) if held[i] != expected[i])
                place = Place(chunk.ids[at], start + at + 1, side.leaves[start + at])
                self._differs(blamed, place, f"its {name} is not the one that {other} has for this row")
        self._sealed(chunk, count)

    def _sealed(self, chunk: rows.Chunk, count: int) -> None:
        """Hold the first records of a chunk to their leaves."""
        start = chunk.start
        indices = self._side.leaves[start : start + count]
        salts = self._side.salts[start : start + count]
        good = self._placed(chunk, indices, salts)
        got = merkle.leaves_of_lines([salts[i] for i in good], (chunk.lines[i] for i in good))
        expected = [self.leaves[indices[i] - self.base] for i in good]
        if got != expected:
            at = next(i for i, a, b in zip(good, got, expected, strict=True) if a != b)
            self._mismatch(Place(chunk.ids[at], start + at + 1, indices[at]))
        if self._walk.wanted in chunk.ids:
            self._walk.found += [
                Found(str(self.shard.data), start + i + 1, indices[i], salts[i], chunk.lines[i])
                for i, a, b in zip(good, got, expected, strict=True)
                if chunk.ids[i] == self._walk.wanted and a == b
            ]

    def _placed(self, chunk: rows.Chunk, indices: list[int], salts: list[bytes]) -> Collection[int]:
        """Return which of the records have a salt and a leaf of this shard, behind that of the record before."""
        first, count = self._last + 1, len(indices)
        within = first + count <= self.base + len(self.leaves)
        if within and indices == list(range(first, first + count)) and None not in salts:
            self._last += count
            return range(count)
        good: list[int] = []
        for at, index in enumerate(indices):
            place = Place(chunk.ids[at], chunk.start + at + 1, index)
            if index is None or salts[at] is None:
                self._differs(self.shard.records, place, "it has no leaf or no salt")
            elif not self.base <= index < self.base + len(self.leaves):
                self._differs(
                    self._walk.blame(self.shard.data, self.shard.records),
                    place,
                    f"its leaf, number {index:,}, is none of this shard's: the record was moved here",
                )
            elif index <= self._last:
                last = good[-1] if good else at  # the one before stands too early
                place = Place(chunk.ids[last], chunk.start + last + 1, indices[last])
                self._differs(
                    self._walk.blame(self.shard.data, self.shard.records),
                    place,
                    "the leaves of the rows do not ascend: the record was moved here",
                )
            else:
                if index > self._last + 1 and self.gap is None:
                    gone = Place(chunk.ids[at], chunk.start + at + 1, self._last + 1)
                    self.gap = (str(self.shard.data), gone)
                self._last = index
                good.append(at)
        return good

    def _mismatch(self, place: Place) -> None:
        """Tell of a record that does not give its leaf."""
        shard, leaf = self.shard, place.leaf
        assert leaf is not None
        beside = Place(place.id, leaf - self.base + 1, leaf)  # its row of leaves/
        if self.leaves[leaf - self.base] is None:
            self._differs(shard.leaves, beside, "its leaf cannot be read")
            return
        blamed = self._walk.blame(shard.data, shard.records, shard.leaves)
        said = f"the record does not give its leaf, number {leaf:,} of the tree"
        self._differs(blamed, beside if blamed == shard.leaves else place, said)

    def _differs(self, path: str | None, place: Place, said: str) -> None:
        self._walk.differs(self._outcome, str(path), place, said)
