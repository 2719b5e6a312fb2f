"""What a resolution shuffles: bytes, files and reads of each step, for plans of a size that cannot be tried.

The formulas are those of the tasks that write: curate.stages.dedup.nominated, screening, shares and exact. Tests hold
them against what a resolution has written.
"""

from __future__ import annotations

from typing import NamedTuple

from curate.stages.dedup.shuffle import KEY, Plan

_HEAD = 600  # bytes of a slice of rows that are of no row: Arrow's header and padding
_BITMAP, _BOUND, _PLANE, _COUNT = (
    128,
    8,
    32,
    4,
)  # bytes of a candidate's bitmap, of a set's bound, planes, bucket count


class Shape(NamedTuple):
    """What a corpus is like, measured on a sample or assumed."""

    records: int
    keys: int  # per record: bands, or 1 for exact
    met: float  # share of records that share a key with another
    buckets: float  # in how many buckets each of these is (at most ``keys``)
    candidates: float  # share of records that pass the screen; of exact: as met
    entries: float  # in how many buckets a candidate is, others of which are candidates
    sets: float  # bytes of a candidate's shingle sets; of exact: 0
    row: float  # bytes of a candidate's row: 64, and its id
    decided: float  # share of records in a cluster
    line: float  # bytes of a decision


class Step(NamedTuple):
    """What the tasks of one step leave for the next."""

    written: float  # bytes; as many are read
    files: int
    reads: int  # requests


def asked(shape: Shape, partitions: int) -> float:
    """Return how many records the partitions ask after, those of several as often.

    A record in b buckets, thrown into P partitions at random, is in P (1 - (1 - 1/P)^b) of them.
    """
    share: float = 1 - (1 - 1 / partitions) ** shape.buckets
    return shape.records * shape.met * partitions * share


def steps(shape: Shape, cut: Plan, views: int = 4) -> dict[str, Step]:
    """Return the steps of ``minhash``, of sets of so many ``views``; of ``exact`` where a record has one key.

    ``slots`` and the file of decisions are read by the range, and not counted as requests.
    """
    groups, partitions = max(1, -(-shape.records // cut.most)), cut.partitions
    all_to_all = groups * partitions
    named = asked(shape, partitions)
    members = shape.records * shape.met * shape.buckets
    candidates = shape.records * shape.candidates
    found = {
        "keys": Step(KEY * shape.keys * shape.records, groups, all_to_all),
        "buckets": Step(4 * members, partitions, partitions),
        "asked": Step(4 * named, partitions, all_to_all),
    }
    lines = shape.records * shape.decided * shape.line
    if shape.keys == 1:
        found["described"] = Step(candidates * (shape.row + 16) + all_to_all * _HEAD, groups, all_to_all)
        found["lines"] = Step(lines, partitions, partitions)
        return found
    entries = candidates * shape.entries
    shared = candidates * (shape.row + _BITMAP + _BOUND * (views + 1) + _COUNT + shape.sets) + 8 * entries
    runs = max(groups, round(shared / (cut.memory // 8)))
    shares = max(1, round(shared / (cut.memory // 4)))
    return {
        **found,
        "planes": Step(_PLANE * named, groups, all_to_all),
        "flags": Step(named, partitions, all_to_all),
        "left": Step(4 * members, partitions, partitions),
        "numbers": Step(4 * named, groups, all_to_all),
        "candidates": Step(4 * candidates, groups, groups),
        "entries": Step(8 * entries, partitions, all_to_all),
        "joined": Step(16 * min(named, entries), partitions, partitions),
        "slots": Step(4 * candidates, 1, groups),
        "shares": Step(shared, runs, runs * shares),
        "lines": Step(lines, shares, shares),
    }


def driver(shape: Shape, cut: Plan) -> float:
    """Return the bytes that the process which leads the resolution holds: 8 for each slice of a file that is not yet

    read (four of the files between all groups and all partitions at a time), 8 for each candidate of ``minhash``
    (in a mapped file where that is more than a quarter of the memory).
    """
    groups = max(1, -(-shape.records // cut.most))
    joined = 8 * shape.records * shape.candidates if shape.keys > 1 else 0
    return 4 * 8 * groups * cut.partitions + joined
