"""The slow, readable twin of curate.tuning.streams: one text after the other, in lists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from curate.tuning.contract import Encoded, Setup

MASK = (1 << 64) - 1
OPEN = 16


class Row(NamedTuple):
    ids: list[int]
    labels: list[int]
    positions: list[int]


def mixed(key: int, seed: str, epoch: int, arm: str) -> int:
    said = hashlib.blake2b(f"{seed}/{epoch}/{arm}".encode(), digest_size=8).digest()
    z = key ^ int.from_bytes(said, "little")
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def endless(train: Encoded, members: Sequence[int], seed: str, arm: str) -> Iterator[int]:
    epoch = 0
    while True:
        yield from sorted(members, key=lambda place: mixed(int(train.keys[place]), seed, epoch, arm))
        epoch += 1


def taking_turns(
    train: Encoded, members: Sequence[int], raw: Sequence[int], seed: str, arm: str
) -> Iterator[int]:
    """Draw from the source that, with its next text, would have had its share of tokens the soonest."""
    size = train.lengths.tolist()
    here = sorted({int(train.groups[place]) for place in members})
    share = {group: sum(size[place] for place in raw if train.groups[place] == group) for group in here}
    queues = {
        group: endless(train, [place for place in members if train.groups[place] == group], seed, arm)
        for group in here
    }
    had = dict.fromkeys(here, 0)
    heads = {group: next(queue) for group, queue in queues.items()}
    while True:
        first = min(here, key=lambda group: (had[group] + size[heads[group]]) / share[group])
        yield heads[first]
        had[first] += size[heads[first]]
        heads[first] = next(queues[first])


def packed(train: Encoded, drawn: Iterator[int], length: int, rows: int | None) -> list[list[int]]:
    """Put each text into the oldest open row that has room; stop where there is none and no row is left."""
    found: list[list[int]] = []
    for place in drawn:
        size = int(train.lengths[place])
        for row in found[-OPEN:]:
            if sum(int(train.lengths[other]) for other in row) + size <= length:
                row.append(place)
                break
        else:
            if len(found) == rows:
                break
            found.append([place])
    return found


def within(train: Encoded, drawn: Iterator[int], budget: int) -> Iterator[int]:
    had = 0
    for place in drawn:
        if had >= budget:
            return
        yield place
        had += int(train.lengths[place])


def stream(
    train: Encoded, members: Sequence[int], raw: Sequence[int], setup: Setup, seed: int, arm: str
) -> tuple[list[list[int]], list[Row], int]:
    """Return the texts of each row, the rows, and the number of steps."""
    members = [place for place in members if train.lengths[place]]
    raw = [place for place in raw if train.lengths[place]]
    who = "" if setup.paired else arm
    if setup.mixture == "fixed":
        drawn = taking_turns(train, members, raw, str(seed), who)
    else:
        drawn = endless(train, members, str(seed), who)
    if setup.budget == "passes":
        budget = min(sum(int(train.lengths[place]) for place in members), setup.tokens)
        rows = packed(train, within(train, drawn, budget), setup.length, None)
        steps = -(-len(rows) // setup.rows)
    else:
        budget = min(sum(int(train.lengths[place]) for place in raw), setup.tokens)
        whole = packed(train, within(train, endless(train, raw, "steps", ""), budget), setup.length, None)
        steps = -(-len(whole) // setup.rows)
        rows = packed(train, drawn, setup.length, steps * setup.rows)
    rows += [[] for _ in range(steps * setup.rows - len(rows))]
    return rows, [laid(train, row, setup.length) for row in rows], steps


def laid(train: Encoded, row: Sequence[int], length: int) -> Row:
    found = Row([], [], [])
    for place in row:
        ids, learnt = train.of(place)
        for position, (number, counts) in enumerate(zip(ids.tolist(), learnt.tolist(), strict=True)):
            found.ids.append(number)
            found.labels.append(number if counts and position else -100)
            found.positions.append(position)
    padding = length - len(found.ids)
    found.ids.extend([0] * padding)
    found.labels.extend([-100] * padding)
    found.positions.extend(range(padding))
    return found
