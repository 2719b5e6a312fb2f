"""The datasheet's section on filter effects, where ``curate tune`` has measured them: the report has the rest."""

from __future__ import annotations

from curate.govern.datasheet.blocks import (
    Block,
    Cell,
    Chart,
    Items,
    Line,
    Section,
    Span,
    Strong,
    say,
    table,
)
from curate.govern.datasheet.values import NOTHING, Held, Value, count, effect, percent, show, written
from curate.govern.effects import words

TITLE = "Filter effects"
_TINY = (
    "The base is tiny: it shows gross defects of data, such as corruption, duplicates and other languages, and says "
    "nothing of reasoning or knowledge. A ranking found on it need not hold for a large model. "
)
_ANY = "A ranking of filters found on one base need not hold on a larger one. "


def section(m: Held) -> Section:
    """Return what was measured, by its place in the manifest; empty if nothing was."""
    tune = m.get("tune")
    if not tune:
        return Section("effects", TITLE)
    filters = tuple(tune["filters"])
    blocks: list[Block] = [say(*_headline(tune))]
    if whole := _whole(tune):
        blocks.append(say(*whole))
    blocks.append(Items(tuple(_control(one) for one in tune["controls"])))
    if any(one["relative"].value is not None for one in filters):
        blocks.append(_forest(tune, filters))
    if filters:
        rows = [_row(one) for one in filters]
        head = ("filter", "verdict", "why", "effect", "interval", "alone", "detectable from")
        blocks.append(table("What to keep, what to question", head, rows, 4, tune["filters"]))
    if tune["skipped"]:
        skipped = [part for one in tune["skipped"] for part in ("; ", *_both(one["stage"], one["why"]))][1:]
        blocks.append(say("Without a measure of their own: ", *skipped, "."))
    blocks.append(say(*_limits(tune)))
    return Section("effects", TITLE, tuple(blocks))


def _headline(tune: Held) -> Line:
    """Return the verdicts in one sentence, and what they rest on."""
    filters = tune["filters"]
    line: list[str | Value] = []
    for verdict, places in words.tally(filters.value).items():
        stated = Value(
            written(len(places)),
            tuple(filters[place]["verdict"].pointer for place in places),
            "count",
            len(places),
        )
        whole = (" of ", count(filters), " filters") if not line else ()
        line += [", " if line else "", stated, *whole, " ", words.verb(verdict, len(places))]
    head: Line = (Strong((*line, ".")),) if line else (Strong(("No filter has a measure of its own.",)),)
    base = tune["base"]
    about: Line = (
        " Small adapters were trained on the base ",
        show(base["name"]).as_code(),
        " with and without each filter, on the same budget of tokens, and asked about text held out before any of "
        "them. Metric: ",
        show(tune["primary"]).as_code(),
        _side(tune),
    )
    return (*head, *about)


def _side(tune: Held) -> str:
    better = words.described(tune.value)[tune["primary"].value]["better"] if tune["arms"] else "lower"
    return {"lower": "; below zero is better.", "higher": "; above zero is better."}.get(better, ".")


def _whole(tune: Held) -> Line:
    """Return the effect of all filters together."""
    line: Line = ()
    against = {"whole": "all records", "size": "as many records drawn at random"}
    for one in tune["contrasts"]:
        held = one.value
        is_asked = held["question"] in against and held["metric"] == tune["primary"].value
        if is_asked and held["relative"] is not None:
            line += ("; " if line else "All filters together: ", effect(one["relative"]))
            line += (f" against {against[held['question']]}",)
    return (*line, ".") if line else ()


def _control(one: Held) -> Line:
    name = words.CONTROLS.get(one["name"].value, "")
    state = words.passed(one.value)
    said: Line = (Strong((f"{name}: {state}",)) if name else Strong((show(one["name"]), f": {state}")),)
    return (*said, ". Expected: ", show(one["expected"]), ". Found: ", show(one["found"]), ".")


def _forest(tune: Held, filters: tuple[Held, ...]) -> Chart:
    tones = {"helps": "good", "hurts": "bad"}
    spans = tuple(
        Span(
            show(one["stage"]),
            effect(one["relative"]),
            _known(one["low"]),
            _known(one["high"]),
            None if one["mde"].value is None else percent(one["mde"], 2),
            tones.get(one["verdict"].value, "plain"),
        )
        for one in filters
        if one["relative"].value is not None
    )
    note = (
        "Effect of each filter among the others, with its ninety-five percent interval; filled: helps or hurts. "
        "A true effect within the pale band is missed more often than one time in five."
    )
    known = words.described(tune.value)
    better = known[tune["primary"].value]["better"] if tune["primary"].value in known else "lower"
    return Chart("effects", "Effect of each filter", note, spans=spans, sides=words.direction(better))


def _row(one: Held) -> tuple[Cell, ...]:
    verdict = words.VERDICTS[one["verdict"].value]
    low, high = one["low"], one["high"]
    known = low.value is not None and high.value is not None
    interval: Cell = (effect(low), " to ", effect(high)) if known else NOTHING
    return (
        show(one["stage"]),
        f"{verdict.words}: {verdict.advice}",
        show(one["why"]),
        _effect(one["relative"]),
        interval,
        _effect(one["alone"]),
        NOTHING if one["mde"].value is None else percent(one["mde"], 2),
    )


def _known(held: Held) -> Value | None:
    return None if held.value is None else effect(held)


def _effect(held: Held) -> Cell:
    return _known(held) or NOTHING


def _both(stage: Held, why: Held) -> Line:
    return (show(stage), " (", show(why), ")")


def _limits(tune: Held) -> Line:
    base = tune["base"]
    said: list[str | Value] = [_TINY if base.value.get("kind") == "tiny" else _ANY]
    if (parameters := base.get("parameters")) is not None:
        said += ["The base has ", show(parameters), " parameters. "]
    return (*said, "Not detected is not the same as no effect. `tune/report.html` has the whole.")
