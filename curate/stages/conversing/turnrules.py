"""What the rules of the pack ``conversation`` look for in the turns of a batch.

A rule with ``pattern`` or ``patterns`` and ``roles`` needs no code: it finds the turns of those roles in which one of
them is found. The rules that look at more than a turn's text have a function here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.record import ROLES
from curate.rules import Rule
from curate.stages.conversing.turns import (
    ASSISTANT,
    START,
    SYSTEM,
    TOOL,
    USER,
    Mask,
    Turns,
    anywhere,
    either,
    found,
    series,
)

Found: TypeAlias = Iterable[tuple[int, Mapping[str, Any] | None]]  # record, evidence
Finder: TypeAlias = Callable[[Turns, Rule], Mask]

NO_RESPONSE = "conversation/no-response"  # finds records; every other rule finds turns


def conversations(turns: Turns, asked: Iterable[Rule]) -> Iterator[tuple[Rule, Found]]:
    """Yield each rule that is asked, and the records that it finds, in order, with its evidence."""
    asked = list(asked)
    hits = _searched(turns, [rule for rule in asked if rule.id not in FINDERS and _patterns(rule)])
    for rule in asked:
        if rule.id == NO_RESPONSE:
            lengths = np.diff(turns.offsets)
            rows = np.flatnonzero(~turns.answered)
            yield rule, ((int(row), {"turns": int(lengths[row])}) for row in rows)
        elif rule.id in FINDERS:
            yield rule, _by_record(turns, rule, np.flatnonzero(FINDERS[rule.id](turns, rule)))
        elif rule.id in hits:
            yield rule, _by_record(turns, rule, hits[rule.id])


def _patterns(rule: Rule) -> tuple[str, ...]:
    if "pattern" in rule.data:
        return (rule.data["pattern"],)
    return tuple(rule.data.get("patterns", {}).values())


def _searched(turns: Turns, asked: list[Rule]) -> dict[str, npt.NDArray[np.int64]]:
    """Return the turns in which rules find their patterns, by rule; those that find nothing are not there."""
    groups: dict[tuple[Any, ...], list[Rule]] = {}
    for rule in asked:
        groups.setdefault((*rule.data.get("roles", ROLES), bool(rule.data.get("opening"))), []).append(rule)
    hits: dict[str, npt.NDArray[np.int64]] = {}
    for (*roles, opening), group in groups.items():
        mask = turns.by(*(ROLES.index(role) for role in roles)) if len(roles) < len(ROLES) else None
        if opening:  # the first turn, where no system turn may have given what it speaks of
            mask = turns.place == 0 if mask is None else mask & (turns.place == 0)
        places = np.arange(len(turns.text)) if mask is None else np.flatnonzero(mask)
        if not len(places):
            continue
        texts = series(turns.text if mask is None else turns.text.take(pa.array(places))).alias("text")
        group = _promising(texts, group)
        found = texts.to_frame().select(_holds(rule).alias(rule.id) for rule in group)
        for rule in group:
            if found[rule.id].any():
                where = found[rule.id]
                if "unless" in rule.data:
                    where = where & ~texts.str.contains(rule.data["unless"])
                hits[rule.id] = places[where.to_numpy()]
    return hits


def _promising(texts: pl.Series, group: list[Rule]) -> list[Rule]:
    """Return the rules that may find something: a look at all texts in one, where a rule's patterns allow that.

    They do unless they ask where a text ends; where it begins is where a line does.
    """
    joined = {rule.id: either(_patterns(rule)).replace("\\A", "(?m:^)") for rule in group}
    joined = {name: pattern for name, pattern in joined.items() if "\\z" not in pattern}
    found = dict(zip(joined, anywhere(texts, *joined.values()), strict=True))
    return [rule for rule in group if found.get(rule.id, True)]


def _holds(rule: Rule) -> pl.Expr:
    text = pl.col("text")
    found = text.str.contains(either(_patterns(rule)))
    if least := rule.data.get("min_characters"):
        found &= text.str.len_chars() >= least
    if most := rule.data.get("max_characters"):
        found &= text.str.len_chars() <= most
    return found


def _by_record(turns: Turns, rule: Rule, hits: npt.NDArray[np.int64]) -> Iterator[tuple[int, dict[str, Any]]]:
    if not len(hits):
        return
    owners, firsts, counts = np.unique(turns.owner[hits], return_index=True, return_counts=True)
    for owner, first, count in zip(owners, firsts, counts, strict=True):
        turn = hits[first]
        role = turns.role[turn]
        evidence: dict[str, Any] = {
            "turn": int(turns.place[turn]),
            "role": ROLES[role] if role >= 0 else None,  # an unknown role may be anything, even text
            "count": int(count),
        }
        if "patterns" in rule.data:
            inside = turns.text.take(hits[first : first + count])
            evidence["patterns"] = [k for k, v in rule.data["patterns"].items() if found(inside, v).any()]
        yield int(owner), evidence


# --- rules that look at more than a text: each answers which turns it finds ---------------------------------


def _empty_response(turns: Turns, rule: Rule) -> Mask:
    calls_tool = np.roll(turns.by(TOOL) & ~turns.after(START), -1)
    return turns.by(ASSISTANT) & turns.blank & ~calls_tool & ~turns.calls


def _empty_turn(turns: Turns, rule: Rule) -> Mask:
    return turns.by(USER, -1) & turns.blank


def _empty_system(turns: Turns, rule: Rule) -> Mask:
    return turns.by(SYSTEM) & turns.blank


def _unknown_role(turns: Turns, rule: Rule) -> Mask:
    return turns.by(-1)


def _role_order(turns: Turns, rule: Rule) -> Mask:
    names = (*ROLES, "start")
    # Beside an unknown role, which has a rule of its own, any order passes: -1 is the last row and column.
    allowed = np.ones((len(names) + 1, len(ROLES) + 1), dtype=bool)
    for before, after in rule.data["follows"].items():
        allowed[names.index(before), : len(ROLES)] = [role in after for role in ROLES]
    return np.logical_not(allowed[turns.before, turns.role])


def _repeating(turns: Turns, least: int) -> Iterator[tuple[int, str, str]]:
    """Yield the answers of at least so many characters in whose words the user's turn ends: turn, said, asked."""
    sizes = pc.binary_length(turns.text).to_numpy(zero_copy_only=False)
    pairs = np.flatnonzero(turns.by(ASSISTANT) & turns.after(USER) & (sizes >= least))
    if not len(pairs):
        return
    texts = [series(turns.text.take(pa.array(places))) for places in (pairs, pairs - 1)]
    both = pl.DataFrame([texts[0].alias("said"), texts[1].alias("asked")])
    ends = pl.col("asked").str.strip_chars_end().str.ends_with(pl.col("said").str.strip_chars())
    for place in np.flatnonzero(both.select(ends).to_series().to_numpy()):
        said, asked = (text.strip() for text in both.row(int(place)))
        if len(said) >= least:
            yield int(pairs[place]), said, asked


