"""What the terminal shows of a quick-tune: its progress on stderr, its plan, and what it found."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from curate.govern.datasheet.values import visible
from curate.govern.effects import REPORT, words

if TYPE_CHECKING:
    from curate.tuning.experiment import Judged, Plan, Tuned

QUIET_EVERY = 30.0  # seconds between lines where there is no terminal
PLOT = 21  # characters of an interval's picture
_STYLES = {
    "helps": "green",
    "hurts": "red",
    "shift": "yellow",
    "unconfirmed": "yellow",
    "undetected": "default",
}
_TONES = {"good": "green", "bad": "red", "plain": "default"}
_STATES = {"passed": ("✓", "green"), "failed": ("✗", "bold red"), "inconclusive": ("?", "yellow")}
_NAMES = {"shift": "shifts only", "unconfirmed": "not confirmed"}


class TuneDisplay:
    """Progress of a tune: a live bar with the time left on a terminal, a quiet line now and then elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._live: Progress | None = None
        self._task: Any = None
        self._title = ""
        self._total = self._done = 0
        self._since = self._said = 0.0

    def __enter__(self) -> TuneDisplay:
        if self.console.is_terminal:
            self._live = Progress(
                SpinnerColumn(finished_text="[green]✓"),
                TextColumn(
                    "{task.description}", table_column=Column(max_width=24, no_wrap=True), markup=False
                ),
                BarColumn(bar_width=10),
                MofNCompleteColumn(),
                TextColumn(
                    "{task.fields[run]}", table_column=Column(max_width=20, no_wrap=True), markup=False
                ),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, title: str, total: int) -> None:
        """Start a part of so many runs (0: unknown)."""
        self._title, self._total, self._done = title, total, 0
        self._since = self._said = time.monotonic()
        if self._live is not None:
            self._task = self._live.add_task(title, total=total or None, run="")

    def advance(self, run: str) -> None:
        """Count a finished run."""
        self._done += 1
        if self._live is not None:
            self._live.update(self._task, completed=self._done, run=visible(run))
        elif time.monotonic() - self._said > QUIET_EVERY:
            self._said = time.monotonic()
            left = (self._said - self._since) / self._done * max(self._total - self._done, 0)
            whole = f" of {self._total:,}" if self._total else ""
            ahead = f", about {left:.0f} s left" if self._total else ""
            named = f", {visible(run)}" if run else ""
            self._line(f"{self._done:,}{whole}{named}{ahead}")

    def end(self) -> None:
        """Finish the part."""
        if self._live is not None:
            done = self._total or self._done or 1
            self._live.update(self._task, total=done, completed=done, run="")
        else:
            what = f"{self._done:,} in " if self._done else ""
            self._line(f"{what}{time.monotonic() - self._since:.1f} s")

    def _line(self, text: str) -> None:
        self.console.print(f"{self._title}: {text}", highlight=False, soft_wrap=True, markup=False)


def tuned(done: Tuned) -> Group:
    """Return what a tune found, and where its report is."""
    return effects(done.told, done.timing, done.path)


def effects(
    tune: Mapping[str, Any], timing: Mapping[str, Any] | None = None, out: Path | None = None
) -> Group:
    """Return the ranked filters with their intervals, the controls, the limits, and where the report is."""
    parts: list[Any] = [Text(words.headline(tune["filters"]), style="bold")]
    if rows := _rows(tune):
        parts.append(_ranked(tune, rows))
    parts += [_why(one) for one in tune["filters"] if one["verdict"] not in ("helps", "undetected")]
    parts += [
        Text(f"{visible(one['stage'])}: not measured, {visible(one['why'])}") for one in tune["skipped"]
    ]
    parts.append(Text("\ncontrols", style="bold"))
    parts += [_control(one) for one in tune["controls"]]
    parts.append(Text("\nwhat this cannot tell", style="bold"))
    parts += [Padding(Text(f"· {visible(one)}"), (0, 0, 0, 2)) for one in tune["limits"]]
    runs = len(tune["arms"]) * len(tune["setup"]["seeds"])
    said = f"\n{runs:,} runs ({len(tune['arms']):,} arms, seeds {len(tune['setup']['seeds']):,})"
    if timing:
        said += f" in {timing['wall_seconds']:.0f} s"
    return Group(*parts, Text(f"{said}; report: {REPORT if out is None else out / REPORT}"))


