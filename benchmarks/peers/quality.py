"""How good a removal is, by the exact truth of the first copy of a corpus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Quality:
    """What became of the records of the first copy."""

    removed: int
    pairs: int  # at the similarity asked for, or above
    resolved: float  # share of these pairs of which at least one record was removed
    resolved_symbols: float  # the same of the pairs that are as similar with symbols counted as words
    false: float  # share of the removed that have no partner at the similarity asked for
    gross: float  # share of the removed that have no partner in the truth at all (0.7)


def judge(removed: Iterable[str], pairs: pa.Table, records: int, similarity: float) -> Quality:
    """Judge the ids removed.

    Args:
        removed: Ids (``c<copy>-<number>``); those of other copies than 0 are passed over.
        pairs: The truth of the first copy: a, b, jaccard, symbols.
        records: How many records of the first copy the tool was given; they are its first ones.
        similarity: What the tool was asked for.
    """
    gone = np.zeros(records, bool)
    gone[[int(key[3:]) for key in removed if key.startswith("c0-")]] = True
    pairs = pairs.filter(pc.less(pairs["b"], records))  # a < b
    a, b = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    alike, alike_symbols = (pairs[name].to_numpy() >= similarity - 1e-9 for name in ("jaccard", "symbols"))
    loose = np.ones(records, bool)  # without any partner in the truth
    loose[a] = loose[b] = False
    lonely = np.ones(records, bool)  # without a partner at the similarity
    lonely[a[alike]] = lonely[b[alike]] = False
    resolved = gone[a] | gone[b]
    return Quality(
        removed=int(gone.sum()),
        pairs=int(alike.sum()),
        resolved=share(resolved[alike], 1.0),
        resolved_symbols=share(resolved[alike & alike_symbols], 1.0),
        false=share(lonely[gone], 0.0),
        gross=share(loose[gone], 0.0),
    )


def share(marks: npt.NDArray[np.bool_], of_none: float) -> float:
    """Return the share of marks that are set."""
    return float(marks.mean()) if len(marks) else of_none
