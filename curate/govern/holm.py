"""Holm's correction, for everything here that tests more than one thing at once."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, step-down (Holm 1979, Scand. J. Statist. 6:65-70).

    The chance of any false alarm among them stays below the level that they are held to.
    """
    corrected = [0.0] * len(p)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, p[place] * (len(p) - rank)))
        corrected[place] = highest
    return corrected
