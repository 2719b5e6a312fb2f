"""What a run trains on: texts in a random order that arms share, packed into rows.

* A text's place in the order is a hash of seed, epoch and the record's key: two arms with the same record meet it at
  about the same step, and taking a record away leaves the order of the others (common random numbers).
* Budget "tokens": every arm has as many steps, those that one pass of raw fills. An arm with fewer texts goes on with
  further passes. The number of steps is found on an order of its own, without seed or arm; rows are then drawn full,
  so that arms' tokens differ only by padding. Budget "passes": each arm's own texts once, in the steps that they take.
* Mixture "fixed": sources take turns so that each has its share of raw's tokens, however many texts an arm has left of
  it. What a source that is gone had falls to the others.
* Texts are packed first-fit into the rows that are open. Positions begin at 0 with each text, and again with padding:
  transformers then builds the mask that keeps texts apart (sdpa, no attention_mask, no cache).
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.errors import RecipeError
from curate.tuning.contract import Encoded, Ints, Setup, Stream

OPEN = 16  # rows that a text may still go into: more fill better, and move texts further from their place
UNLEARNT = -100  # torch's cross_entropy leaves such labels out


class _Packed(NamedTuple):
    """Where the first m texts went."""

    row: Ints  # [m]
    start: Ints  # [m] token in the row
    rows: int  # that were opened


def stream(
    train: Encoded, members: Ints, raw_members: Ints, setup: Setup, seed: int, arm: str = ""
) -> Stream:
    """Return what an arm with these texts trains on. ``arm`` matters only where the setup's order is not shared.

    Raises RecipeError where none of the texts can be trained on.
    """
    usable = _usable(train, members)
    shares = _shares(train, usable, raw_members) if setup.mixture == "fixed" else None
    who = "" if setup.paired else arm
    if setup.budget == "passes":
        budget = min(int(train.lengths[usable].sum()), setup.tokens)
        drawn = _within(train, _drawn(train, usable, shares, budget, f"{seed}", who), budget)
        packed = _pack(train.lengths[drawn], setup.length, None)
        count = -(-packed.rows // setup.rows)
    else:
        count = steps(train, raw_members, setup)
        room = count * setup.rows
        drawn = _drawn(train, usable, shares, (room + OPEN) * setup.length, f"{seed}", who)
        packed = _pack(train.lengths[drawn], setup.length, room)
    return _laid(train, usable, drawn[: len(packed.row)], packed, count, setup)


def steps(train: Encoded, raw_members: Ints, setup: Setup) -> int:
    """Return the number of steps of every arm under an equal budget of tokens: what one pass of raw fills."""
    usable = _usable(train, raw_members)
    budget = min(int(train.lengths[usable].sum()), setup.tokens)
    drawn = _within(train, _drawn(train, usable, None, budget, "steps", ""), budget)
    return -(-_pack(train.lengths[drawn], setup.length, None).rows // setup.rows)


def _usable(train: Encoded, members: Ints) -> Ints:
    usable = members[train.lengths[members] > 0]
    if not len(usable):
        raise RecipeError(
            f"an arm has {len(members)} texts, none of which can be trained on (no response, or one longer than a "
            "row); give `tune` longer rows, or leave the arm out"
        )
    return usable


def _shares(train: Encoded, usable: Ints, raw_members: Ints) -> Ints:
    """Return raw's tokens of each source [sources] that the arm still has; where it has none of raw's, its own."""
    for members in (raw_members, usable):
        tokens = np.bincount(train.groups[members], train.lengths[members], int(train.groups.max()) + 1)
        tokens[np.setdiff1d(np.arange(len(tokens)), train.groups[usable])] = 0
        if tokens.any():
            break
    return tokens.astype(np.int64)


def _drawn(
    train: Encoded,
    usable: Ints,
    shares: Ints | None,
    tokens: int,
    seed: str,
    arm: str,
) -> Ints:
    """Return texts in the order of training, again and again, until they hold as many tokens."""
    if shares is None:
        return _passes(train, usable, tokens, seed, arm)
    queues, times = [], []
    for group in np.flatnonzero(shares):
        wanted = tokens * shares[group] / shares.sum()
        queue = _passes(train, usable[train.groups[usable] == group], wanted, seed, arm)
        queues.append(queue)
        times.append(np.cumsum(train.lengths[queue]) / shares[group])
    order = np.argsort(np.concatenate(times), kind="stable")
    drawn: Ints = np.concatenate(queues)[order]
    return drawn


def _passes(train: Encoded, usable: Ints, tokens: float, seed: str, arm: str) -> Ints:
    each = int(train.lengths[usable].sum())
    passes = max(1, int(np.ceil(tokens / each)))
    return np.concatenate([usable[order(train.keys[usable], seed, epoch, arm)] for epoch in range(passes)])


def order(keys: npt.NDArray[np.uint64], seed: str, epoch: int, arm: str) -> Ints:
    """Return keys' order [n]: by SplitMix64's finalizer (Steele, Lea, Flood 2014), which takes no two for one."""
    said = hashlib.blake2b(f"{seed}/{epoch}/{arm}".encode(), digest_size=8).digest()
    mixed = keys ^ np.uint64(int.from_bytes(said, "little"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)  # modulo 2^64
    found: Ints = np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")
    return found


def _within(train: Encoded, drawn: Ints, budget: int) -> Ints:
    """Return the first texts, up to the one that fills the budget."""
    before = np.cumsum(train.lengths[drawn]) - train.lengths[drawn]
    return drawn[before < budget]


def _pack(lengths: Ints, length: int, rows: int | None) -> _Packed:
    """Place texts first-fit, until one fits in no row that is open and no other may be opened."""
    opened: list[list[int]] = []  # row, tokens in it; oldest first
    places: list[tuple[int, int]] = []
    count = 0
    for size in lengths.tolist():
        spot = next((entry for entry in opened if entry[1] + size <= length), None)
        if spot is None:
            if count == rows:
                break
            spot = [count, 0]
            opened = [*opened, spot][-OPEN:]
            count += 1
        places.append((spot[0], spot[1]))
        spot[1] += size
    row, start = np.array(places, np.int64).reshape(-1, 2).T
    return _Packed(row, start, count)


def _laid(train: Encoded, usable: Ints, drawn: Ints, packed: _Packed, count: int, setup: Setup) -> Stream:
    """Lay texts out in rows."""
    sizes = train.lengths[drawn]
    used = np.bincount(packed.row, sizes, count * setup.rows).astype(np.int32)
    shape = (count * setup.rows, setup.length)
    positions = np.arange(setup.length, dtype=np.int32) - used[:, None]  # of padding, behind the row's texts
    ids, labels = np.zeros(shape, np.int32), np.full(shape, UNLEARNT, np.int32)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    taken = within + np.repeat(train.offsets[drawn], sizes)
    put = within + np.repeat(packed.row * setup.length + packed.start, sizes)
    learnt = train.learnt[taken] & (within > 0)  # before a text's first token stands another text
    ids.ravel()[put] = train.ids[taken]
    labels.ravel()[put[learnt]] = train.ids[taken[learnt]]
    positions.ravel()[put] = within
    final = (count, setup.rows, setup.length)
    tokens = int(sizes.sum())
    return Stream(
        ids.reshape(final),
        labels.reshape(final),
        positions.reshape(final),
        tokens,
        tokens / int(train.lengths[usable].sum()),
    )


def alone(
    ids: npt.NDArray[np.int32], labels: npt.NDArray[np.int32], positions: npt.NDArray[np.int32], arms: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return packed rows [arms * rows, length] with each text in a row of its own, as many rows for every arm.

    What nothing is learnt of is left out: padding.
    """
    place = positions.ravel()
    text = np.cumsum(place == 0) - 1
    arm = np.flatnonzero(place == 0) // (ids.size // arms)
    learnt = np.bincount(text, labels.ravel() != UNLEARNT) > 0
    counts = np.bincount(arm[learnt], minlength=arms)
    most = max(1, int(counts.max()))
    row = np.full(len(arm), -1)
    row[learnt] = arm[learnt] * most + np.arange(learnt.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = row[text] >= 0
    longest = int(place[kept].max(initial=1)) + 1
    put = row[text[kept]] * longest + place[kept]
    laid = [np.full((arms * most, longest), empty, np.int32) for empty in (0, UNLEARNT)]
    for into, given in zip(laid, (ids, labels), strict=True):
        into.ravel()[put] = given.ravel()[kept]
    return laid[0], laid[1], np.tile(np.arange(longest, dtype=np.int32), (arms * most, 1))
