"""Wanted texts: a list of records, or of texts, and the records of a batch that are near-duplicates of one.

What counts as a near-duplicate of a record is what counts for the stage ``minhash``: exact Jaccard similarity of
the shingle sets of prompt and response. A text alone is compared with prompt, response and whole record. Nothing
is missed: two sets at or above similarity t share t of the larger one, so at least one of any
``size - ceil(t * size) + 1`` members of a wanted set stands in every set that is similar to it (prefix filter:
Chaudhuri, Ganti, Kaushik, ICDE 2006). Those members, the rarest in the list, make the inverted table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import record
from curate.kernels import cluster, text
from curate.kernels.parts import Sets, Shingling
from curate.record import Batch
from curate.stages.dedup import resembling
from curate.stages.dedup.resembling import VIEWS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]
Key = tuple[int, int]

CONTAINED = 0.9  # share of a text's shingles that a record must hold to contain the text


class Rule(NamedTuple):
    """What makes two records near-duplicates; a list of wanted texts is bound to it."""

    ngram: int = 5
    whole: bool = False  # a conversation is one text, not prompt and response
    symbols: bool = True
    similarity: float = 0.8
    version: str = text.SCHEME  # of the shingles

    @property
    def shingling(self) -> Shingling:
        """Return how records are cut into shingles."""
        return Shingling(self.ngram, "whole" if self.whole else "both", self.symbols)

    @classmethod
    def of(cls, stages: Sequence[dict[str, Any]]) -> Rule:
        """Return the rule of a resolved recipe's stage minhash, else the default.

        A stage that looks at prompt or response alone gives its similarity, but both must be similar here:
        whatever has one answer in common with an erased record is not to go with it.
        """
        for stage in stages:
            if stage["name"] == "minhash" and "similarity" in stage["options"]:
                own = stage["options"]
                return cls(own["ngram"], own["on"] == "whole", own["symbols"], own["similarity"])
        return cls()


def columns(sets: Sets, key: Key | None = None) -> pa.Table:
    """Return shingle sets as a table of VIEWS, each set ascending; under a key, SipHash-2-4 of each hash."""
    from curate.kernels import finding

    hashes = sets.hashes.copy()
    if key is not None:
        finding.keyed(hashes, np.uint64(key[0]), np.uint64(key[1]), hashes)
    made = resembling.columns(Sets(hashes, sets.bounds, sets.bitmaps))
    made += [pa.array([None] * len(sets.bounds), pa.list_(pa.uint64()))] * (len(VIEWS) - len(made))
    return pa.table(made, list(VIEWS))


def of_records(batch: Batch, rule: Rule, key: Key | None = None) -> pa.Table:
    """Return the sets of a batch's records, one row each."""
    return columns(rule.shingling.sets(batch), key)


def of_texts(texts: Sequence[str], rule: Rule, key: Key | None = None) -> pa.Table:
    """Return the sets of texts, one row each: as a prompt would have them, and as a response would."""
    spoken = [[{"role": role, "content": one} for role in ("user", "assistant")] for one in texts]
    batch = pa.record_batch([pa.array(spoken, record.MESSAGES)], ["messages"])
    return columns(Shingling(rule.ngram, "both", symbols=False).sets(batch), key)


