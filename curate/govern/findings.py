"""Findings: what a person should look at before trusting a release, and the recipe's gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.parts import Gates
from curate.pipeline import Outcome
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


def gates(limits: Gates, outcome: Outcome) -> list[dict[str, Any]]:
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
    return judged
