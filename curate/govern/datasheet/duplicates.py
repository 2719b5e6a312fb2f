"""The datasheet's section on duplicates: what each stage looked for, found, and did not look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curate.govern.datasheet.blocks import Bar, Block, Cell, Chart, Heading, Line, Section, say, table
from curate.govern.datasheet.values import Held, Value, chance, decimal, percent, show

WIDEST = 12  # sources that a matrix shows: more columns fit no page
PAIRS = 30  # of sources, shown where there are more sources
_ASKED = ("similarity", "recall")
_LABELS = {
    "records": "records seen",
    "too_long": "longer than the model reads",
    "left_out": "not compared",
    "met": "that share a key with another",
    "candidates": "read again as candidates",
    "verified_pairs": "pairs compared exactly",
    "accepted_pairs": "pairs similar enough",
    "capped_buckets": "groups of look-alikes too large to compare all",
    "skipped_comparisons": "comparisons left out in these",
    "clusters": "clusters",
    "dropped": "records dropped",
    "largest_cluster": "records of the largest cluster",
}
_IN_TEXT = ("bands", "rows")  # told elsewhere than in the table


def is_deduplicating(stage: Mapping[str, Any]) -> bool:
    """Tell whether a stage of the manifest states clusters of duplicates."""
    resolution = stage.get("resolution", {})
    return "overlap" in resolution or "sizes" in resolution


def deduplicating(m: Held) -> list[Held]:
    """Return the stages that state clusters of duplicates."""
    return [stage for stage in m["stages"] if is_deduplicating(stage.value)]


def section(m: Held) -> Section:
    """Return the section; empty if no stage deduplicates."""
    options = {stage.value["name"]: stage["options"] for stage in m["recipe"]["stages"]}
    blocks = [
        block
        for stage in deduplicating(m)
        for block in _stage(stage, options[stage.value["name"]], stage["resolution"])
    ]
    intro = say(
        "Of each cluster of records that are alike, one is kept; every other is compared with that one itself. "
        "`clusters/` names them all."
    )
    return Section("duplicates", "Duplicates", (intro, *blocks) if blocks else ())


def _stage(stage: Held, options: Held, found: Held) -> Iterator[Block]:
    yield Heading((show(stage["name"]),))
    if asked := _asked(options, found):
        yield say(*asked)
    yield from _numbers(stage, found)
    yield from _curve(stage, options, found)
    yield from _sizes(stage, found)
    if "similarity" in options.value:
        yield from _similarities(stage, found)
    if overlap := found.get("overlap"):
        yield from _overlap(stage, overlap)


def _asked(options: Held, found: Held) -> Line:
    asked: Line = ()
    for key in _ASKED:
        if key in options.value:
            asked = (*asked, ", " if asked else "Asked for: ", f"{key} ", show(options[key]))
    if asked:
        asked = (*asked, ".")
    if "bands" in found.value and "rows" in found.value:
        asked = (*asked, " Compared by ", show(found["bands"]), " bands × ", show(found["rows"]), " rows")
        if "predicted_recall" in found.value:
            likely = chance(found["predicted_recall"])
            asked = (*asked, ", which find a pair of the similarity asked for with a chance of ", likely)
        asked = (*asked, ".")
    return asked


def _numbers(stage: Held, found: Held) -> Iterator[Block]:
    told = [one for one in found if not isinstance(one.value, list | tuple | dict)]
    if all(key in found.value for key in _IN_TEXT):
        told = [one for one in told if one.key not in (*_IN_TEXT, "predicted_recall")]
    rows: list[tuple[Cell, ...]] = [
        (_LABELS.get(one.key, one.key.replace("_", " ")), show(one)) for one in told
    ]
    for release in found.below("against"):
        label = ("records dropped, too, as release ", show(release["name"]), " ", show(release["version"]))
        rows.append(((*label, " holds them"), show(release["dropped"])))
    if rows:
        yield table(f"What {stage.value['name']} found", ("", "number"), rows, 1)


def _curve(stage: Held, options: Held, found: Held) -> Iterator[Block]:
    points = found.below("s_curve")
    if not points:
        return
    note = "Chance that a pair becomes a candidate, by its similarity; candidates are compared exactly:"
    yield say(note)
    pairs = tuple((decimal(point[0]), chance(point[1])) for point in points)
    name = stage.value["name"]
    mark = show(options["similarity"]) if "similarity" in options.value else None
    yield Chart(
        f"{name}-curve",
        f"S-curve of {name}",
        "Chance that a pair is compared, over its similarity. The upright line: the similarity asked for.",
        curve=pairs,
        mark=mark,
    )
    yield table(f"S-curve of {name}", ("similarity", "chance"), pairs, 2, found["s_curve"])


def _sizes(stage: Held, found: Held) -> Iterator[Block]:
    sizes = found.below("sizes")
    if not sizes:
        return
    name = stage.value["name"]
    yield say("Clusters by size:")
    if len(sizes) > 1:
        bars = tuple(Bar(show(size["size"]), show(size["clusters"])) for size in sizes)
        title = f"Clusters of {name} by size"
        yield Chart(f"{name}-sizes", title, "Number of clusters, by how many records each has.", bars)
    rows = [(show(size["size"]), show(size["clusters"]), show(size["records"])) for size in sizes]
    head = ("records in a cluster", "clusters", "records")
    yield table(f"Clusters of {name} by size", head, rows, 2, found["sizes"])


def _similarities(stage: Held, found: Held) -> Iterator[Block]:
    steps = found.below("similarities")
    if not steps:
        return
    name = stage.value["name"]
    rows: list[tuple[Cell, ...]] = []
    bars = []
    for step in steps:
        least, end = decimal(step["from"]), decimal(step["to"])
        rows.append(((least, " to below ", end) if least.text != end.text else least, show(step["records"])))
        bars.append(Bar(least, show(step["records"])))
    yield say("Dropped records by their similarity to the record kept:")
    if len(bars) > 1:
        title = f"Records that {name} dropped, by similarity"
        note = "Records, by their similarity to the one kept, from the value named to below the next."
        yield Chart(f"{name}-similarity", title, note, tuple(bars))
    caption = f"Records that {name} dropped, by similarity"
    yield table(caption, ("similarity", "records dropped"), rows, 1, found["similarities"])


def _overlap(stage: Held, pairs: Held) -> Iterator[Block]:
    sources = sorted({pair.value[side] for pair in pairs for side in ("source", "kept_source")})
    what = (
        "Overlap of sources: records dropped because of a kept one, and what share they are of those of their "
        "source that this stage saw."
    )
    caption = f"Overlap of sources found by {stage.value['name']}"
    if len(sources) > WIDEST:
        ordered = sorted(
            pairs, key=lambda pair: (-pair.value["records"], pair.value["source"], pair.value["kept_source"])
        )
        rows = [(show(pair["source"]), show(pair["kept_source"]), _cell(pair)) for pair in ordered[:PAIRS]]
        note = "Only the pairs with the most records are shown; `manifest.json` has all."
        yield say(f"{what} {note}" if len(pairs) > PAIRS else what)
        yield table(caption, ("source of the dropped", "source of the kept", "records"), rows, 1)
        return
    cells = {(pair.value["source"], pair.value["kept_source"]): _cell(pair) for pair in pairs}
    names: dict[str, Value] = {}
    for side in ("source", "kept_source"):
        names |= {pair.value[side]: show(pair[side]) for pair in pairs}
    dropped, kept = (sorted({pair.value[side] for pair in pairs}) for side in ("source", "kept_source"))
    matrix: list[tuple[Cell, ...]] = [
        (names[source], *(cells.get((source, other), "–") for other in kept)) for source in dropped
    ]
    yield say(f"{what} Rows: source of the dropped; columns: of the kept.")
    yield table(caption, ("dropped \\ kept", *(names[other] for other in kept)), matrix, len(kept))


def _cell(pair: Held) -> Line:
    if "share" not in pair.value:
        return (show(pair["records"]),)
    return (show(pair["records"]), " (", percent(pair["share"]), ")")
