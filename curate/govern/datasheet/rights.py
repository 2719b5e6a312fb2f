"""The measured questions on licenses and errata: under what the records may be used, and what was taken down."""

from __future__ import annotations

from collections.abc import Callable

from curate.govern.datasheet import facts
from curate.govern.datasheet.blocks import Line
from curate.govern.datasheet.facts import Answer
from curate.govern.datasheet.sources import by_license
from curate.govern.datasheet.values import Held, count, show, total_of


def _license(m: Held) -> Answer:
    answer: Answer = []
    offered = m.get("recipe", "about", "license")
    if offered:
        answer.append(("The release as a whole is offered under ", show(offered), "."))
    found = [(records, " under ", label) for label, records in by_license(m["statistics"]["licenses"])]
    if found:
        answer.append(("Its records keep their own licenses: ", *facts.listed(found, 12), "."))
    else:
        answer.append(("It has ", show(m["counts"]["kept"]), " records, so no license of theirs applies."))
    for key, label in (("collection", "as a collection"), ("merged", "merged into one work")):
        verdict = m.get("licenses", key, "verdict")
        if verdict is not None:
            answer.append((f"The verdict {label}: ", show(verdict), "."))
    if terms := facts.by_source(m, "terms"):
        answer.append(facts.told("Terms of access: ", terms, m["recipe"]["sources"]))
    return answer


def _restrictions(m: Held) -> Answer:
    answer: Answer = []
    declared = facts.by_source(m, "license")
    answer.append(
        facts.told("Declared by source: ", declared, m["recipe"]["sources"])
        if declared
        else (
            "None of the ",
            count(m["recipe"]["sources"]),
            " sources declares a license for all of its records.",
        )
    )
    stage = facts.stage(m, "license")
    if stage is None:
        answer.append(("No stage judged licenses; the stages were ", *facts.stages(m), "."))
    else:
        reasons = facts.decisions(stage["reasons"])
        why: Line = ("; its decisions: ", *facts.listed(reasons)) if reasons else ()
        answer.append(
            (
                "The license stage removed ",
                facts.removed(stage),
                " of ",
                show(stage["seen"]),
                " records",
                *why,
                ".",
            )
        )
    conflicts = m.get("licenses", "conflicts")
    if conflicts is not None:
        answer.append(
            (count(conflicts), " pairs of licenses conflict if all records are merged into one work.")
        )
    return answer


def _erratum(m: Held) -> Answer:
    takedowns = m.get("takedowns")
    before = facts.suppressed(m)
    if takedowns:
        return [
            (
                "Yes: ",
                count(takedowns),
                " take-downs removed ",
                total_of(takedowns, "records"),
                " records and ",
                total_of(takedowns, "near_duplicates"),
                " near-duplicates of these; Errata lists them.",
            ),
            *([before] if before else []),
        ]
    none: Line = ("None so far: of this release, with its ", show(m["counts"]["kept"]), " records, ")
    return [(*none, "nothing has been taken down."), *([before] if before else [])]


ANSWERS: dict[str, Callable[[Held], Answer]] = {
    "distribution-license": _license,
    "distribution-restrictions": _restrictions,
    "maintenance-erratum": _erratum,
}
