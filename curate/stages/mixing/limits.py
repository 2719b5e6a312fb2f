"""How the stage ``mix`` finds its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.errors import RecipeError
from curate.rules import did_you_mean
from curate.stage import Engine, Sketches
from curate.stages.dedup import nominated, shuffle
from curate.stages.mixing import sides
from curate.stages.mixing.groups import DIMENSIONS, STATED_BY, Dimension, named
from curate.stages.mixing.mixed import ALL, TRAIN, WORD, Mixed, Records, Sides, Split
from curate.stages.mixing.selecting import LAST, OTHERS, Chosen, Rule, select, totals
from curate.stages.mixing.sides import Links

if TYPE_CHECKING:
    from curate.stages.mix import Mix

_NAME = "mix"
_LISTED = 50  # groups that the summary lists by name


def dimensions(options: Mix.Options) -> list[Dimension]:
    """Return the dimensions asked for."""
    return [by for by in DIMENSIONS if by in options.caps or by in options.weights]


class Resolving:
    """One resolution: the limits of each dimension, one after the other, then the splits."""

    def __init__(self, options: Mix.Options, sketches: Sketches, engine: Engine) -> None:
        self._options, self._engine = options, engine
        self._parts, self._memory = sketches.parts, sketches.memory
        self._whole = getattr(sketches, "whole", True)  # a sample may lack groups that all records have
        self._work = sum(nominated.sizes(sketches.parts, engine))
        self._rules: tuple[Rule, ...] = ()
        self._findings: list[dict[str, Any]] = []
        self._summary: dict[str, Any] = {"records": self._work, "count": options.count}

    def resolved(self) -> Mixed:
        """Return the stage."""
        options = self._options
        for by in DIMENSIONS:
            if by in options.caps:
                self._cap(by, options.caps[by])
        for by, shares in options.weights.items():
            self._weigh(by, shares)
        if options.size is not None and not options.weights:
            self._limit(ALL, f"{_NAME}/over-size", {ALL: options.size}, None, self._held(ALL, None))
        splits, links = self._split() if options.splits else ((), Links())
        return Mixed(_NAME, options.seed, self._rules, splits, links, tuple(self._findings), self._summary)

    def _reader(self, by: str = ALL, names: frozenset[str] | None = None) -> Records:
        return Records(self._rules, by, names, self._options.count == "bytes")

    def _held(self, by: str, names: frozenset[str] | None) -> dict[str, tuple[int, int]]:
        return totals(self._parts, self._reader(by, names), self._engine, self._work)

    def _cap(self, by: Dimension, caps: Mapping[str, int]) -> None:
        held = self._held(by, None)
        self._check("caps", by, caps, held)
        targets = {
            name: caps.get(name, caps.get(OTHERS, 0)) for name in held if name in caps or OTHERS in caps
        }
        self._limit(by, f"{_NAME}/over-cap", targets, None, held, [name for name in caps if name != OTHERS])

    def _weigh(self, by: Dimension, shares: Mapping[str, float]) -> None:
        names = frozenset(name for name in shares if name != OTHERS)
        every = self._held(by, None)
        self._check("weights", by, shares, every)
        if OTHERS in shares and set(every) <= names and self._whole and self._work:
            raise RecipeError(
                f"stage {_NAME}: weights.{by} has a weight for '{OTHERS}', and every group there is has its own: "
                f"{named(every)}; take it out"
            )
        if OTHERS not in shares and (left := sorted(set(every) - names)) and self._whole:
            raise RecipeError(
                f"stage {_NAME}: weights.{by} says nothing of {named(left)}; give each a weight (0 takes it out), or "
                f"'{OTHERS}' for all that are not named, together"
            )
        held = self._held(by, names)
        weights = {name: Fraction(repr(share)) for name, share in shares.items() if name in held}
        if not (whole := sum(weights.values())):
            self._limit(by, f"{_NAME}/over-weight", dict.fromkeys(weights, 0), names, held, sorted(names))
            return
        can = {name: held[name][1] * whole / weight for name, weight in weights.items() if weight}
        total = int(min(can.values()))
        size = self._options.size
        scarce = sorted(name for name in can if int(can[name]) == total)
        if size is not None and size > total:
            self._short(by, scarce, size, total, held, {n: w / whole for n, w in weights.items()})
        total = total if size is None else min(size, total)
        targets = _shared_out(total, {name: weight / whole for name, weight in weights.items()})
        if OTHERS in held and OTHERS not in shares:
            targets[OTHERS] = 0  # of a sample alone: see _check
        self._summary["weights_met_up_to"] = int(min(can.values()))
        self._summary["weights_bound_by"] = scarce
        self._limit(by, f"{_NAME}/over-weight", targets, names, held, sorted(names))

    def _short(
        self, by: str, scarce: Sequence[str], size: int, total: int, held: Mapping[str, tuple[int, int]],
        shares: Mapping[str, Fraction],
    ) -> None:  # fmt: skip
        count = self._options.count
        told = ", ".join(
            f"{name} has {held[name][1]:,} {count}, its weight asks for {int(size * shares[name]):,}"
            for name in scarce[:10]
        )
        self._finding(
            "short",
            f"the weights by {by} hold up to {total:,} {count} together, and size asks for {size:,}: {told}; the "
            "shares were kept and the total is smaller, since no record is taken twice; lower size or these weights, "
            "or add records",
            size - total,
        )

    def _limit(
        self, by: str, reason: str, targets: Mapping[str, int], names: frozenset[str] | None,
        held: Mapping[str, tuple[int, int]], listed: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Add a rule that leaves each stratum what its target allows."""
        found = select(self._parts, self._reader(by, names), targets, held, self._engine, self._work)
        limits = {name: one.last for name, one in found.items() if one.last != LAST}
        self._summary.setdefault("limits", []).extend(_told(by, reason, targets, held, found, listed))
        self._rules = (*self._rules, Rule(by, reason, limits, names))

    def _check(
        self, option: str, by: Dimension, given: Mapping[str, Any], held: Mapping[str, tuple[int, int]]
    ) -> None:
        """Raise RecipeError for a group that is named and that no record is in."""
        unknown = sorted(name for name in given if name != OTHERS and name not in held)
        if not unknown or not self._whole or not self._work:
            return
        stage = STATED_BY.get(by)
        hint = (
            f"; the stage {stage} tells them, before {_NAME}"
            if stage and set(held) <= {"none", "unknown"}
            else ""
        )
        raise RecipeError(
            [
                f"stage {_NAME}: {option}.{by} names {name!r}, and no record that reaches it is in that group"
                f"{did_you_mean(name, held) or '; '}{' ' if did_you_mean(name, held) else ''}there is: "
                f"{named(held)}{hint}; correct it, or take it out"
                for name in unknown
            ]
        )

    def _split(self) -> tuple[tuple[Split, ...], Links]:
        options = self._options
        records = Records(self._rules)
        links = sides.links(self._parts, records, self._engine, self._work, self._memory)
        ordered = sorted(options.splits.items(), key=lambda item: (isinstance(item[1], int), item[0]))
        found, first, share = [], 0, Fraction(0)
        for name, size in ordered:
            if isinstance(size, float):  # the same places in any release
                share += Fraction(repr(size))
                last = int(share * WORD) - 1
            else:
                last = self._counted(Sides(records, links, options.seed, first), size)
            last = max(last, first - 1)
            found.append(Split(name, last))
            first = last + 1
        splits = tuple(found)
        self._account(splits, records, links)
        return splits, links

    def _counted(self, reader: Sides, size: int) -> int:
        held = totals(self._parts, reader, self._engine, self._work)
        if not held:
            return -1
        chosen = select(self._parts, reader, {ALL: size}, held, self._engine, self._work)[ALL]
        return chosen.last >> 64

    def _account(self, splits: Sequence[Split], records: Records, links: Links) -> None:
        """Count what is in each split, and say where that is far from what was asked for."""
        asked = self._options.splits
        looks = [_Count(part, records, links, self._options.seed, tuple(splits)) for part in self._parts]
        counts = sum(
            shuffle.run(_count, looks, self._engine, self._work), np.zeros(len(splits) + 1, np.int64)
        )
        whole = int(counts.sum())
        told = []
        for split, count in zip(splits, counts.tolist(), strict=False):
            size = asked[split.name]
            wanted = size if isinstance(size, int) else round(size * whole)
            told.append({"split": split.name, "asked": size, "records": count})
            if wanted and not wanted / 2 <= count <= 2 * wanted and self._whole:
                self._finding(
                    "split-size",
                    f"split {split.name} holds {count:,} records, and {wanted:,} were asked for: records of one prompt "
                    "or cluster stand together, so that few large ones, or few records at all, miss the size",
                    abs(count - wanted),
                )
        self._summary["splits"] = [*told, {"split": TRAIN, "asked": None, "records": int(counts[-1])}]
        self._summary["linked_prompts"] = len(links.prompts)

    def _finding(self, rule: str, message: str, count: int) -> None:
        self._findings.append(
            {
                "reason": f"{_NAME}/{rule}",
                "severity": "warning",
                "message": message,
                "count": count,
                "examples": [],
            }
        )


