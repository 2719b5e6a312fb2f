"""Drift: whether the kept records of one release are distributed as those of another, and by how much not.

Everything is told from the two manifests' part ``distributions`` (:mod:`curate.govern.distributions`). Of each
dimension:

* the **distance**, between 0 and 1: total variation (half the sum of the shares' differences), of lengths the
  Kolmogorov-Smirnov distance (the largest difference of the cumulated shares);
* **p**, by a permutation test (Fisher 1935; Good 2005): how often a distance at least as large comes of dealing all
  records of both releases out anew. Dealing counts out is drawing from the multivariate hypergeometric distribution, so
  no record is read again. p = (1 + draws as large) / (1 + draws); Holm (1979) corrects it for the number of dimensions.

Drift is what is neither chance (p at most ``ALPHA``) nor small (distance above the limit): of millions of records the
smallest change is certain. Records are taken to be drawn one by one; a source that comes and goes as a whole is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.govern.distributions import NONE, OTHER
from curate.govern.holm import holm

ALPHA = 0.01  # the chance of any false alarm in a comparison of releases that were drawn alike
DRAWS = 4999
LIMIT = 0.1  # distance above which a change that is no chance counts, unless a recipe says otherwise
_MOST = 10**9  # records that numpy's draws take (Generator.multivariate_hypergeometric, method marginals)

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Drift:
    """One dimension of two releases, side by side."""

    dimension: str
    records_a: int
    records_b: int
    distance: float  # 0 to 1, to 6 digits
    p: float  # corrected for the number of dimensions, to 4 digits
    label: str | None  # the value whose share changed most; null for the values that are not named
    share_a: float  # of that value
    share_b: float
    drifted: bool

    @property
    def told(self) -> str:
        """Return the dimension in one sentence."""
        value = "values not named" if self.label is None else repr(self.label)
        return (
            f"{self.dimension}: distance {self.distance:.3f}, p {self.p:.4f}; most of it {value}, "
            f"{self.share_a:.1%} before and {self.share_b:.1%} now"
        )


def compare(
    a: Mapping[str, Any], b: Mapping[str, Any], limit: float = LIMIT, only: Sequence[str] = ()
) -> list[Drift]:
    """Return what can be compared of two manifests, in the order of b; only: the dimensions that are asked for.

    A release that was made before there were distributions gives none.
    """
    before = {one["name"]: one for one in a.get("distributions") or ()}
    pairs = [
        (one, before[one["name"]])
        for one in b.get("distributions") or ()
        if one["name"] in before
        and (not only or one["name"] in only)
        and _is_comparable(one, before[one["name"]])
    ]
    found = []
    for new, old in pairs:
        labels, counts = aligned(old, new)
        if counts.sum(axis=1).all():
            found.append((new["name"], bool(new["ordered"]), labels, counts))
    tested = [_p(name, ordered, counts) for name, ordered, _, counts in found]
    return [
        _drift(name, ordered, labels, counts, p, limit)
        for (name, ordered, labels, counts), p in zip(found, holm(tested), strict=True)
    ]


def _is_comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Tell whether a label means the same in both.

    Topics are learnt of each release's own records: two halves of a set part in other topics, of other names. They can
    be compared where one release has no topic that the other lacks, as releases of the same input have.
    """
    if a["name"] != "topic":
        return True
    one, other = ({label for label, _ in side["counts"]} - {OTHER, NONE} for side in (a, b))
    return (one <= other or other <= one) and bool(one) == bool(other)


