"""Findings: what a person should look at before trusting a release, and the recipe's gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.parts import Gates
from curate.pipeline import Outcome
from curate.stages.mixing.groups import STATED_BY
from curate.unit import READ

LOUD_LOSS = 0.5  # one stage that removes more than this share of a source is always reported …
LOUD_RECORDS = 20  # … unless the source is too small for a share to mean anything


def findings(outcome: Outcome, duplicate_ids: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the findings that the totals give: heavy losses and ids that are not unique."""
    found = []
    for stage, by_source in outcome.tallies.items():
        for source, tally in sorted(by_source.items()):
            removed = tally.dropped + tally.quarantined
            if tally.seen >= LOUD_RECORDS and removed > LOUD_LOSS * tally.seen:
                found.append(
                    {
                        "reason": f"{stage}/source-loss",
                        "severity": "warning",
                        "message": f"{stage} removed {removed:,} of {tally.seen:,} records "
                        f"({removed / tally.seen:.0%}) of source {source}",
                        "count": removed,
                        "examples": [],
                    }
                )
    for source, tally in sorted(outcome.tallies[READ].items()):
        if not tally.seen:
            found.append(
                {
                    "reason": "read/no-record",
                    "severity": "warning",
                    "message": f"the files of source {source} hold no record",
                    "count": 0,
                    "examples": [],
                }
            )
    for source, count in sorted(duplicate_ids.items()):
        found.append(
            {
                "reason": "read/duplicate-id",
                "severity": "warning",
                "message": f"{count:,} records of source {source} share an id with another; none was merged",
                "count": count,
                "examples": [],
            }
        )
    return found


LOUD_SHIFT = 0.1  # total variation distance; a gate's limit takes its place


def _unasked(mixture: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the shifts that are more than chance, and not what the stage is for.

    What the stage mix moves is what it was asked for, and so is the language that a stage language allows, or the
    license class that a stage license does.
    """
    return [
        one
        for one in mixture["shifts"]
        if one["shift"] > one["by_chance"]
        and one["stage"] != "mix"
        and STATED_BY.get(one["dimension"]) != one["stage"]
    ]


def shifts(limits: Gates, mixture: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a finding for each stage and dimension whose mixture moved by more than the limit, and than chance.

    mixture: the manifest's part of that name (:mod:`curate.govern.mixture`).
    """
    limit = LOUD_SHIFT if limits.max_mixture_shift is None else limits.max_mixture_shift
    found = []
    for one in _unasked(mixture):
        if one["shift"] > limit:
            share = (one["before"] / one["seen"], one["after"] / one["kept"])
            found.append(
                {
                    "reason": f"{one['stage']}/mixture-shift",
                    "severity": "warning",
                    "message": f"{one['stage']} moved the mixture by {one['dimension']} by {one['shift']:.3f} (limit "
                    f"{limit:g}; as many records removed at random: at most {one['by_chance']:.3f}): "
                    f"{one['group']} {'lost' if share[1] < share[0] else 'won'} most, from {one['before']:,} of "
                    f"{one['seen']:,} records ({share[0]:.1%}) to {one['after']:,} of {one['kept']:,} ({share[1]:.1%})",
                    "count": one["seen"] - one["kept"],
                    "examples": [],
                }
            )
    return found


def gates(limits: Gates, outcome: Outcome, mixture: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the recipe's gates on counts: the limit, the worst value, whether it passed.

    The gate on unanswered questions is judged with the datasheet's answers (curate.govern.datasheet.answers).
    """
    judged = []
    if limits.max_source_loss is not None:
        losses = {}
        for source, read in outcome.tallies[READ].items():
            removed = sum(
                by_source[source].dropped + by_source[source].quarantined
                for by_source in outcome.tallies.values()
                if source in by_source
            )
            losses[source] = removed / read.seen if read.seen else 0.0
        worst = max(sorted(losses), key=lambda source: losses[source])
        judged.append(
            {
                "gate": "max_source_loss",
                "limit": limits.max_source_loss,
                "value": round(losses[worst], 6),
                "where": f"source {worst}",
                "passed": losses[worst] <= limits.max_source_loss,
            }
        )
    return [*judged, *shift_gate(limits, mixture)]


def shift_gate(limits: Gates, mixture: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the gate on the mixture's shifts, judged; empty if the recipe has none."""
    judged: list[dict[str, Any]] = []
    if limits.max_mixture_shift is not None:
        moved = max(_unasked(mixture), key=lambda one: one["shift"], default=None)
        value = 0.0 if moved is None else moved["shift"]
        judged.append(
            {
                "gate": "max_mixture_shift",
                "limit": limits.max_mixture_shift,
                "value": value,
                "where": "no stage" if moved is None else f"stage {moved['stage']}, by {moved['dimension']}",
                "passed": value <= limits.max_mixture_shift,
            }
        )
    return judged
