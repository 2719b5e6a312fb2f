"""The twelve questions that a run answers alone, in sentences made of its numbers."""

from __future__ import annotations

from collections.abc import Callable

from curate.govern.datasheet import facts, rights
from curate.govern.datasheet.blocks import Line
from curate.govern.datasheet.duplicates import deduplicating
from curate.govern.datasheet.facts import Answer
from curate.govern.datasheet.overview import is_sealed, keeps_removed
from curate.govern.datasheet.sources import read_and_kept
from curate.govern.datasheet.values import (
    Held,
    Value,
    chance,
    count,
    name,
    share,
    short_hash,
    show,
    total,
    total_of,
    written,
)
from curate.shards.doubled import DUPLICATE_ID


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
    reasons = [one for one in read["reasons"] if one.key != DUPLICATE_ID]
    found = facts.decisions(reasons)
    answer.append((*unreadable, *((" (", *facts.listed(found), ").") if found else (".",))))
    if shared := read.get("reasons", DUPLICATE_ID):
        answer.append((show(shared), " records share their id with another."))
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
    shards = [one for one in m["outputs"] if one.value["path"].startswith("data/") and "split" in one.value]
    if shards:
        found: dict[str, list[Held]] = {}
        for one in shards:
            found.setdefault(one.value["split"], []).append(one)
        parts = [
            (show(some[0]["split"]), " of ", total(one["records"] for one in some)) for some in found.values()
        ]
        return [
            (
                "Splits, by number of records: ",
                *facts.listed(parts),
                ". No shard holds two of them; records of one normalised prompt, and those that one cluster of "
                "duplicates links, are in the same.",
            )
        ]
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
            answer.append((*line, *facts.listed(facts.decisions(one["reasons"])), "."))
    answer.append(
        (count(m["findings"]), " findings of the run ask for a person's eye; they are listed under Findings.")
    )
    answer += _untold(m)
    return answer


def _untold(m: Held) -> Answer:
    """Return what language could not be told of; of many sources, together."""
    rows = [row for row in m["statistics"].below("languages_untold") if row.value["undetermined"]]
    if len(rows) > facts.MOST:
        judged, untold = (total(row[key] for row in rows) for key in ("judged", "undetermined"))
        many = Value(written(len(rows)), tuple(row["source"].pointer for row in rows), "count", len(rows))
        return [("Of ", many, " sources, no language could be told of ", untold, " of ", judged, " records.")]
    answer: Answer = []
    for row in rows:
        line: Line = (
            "Of ",
            show(row["source"]),
            ", no language could be told of ",
            show(row["undetermined"]),
        )
        answer.append((*line, " of ", show(row["judged"]), " records."))
    return answer


def _sampling(m: Held) -> Answer:
    counts = m["counts"]
    chosen = facts.by_source(m, "selection")
    mixes = any(one.value["name"] == "mix" for one in m["stages"])
    return [
        (
            "Deterministic; which records of a group stay that has more than was asked for, a keyed hash of their "
            "content chose (the section on the mixture has the numbers): all "
            if mixes
            else "Deterministic, without chance: all ",
            show(counts["seen"]),
            " records of ",
            count(m["inputs"]),
            " files were read, and each was kept or removed by the stages alone",
            ", or taken down on request" if m.get("takedowns") else "",
            ". ",
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
            (
                "`removed/` holds ",
                total(removed),
                " rows: removed records, and edited ones as they were",
                ", encrypted." if is_sealed(m) else ".",
            )
        )
    elif keeps_removed(m):
        answer.append(
            ("`removed/` would hold removed records and originals of edited ones; there are none.",)
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
    **rights.ANSWERS,
}
