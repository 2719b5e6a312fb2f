"""Secrets that the data itself held: what the run's stage pii took out of responses."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from curate.release import Release
from curate.tuning.contract import DOCUMENT, Secret
from curate.tuning.controls import ALTERNATIVES, digits, generator, letters
from curate.tuning.filters import Filter
from curate.tuning.heldout import turns as turns_of
from curate.tuning.pool import draw
from curate.tuning.records import Records, Register

MOST = 64  # secrets that are asked for


@dataclass(frozen=True)
class _Find:
    kind: str
    turn: int
    start: int
    end: int


def found(release: Release, register: Register, records: Records, one: Filter) -> tuple[Secret, ...]:
    """Return secrets that the run took out of responses of the pool's records; at most MOST.

    The ledger says where they stood. Its records go by id; those whose id is not theirs alone are left out, as are
    values without a digit or an @, for which nothing of the same shape can be drawn.
    """
    finds = _finds(release, register, records, one)
    drawn: list[tuple[bytes, Secret]] = []
    for at, places in finds.items():
        history = records.histories[at]
        edit = next((edit for edit in history.edits if edit.stage == one.name), None)
        if edit is None or edit.before != history.raw:
            continue
        said = turns_of(history.raw)
        for find in places:
            if find.turn >= len(said) or said[find.turn].role not in ("assistant", DOCUMENT):
                continue
            content = said[find.turn].content
            value = content[find.start : find.end]
            if not any(letter.isdigit() or letter == "@" for letter in value):
                continue
            dice = generator("alternatives", find.kind, value)
            others = _alternatives(find.kind, value, dice)
            if len(others) < ALTERNATIVES:
                continue
            secret = Secret(said[: find.turn], content[: find.start], value, others, find.kind, planted=False)
            drawn.append((draw("secret", find.kind, value, at, find.turn, find.start), secret))
    different: dict[str, tuple[bytes, Secret]] = {}
    for key, secret in sorted(drawn, key=lambda pair: pair[0]):
        different.setdefault(secret.secret, (key, secret))
    return tuple(secret for _, secret in list(different.values())[:MOST])


def _finds(release: Release, register: Register, records: Records, one: Filter) -> dict[int, list[_Find]]:
    names = register.frame["id"]
    numbers: dict[str, int] = {}
    twice = set(register.frame.filter(pl.col("id").is_duplicated())["id"])
    for at in records.histories:
        if names[at] not in twice:
            numbers[names[at]] = at
    paths = sorted((release.path / "ledger").glob("part-*.parquet"))
    lines = pl.scan_parquet(paths, glob=False, hive_partitioning=False)
    lines = lines.filter(pl.col("stage") == one.name, pl.col("action") == "edit")
    found: dict[int, list[_Find]] = {}
    for name, evidence in lines.select("id", "evidence").collect().iter_rows():
        if name in numbers and evidence:
            for span in orjson.loads(evidence).get("spans", ()):
                found.setdefault(numbers[name], []).append(_find(span))
    return found


def _find(span: Mapping[str, Any]) -> _Find:
    return _Find(span["type"], span["turn"], span["start"], span["end"])


def _alternatives(kind: str, value: str, dice: random.Random) -> tuple[str, ...]:
    """Return different values of the same shape; what is no secret stays: a domain, a country's letters."""
    fixed = value.index("@") if kind == "EMAIL_ADDRESS" and "@" in value else len(value)
    begin = 2 if kind == "IBAN_CODE" else 0
    found: dict[str, None] = {}
    for _ in range(20 * ALTERNATIVES):
        new = "".join(
            _redrawn(letter, dice) if begin <= i < fixed else letter for i, letter in enumerate(value)
        )
        if new != value:
            found.setdefault(new)
        if len(found) == ALTERNATIVES:
            break
    return tuple(found)


def _redrawn(letter: str, dice: random.Random) -> str:
    if letter.isdigit():
        return digits(dice, 1)
    if letter.isalpha():
        other = letters(dice, 1)
        return other.upper() if letter.isupper() else other
    return letter
