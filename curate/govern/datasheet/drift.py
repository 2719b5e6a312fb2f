"""The datasheet's section on drift: how far the kept records are from those of the release that the recipe names."""

from __future__ import annotations

from curate.govern.datasheet.blocks import Block, Section, joined, say, table
from curate.govern.datasheet.values import Held, code, decimal, percent, show
from curate.govern.drift import ALPHA


def section(m: Held) -> Section:
    """Return the section; empty if the recipe has no gate on drift."""
    held = m.get("drift")
    if not held:
        return Section("drift", "Drift")
    release = held["against"]
    rows = [
        (
            show(one["dimension"]),
            decimal(one["distance"]),
            decimal(one["p"]),
            show(one["label"]) if one.value["label"] is not None else "all others",
            percent(one["share_a"]),
            percent(one["share_b"]),
            "drifted" if one.value["drifted"] else "small" if one.value["p"] <= ALPHA else "as by chance",
        )
        for one in held["dimensions"]
    ]
    head = ("dimension", "distance", "p", "most changed", "share then", "share now", "verdict")
    intro = say(
        "The kept records beside those of ",
        show(release["name"]),
        " ",
        show(release["version"]),
        " (root ",
        code(release["root"]),
        "). Distance is total variation, of lengths Kolmogorov-Smirnov; p is of a permutation test, corrected for the "
        "number of dimensions. Drift is a distance above ",
        show(held["limit"]),
        f" with p at most {ALPHA}.",
    )
    blocks: list[Block] = [intro]
    if rows:
        blocks.append(table("Drift by dimension", head, rows, 5, held["dimensions"]))
    if missing := [show(name) for name in held["not_compared"]]:
        blocks.append(
            say(
                "Not compared, since one of the two lacks it, or they have topics of their own: ",
                *joined(missing),
                ".",
            )
        )
    return Section("drift", "Drift", tuple(blocks))
