"""What ``mix`` keeps and where it splits, and what a mixture is, in plain words: everything sorted, nothing clever."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from curate.stages.mixing.groups import license_class

_MASK = 2**64 - 1


def mixed(word: int, purpose: str) -> int:
    """SplitMix64's finalizer of a word under a purpose."""
    word ^= int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def key(record: Mapping[str, Any], seed: int) -> tuple[int, int]:
    """Return a record's rank and what decides between records of the same content."""
    tie = int.from_bytes(hashlib.blake2b(record["id"].encode(), digest_size=8).digest(), "little")
    return mixed(int(record["sha256"][:16], 16), f"rank/{seed}"), mixed(tie, f"id/{seed}")


def lowest(records: Sequence[Any], order: Any, amount: Any, target: int) -> list[Any]:
    """Return the first records by key that come to no more than the target; those of one key go together."""
    by_key = defaultdict(list)
    for one in records:
        by_key[order(one)].append(one)
    kept: list[Any] = []
    for one in sorted(by_key):
        if sum(map(amount, kept)) + sum(map(amount, by_key[one])) > target:
            break
        kept += by_key[one]
    return kept


def keep(records: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> list[Any]:
    """Return the records that stay. A record: id, sha256, bytes, and its group by each dimension."""
    seed = options.get("seed", 1)
    left = list(records)

    def amount(record: Mapping[str, Any]) -> int:
        return record["bytes"] if options.get("count") == "bytes" else 1

    def cut(stratum: Any, targets: Mapping[str, int]) -> list[Any]:
        found: list[Any] = []
        for name in {stratum(one) for one in left}:
            mine = [one for one in left if stratum(one) == name]
            found += (
                lowest(mine, lambda one: key(one, seed), amount, targets[name]) if name in targets else mine
            )
        return found

    for by in ("source", "license", "language", "task"):
        caps = options.get("caps", {}).get(by)
        if caps:
            groups = {one[by] for one in left}
            targets = {g: caps.get(g, caps.get("*")) for g in groups if g in caps or "*" in caps}
            left = cut(lambda one, by=by: one[by], targets)
    for by, weights in options.get("weights", {}).items():

        def stratum(one: Mapping[str, Any], by: str = by, weights: Any = weights) -> str:
            return str(one[by]) if one[by] in weights else "*"

        there: Counter[str] = Counter()
        for one in left:
            there[stratum(one)] += amount(one)
        whole = sum(Fraction(repr(w)) for w in weights.values())
        shares = {name: Fraction(repr(w)) / whole for name, w in weights.items()}
        total = int(min(there[name] / share for name, share in shares.items() if share))
        total = min(total, options.get("size") or total)
        exact = {name: total * share for name, share in shares.items()}
        targets = {name: int(part) for name, part in exact.items()}
        order = sorted(exact, key=lambda name: (targets[name] - exact[name], name))
        for name in order[: total - sum(targets.values())]:
            targets[name] += 1
        left = cut(stratum, targets)
    if options.get("size") and not options.get("weights"):
        left = cut(lambda _: "all", {"all": options["size"]})
    return left


def sides(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the side of each record: the smallest prompt among those that clusters link, over any number of steps."""
    of = {one["id"]: one["prompt"] for one in records}
    changed = True
    while changed:
        changed = False
        for groups in ("prompt", *(one for one in ("cluster", "exact_cluster", "semantic_cluster"))):
            together = defaultdict(list)
            for one in records:
                if one.get(groups) is not None:
                    together[one[groups]].append(one["id"])
            for ids in together.values():
                least = min(of[name] for name in ids)
                changed |= any(of[name] != least for name in ids)
                of |= dict.fromkeys(ids, least)
    return of


def split(records: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, str]:
    """Return the split of each record that stays."""
    seed, asked = options.get("seed", 1), options["splits"]
    place = {name: mixed(side, f"split/{seed}") for name, side in sides(records).items()}
    found = dict.fromkeys(place, "train")
    shares = sorted(name for name, size in asked.items() if isinstance(size, float))
    start = Fraction(0)
    for name in shares:
        end = start + Fraction(repr(asked[name]))
        found |= {one: name for one, at in place.items() if start <= Fraction(at, 2**64) < end}
        start = end
    for name in sorted(name for name in asked if name not in shares):
        free = [one for one in place if found[one] == "train" and Fraction(place[one], 2**64) >= start]
        taken = lowest(free, lambda one: place[one], lambda _: 1, asked[name])
        found |= dict.fromkeys(taken, name)
        start = max([start, *(Fraction(place[one] + 1, 2**64) for one in taken)])
    return found


def mixture(
    rows: Sequence[Mapping[str, Any]], order: Sequence[str], by: str, start: int
) -> dict[str, list[tuple[int, int]]]:
    """Return records and bytes of each group as they enter each stage, and at last. A row: ended, bytes and groups."""
    found: dict[str, list[tuple[int, int]]] = {}
    for place in range(start, len(order) + 1):
        here = [row for row in rows if row["ended"] >= place]
        for name in sorted({group(row, by) for row in rows if row["ended"] >= start}):
            mine = [row for row in here if group(row, by) == name]
            found.setdefault(name, []).append((len(mine), sum(row["bytes"] for row in mine)))
    return found


def group(row: Mapping[str, Any], by: str) -> str:
    """Return a row's group."""
    return license_class(row["license"]) if by == "license" else row[by] or "none"


def shift(before: Mapping[str, int], after: Mapping[str, int]) -> Fraction:
    """Return the total variation distance of two mixtures."""
    shares = [{n: Fraction(c, sum(some.values())) for n, c in some.items()} for some in (before, after)]
    return sum((abs(shares[1][name] - shares[0][name]) for name in before), Fraction(0)) / 2
