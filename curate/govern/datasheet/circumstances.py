"""The assisted questions on collection, uses, distribution and maintenance: the run's numbers for them."""

from __future__ import annotations

from collections.abc import Callable

from curate.govern.datasheet import facts
from curate.govern.datasheet.blocks import Line
from curate.govern.datasheet.facts import Answer, columns, people
from curate.govern.datasheet.languages import by_language
from curate.govern.datasheet.overview import is_sealed, keeps_removed
from curate.govern.datasheet.values import Held, Value, count, name, share, show, total


def _acquired(m: Held) -> Answer:
    answer: Answer = []
    if said := facts.by_source(m, "collection", "selection"):
        answer.append(facts.told("Sources say how: ", said, m["recipe"]["sources"]))
    if generated := _generated(m):
        answer.append(facts.told("Written by models: ", generated, m["recipe"]["sources"]))
    guessed = (
        "Languages are a model's guess, made by this run."
        if m["statistics"]["languages"]
        else "No stage of this run told languages."
    )
    found: Line = (
        " The texts of ",
        count(m["inputs"]),
        " files are as they were found, but for the edits listed.",
    )
    answer.append((guessed, *found))
    return answer


def _generated(m: Held) -> list[Line]:
    return [
        (show(source["name"]), ": ", show(one["model"]))
        for source in m["recipe"]["sources"]
        for one in source.below("generated_by")
        if isinstance(one.value, dict) and one.value.get("model")
    ]


def _mechanisms(m: Held) -> Answer:
    answer: Answer = [
        (
            "Files were read by curate ",
            show(m["software"]["curate"]),
            "; each of ",
            count(m["inputs"]),
            " is named with its SHA-256, which a later run compares.",
        )
    ]
    if said := facts.by_source(m, "crawler"):
        answer.append(facts.told("Crawlers: ", said, m["recipe"]["sources"]))
    if said := facts.by_source(m, "signals"):
        answer.append(facts.told("Signals of reserved rights that were seen: ", said, m["recipe"]["sources"]))
    return answer


def _timeframe(m: Held) -> Answer:
    dates = [source["collected"] for source in m["recipe"]["sources"] if source.value.get("collected")]
    answer: Answer = []
    if dates:
        ordered = sorted(dates, key=lambda held: str(held.value))
        answer.append(
            (
                "Files were obtained from ",
                show(ordered[0]),
                " to ",
                show(ordered[-1]),
                " (",
                *_dated(m, dates),
                ").",
            )
        )
    else:
        answer.append(("No source says when its files were obtained: ", *facts.sources(m), "."))
    if began := facts.by_source(m, "collected_from"):
        answer.append(facts.told("Collecting began: ", began, m["recipe"]["sources"]))
    if made := columns(m, "created"):
        answer.append(("Records say when they were written in ", *facts.listed(made), "."))
    return answer


def _dated(m: Held, dates: list[Held]) -> Line:
    stated = Value(f"{len(dates):,}", tuple(one.pointer for one in dates), "count", len(dates))
    return (stated, " of ", count(m["recipe"]["sources"]), " sources say when")


def _direct(m: Held) -> Answer:
    said = facts.by_source(m, "category", "publisher", "creator", "homepage")
    return [
        facts.told("Where files come from: ", said, m["recipe"]["sources"])
        if said
        else ("From files of ", *facts.sources(m), "; no source says from whom.")
    ]


def _revoke(m: Held) -> Answer:
    answer: Answer = []
    contact = m.get("recipe", "about", "contact")
    answer.append(
        ("Requests go to ", show(contact), ".")
        if contact
        else ("The recipe for ", show(m["name"]), " names no contact for requests.")
    )
    answer.append(
        (
            "`curate takedown` removes records by id, author, address or text, with their near-duplicates. ",
            *_taken(m),
        )
    )
    if before := facts.suppressed(m):
        answer.append(before)
    return answer


def _taken(m: Held) -> Line:
    takedowns = m.get("takedowns")
    return (
        (count(takedowns), " take-downs of records of this release have been done.")
        if takedowns
        else ("Of this release, no record has been taken down.",)
    )


def _already(m: Held) -> Answer:
    tune = m.get("tune")
    if tune:
        return [
            (
                "Small models were trained on it to measure its filters; see Filter effects. Its name is ",
                show(m["name"]),
                ".",
            )
        ]
    return [("This run trained no model on the ", show(m["counts"]["kept"]), " records.")]