def _rows(
    tune: Mapping[str, Any],
) -> list[tuple[str, Text, float, float | None, float | None, float | None, str]]:
    """Return name, verdict, effect, its interval, the least detectable and the style of each row."""
    rows = []
    for one in tune["filters"]:
        if one["relative"] is None:
            continue
        style = _STYLES[one["verdict"]]
        said = words.VERDICTS[one["verdict"]]
        verdict = Text(f"{said.mark} {_NAMES.get(one['verdict'], said.words)}", style=style)
        rows.append((one["stage"], verdict, one["relative"], one["low"], one["high"], one["mde"], style))
    better = words.described(tune).get(tune["primary"], {}).get("better", "lower")
    for one in words.contrasts(tune, tune["primary"]):
        if one.question in ("whole", "size") and one.percent:
            style = _TONES[words.tone(one.value, words.is_significant(one), better)]
            rows.append(
                (
                    one.about,
                    Text(one.asked, style="dim"),
                    one.value,
                    one.low,
                    one.high,
                    one.told["mde"],
                    style,
                )
            )
    return rows


def _ranked(tune: Mapping[str, Any], rows: Sequence[tuple[Any, ...]]) -> Table:
    ends = [0.0] + [end for row in rows for end in row[2:5] if end is not None]
    low, high = min(ends), max(ends)
    better = words.described(tune).get(tune["primary"], {}).get("better", "lower")
    left, right = words.direction(better)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))  # fits 80 columns
    table.add_column("filter", overflow="fold", max_width=16)
    table.add_column("verdict", no_wrap=True)
    table.add_column("effect, 95%", justify="right", no_wrap=True)
    table.add_column(f"{left}{right:>{PLOT - len(left)}}", no_wrap=True)
    table.add_column("detects", justify="right", no_wrap=True)
    for name, verdict, value, least, most, limit, style in rows:
        picture = Text(interval(value, least, most, low, high), style=style)
        found = words.short(value, least, most)
        table.add_row(Text(visible(name)), verdict, found, picture, "" if limit is None else f"{limit:.2%}")
    return table


def interval(
    value: float, least: float | None, most: float | None, low: float, high: float, width: int = PLOT
) -> str:
    """Return an effect and its interval between low and high in characters: zero is a line, the effect a dot."""
    span = high - low or 1.0

    def place(x: float) -> int:
        return round((x - low) / span * (width - 1))

    cells = [" "] * width
    if least is not None and most is not None:
        for at in range(place(least), place(most) + 1):
            cells[at] = "─"
    zero = place(0.0)
    cells[zero] = "┼" if cells[zero] == "─" else "│"
    cells[place(value)] = "●"
    return "".join(cells)


def _why(one: Mapping[str, Any]) -> Text:
    return Text(f"{visible(one['stage'])}: {visible(one['why'])}", style=_STYLES[one["verdict"]])


def _control(one: Mapping[str, Any]) -> Padding:
    state = words.passed(one)
    mark, style = _STATES[state]
    text = Text(f"{mark} {words.CONTROLS.get(one['name'], one['name'])}: {state}", style=style)
    text.append(f" (expected {visible(one['expected'])}; found {visible(one['found'])})", style="default")
    return Padding(text, (0, 0, 0, 2))


def selftest(judged: Judged) -> Group:
    """Return what was expected and found where the truth is known."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("contrast", "expected", "found"):
        table.add_column(name, overflow="fold")
    for name in ("effect", "Holm's p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for row in judged.rows:
        mark, style = _STATES["passed" if row["passed"] else "failed"]
        shown = "" if row["relative"] is None else words.signed(row["relative"])
        p = row["holm"]
        holm = "" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}"
        table.add_row(row["contrast"], row["expected"], row["found"], shown, holm, Text(mark, style=style))
    failed = sum(not row["passed"] for row in judged.rows)
    end = f"failed: {failed} of {len(judged.rows)}" if failed else f"passed: all {len(judged.rows)}"
    return Group(
        table, Text(f"{end}, in {judged.seconds:.0f} s", style="bold red" if failed else "bold green")
    )


def plan(p: Plan) -> Group:
    """Return what a tune would do."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("arm", overflow="fold")
    table.add_column("kind")
    table.add_column("records", justify="right")
    for name, kind, records in p.arms:
        table.add_row(Text(visible(name)), kind, f"{records:,}")
    minutes = getattr(p, "minutes", None)
    about = "" if minutes is None else f", about {minutes:.0f} minutes"
    lines = [Text(f"{visible(stage)}: no arm, {visible(why)}") for stage, why in p.skipped.items()]
    lines += [
        Text(f"base {visible(p.base)}; {p.heldout:,} texts held out"),
        Text(
            f"{p.runs:,} runs: {len(p.arms):,} arms, seeds {p.seeds:,}, up to {p.tokens:,} tokens each{about}"
        ),
        Text("nothing was trained"),
    ]
    return Group(table, *lines)
