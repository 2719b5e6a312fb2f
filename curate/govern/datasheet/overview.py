"""The datasheet's first sections: what went in and came out, what to look at before trusting it, and why."""

from __future__ import annotations

from curate.govern.datasheet.blocks import Bar, Chart, Items, Line, Part, Section, Strong, say, table
from curate.govern.datasheet.values import Held, code, count, name, share, show


def summary(m: Held) -> Section:
    """Return what a reader must know first."""
    counts = m["counts"]
    where = "are in `removed/`" if keeps_removed(m) else "were not kept"
    where += ", encrypted" if keeps_removed(m) and is_sealed(m) else ""
    first = (
        Strong((show(counts["kept"]), " records")),
        " were kept of ",
        show(counts["seen"]),
        " read from ",
        count(m["inputs"]),
        " files: ",
        show(counts["dropped"]),
        " dropped, ",
        show(counts["quarantined"]),
        " in quarantine. ",
        show(counts["edited"]),
        " of the kept records were edited. Each decision is a row of `ledger/`; dropped and quarantined records ",
        where + ".",
    )
    return Section("summary", "Summary", (say(*first), *_verdicts(m)))


def keeps_removed(m: Held) -> bool:
    """Tell whether dropped and quarantined records are part of the release."""
    return bool(m.value["recipe"]["output"]["keep_removed"])


def is_sealed(m: Held) -> bool:
    """Tell whether those records are encrypted."""
    return bool(m.value["recipe"]["output"].get("encrypt_removed"))


def _verdicts(m: Held) -> list[Items]:
    """Return one line per license verdict: the release as a collection, and merged into one work."""
    lines: list[Line] = []
    for key, label in (("collection", "As a collection"), ("merged", "Merged into one work")):
        verdict = m.get("licenses", key)
        if verdict is None or verdict.get("verdict") is None:
            continue
        line: Line = (f"{label}: license verdict ", Strong((show(verdict["verdict"]),)))
        terms = [
            f"{term.replace('_', '-')} {_said(verdict.value.get(term))}"
            for term in ("commercial", "derivatives", "attribution", "share_alike")
            if term in verdict.value
        ]
        lines.append((*line, f" ({', '.join(terms)})" if terms else "", "."))
    return [Items(tuple(lines))] if lines else []


def _said(value: object) -> str:
    return {True: "yes", False: "no"}.get(value, "unknown") if isinstance(value, bool) else "unknown"


def funnel(m: Held) -> Section:
    """Return what every stage saw and did."""
    stages = tuple(m["stages"])
    first = stages[0]["seen"]
    kinds = ("seen", "kept", "dropped", "quarantined", "edited", "flagged")
    rows = [(show(s["name"]), *(show(s[kind]) for kind in kinds), share(s["kept"], first)) for s in stages]
    chart = Chart(
        "funnel",
        "Records kept by each stage",
        "Wide bar: seen by the stage. Narrow bar: kept by it.",
        tuple(Bar(show(s["name"]), show(s["kept"]), show(s["seen"])) for s in stages),
    )
    head = ("stage", *kinds, "of all read")
    return Section(
        "funnel",
        "Funnel",
        (
            say("Per stage, seen = kept + dropped + quarantined."),
            chart,
            table("What each stage did", head, rows, 7, m["stages"]),
        ),
    )


def findings(m: Held) -> Section:
    """Return what a person should look at before trusting the release, and the recipe's gates."""
    lines: list[Line] = [
        (Strong((show(f["severity"]),)), " ", code(f["reason"]), ": ", show(f["message"]))
        for f in m["findings"]
    ]
    for gate in m["gates"]:
        state: Part = Strong(("missed",)) if gate.value["passed"] is False else "passed"
        if gate.value["passed"] is None:
            state = "not judged"
        value: Line = () if gate.value["value"] is None else (show(gate["value"]), " ")
        where = show(gate["where"])
        lines.append(
            (
                "gate ",
                code(gate["gate"]),
                " ",
                state,
                ": ",
                *value,
                "(limit ",
                show(gate["limit"]),
                "), ",
                where,
            )
        )
    shown = Items(tuple(lines)) if lines else say("None.")
    return Section("findings", "Findings", (shown,))


def reasons(m: Held) -> Section:
    """Return how often each rule decided."""
    rows = [
        (show(stage["name"]), name(reason).as_code(), show(reason))
        for stage in m["stages"]
        for reason in stage["reasons"]
    ]
    if not rows:
        return Section("reasons", "Reasons")
    note = say("Decisions by reason; a record can be flagged or edited for several.")
    return Section(
        "reasons", "Reasons", (note, table("Decisions by reason", ("stage", "reason", "decisions"), rows, 1))
    )
