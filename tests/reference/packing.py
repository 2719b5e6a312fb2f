"""Slow, readable twin of curate.exporting.packing: best-fit decreasing, every row looked at for every piece."""

from __future__ import annotations

from collections.abc import Sequence


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Put each piece, longest first, into the row with the least room that is enough; of equals into the first."""
    rows: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        rooms = [capacity - sum(lengths[one] for one in row) for row in rows]
        enough = [(room, number) for number, room in enumerate(rooms) if room >= lengths[place]]
        if enough:
            rows[min(enough)[1]].append(place)
        else:
            rows.append([place])
    return sorted(sorted(row) for row in rows)
