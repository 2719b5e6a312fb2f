"""Held-out items and training texts compared passage by passage, in plain words and sets."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from curate.tuning.contract import Text
from curate.tuning.heldout import FEW, SHARE, WORDS, response, shown


def words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c if c.isalnum() or c == "_" else " " for c in folded).split()


def passages(text: Text) -> set[tuple[str, ...]]:
    said = words(response(text))
    return {tuple(said[i : i + WORDS]) for i in range(len(said) - WORDS + 1)}


def whole(text: Text) -> list[tuple[str, str]]:
    """Return all turns, case, form and white space made one."""
    return [
        (turn["role"], " ".join(unicodedata.normalize("NFKC", turn["content"]).casefold().split()))
        for turn in shown(text)
    ]


def known(items: Sequence[Text], training: Sequence[Text]) -> list[bool]:
    """Tell which items stand in training: in full, or by SHARE of the passages of their responses."""
    everything = set().union(*map(passages, training)) if training else set()
    found = []
    for item in items:
        mine = passages(item)
        share = len(mine & everything) / len(mine) if mine else 0.0
        found.append(share >= SHARE or whole(item) in [whole(text) for text in training])
    return found


def leaving(held: Sequence[Text], training: Sequence[Text], groups: Sequence[int]) -> set[int]:
    """Return the groups of near copies, of items that no more than FEW groups are near to."""
    gone: set[int] = set()
    for item in map(passages, held):
        near = {
            group
            for text, group in zip(map(passages, training), groups, strict=True)
            if item and text and len(item & text) >= SHARE * max(len(item), len(text))
        }
        gone |= near if len(near) <= FEW else set()
    return gone
