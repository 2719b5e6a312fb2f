"""MinHash signatures equal to datasketch's, and the bands and rows that make candidates of them."""

from __future__ import annotations

from functools import lru_cache
from math import comb
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.kernels.text import Hashes, Offsets

Signatures = npt.NDArray[np.uint32]

SCHEME = "minhash3.affine32"
_MOST_LOSS = 1e-4  # of pairs at the threshold, by the screen
_LARGEST_SMALL_SET = 64  # members of a set that band keys may hold whole; bounds the work per record


class Bands(NamedTuple):
    """How a signature is cut: two records are candidates if all rows of any one band agree."""

    bands: int
    rows: int

    def probability(self, similarity: float) -> float:
        """Return the chance that two sets of this Jaccard similarity become candidates: 1 - (1 - s^r)^b.

        Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, section 3.4.2.
        """
        return 1.0 - (1.0 - similarity**self.rows) ** self.bands


def solve(similarity: float, recall: float, num_perm: int = 128) -> Bands:
    """Return the banding with the fewest false candidates that finds pairs AT the threshold often enough.

    More rows mean fewer candidates below the threshold and fewer found above it. So: the most rows r for
    which b = num_perm // r bands give 1 - (1 - similarity^r)^b >= recall. The few permutations left over are
    not used.

    Raises ValueError where even one row per band misses the recall, naming what would do.
    """
    for rows in range(num_perm, 0, -1):
        cut = Bands(num_perm // rows, rows)
        if cut.probability(similarity) >= recall:
            return cut
    reached = Bands(num_perm, 1).probability(similarity)
    needed = int(np.ceil(np.log1p(-recall) / np.log1p(-similarity)))
    raise ValueError(
        f"{num_perm} permutations find at most {reached:.4f} of the pairs at similarity {similarity}; "
        f"a recall of {recall} needs num_perm of {needed} or more, or a recall of {reached:.4f} or less"
    )


def s_curve(bands: int, rows: int) -> list[tuple[float, float]]:
    """Return (similarity, chance to become candidates) for similarities 0, 0.05, … 1."""
    return [(step / 20, Bands(bands, rows).probability(step / 20)) for step in range(21)]


@lru_cache(maxsize=8)
def permutations(num_perm: int, seed: int) -> tuple[Signatures, Signatures]:
    """Return a, b (each [num_perm]) of h -> a * h + b mod 2^32, a odd: datasketch 2's own for this seed."""
    generator = np.random.RandomState(seed)  # the generator that datasketch draws from
    a = generator.randint(0, 1 << 31, num_perm, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a, generator.randint(0, 1 << 32, num_perm, dtype=np.uint32)


@lru_cache(maxsize=8)
def lanes(num_perm: int, seed: int) -> tuple[Signatures, Signatures]:
    """Return :func:`permutations`, repeated up to the number that the kernels do at a time."""
    from curate.kernels.lanes import LANES

    width = -(-num_perm // LANES) * LANES
    a, b = (np.resize(column, width) for column in permutations(num_perm, seed))
    return a, b


def signatures(hashes: Hashes, offsets: Offsets, num_perm: int = 128, seed: int = 1) -> Signatures:
    """Return each set's signature [n, num_perm].

    Bit for bit the ``hashvalues`` of ``datasketch.MinHash(num_perm, seed, scheme="affine32", hashfunc=lambda
    shingle: shingle >> 32)`` updated with the text's 64-bit shingles; an empty set keeps datasketch's initial
    values. 32 bits are enough to nominate candidates; they are verified on all 64. Measured among the designs
    of engines in use, this one is also the fastest for short texts: see LOG.md.
    """
    from curate.kernels import sketch

    a, b = lanes(num_perm, seed)
    room = np.empty(int(np.diff(offsets).max(initial=0)), np.uint32)
    out = np.empty((len(offsets) - 1, len(a)), np.uint32)
    sketch.signatures(hashes, offsets, a, b, room, out)
    return out[:, :num_perm]


def small_set_limit(threshold: float) -> int:
    """Return the size up to which a set is similar enough only to an equal set.

    The set most similar to one of k members, but not equal, has one member more: J = k / (k + 1). So sets of
    every size k with k / (k + 1) < threshold must be equal to count (at 0.8: up to 3 members).
    """
    k = 0
    while k < _LARGEST_SMALL_SET and (k + 1) / (k + 2) < threshold:
        k += 1
    return k


def plane_words(num_perm: int) -> int:
    """Return how many 64-bit numbers hold two bits of a record's first 64 or 128 minima; 0 for fewer than 64."""
    return 2 * min(num_perm // 64, 2)


class Screen(NamedTuple):
    """A cheap look at two signatures before their sets are read: two bits each of up to 128 minima."""

    needed: int  # minima that must agree in both bits
    loss: float  # chance that a pair AT the threshold is turned away


def screen(similarity: float, num_perm: int) -> Screen:
    """Return the screen that turns away one in 10,000 pairs at the threshold, at the most.

    Two bits agree where the minima do, and by chance in one of four other cases: with probability p = J + (1
    - J) / 4 (Li, König: b-Bit Minwise Hashing, WWW 2010). The agreeing ones of n are binomial.
    """
    n = 32 * plane_words(num_perm)
    p = similarity + (1 - similarity) / 4
    needed, below = 0, 0.0
    while (
        needed < n and (more := below + comb(n, needed) * p**needed * (1 - p) ** (n - needed)) <= _MOST_LOSS
    ):
        needed, below = needed + 1, more
    return Screen(needed, below)
