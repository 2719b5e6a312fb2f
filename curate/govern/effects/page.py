"""tune/report.html: one file that needs nothing else: what to keep, what to question, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.govern import pages
from curate.govern.datasheet.values import visible
from curate.govern.effects import figures, tables, words
from curate.govern.effects.tables import Told

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Family:
    """Metrics of one kind."""

    name: str
    title: str
    figures: tuple[figures.Figure, ...]
    contrasts: tuple[tables.Table, ...]


def render(manifest: Told) -> str:
    """Return the report as HTML."""
    manifest = _seen(manifest)
    tune = manifest["tune"]
    timing = manifest["timing"].get("tune")
    stages = manifest["timing"].get("stages", {})
    seconds = {name: one["cpu_seconds"] for name, one in stages.items()}
    known = words.described(tune)
    primary = known.get(
        tune["primary"], {"title": tune["primary"], "better": "lower", "name": "", "about": ""}
    )
    return (
        pages.environment(_HERE)
        .get_template(pages.TEMPLATE)
        .render(
            m=manifest,
            tune=tune,
            timing=timing,
            css=pages.css(_HERE),
            words=words,
            primary=primary,
            primary_title=words.title(primary),
            headline=words.headline(tune["filters"]),
            sums=[
                (tables.badge(verdict), ", ".join(tune["filters"][place]["stage"] for place in places))
                for verdict, places in words.tally(tune["filters"]).items()
            ],
            failed=[one for one in tune["controls"] if one["passed"] is False],
            whole=_whole(tune),
            forest=figures.primary(tune, primary) if tune["filters"] else None,
            why=[(one["stage"], one["why"], tables.also(tune, one["stage"])) for one in tune["filters"]],
            ranked=tables.ranked(tune, seconds),
            declared=tables.declared(tune, tune["primary"]) if tune["primary"] in known else None,
            families=_families(tune, known),
            groups=[
                (by, figures.grouped(tune, by, primary["better"]), tables.groups(tune, by))
                for by in dict.fromkeys(one["by"] for one in tune["groups"])
            ],
            arms=tables.arms(tune),
            curves=figures.curves(tune),
            cost=tables.cost(tune, timing) if timing else None,
            asked=[
                tables.plain("Base", tune["base"]),
                tables.plain("Training", tune["setup"]),
                tables.plain(
                    "Records and held-out text", {k: v for k, v in tune["data"].items() if k != "notes"}
                ),
            ],
            metrics=[(words.title(one), one) for one in known.values() if one.get("about")],
            calibration=tables.plain("A/A calibration", tune.get("calibration") or {}),
            noise=tune["noise"],
            share=tables.share,
            number=tables.number,
        )
    )


def _seen(part: Any) -> Any:
    """Return data with each character that acts, but is not seen, as its code point."""
    if isinstance(part, str):
        return visible(part)
    if isinstance(part, Mapping):
        return {_seen(key): _seen(value) for key, value in part.items()}
    return [_seen(one) for one in part] if isinstance(part, list) else part


def _whole(tune: Told) -> list[tuple[str, str, str]]:
    """Return what all filters together do: against what, the effect, its interval."""
    against = {"whole": "all records", "size": "as many records drawn at random"}
    return [
        (
            against[one.question],
            tables.effect(one.value, one.percent),
            words.interval(one.low, one.high, one.percent),
        )
        for one in words.contrasts(tune, tune["primary"])
        if one.question in against
    ]


def _families(tune: Told, known: Mapping[str, Told]) -> list[Family]:
    found = []
    for family, title in words.FAMILIES.items():
        names = [key for key, one in known.items() if one["family"] == family and key != tune["primary"]]
        names = [key for key in names if any(one["metric"] == key for one in tune["contrasts"])]
        drawn = [figures.other(tune, key, known[key], f"{family}-{place}") for place, key in enumerate(names)]
        if names:
            contrasts = tuple(tables.declared(tune, key) for key in names)
            found.append(Family(family, title, tuple(one for one in drawn if one), contrasts))
    return found
