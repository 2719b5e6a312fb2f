"""The report's tables: rows of text from the manifest's key ``tune``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from curate.govern.datasheet.values import written
from curate.govern.effects import words
from curate.govern.effects.words import NOTHING

Told: TypeAlias = Mapping[str, Any]
ALSO = 3  # other metrics named beside a filter
COLUMNS = 6  # metrics side by side


@dataclass(frozen=True, slots=True)
class Badge:
    """A verdict, as a mark and words on its color, and what follows from it."""

    kind: str
    mark: str
    words: str
    advice: str = ""


Cell: TypeAlias = str | Badge


@dataclass(frozen=True, slots=True)
class Table:
    """A table; numbers: its columns from the first to before the second hold numbers."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: tuple[int, int] = (0, 0)


def badge(verdict: str) -> Badge:
    """Return a filter's verdict."""
    said = words.VERDICTS[verdict]
    return Badge(verdict, said.mark, said.words, said.advice)


def number(value: float | None) -> str:
    """Return a number with four digits, or the mark for none."""
    return NOTHING if value is None else written(value)


def share(value: float | None, percent: bool = True) -> str:
    """Return a number without sign: a share in percent, or a difference."""
    if value is None:
        return NOTHING
    return f"{value:.2%}" if percent else f"{value:.3g}"


def effect(value: float | None, percent: bool = True) -> str:
    """Return an effect with its sign, or the mark for none."""
    return NOTHING if value is None else words.signed(value, percent)


def estimate(told: Told | None) -> str:
    """Return a mean with its interval."""
    if told is None or told["value"] is None:
        return NOTHING
    if told["low"] is None or told["high"] is None:
        return number(told["value"])
    return f"{number(told['value'])} ±{(told['high'] - told['low']) / 2:.2g}"


def chance(p: float | None) -> str:
    """Return a p-value."""
    if p is None:
        return NOTHING
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def ranked(tune: Told, seconds: Mapping[str, float]) -> Table:
    """Return what to keep and what to question. seconds: CPU time of each stage in the run."""
    rows = []
    for place, one in enumerate(tune["filters"], 1):
        cost = one["cpu_seconds"] if one["cpu_seconds"] is not None else seconds.get(one["stage"])
        rows.append(
            (
                f"{place}. {one['stage']}",
                badge(one["verdict"]),
                effect(one["relative"]),
                words.interval(one["low"], one["high"]),
                share(one["mde"]),
                effect(one["alone"]),
                number(cost),
            )
        )
    head = ("filter", "verdict", "effect", "95% interval", "detectable from", "alone", "CPU seconds")
    return Table("What to keep, what to question", head, tuple(rows), (2, 7))


def also(tune: Told, stage: str) -> str:
    """Return what a filter does to other metrics, by intervals that leave out zero: hints, which nothing corrects."""
    order, families = ("removed", "privacy", "alone", "whole"), ("privacy", "task", "behaviour")
    known = words.described(tune)
    hints = []
    names = [name for name in known if known[name]["family"] in families]
    for name in sorted(names, key=lambda name: families.index(known[name]["family"])):
        asked = {one.question: one for one in words.contrasts(tune, name) if one.stage == stage}
        one = next((asked[question] for question in order if question in asked), None)
        if one is None or not words.is_significant(one):
            continue
        tone = words.tone(one.value, True, known[name]["better"])
        how = {"good": ", better", "bad": ", worse"}.get(tone, "")
        hints.append(f"{words.title(known[name])} {words.signed(one.value, one.percent)}{how}")
    more = f"; {len(hints) - ALSO} more" if len(hints) > ALSO else ""
    return "; ".join(hints[:ALSO]) + more