def _impact(m: Held) -> Answer:
    counts = m["counts"]
    answer: Answer = []
    held = m["statistics"]["languages"]
    if held:
        found = [
            (language, " ", share(after, counts["kept"]))
            for language, _, after in by_language(held)
            if after.raw
        ]
        answer.append(("Share of languages: ", *facts.listed(found, 6), "."))
    mix = [
        (name(one), " ", share(one["kept"], counts["kept"]))
        for one in m["stages"][len(m["stages"]) - 1]["sources"]
    ]
    answer.append(
        ("Share of sources: ", *facts.listed(mix, held=m["stages"][len(m["stages"]) - 1]["sources"]), ".")
    )
    for one in m["findings"]:
        if len(answer) < facts.MOST:
            answer.append((show(one["message"]), "."))
    return answer


def _not_for(m: Held) -> Answer:
    answer: Answer = []
    for key, label in (("collection", "as a collection"), ("merged", "merged into one work")):
        verdict = m.get("licenses", key)
        if verdict is not None and verdict.get("verdict") is not None:
            terms = [
                (f"{term.replace('_', '-')} ", show(verdict[term]))
                for term in ("commercial", "derivatives", "attribution", "share_alike")
                if term in verdict.value
            ]
            answer.append(
                (
                    f"Licenses {label}: ",
                    show(verdict["verdict"]),
                    *((" (", *facts.listed(terms), ")") if terms else ()),
                    ".",
                )
            )
    if not answer:
        found = m["statistics"]["licenses"]
        answer.append(
            (
                "Uses end where a license ends them: ",
                count(found),
                " rows of licenses by source are listed under Licenses.",
            )
        )
    if keeps_removed(m) and m["statistics"]["edits"]:
        answer.append(
            (
                "`removed/` holds the originals of ",
                show(m["counts"]["edited"]),
                " edited records",
                ", encrypted." if is_sealed(m) else ": it is not for publication.",
            )
        )
    return answer


def _how(m: Held) -> Answer:
    data = [one for one in m["outputs"] if one.value["path"].startswith("data/")]
    files = Value(f"{len(data):,}", tuple(one.pointer for one in data), "count", len(data))
    line: Line = (
        "Files of records: ",
        files,
        ", of the format ",
        show(m["recipe"]["output"]["format"]),
        ", ",
        total(one["bytes"] for one in data),
        " bytes.",
    )
    home = m.get("recipe", "about", "homepage")
    return [line, *([("Homepage: ", show(home), ".")] if home else [])]


def _when(m: Held) -> Answer:
    published = m.get("recipe", "about", "published")
    version: Line = ("This is version ", show(m["version"]))
    return (
        [(*version, ", published ", show(published), ".")]
        if published
        else [(*version, "; the recipe names no date of publication.")]
    )


def _updates(m: Held) -> Answer:
    answer: Answer = [
        (
            "This is version ",
            show(m["version"]),
            ". `curate diff` tells what changed from one release to the next.",
        )
    ]
    if ongoing := facts.by_source(m, "ongoing"):
        answer.append(facts.told("Whether sources are still collected: ", ongoing, m["recipe"]["sources"]))
    answer.append(_taken(m))
    return answer


def _retention(m: Held) -> Answer:
    output = m["recipe"]["output"]
    answer: Answer = [
        (
            "Removed records and originals of edited ones are kept in the release (keep_removed): ",
            show(output["keep_removed"]),
            ", encrypted." if is_sealed(m) and keeps_removed(m) else ".",
        )
    ]
    if terms := facts.by_source(m, "consent", "terms"):
        answer.append(facts.told("Consent and terms that sources declare: ", terms, m["recipe"]["sources"]))
    return answer


def _old_versions(m: Held) -> Answer:
    answer: Answer = []
    if held := m.get("supersedes", "root"):
        answer.append(("This release supersedes the one with the root ", show(held).as_code(), "."))
    earlier = [
        (show(one["name"]), " ", show(one["version"]))
        for stage in m["stages"]
        if stage.get("resolution")
        for one in stage["resolution"].below("against")
    ]
    if earlier:
        answer.append(("It was deduplicated against ", *facts.listed(earlier), "."))
    again: Line = ("Version ", show(m["version"]), " can be made again from its inputs and its recipe")
    answer.append(
        (*again, ", but for what was taken down, which a run with the suppression list leaves out.")
        if m.get("takedowns")
        else (*again, ", byte for byte.")
    )
    return answer


ANSWERS: dict[str, Callable[[Held], Answer]] = {
    "collection-acquired": _acquired,
    "collection-mechanisms": _mechanisms,
    "collection-timeframe": _timeframe,
    "collection-people": people,
    "collection-direct": _direct,
    "collection-revoke": _revoke,
    "uses-already": _already,
    "uses-impact": _impact,
    "uses-not": _not_for,
    "distribution-how": _how,
    "distribution-when": _when,
    "maintenance-updates": _updates,
    "maintenance-retention": _retention,
    "maintenance-old-versions": _old_versions,
}
