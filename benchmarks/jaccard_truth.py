"""The exact truth that deduplication is measured against: every pair of records at a Jaccard of 0.7 or above.

    python benchmarks/jaccard_truth.py FILE.parquet TRUTH.parquet [RECORDS]

FILE has the columns id and text; only its first RECORDS are looked at, if that is given. Words are
``re.findall(r"\\w+", text.lower())``; a record is the set of its 5-grams of words, and one of fewer than 5 words
is one shingle, all of its words. TRUTH has one row a pair: ``a`` and ``b`` (places of the records in FILE,
a < b), ``jaccard``, and ``symbols``: the same similarity with each symbol a word of its own
(``\\w+|[^\\w\\s]``), which tells apart what words alone do not (puzzles of brackets, sums, code).

Shingles are numbered exactly, without hashing. The join is the prefix filter (Chaudhuri et al. 2006, as in
PPJoin, Xiao et al. 2008): with the shingles of each record in one order, the rarest first, two sets of sizes
m <= n at J >= t must share one among the first n - ceil(t n) + 1 of each, and m >= t n. What shares one is
compared in full.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit

NGRAM = 5  # words
FLOOR = 0.7

Ints = npt.NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function, its type left as it is."""
    made: F = njit(function)
    return made


def word_numbers(texts: list[str]) -> tuple[Ints, Ints]:
    """Number the words of all texts from 1; return them padded with 0 to NGRAM a text, and where each begins."""
    find = re.compile(r"\w+").findall
    numbers: dict[str, int] = {}
    parts: list[Ints] = []
    for text in texts:
        found = [numbers.setdefault(word, len(numbers) + 1) for word in find(text.lower())]
        parts.append(np.array(found + [0] * (NGRAM - len(found)), np.int64))
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return np.concatenate(parts), starts


def shingle_numbers(words: Ints, starts: Ints) -> tuple[Ints, Ints]:
    """Return the distinct shingles of each record, numbered so that the rarest is 0, and where each begins."""
    grams = words
    for length in range(1, NGRAM):  # a gram of length + 1 is the pair (gram, next word), numbered anew
        pairs = grams[:-1] * (words.max() + 1) + words[length:]
        grams = np.unique(pairs, return_inverse=True)[1]
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    inside = owner[: len(grams)] == owner[NGRAM - 1 :]
    owner, grams = owner[: len(grams)][inside], grams[inside]
    _, grams, counts = np.unique(grams, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    # Sorting (record, rank) as one number puts each record's shingles in order and shows what is double.
    keys = np.unique(owner * len(counts) + rank[grams])
    ends = np.searchsorted(keys, np.arange(1, len(starts)) * len(counts))
    return keys % len(counts), np.concatenate([[0], ends])


@compiled
def shared(one: Any, other: Any) -> int:
    """Count what two ascending sets have in common."""
    i = j = common = 0
    while i < len(one) and j < len(other):
        if one[i] == other[j]:
            common += 1
            i += 1
            j += 1
        elif one[i] < other[j]:
            i += 1
        else:
            j += 1
    return common


@compiled
def prefix(size: int, floor: float) -> int:
    return size - int(np.ceil(floor * size - 1e-9)) + 1


@compiled
def join(shingles: Any, starts: Any, order: Any, distinct: int, floor: float) -> Any:
    """Return (a, b, common) of all pairs at floor or above; order has the smallest records first."""
    sizes = starts[1:] - starts[:-1]
    room = np.zeros(distinct + 1, np.int64)  # of each shingle's list of records that have it in their prefix
    for record in order:
        for place in range(prefix(sizes[record], floor)):
            room[shingles[starts[record] + place] + 1] += 1
    begin = np.cumsum(room)[:-1]
    end = begin.copy()
    holders = np.empty(room.sum(), np.int64)
    seen = np.full(len(sizes), -1, np.int64)
    found = [(0, 0, 0) for _ in range(0)]
    for record in order:
        mine = shingles[starts[record] : starts[record + 1]]
        for place in range(prefix(len(mine), floor)):
            shingle = mine[place]
            while begin[shingle] < end[shingle] and sizes[holders[begin[shingle]]] < floor * len(mine) - 1e-9:
                begin[shingle] += 1  # too small for this record and for all after it
            for at in range(begin[shingle], end[shingle]):
                other = holders[at]
                if seen[other] != record:
                    seen[other] = record
                    common = shared(mine, shingles[starts[other] : starts[other + 1]])
                    if common >= floor * (len(mine) + sizes[other] - common) - 1e-9:
                        found.append((min(record, other), max(record, other), common))
            holders[end[shingle]] = record
            end[shingle] += 1
    return found


def truth(texts: list[str], floor: float = FLOOR) -> pa.Table:
    """Return every pair of texts whose 5-grams have a Jaccard similarity of floor or above."""
    shingles, starts = shingle_numbers(*word_numbers(texts))
    sizes = np.diff(starts)
    order = np.argsort(sizes, kind="stable")
    found = np.array(join(shingles, starts, order, int(shingles.max()) + 1, floor), np.int64).reshape(-1, 3)
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    a, b, common = found.T
    jaccard = common / (sizes[a] + sizes[b] - common)
    return pa.table({"a": a, "b": b, "jaccard": jaccard, "symbols": by_symbols(texts, a, b)})


def by_symbols(texts: list[str], a: Ints, b: Ints) -> list[float]:
    """Return the similarity of each pair with each symbol a word of its own."""
    find = re.compile(r"\w+|[^\w\s]").findall

    @lru_cache(maxsize=100_000)
    def grams(record: int) -> set[tuple[str, ...]]:
        words = find(texts[record].lower())
        return set(zip(*(words[start:] for start in range(NGRAM)), strict=False)) or {tuple(words)}

    pairs = ((grams(one), grams(other)) for one, other in zip(a.tolist(), b.tolist(), strict=True))
    return [len(one & other) / len(one | other) for one, other in pairs]


def build(file: Path, target: Path, records: int | None = None) -> pa.Table:
    """Return the truth of the first records of a file, from target where it is there already."""
    if not target.exists():
        texts = [batch["text"].to_pylist() for batch in first_batches(file, records)]
        pq.write_table(truth([text for part in texts for text in part]), target)
    return pq.read_table(target)


def first_batches(file: Path, records: int | None) -> Iterator[pa.RecordBatch]:
    """Yield the first records of a file."""
    missing = pq.ParquetFile(file).metadata.num_rows if records is None else records
    for batch in pq.ParquetFile(file).iter_batches(columns=["text"]):
        yield batch.slice(0, missing)
        missing -= min(missing, batch.num_rows)
        if not missing:
            return


if __name__ == "__main__":
    pairs = build(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
    for low in (0.7, 0.8, 0.9, 1.0):
        print(f"{int((pairs['jaccard'].to_numpy() >= low).sum()):>9,} pairs at {low} or above")