def declared(tune: Told, metric: str) -> Table:
    """Return every contrast on a metric with its inference."""
    contrasts = words.contrasts(tune, metric)
    has_second = any("second" in one.told for one in contrasts)
    rows = []
    for one in contrasts:
        second = one.told.get("second")
        row = (
            one.name,
            one.asked,
            effect(one.value, one.percent),
            words.interval(one.low, one.high, one.percent),
            words.interval(one.boot_low, one.boot_high, one.percent),
            chance(one.told["p"]),
            chance(one.told["holm"]),
            share(one.told["mde"], one.percent),
            NOTHING if one.told["power"] is None else f"{one.told['power']:.0%}",
        )
        rows.append((*row, effect(second["relative"]) if second else NOTHING) if has_second else row)
    head = (
        "contrast",
        "question",
        "effect",
        "95% interval",
        "bootstrap",
        "p",
        "Holm",
        "detectable from",
        "power",
    )
    extra = ("second rate",) if has_second else ()
    title = words.title(words.described(tune)[metric])
    return Table(f"Contrasts: {title}", (*head, *extra), tuple(rows), (2, 9 + len(extra)))


def arms(tune: Told) -> list[Table]:
    """Return what each arm trained on, and its metrics, a few columns at a time."""
    known = words.described(tune)
    rows = tuple(
        (
            arm["name"],
            arm["stage"] or NOTHING,
            f"{arm['records']:,}",
            f"{arm['tokens']:,}",
            f"{arm['epochs']:.2f}",
            estimate(arm["metrics"].get(tune["primary"])),
        )
        for arm in tune["arms"]
    )
    primary = words.title(known[tune["primary"]]) if tune["primary"] in known else tune["primary"]
    tables = [Table("Arms", ("arm", "filter", "records", "tokens", "epochs", primary), rows, (2, 6))]
    for family, label in words.FAMILIES.items():
        names = [name for name, one in known.items() if one["family"] == family and name != tune["primary"]]
        names = [name for name in names if any(name in arm["metrics"] for arm in tune["arms"])]
        for start in range(0, len(names), COLUMNS):
            tables.append(_columns(tune, label, names[start : start + COLUMNS], known))
    return tables


def _columns(tune: Told, label: str, names: Sequence[str], known: Mapping[str, Told]) -> Table:
    rows = tuple(
        (arm["name"], *(estimate(arm["metrics"].get(name)) for name in names))
        for arm in tune["arms"]
        if any(name in arm["metrics"] for name in names)
    )
    return Table(
        f"{label} of each arm", ("arm", *(_headed(known[name]) for name in names)), rows, (1, COLUMNS + 1)
    )


def _headed(metric: Told) -> str:
    arrow = {"lower": ", lower is better", "higher": ", higher is better"}.get(metric["better"], "")
    unit = f" ({metric['unit']})" if metric["unit"] else ""
    return f"{words.title(metric)}{unit}{arrow}"


def groups(tune: Told, by: str) -> Table:
    """Return effects on parts of the held-out text."""
    rows = tuple(
        (
            one["name"],
            one["contrast"].replace(" - ", " − "),
            f"{one['items']:,}",
            effect(one["relative"]),
            words.interval(one["low"], one["high"]),
        )
        for one in tune["groups"]
        if one["by"] == by
    )
    return Table(f"Effect by {by}", (by, "contrast", "items", "effect", "95% interval"), rows, (2, 5))


def cost(tune: Told, timing: Told) -> Table:
    """Return CPU seconds of each arm, over all seeds."""
    known = [
        (arm["name"], timing["arms"][arm["name"]]) for arm in tune["arms"] if arm["name"] in timing["arms"]
    ]
    train, measure = (sum(one[part] for _, one in known) for part in ("train", "measure"))
    rows = tuple(
        (name, f"{one['train']:.1f}", f"{one['measure']:.1f}", f"{one['train'] + one['measure']:.1f}")
        for name, one in (*known, ("all", {"train": train, "measure": measure}))
    )
    return Table("CPU seconds of each arm, all seeds", ("arm", "train", "measure", "both"), rows, (1, 4))


def plain(caption: str, told: Told) -> Table:
    """Return keys and values as a table; keys below keys are joined."""
    return Table(caption, ("what", "value"), tuple(_flat(told)))


def _flat(told: Told, before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in sorted(told.items()):
        name = f"{before}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list):
            yield name, ", ".join(written(one) for one in value) or NOTHING
        elif value is not None:
            yield name, written(value)
