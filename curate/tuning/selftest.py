"""The self-test: a tune of the synthetic corpus, whose truth is known, and whether the tune found it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from curate.tuning import synthetic
from curate.tuning.contract import Corpus, Text
from curate.tuning.verdicts import LEVEL

if TYPE_CHECKING:
    from curate.tuning.tiny import TinyRecipe

SEEDS = tuple(range(7))
RECORDS, ITEMS = 1500, 350
TEXTS, VOCABULARY, STEPS = 40_000, 768, 1000  # of the base
SETUP: Mapping[str, Any] = {
    "length": 128,
    "rows": 8,
    "tokens": 40_000,  # about one pass of raw
    "samples": 0,
    "adapters": False,
}
EXPECTED: Mapping[tuple[str, str], int | None] = {
    ("only_corrupt", "raw"): -1,
    ("only_language", "raw"): -1,
    ("full", "raw"): -1,
    ("random_drop", "raw"): None,
    ("only_null", "raw"): None,
}
"""What a sound tune finds of the loss: -1 it falls, None nothing. Duplicates and scrubbed numbers are measured and not
judged: whether they matter to the loss of clean text depends on the base."""


class Row(TypedDict):
    """One line of the verdict."""

    contrast: str
    expected: str  # lower | no effect
    found: str
    relative: float | None
    holm: float | None
    passed: bool


@dataclass(frozen=True)
class Plan:
    """What the self-test tunes."""

    corpus: Corpus
    base: TinyRecipe  # trained on texts of the synthetic world alone
    setup: Mapping[str, Any]  # of curate.tuning.contract.Setup, beside base and rate
    seeds: tuple[int, ...]


def corpus(seeds: Sequence[int] = SEEDS) -> Corpus:
    """Return the synthetic corpus at the self-test's size."""
    return synthetic.corpus(RECORDS, ITEMS, seeds)


def pretraining(count: int = TEXTS) -> list[Text]:
    """Return texts for the self-test's base: the same world in other forms."""
    return synthetic.pretraining(count)


def plan(seeds: Sequence[int] = SEEDS) -> Plan:
    """Return all that a self-test needs, sized for three minutes on two cores, its base included."""
    from curate.tuning.tiny import TinyRecipe

    recipe = TinyRecipe(texts=tuple(pretraining()), harvested=0, vocabulary=VOCABULARY, steps=STEPS)
    return Plan(corpus(seeds), recipe, SETUP, tuple(seeds))


def judge(told: Mapping[str, Any]) -> list[Row]:
    """Return each expected finding and whether it was made, from what :func:`curate.tuning.effects.analyse` told.

    Found means that Holm's p on the primary metric is below 5 %. A contrast that is missing has not passed.
    """
    held = {(one["arm"], one["reference"]): one for one in told["contrasts"] if one["primary"]}
    return [_row(pair, sign, held.get(pair)) for pair, sign in EXPECTED.items()]


def _row(pair: tuple[str, str], sign: int | None, one: Mapping[str, Any] | None) -> Row:
    title, expected = " - ".join(pair), "no effect" if sign is None else "lower"
    if one is None:
        return Row(
            contrast=title, expected=expected, found="not done", relative=None, holm=None, passed=False
        )
    detected = one["holm"] < LEVEL
    side = "lower" if one["effect"] < 0 else "higher"
    return Row(
        contrast=title,
        expected=expected,
        found=side if detected else "no effect",
        relative=one["relative"],
        holm=one["holm"],
        passed=(side == expected) if detected else sign is None,
    )