def _shared_out(total: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Share a total out in whole numbers: rounded down, what is left to the largest remainders (Hamilton's method)."""
    exact = {name: total * share for name, share in shares.items()}
    found = {name: int(part) for name, part in exact.items()}
    order = sorted(exact, key=lambda name: (found[name] - exact[name], name))
    for name in order[: total - sum(found.values())]:
        found[name] += 1
    return found


def _told(
    by: str, reason: str, targets: Mapping[str, int], held: Mapping[str, tuple[int, int]],
    found: Mapping[str, Chosen], listed: Sequence[str],
) -> list[dict[str, Any]]:  # fmt: skip
    """Return what the summary says of a rule: those named, then those cut most, the rest as one."""
    cut = sorted((name for name in found if found[name].last != LAST), key=lambda n: (-held[n][1], n))
    shown = list(dict.fromkeys([*(name for name in listed if name in targets), *cut]))[
        : max(_LISTED, len(listed))
    ]

    def line(names: Sequence[str]) -> dict[str, Any]:
        return {
            "there": sum(held[name][1] for name in names),
            "target": sum(targets[name] for name in names),
            "kept": sum(found[name].amount for name in names),
            "kept_records": sum(found[name].records for name in names),
        }

    rows = [
        {"by": by, "reason": reason, "group": name, "groups": 1, **line([name])} for name in sorted(shown)
    ]
    if rest := [name for name in targets if name not in shown]:
        rows.append({"by": by, "reason": reason, "group": None, "groups": len(rest), **line(rest)})
    return rows


@dataclass(frozen=True)
class _Count:
    part: Any
    records: Records
    links: Links
    seed: int
    splits: tuple[Split, ...]


def _count(task: _Count) -> Any:
    """Return how many of the part's records are in each split, and in none."""
    side = Sides(task.records, task.links, task.seed, 0).keys(task.part).high
    found, before = [], 0
    for split in task.splits:
        up_to = int((side <= np.uint64(split.last)).sum()) if split.last >= 0 else 0
        found.append(up_to - before)
        before = max(up_to, before)
    return np.array([*found, len(side) - before], np.int64)
