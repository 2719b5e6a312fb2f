"""The slow, readable twin of curate.kernels.spans: overlaps settled character by character."""

from __future__ import annotations

from collections.abc import Iterable

from curate.kernels.spans import Span


def resolve(spans: Iterable[Span]) -> list[Span]:
    """Give each covered character to the winner that holds it, else to the one before it in its cluster."""
    settled = []
    for cluster in _clusters(set(spans)):
        winners: list[Span] = []
        for span in sorted(cluster, key=lambda s: (-s.score, -(s.end - s.start), s.start, s.type)):
            if not any(_characters(span) & _characters(winner) for winner in winners):
                winners.append(span)
        owned: dict[Span, list[int]] = {winner: [] for winner in winners}
        owner = min(winners)
        for character in sorted(set().union(*map(_characters, cluster))):
            owner = next((winner for winner in winners if character in _characters(winner)), owner)
            owned[owner].append(character)
        settled += [winner._replace(start=c[0], end=c[-1] + 1) for winner, c in owned.items()]
    return sorted(settled)


def _characters(span: Span) -> set[int]:
    return set(range(span.start, span.end))


def _clusters(spans: set[Span]) -> list[set[Span]]:
    """Group spans that share characters, directly or through others."""
    clusters: list[set[Span]] = []
    for span in spans:
        touched = [c for c in clusters if any(_characters(span) & _characters(other) for other in c)]
        clusters = [c for c in clusters if c not in touched] + [set().union({span}, *touched)]
    return clusters