def lines(raw: pa.BinaryArray) -> pa.StringArray:
    """Return what bytes that are no record may say, if they are JSON cut short: with its escapes undone."""
    found = []
    for line in raw.to_pylist():
        spelled = (line or b"").decode("utf-8", "replace")
        spelled = (
            _ESCAPE.sub(lambda match: chr(int(match[1], 16)), spelled)
            .replace("\\n", "\n")
            .replace("\\t", "\t")
        )
        found.append(spelled.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return pa.array(found, pa.string())


_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


class Found(NamedTuple):
    """What was found of a batch [n]."""

    entry: Ints  # the wanted record or text that each record is most similar to, -1 for none
    similarity: Floats
    holder: Ints  # the wanted text of which the record holds most, -1 for none
    share: Floats  # how much of it


class Wanted:
    """A list of wanted records or texts, to be compared with batches."""

    def __init__(self, table: pa.Table, rule: Rule, *, texts: bool, key: Key | None = None) -> None:
        """Take a table of VIEWS. ``texts``: its rows are texts, not records. ``key``: what it was made with."""
        self.rule, self.texts, self.key = rule, texts, key
        if texts:
            least = min(rule.similarity, CONTAINED)
            self._sides = [_Side.of(_flat(table.column(view)), least) for view in VIEWS[:2]]
        else:
            views = VIEWS if rule.symbols else VIEWS[:2]
            sets = resembling.read(table.select(list(views)))
            self._hashes, self._bounds = sets.hashes, sets.bounds
            whole = _joined(sets.hashes, sets.bounds[:, 0], sets.bounds[:, 2])
            self._side = _Side.of(whole, rule.similarity)

    def find(self, batch: Batch, words: Sets | None = None) -> Found:
        """Compare every record of the batch with every entry. words: the batch's, where they are there already."""
        n = batch.num_rows
        found = Found(np.full(n, -1, np.int64), np.zeros(n), np.full(n, -1, np.int64), np.zeros(n))
        if self.texts:
            self._find_texts(batch, found)
        else:
            self._find_records(batch, self.words(batch) if words is None else words, found)
        return found

    def words(self, batch: Batch) -> Sets:
        """Return the word sets of a batch's prompts and responses, which find and quoted_in can share."""
        return self._sets(Shingling(self.rule.ngram, self.rule.shingling.on, symbols=False), batch)

    def quoted_in(self, words: Sets) -> npt.NDArray[np.bool_]:
        """Tell which records [n], given by their words, hold most of an entry, a text, in prompt or response."""
        n = len(words.bounds)
        found = Found(np.full(n, -1, np.int64), np.zeros(n), np.full(n, -1, np.int64), np.zeros(n))
        for side in range(2):
            self._sides[side].compare(
                words.hashes, words.bounds[:, side], words.bounds[:, side + 1], self.rule.similarity, found
            )
        return found.share >= CONTAINED

    def held_by(self, batch: Batch) -> npt.NDArray[np.bool_]:
        """Tell which documents [n] are similar to an entry, or hold most of one, prompt and response alike.

        For lines that could not be read as records: what they hold has JSON around it, and no roles.
        """
        n = batch.num_rows
        found = Found(np.full(n, -1, np.int64), np.zeros(n), np.full(n, -1, np.int64), np.zeros(n))
        spoken = [
            [{"role": role, "content": one} for role in ("user", "assistant")] for one in record.texts(batch)
        ]
        both = pa.record_batch([pa.array(spoken, record.MESSAGES)], ["messages"])
        sets = self._sets(Shingling(self.rule.ngram, "both", symbols=False), both)
        if self.texts:
            self._sides[1].compare(
                sets.hashes, sets.bounds[:, 1], sets.bounds[:, 2], self.rule.similarity, found
            )
        else:
            self._side.compare(sets.hashes, sets.bounds[:, 0], sets.bounds[:, 2], self.rule.similarity, found)
        return (found.entry >= 0) | (found.share >= CONTAINED)

    def _sets(self, shingling: Shingling, batch: Batch, rows: Ints | None = None) -> Sets:
        from curate.kernels import finding

        sets = shingling.sets(batch, rows)
        if self.key is not None:
            finding.keyed(sets.hashes, np.uint64(self.key[0]), np.uint64(self.key[1]), sets.hashes)
        return sets

    def _find_records(self, batch: Batch, words: Sets, found: Found) -> None:
        # Sets with symbols cost as much again, so only those that are similar by words get them.
        shingling = self.rule.shingling
        self._compare(words, found.entry, found.similarity)
        rows = np.flatnonzero(found.entry >= 0)
        if self.rule.symbols and len(rows):
            entry, similarity = np.full(len(rows), -1, np.int64), np.zeros(len(rows))
            self._compare(self._sets(shingling, batch, rows), entry, similarity)
            found.entry[rows], found.similarity[rows] = entry, np.where(entry < 0, 0, similarity)

    def _compare(self, sets: Sets, entry: Ints, similarity: Floats) -> None:
        from curate.kernels import finding

        met = np.full(len(self._bounds), -1, np.int64)
        finding.records_like(
            sets.hashes, sets.bounds, self._side.table, self._hashes, self._bounds, self.rule.similarity,
            cluster.SHORT, met, entry, similarity,
        )  # fmt: skip

    def _find_texts(self, batch: Batch, found: Found) -> None:
        sets = self._sets(Shingling(self.rule.ngram, "both", symbols=False), batch)
        views = [(sets, side) for side in range(2)]
        if record.kind(batch) == "messages":
            whole = self._sets(Shingling(self.rule.ngram, "whole", symbols=False), batch)
            views.append((whole, 1))
        for spoken, side in views:
            self._sides[side].compare(
                spoken.hashes, spoken.bounds[:, side], spoken.bounds[:, side + 1], self.rule.similarity, found
            )


class _Side(NamedTuple):
    """Wanted sets of one kind, each ascending, and their inverted table."""

    hashes: Hashes
    places: Ints  # [sets + 1]
    table: Any  # curate.kernels.finding.Table

    @classmethod
    def of(cls, sets: tuple[Hashes, Ints], least: float) -> _Side:
        """Index sets so that every set of which ``least`` is shared is found."""
        from curate.kernels import finding

        hashes, places = sets
        sizes = np.diff(places)
        entries = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        order = np.lexsort((hashes, counts[inverse], entries))  # of each set, the rarest first
        # Less a little: what a float makes of t * size may lie above it.
        needed = sizes - np.ceil(least * sizes - 1e-6).astype(np.int64) + 1
        rank = np.arange(len(hashes)) - np.repeat(places[:-1], sizes)
        chosen = order[rank < np.repeat(needed, sizes)]
        chosen = chosen[np.argsort(hashes[chosen], kind="stable")]
        keys, first = np.unique(hashes[chosen], return_index=True)
        slots = np.full(1 << max(6, (2 * len(keys)).bit_length()), -1, np.int32)
        finding.fill(keys, slots)
        table = finding.Table(slots, keys, np.append(first, len(chosen)).astype(np.int64), entries[chosen])
        return cls(hashes, places, table)

    def compare(self, hashes: Hashes, starts: Ints, ends: Ints, threshold: float, found: Found) -> None:
        """Bring ``found`` up to date with what these sets are similar to."""
        from curate.kernels import finding

        met = np.full(len(self.places) - 1, -1, np.int64)
        finding.texts_like(
            hashes, starts.copy(), ends.copy(), self.table, self.hashes, self.places, threshold, met,
            *found,
        )  # fmt: skip


def _flat(column: pa.ChunkedArray) -> tuple[Hashes, Ints]:
    lists = column.combine_chunks()
    ends = np.zeros(len(lists) + 1, np.int64)
    np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False), out=ends[1:])
    return lists.flatten().to_numpy(zero_copy_only=False).copy(), ends


def _joined(hashes: Hashes, starts: Ints, ends: Ints) -> tuple[Hashes, Ints]:
    """Return the slices as sets end to end, each ascending."""
    sets = [np.unique(hashes[a:b]) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    places = np.zeros(len(sets) + 1, np.int64)
    np.cumsum([len(one) for one in sets], out=places[1:])
    return np.concatenate([np.empty(0, np.uint64), *sets]), places