def _echo(turns: Turns, rule: Rule) -> Mask:
    hits = np.zeros(len(turns.text), bool)
    hits[[turn for turn, said, asked in _repeating(turns, rule.data["min_characters"]) if said == asked]] = (
        True
    )
    return hits


def _echoed_input(turns: Turns, rule: Rule) -> Mask:
    """[turns] answers that the user's turn ends in, after an empty line: what was to be worked on, unchanged."""
    hits = np.zeros(len(turns.text), bool)
    for turn, said, asked in _repeating(turns, rule.data["min_characters"]):
        hits[turn] = said != asked and asked.endswith(f"\n\n{said}")
    return hits


def _unclosed_code(turns: Turns, rule: Rule) -> Mask:
    hits = turns.by(ASSISTANT)
    places = np.flatnonzero(hits)
    hits[places] = False
    texts = series(turns.text)
    if not anywhere(texts, "```")[0]:
        return hits
    texts = texts.gather(places)
    fenced = texts.str.contains("```", literal=True)
    hits[places[fenced.to_numpy()]] = (
        texts.filter(fenced).str.count_matches(rule.data["fence"]) % 2 == 1
    ).to_numpy()
    return hits


def _starts_with_assistant(turns: Turns, rule: Rule) -> Mask:
    return turns.by(ASSISTANT) & (turns.after(START) | (turns.after(SYSTEM) & np.isin(turns.place, 1)))


def _ends_without_assistant(turns: Turns, rule: Rule) -> Mask:
    return turns.last & ~turns.by(ASSISTANT) & turns.answered[turns.owner]


FINDERS: dict[str, Finder] = {
    "conversation/empty-response": _empty_response,
    "conversation/empty-turn": _empty_turn,
    "conversation/unknown-role": _unknown_role,
    "conversation/role-order": _role_order,
    "conversation/echoed-response": _echo,
    "conversation/echoed-input": _echoed_input,
    "conversation/unclosed-code": _unclosed_code,
    "conversation/empty-system": _empty_system,
    "conversation/starts-with-assistant": _starts_with_assistant,
    "conversation/ends-without-assistant": _ends_without_assistant,
}
