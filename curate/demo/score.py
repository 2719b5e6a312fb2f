"""How well a release's ledger agrees with what was planted: precision and recall, stage by stage.

A stage is judged on what reached it: a planted record that an earlier stage removed is neither found nor
missed by a later one. Flags are opinions and change nothing, so they are not counted; every drop, quarantine
and edit beyond the truth counts as false.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from rich.table import Table

REMOVED = ("drop", "quarantine")
_READ = "read"  # what the reader's own decisions stand under
_DUPLICATES = {"exact": ("exact-duplicate",), "minhash": ("exact-duplicate", "near-duplicate")}
"""Plants that a stage is to find; what `exact` lets pass is still there for `minhash` to find."""


@dataclass(frozen=True)
class Score:
    """One line of the comparison."""

    stage: str
    what: str
    planted: int  # how many there were to find when the stage had its turn
    found: int
    false: int | None  # decisions beyond the truth; None where only survival is asked

    @property
    def precision(self) -> float | None:
        """Return found / (found + false): the share of the stage's decisions that are right."""
        reported = self.found + (self.false or 0)
        return None if self.false is None or not reported else self.found / reported

    @property
    def recall(self) -> float | None:
        """Return found / planted: the share of what was there that the stage found."""
        return self.found / self.planted if self.planted else None


class _Row(NamedTuple):
    """One decision of the ledger."""

    id: str
    stage: str
    action: str
    reason: str


def score(release: Path, truth: Path) -> list[Score]:
    """Compare a release's ledger with the truth that :func:`curate.demo.corpus.write` wrote.

    Returns a score for each of the recipe's stages for which something was planted, in the recipe's order;
    the one of ``minhash`` is followed by that of the hard negatives, the one of ``pii`` by one for each type.
    Raises IntegrityError if the folder holds no release, InputError if there is no truth.
    """
    if not truth.is_file():
        raise InputError(f"{truth}: no such file; the demo writes it beside the corpus")
    lines = [json.loads(line) for line in truth.read_text(encoding="utf-8").splitlines()]
    stages = _stages(release)
    judge = _Judge(lines, _ledger(release), stages)
    return [line for stage in stages for line in judge.stage(stage)]


def _stages(release: Path) -> list[str]:
    try:
        manifest = json.loads((release / "manifest.json").read_bytes())
    except FileNotFoundError:
        raise IntegrityError(f"{release}: holds no manifest.json; is it a finished release?") from None
    names = [stage["name"] for stage in manifest["stages"]]
    return [_READ, *(name for name in names if name != _READ)]


def _ledger(release: Path) -> list[_Row]:
    import polars as pl

    columns = list(_Row._fields)
    table = pl.scan_parquet(release / "ledger" / "part-*.parquet").select(columns).collect()
    return [_Row(*values) for values in table.iter_rows()]


class _Judge:
    """The truth and the ledger, indexed for the questions below."""

    def __init__(self, truth: list[dict[str, Any]], ledger: list[_Row], order: list[str]) -> None:
        self.truth = truth
        self.order = order
        self.ledger = ledger
        self.removed_by = {row.id: row.stage for row in ledger if row.action in REMOVED}
        self._place = {stage: place for place, stage in enumerate(order)}

    def reached(self, record: str, stage: str) -> bool:
        """Tell whether a record was still there when the stage had its turn."""
        remover = self.removed_by.get(record)
        return remover is None or self._place[remover] >= self._place[stage]

    def removed(self, stage: str) -> set[str]:
        """Return the ids that a stage removed."""
        return {record for record, remover in self.removed_by.items() if remover == stage}

    def stage(self, stage: str) -> list[Score]:
        """Return a stage's scores, none if nothing was planted for it."""
        lines = [line for line in self.truth if line["stage"] == stage]
        if not lines:
            return []
        if stage in _DUPLICATES:
            return [self.duplicates(stage), *(self.hard_negatives() if stage == "minhash" else ())]
        if stage == "pii":
            return self.personal_data()
        planted = {line["id"] for line in lines if self.reached(line["id"], stage)}
        found, what = self.removed(stage), ", ".join(sorted({line["plant"] for line in lines}))
        return [Score(stage, what, len(planted), len(planted & found), len(found - planted))]

    def duplicates(self, stage: str) -> Score:
        """Judge duplicates by cluster.

        Which member survives is the stage's policy, so any may. Of n members that reached the stage n - 1 can
        be removed; if all n were, one of them was lost. What the stage removes outside of every cluster is
        false.
        """
        removed = self.removed(stage)
        planted = found = 0
        for members in self._clusters(_DUPLICATES[stage]):
            present = {record for record in members if self.reached(record, stage)}
            removable = max(0, len(present) - 1)
            planted += removable
            found += min(len(present & removed), removable)
        return Score(stage, _WHAT[stage], planted, found, len(removed) - found)

    def _clusters(self, plants: Iterable[str]) -> list[set[str]]:
        clusters: defaultdict[str, set[str]] = defaultdict(set)
        for line in self.truth:
            if line["plant"] in plants:
                clusters[line["cluster"]].add(line["id"])
        return list(clusters.values())

    def hard_negatives(self) -> list[Score]:
        """Return how many of the records that only look like duplicates outlived deduplication."""
        planted = {line["id"] for line in self.truth if line["plant"] == "hard-negative"}
        if not planted:
            return []
        first = next(stage for stage in self.order if stage in _DUPLICATES)
        present = {record for record in planted if self.reached(record, first)}
        kept = {record for record in present if self.removed_by.get(record) not in _DUPLICATES}
        return [Score("minhash", "hard negatives kept", len(present), len(kept), None)]

    def personal_data(self) -> list[Score]:
        """Judge (record, type) pairs: all together, then each type that was planted or reported."""
        lines = [line for line in self.truth if line["plant"] == "pii" and self.reached(line["id"], "pii")]
        planted = {(line["id"], entity) for line in lines for entity in line["types"]}
        rows = (row for row in self.ledger if row.stage == "pii" and row.action != "flag")
        found = {(row.id, row.reason.removeprefix("pii/")) for row in rows}
        scores = [Score("pii", "personal data", len(planted), len(planted & found), len(found - planted))]
        for entity in sorted({entity for _, entity in planted | found}):
            there, reported = ({pair for pair in pairs if pair[1] == entity} for pairs in (planted, found))
            counts = len(there), len(there & reported), len(reported - there)
            scores.append(Score("pii", entity, *counts))
        return scores


_WHAT = {"exact": "exact duplicates", "minhash": "near duplicates"}


def table(scores: list[Score]) -> Table:
    """Return the scores as a table for the terminal."""
    from rich.table import Table

    drawn = Table("stage", "planted", title="What was planted, and what the stages found")
    for heading in ("there", "found", "false", "precision", "recall"):
        drawn.add_column(heading, justify="right")
    for line in scores:
        numbers = (line.planted, line.found, "–" if line.false is None else line.false)
        drawn.add_row(line.stage, line.what, *map(str, numbers), _share(line.precision), _share(line.recall))
    return drawn


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
