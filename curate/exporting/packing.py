"""Which pieces of tokens share a row: nothing is cut here, and the same pieces give the same rows."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Literal, TypeAlias

Packing: TypeAlias = Literal["best-fit", "in-order", "none"]

WINDOW = 2**14  # pieces that are packed together: enough for rows to be full, few enough to hold


def pack(lengths: Sequence[int], capacity: int, packing: Packing) -> list[list[int]]:
    """Return rows of places, each of at most ``capacity`` tokens. No piece is longer than that.

    best-fit: each piece, longest first, into the fullest row that has room for it (best-fit decreasing: at most 11/9 of
    the fewest rows possible, and 4; Johnson, "Near-optimal bin packing algorithms", 1973). in-order: neighbours share a
    row. none: a row each. Rows are in the order of their first pieces, and pieces in theirs.
    """
    if packing == "none":
        return [[place] for place in range(len(lengths))]
    rows = _best_fit(lengths, capacity) if packing == "best-fit" else _in_order(lengths, capacity)
    return sorted(sorted(row) for row in rows)


def _in_order(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    rows: list[list[int]] = []
    room = -1
    for place, length in enumerate(lengths):
        if length > room:
            rows.append([])
            room = capacity
        rows[-1].append(place)
        room -= length
    return rows


def _best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    rows: list[list[int]] = []
    rooms: list[int] = []  # that some row has, ascending
    having: dict[int, list[int]] = {}  # room → rows that have it, a heap: of equals the first row is taken
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        at = bisect_left(rooms, lengths[place])
        if at == len(rooms):
            rows.append([])
            row, room = len(rows) - 1, capacity
        else:
            room = rooms[at]
            row = heapq.heappop(having[room])
            if not having[room]:
                rooms.pop(at)
        rows[row].append(place)
        left = room - lengths[place]
        heap = having.setdefault(left, [])
        if not heap:
            insort(rooms, left)
        heapq.heappush(heap, row)
    return rows