def aligned(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[list[str | None], Counts]:
    """Return the labels of both and their counts [2, labels].

    A label that one does not name is 0 there if it names all that it has; else both put it to the others.
    """
    sides: list[dict[str | None, int]] = [dict(one["counts"]) for one in (a, b)]
    whole = [OTHER not in side for side in sides]
    named: set[str] = {label for side in sides for label in side if label is not None}
    kept = [
        label
        for label in named
        if all(label in side or complete for side, complete in zip(sides, whole, strict=True))
    ]
    order: list[str | None] = [
        *sorted(kept, key=lambda label: (int(label), "") if b["ordered"] else (0, label))
    ]
    counts = np.array([[side.get(label, 0) for label in order] for side in sides], np.int64).reshape(2, -1)
    rest = np.array([sum(side.values()) for side in sides]) - counts.sum(axis=1)
    return ([*order, OTHER], np.column_stack([counts, rest])) if rest.any() else (order, counts)


def distance(first: Counts, totals: Counts, ordered: bool) -> npt.NDArray[np.float64]:
    """Return the distance [draws] of a part [draws, labels] of a whole [labels] from the rest of it."""
    rest = totals - first
    a, b = (side / side.sum(axis=1, keepdims=True) for side in (first, rest))
    if ordered:
        gaps: npt.NDArray[np.float64] = np.abs(np.cumsum(a, axis=1) - np.cumsum(b, axis=1)).max(axis=1)
    else:
        gaps = np.abs(a - b).sum(axis=1) / 2
    return gaps.round(12)  # of equal distances, sums in another order differ


def _p(name: str, ordered: bool, counts: Counts) -> float:
    while counts.sum() >= _MOST:
        counts = counts // 2
    totals, size = counts.sum(axis=0), int(counts[0].sum())
    seed = int.from_bytes(hashlib.sha256(f"{name} {counts.tolist()}".encode()).digest()[:8])
    drawn = np.random.Generator(np.random.Philox(seed)).multivariate_hypergeometric(
        totals, size, size=DRAWS, method="marginals"
    )
    as_large = int((distance(drawn, totals, ordered) >= distance(counts[:1], totals, ordered)).sum())
    return (1 + as_large) / (1 + DRAWS)


def _drift(
    name: str, ordered: bool, labels: Sequence[str | None], counts: Counts, p: float, limit: float
) -> Drift:
    shares = counts / counts.sum(axis=1, keepdims=True)
    most = int(np.argmax(np.abs(shares[0] - shares[1]).round(12)))
    apart = round(float(distance(counts[:1], counts.sum(axis=0), ordered)[0]), 6)
    sizes, (before, now) = counts.sum(axis=1), shares[:, most]
    return Drift(
        dimension=name,
        records_a=int(sizes[0]),
        records_b=int(sizes[1]),
        distance=apart,
        p=round(p, 4),
        label=labels[most],
        share_a=round(float(before), 6),
        share_b=round(float(now), 6),
        drifted=p <= ALPHA and apart > limit,
    )


def told(gate: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest's part ``drift``: against which release, and what came of comparing.

    gate: as the resolved recipe has it, with the earlier release's distributions, so that the part can be computed
    again when that release is gone. measured: the parts of the manifest that are measured so far.
    """
    only = gate["dimensions"]
    found = compare(gate, measured, gate["max_distance"], only)
    wanted = set(only) or {one["name"] for side in (gate, measured) for one in side["distributions"]}
    return {
        "against": gate["against"],
        "limit": gate["max_distance"],
        "asked": bool(only),
        "dimensions": [asdict(one) for one in found],
        "not_compared": sorted(wanted - {one.dimension for one in found}),
    }


def findings(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a finding for each dimension that drifted. told: the manifest's part."""
    return [
        {
            "reason": "drift/shifted",
            "severity": "warning",
            "message": f"against {_release(told)}, {Drift(**one).told}",
            "count": one["records_b"],
            "examples": [],
        }
        for one in told["dimensions"]
        if one["drifted"]
    ]


def gate(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe's gate, judged: the largest distance that is no chance, and where. told: the manifest's part.

    A dimension that was asked for and cannot be compared fails it: nothing vouches for it.
    """
    certain = [one for one in told["dimensions"] if one["p"] <= ALPHA]
    worst = max(certain, key=lambda one: float(one["distance"]), default=None)
    missing = told["not_compared"] if told["asked"] or not told["dimensions"] else []
    where = f"{'no dimension' if worst is None else worst['dimension']}, against {_release(told)}"
    return {
        "gate": "drift",
        "limit": told["limit"],
        "value": 0.0 if worst is None else worst["distance"],
        "where": where + (f"; {', '.join(missing)} cannot be compared" if missing else ""),
        "passed": not missing and not any(one["drifted"] for one in told["dimensions"]),
    }


def _release(told: Mapping[str, Any]) -> str:
    return f"{told['against']['name']} {told['against']['version']}"
