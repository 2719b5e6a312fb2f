"""The twelve questions that a run answers alone, in sentences made of its numbers."""

from __future__ import annotations

from collections.abc import Callable

from curate.govern.datasheet import facts
from curate.govern.datasheet.blocks import Line
from curate.govern.datasheet.duplicates import deduplicating
from curate.govern.datasheet.facts import Answer
from curate.govern.datasheet.overview import keeps_removed
from curate.govern.datasheet.sources import by_license, read_and_kept
from curate.govern.datasheet.values import Held, chance, count, name, share, short_hash, show, total, total_of


def _count(m: Held) -> Answer:
    kept = [(kept, " of ", name(read)) for read, kept in read_and_kept(m)]
    kinds = [(show(one["name"]), " as ", show(one["format"])) for one in m["sources"]]
    return [
        (
            "The release holds ",
            show(m["counts"]["kept"]),
            " records: ",
            *facts.listed(kept, held=m["stages"][0]["sources"]),
            ".",
        ),
        ("Sources were read as these types: ", *facts.listed(kinds, held=m["sources"]), "."),
    ]


def _data(m: Held) -> Answer:
    shards = [one for one in m["outputs"] if one.value["path"].startswith("data/")]
    return [
        (
            "Raw text, not features. A record is a conversation (`messages`: role and content of each turn) or a "
            "document (`text`), with its `id`, `source`, `license`, where told its `language`, and every other column "
            "of the input. The ",
            total(one["records"] for one in shards),
            " records take ",
            total(one["bytes"] for one in shards),
            " bytes as ",
            show(m["recipe"]["output"]["format"]),
            ".",
        )
    ]


def _missing(m: Held) -> Answer:
    read = facts.stage(m, "read")
    assert read is not None
    answer: Answer = []
    counts = m["counts"]
    unreadable: Line = (
        show(read["quarantined"]),
        " of ",
        show(read["seen"]),
        " records could not be read and are in quarantine",
    )
    reasons = facts.decisions(read)
    answer.append((*unreadable, *((" (", *facts.listed(reasons), ").") if reasons else (".",))))
    edits = m["statistics"]["edits"]
    if edits:
        times = total_of(edits, "edits")
        answer.append(
            (
                "In ",
                show(counts["edited"]),
                " of the ",
                show(counts["kept"]),
                " kept records text was replaced, ",
                times,
                " times in all; the section on edits names what.",
            )
        )
    else:
        answer.append(("No text was replaced in any of the ", show(counts["kept"]), " kept records."))
    unknown = [row["records"] for row in m["statistics"]["licenses"] if row.value["license"] is None]
    if unknown:
        answer.append(("No license is known of ", total(unknown), " kept records."))
    return answer


def _splits(m: Held) -> Answer:
    return [
        (
            "None. All ",
            show(m["counts"]["kept"]),
            " records are one set in `data/`; whoever splits it can do so by `id`, which is stable between runs.",
        )
    ]


def _errors(m: Held) -> Answer:
    answer: Answer = []
    for one in deduplicating(m):
        found = one["resolution"]
        line: Line = (
            show(one["name"]),
            " dropped ",
            show(one["dropped"]),
            " of ",
            show(one["seen"]),
            " records as redundant (",
            share(one["dropped"], one["seen"]),
            ")",
        )
        if "predicted_recall" in found.value:
            line = (
                *line,
                "; a pair as similar as asked for is found with a chance of ",
                chance(found["predicted_recall"]),
            )
        answer.append((*line, "."))
    if not answer:
        answer.append(("No stage looked for duplicates; the stages were ", *facts.stages(m), "."))
    redundant = {one.value["name"] for one in deduplicating(m)}
    for one in m["stages"]:
        if one.value["name"] not in redundant and facts.removed(one).raw:
            line = (show(one["name"]), " removed ", facts.removed(one), " records; its decisions: ")
            answer.append((*line, *facts.listed(facts.decisions(one)), "."))
    for row in m["statistics"].below("languages_untold"):
        if row.value["undetermined"]:
            line = ("Of ", show(row["source"]), ", no language could be told of ", show(row["undetermined"]))
            answer.append((*line, " of ", show(row["judged"]), " records."))
    answer.append(
        (count(m["findings"]), " findings of the run ask for a person's eye; they are listed under Findings.")
    )
    return answer[: facts.MOST * 2]


def _sampling(m: Held) -> Answer:
    counts = m["counts"]
    chosen = facts.by_source(m, "selection")
    return [
        (
            "Deterministic, without chance: all ",
            show(counts["seen"]),
            " records of ",
            count(m["inputs"]),
            " files were read, and each was kept or removed by rules alone. ",
            share(counts["kept"], counts["seen"]),
            " were kept.",
        ),
        *(
            [facts.told("What was taken of each source before: ", chosen, m["recipe"]["sources"])]
            if chosen
            else []
        ),
    ]


def _done(m: Held) -> Answer:
    steps: list[Line] = []
    versions = {one.value["name"]: one["version"] for one in m["recipe"]["stages"]}
    for one in m["stages"]:
        version = versions.get(one.value["name"])
        of: Line = (" (version ", show(version), ")") if version else ()
        steps.append(
            (show(one["name"]), *of, " removed ", facts.removed(one), " and edited ", show(one["edited"]))
        )
    return [
        (
            "Yes, in this order: ",
            *facts.listed(steps, 20),
            ". Options and rule packs are under What was done.",
        )
    ]


def _raw(m: Held) -> Answer:
    inputs = m["inputs"]
    answer: Answer = [
        (
            "The ",
            count(inputs),
            " files that were read (",
            total_of(inputs, "bytes"),
            " bytes) are named with their SHA-256 under Files; the run does not copy them.",
        )
    ]
    removed = [one["records"] for one in m["outputs"] if one.value["path"].startswith("removed/")]
    if keeps_removed(m) and removed:
        answer.append(
            ("`removed/` holds ", total(removed), " rows: removed records, and edited ones as they were.")
        )
    else:
        answer.append(
            (
                "Removed records and the originals of edited ones were not kept (keep_removed: ",
                show(m["recipe"]["output"]["keep_removed"]),
                ").",
            )
        )
    return answer


def _software(m: Held) -> Answer:
    software = m["software"]
    return [
        (
            "curate ",
            show(software["curate"]),
            ", with the ",
            count(software),
            " versions of software named under What was done, ",
            count(m["rules"]),
            " rule packs, and the recipe with the SHA-256 ",
            short_hash(m["recipe_sha256"]),
            ", which the manifest holds in full.",
        )
    ]


def _license(m: Held) -> Answer:
    answer: Answer = []
    offered = m.get("recipe", "about", "license")
    if offered:
        answer.append(("The release as a whole is offered under ", show(offered), "."))
    found = [(records, " under ", label) for label, records in by_license(m["statistics"]["licenses"])]
    answer.append(("Its records keep their own licenses: ", *facts.listed(found, 12), "."))
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
        reasons = facts.decisions(stage)
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
            )
        ]
    return [
        ("None so far: none of the ", show(m["counts"]["kept"]), " records has been taken down or corrected.")
    ]


ANSWERS: dict[str, Callable[[Held], Answer]] = {
    "composition-count": _count,
    "composition-data": _data,
    "composition-missing": _missing,
    "composition-splits": _splits,
    "composition-errors": _errors,
    "collection-sampling": _sampling,
    "preprocessing-done": _done,
    "preprocessing-raw": _raw,
    "preprocessing-software": _software,
    "distribution-license": _license,
    "distribution-restrictions": _restrictions,
    "maintenance-erratum": _erratum,
}
