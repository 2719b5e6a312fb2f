"""The slow, readable twin of curate.kernels.spans: overlaps settled, and spans widened, character by character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import regex

from curate.kernels.spans import Edit, Span


def widen(text: str, spans: Iterable[Span]) -> list[Span]:
    """Give each span all of every grapheme cluster that it has a part of."""
    clusters = [range(*found.span()) for found in regex.finditer(r"\X", text)]
    wide = []
    for span in spans:
        touched = [c for c in clusters if set(c) & _characters(span)]
        wide.append(span._replace(start=touched[0].start, end=touched[-1].stop))
    return wide


def outside(spans: Iterable[Span], held: Iterable[tuple[int, int]]) -> list[Span]:
    """Give each span's runs of characters that are not held."""
    taken = {character for start, end in held for character in range(start, end)}
    parts = []
    for span in spans:
        free = [at for at in range(span.start, span.end) if at not in taken]
        starts = [at for at in free if at - 1 not in free]
        ends = [at + 1 for at in free if at + 1 not in free]
        parts += [span._replace(start=a, end=b) for a, b in zip(starts, ends, strict=True)]
    return parts


def carried_over(turns: Sequence[str], found: Sequence[Iterable[Span]]) -> list[set[tuple[int, int]]]:
    """Try every part of every turn against every value that was found."""
    values = [turns[turn][span.start : span.end] for turn, spans in enumerate(found) for span in spans]
    return [
        {
            (start, end)
            for start in range(len(text))
            for end in range(start + 1, len(text) + 1)
            if any(_again(value, text, start, end) for value in values)
            and not any(span.start <= start and end <= span.end for span in spans)
        }
        for text, spans in zip(turns, found, strict=True)
    ]


def _again(value: str, text: str, start: int, end: int) -> bool:
    """Tell whether a part of a text is a value once more, as a whole word."""
    bare = "".join(filter(str.isalnum, value))
    part = text[start:end]
    if len(bare) < 5 or text[:start][-1:].isalnum() or text[end:][:1].isalnum():
        return False
    if bare.isdigit():
        gaps = [len(gap) for gap in regex.split(r"\d", part)]
        return "".join(filter(str.isalnum, part)) == bare and gaps[0] == gaps[-1] == 0 and max(gaps) <= 2
    return " ".join(part.split()) == " ".join(value.split()) and part.strip() == part


def trace_back(spans: Iterable[Span], edits: Sequence[Edit], length: int) -> list[Span]:
    """Follow each character of the edited text to the original's characters that it stands for."""
    origin: list[tuple[int, int]] = []
    done = 0
    for edit in edits:
        origin += [(at, at + 1) for at in range(done, edit.start)]
        origin += [(edit.start, edit.end)] * len(edit.text)
        done = edit.end
    origin += [(at, at + 1) for at in range(done, length)]
    return [span._replace(start=origin[span.start][0], end=origin[span.end - 1][1]) for span in spans]


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
