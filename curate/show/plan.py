"""What the terminal shows of a plan: what a run would do, and what it would take."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from curate.forecast import Plan
from curate.forecast.disk import shown_size
from curate.show import heading, rows


def plan(p: Plan) -> Group:
    """Return what a run would do."""
    parts: list[Any] = [rows("Sources", p.sources, ("files", "bytes", "records", "units"))]
    for name, curve in p.curves.items():
        parts.append(heading(f"{name}: chance that a pair becomes a candidate, to be verified exactly"))
        table = Table()
        table.add_column("similarity", justify="right")
        table.add_column("chance", justify="right")
        table.add_column("")
        for similarity, chance in curve:
            table.add_row(f"{similarity:.2f}", f"{chance:.4f}", "█" * round(20 * chance))
        parts.append(table)
    parts += [heading(f"Segments, {p.units:,} units on {workers_of(p)}"), _steps(p), *_totals(p)]
    parts += [Text(f"warning: {warning}", style="yellow") for warning in p.warnings]
    return Group(*parts, Text("nothing was written"))


def _steps(p: Plan) -> Table:
    workers = workers_of(p)
    table = Table()
    table.add_column("")
    for name in ("records in", "CPU time", f"wall, {workers}", "disk", "memory"):
        table.add_column(name, justify="right")
    for step in p.steps:
        times = (shown_time(step[name]) for name in ("cpu_seconds", "wall_seconds"))
        sizes = (shown_size(step[name]) for name in ("disk", "memory"))
        table.add_row(step["title"], f"{step['records']:,}", *times, *sizes)
    table.add_section()
    totals = (shown_time(p.seconds["cpu"]), shown_time(p.seconds["wall"]))
    table.add_row("all", "", *totals, shown_size(p.disk["needed"]), shown_size(p.memory["expected"]))
    return table


def _totals(p: Plan) -> list[Text]:
    memory, disk = p.memory, p.disk
    of = "all" if p.sample["records"] >= p.sample["of"] else f"a sample of {p.sample['records']:,} of"
    replaced = f"; the earlier release, {shown_size(disk['replaced'])}, stays beside it until then"
    return [
        Text(f"from {of} {p.sample['of']:,} records, which took {shown_time(p.sample['seconds'])} to run"),
        Text(
            "a sample has fewer duplicates than the whole: behind a barrier that drops them, these are upper bounds",
            style="dim",
        ),
        Text(
            f"memory: budget {shown_size(memory['budget'])}, expected {shown_size(memory['expected'])} (main process "
            f"{shown_size(memory['main'])}, a worker {shown_size(memory['per_worker'])}, dedup state "
            f"{shown_size(memory['dedup_state'])} before it spills); the machine has "
            f"{shown_size(memory['available'])} to give"
        ),
        Text(
            f"disk: work/ {shown_size(disk['work'])} until the run is done, release {shown_size(disk['release'])}; "
            f"{disk['where']} has {shown_size(disk['free'])} free" + (replaced if disk["replaced"] else "")
        ),
    ]


def workers_of(p: Plan) -> str:
    """Return the number of workers in words."""
    return "1 worker" if p.workers == 1 else f"{p.workers} workers"


def shown_time(seconds: float) -> str:
    """Return a duration for people: 4.2 s, 3 min 20 s, 5 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02} min"
