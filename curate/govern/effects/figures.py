"""The report's figures: forest plots by metric and by part of the held-out text, and training curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from curate.govern import drawing
from curate.govern.effects import plots, words
from curate.govern.effects.plots import Effect
from curate.govern.effects.tables import Told
from curate.govern.effects.words import Sized

_LOOKS = {"raw": "raw", "random": "random", "full": "full", "planted": "planted"}
_SAID = {
    "full": "thick: full",
    "raw": "solid dark: raw",
    "random": "dashed: random_drop",
    "planted": "dotted: planted",
    "other": "thin: the others",
}
_NOTES = {
    "lower": "Left of zero is better: the value is lower.",
    "higher": "Right of zero is better: the value is higher.",
}
MOST = 24  # rows of a plot of parts; the table has all


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart for large and for small screens, and its numbers for those who do not see it."""

    name: str
    title: str
    note: str
    pictures: tuple[tuple[str, Markup], ...]  # class, SVG
    told: tuple[str, ...]


def primary(tune: Told, metric: Told) -> Figure | None:
    """Return the forest plot of the metric that verdicts rest on: two rows for each filter, and all filters."""
    contrasts = [one for one in words.contrasts(tune, tune["primary"]) if one.question != "control"]
    return _forest(contrasts, metric, "primary", (("large", False), ("small", True)))


def other(tune: Told, key: str, metric: Told, name: str) -> Figure | None:
    """Return the forest plot of another metric: one row for each filter, and all filters."""
    contrasts = _one_each([one for one in words.contrasts(tune, key) if one.question != "control"])
    return _forest(contrasts, metric, name, (("", True),))


def _one_each(contrasts: Sequence[Sized]) -> list[Sized]:
    """Return a filter's contrast among the others, alone if there is none; and those of scrubbing and all filters."""
    among = {one.stage for one in contrasts if one.question == "removed"}
    return [one for one in contrasts if one.question != "alone" or one.stage not in among]


def _forest(
    contrasts: Sequence[Sized], metric: Told, name: str, wanted: tuple[tuple[str, bool], ...]
) -> Figure | None:
    percent = any(one.percent for one in contrasts)  # shares and differences have no axis in common
    shown = [one for one in contrasts if one.percent is percent]
    rows = effects(shown, metric["better"])
    if not rows:
        return None
    title = words.title(metric)
    note = _NOTES.get(metric["better"], "Neither side is better in itself.")
    told = tuple(f"{one.about}, {row.aside}: {row.label}" for one, row in zip(shown, rows, strict=True))
    return _figure(rows, words.direction(metric["better"]), percent, (name, title, note), told, wanted)


def _figure(
    rows: Sequence[Effect],
    sides: tuple[str, str],
    percent: bool,
    said: tuple[str, str, str],
    told: tuple[str, ...],
    wanted: tuple[tuple[str, bool], ...] = (("", True),),
) -> Figure:
    name, title, note = said
    pictures = []
    for kind, narrow in wanted:
        svg = plots.forest(rows, sides, percent=percent, narrow=narrow)
        pictures.append((kind, Markup(drawing.dressed(svg, title, note, f"c-{name}"))))
    return Figure(name, title, note, tuple(pictures), told)


def effects(contrasts: Sequence[Sized], better: str) -> list[Effect]:
    """Return the rows of a forest plot; the name of a filter stands in the first of its rows."""
    rows: list[Effect] = []
    before: str | None = None
    for one in contrasts:
        is_told = words.is_significant(one)
        numbers = (one.value, one.low, one.high, one.percent)
        rows.append(
            Effect(
                name="" if one.about == before else one.about,
                question=one.question,
                value=one.value,
                low=one.low,
                high=one.high,
                limit=one.told["mde"],
                label=words.whole(*numbers),
                short=words.short(*numbers),
                tone=words.tone(one.value, is_told, better),
                is_told=is_told,
                aside=one.asked,
            )
        )
        before = one.about
    return rows


def grouped(tune: Told, by: str, better: str) -> Figure | None:
    """Return the forest plot of the first contrast on parts of the held-out text."""
    found = [one for one in tune["groups"] if one["by"] == by and one["relative"] is not None]
    if not found:
        return None
    first = found[0]["contrast"]
    rows = []
    for one in [one for one in found if one["contrast"] == first][:MOST]:
        value, low, high = one["relative"], one["low"], one["high"]
        is_told = low is not None and high is not None and (low > 0 or high < 0)
        label, short = words.whole(value, low, high), words.short(value, low, high)
        color = words.tone(value, is_told, better)
        rows.append(Effect(one["name"], "whole", value, low, high, None, label, short, color, is_told))
    title = f"By {by}: {first}".replace(" - ", " − ")
    told = tuple(f"{row.name}: {row.label}" for row in rows)
    said = (f"by-{by}", title, _NOTES.get(better, ""))
    return _figure(rows, words.direction(better), True, said, told)


def curves(tune: Told) -> Figure | None:
    """Return the training curves of all arms."""
    lines = [
        plots.Line(arm["name"], _LOOKS.get(arm["kind"], "other"), tuple(arm["curve"]))
        for arm in tune["arms"]
        if arm["curve"]
    ]
    if not lines:
        return None
    drawn = {line.look for line in lines}
    title = "Training loss"
    note = f"Mean over seeds. {'; '.join(said for look, said in _SAID.items() if look in drawn)}."
    svg = Markup(drawing.dressed(plots.curves(lines, "nats per token"), title, note, "c-curves"))
    told = tuple(
        f"{line.name}: {line.points[0]:.3f} at first, {line.points[-1]:.3f} at last" for line in lines
    )
    return Figure("curves", title, note, (("", svg),), told)
