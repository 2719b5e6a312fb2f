"""The twenty-four questions to which the run gives the numbers, and a person the sentence."""

from __future__ import annotations

from collections.abc import Callable

from curate.govern.datasheet import circumstances, facts
from curate.govern.datasheet.blocks import Line, Paragraph
from curate.govern.datasheet.duplicates import deduplicating
from curate.govern.datasheet.facts import Answer, columns, people, personal_data
from curate.govern.datasheet.languages import by_language
from curate.govern.datasheet.personal import residual
from curate.govern.datasheet.values import Held, share, show, total


def _instances(m: Held) -> Answer:
    kinds = [(show(one["name"]), " as ", show(one["format"])) for one in m["sources"]]
    answer: Answer = [
        (
            show(m["counts"]["kept"]),
            " texts for training; sources were read as ",
            *facts.listed(kinds, held=m["sources"]),
            ".",
        ),
    ]
    if described := facts.by_source(m, "title", "description"):
        answer.append(facts.told("Sources say of themselves: ", described, m["recipe"]["sources"]))
    return answer


def _sample(m: Held) -> Answer:
    counts = m["counts"]
    steps: list[Line] = [
        (show(one["name"]), " ", facts.removed(one), " (", share(facts.removed(one), one["seen"]), ")")
        for one in m["stages"]
        if facts.removed(one).raw
    ]
    first: Line = (
        "Of ",
        show(counts["seen"]),
        " records read, ",
        show(counts["kept"]),
        " (",
        share(counts["kept"], counts["seen"]),
        ") are in the release",
    )
    return [(*first, ". Removed, by stage: ", *facts.listed(steps, 20), ".")] if steps else [(*first, ".")]


def _label(m: Held) -> Answer:
    kinds = [(show(one["format"]), " in ", show(one["name"])) for one in m["sources"]]
    return [
        (
            "Conversations end in a response, which is the target where a model is trained on responses; documents "
            "have none. Read as: ",
            *facts.listed(kinds, held=m["sources"]),
            ".",
        )
    ]


def _relations(m: Held) -> Answer:
    answer: Answer = []
    for one in deduplicating(m):
        clusters = one["resolution"].get("clusters")
        if clusters is not None:
            answer.append(
                (
                    show(one["name"]),
                    " found ",
                    show(clusters),
                    " clusters of records that are alike; `clusters/` names them.",
                )
            )
    if not answer:
        answer.append(("No stage looked for relations; the stages were ", *facts.stages(m), "."))
    authors = columns(m, "author")
    if authors:
        answer.append(("Records name their author in ", *facts.listed(authors), "."))
    return answer


def _self_contained(m: Held) -> Answer:
    answer: Answer = [
        (
            "The text of all ",
            show(m["counts"]["kept"]),
            " records is in the release; none has to be fetched.",
        ),
    ]
    links = columns(m, "url")
    if links:
        answer.append(("Records name the page that they come from in ", *facts.listed(links), "."))
    if homes := facts.by_source(m, "homepage"):
        answer.append(facts.told("Homepages of sources: ", homes, m["recipe"]["sources"]))
    return answer


def _offensive(m: Held) -> Answer:
    scored = [one for one in m["stages"] if one.value["name"] in ("quality", "toxicity", "injection")]
    if scored:
        found = [
            (show(one["name"]), " removed ", facts.removed(one), " of ", show(one["seen"])) for one in scored
        ]
        return [("Stages that judge content: ", *facts.listed(found), ".")]
    return [
        ("Not measured: no stage of this run scores what may offend. Its stages were ", *facts.stages(m), ".")
    ]


def _subpopulations(m: Held) -> Answer:
    held = m["statistics"]["languages"]
    if not held:
        return [
            (
                "Not measured: no stage told languages, and none tells age or gender. The stages were ",
                *facts.stages(m),
                ".",
            )
        ]
    found = [(after, " ", language) for language, _, after in by_language(held) if after.raw]
    return [("None by age or gender, which no stage tells. By language: ", *facts.listed(found, 12), ".")]


def _identifiable(m: Held) -> Answer:
    answer = personal_data(m)
    searching = {stage.value["name"] for stage in m["recipe"]["stages"] if "coverage" in stage.value}
    edits = [row for row in m["statistics"]["edits"] if row.value["reason"].partition("/")[0] in searching]
    if edits:
        times = total(row["edits"] for row in edits)
        answer.append(
            ("In the ", show(m["counts"]["kept"]), " kept records it was replaced ", times, " times.")
        )
    answer += [block.line for block in residual(m) if isinstance(block, Paragraph)]
    authors = columns(m, "author")
    if authors:
        answer.append(
            (
                "Authors are named in a column of their own in ",
                *facts.listed(authors),
                "; that column is not searched.",
            )
        )
    return answer


def _sensitive(m: Held) -> Answer:
    answer = personal_data(m)
    missing = [
        (show(one["kind"]).as_code(),)
        for stage in m["recipe"]["stages"]
        if "coverage" in stage.value
        for one in stage["coverage"]["not_searched"]
    ]
    if missing:
        answer.append(("Not searched for: ", *facts.listed(missing, 12), "."))
    answer.append(
        (
            "Beliefs, origins, health and the like are not told by any stage; the stages were ",
            *facts.stages(m),
            ".",
        )
    )
    return answer


ANSWERS: dict[str, Callable[[Held], Answer]] = {
    "composition-instances": _instances,
    "composition-sample": _sample,
    "composition-label": _label,
    "composition-relations": _relations,
    "composition-self-contained": _self_contained,
    "composition-offensive": _offensive,
    "composition-people": people,
    "composition-subpopulations": _subpopulations,
    "composition-identifiable": _identifiable,
    "composition-sensitive": _sensitive,
    **circumstances.ANSWERS,
}
