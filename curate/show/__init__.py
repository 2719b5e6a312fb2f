"""What the terminal shows: progress on stderr, tables for results. Nothing here decides anything."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
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
from curate.inspect import Story
from curate.pipeline import Watch

QUIET_EVERY = 30.0  # seconds between lines where there is no terminal
REASONS_SHOWN = 3  # of each stage, in the funnel; all of them are in the datasheet


class Display:
    """Progress of a run: live bars on a terminal, a quiet line per segment elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._live: Progress | None = None
        self._task: Any = None
        self._title = ""
        self._total = self._records = self._bytes = 0
        self._since = self._said = 0.0

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._live = Progress(
                SpinnerColumn(finished_text="[green]✓"),
                TextColumn("{task.description}", table_column=Column(max_width=26, no_wrap=True)),
                BarColumn(bar_width=8),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def watch(self) -> Watch:
        """Return the callbacks that a run reports to."""
        return Watch(self.begin, self.end, self.note)

    def begin(self, title: str, records: int) -> None:
        """Start a segment that this many records enter (0: unknown)."""
        self._title, self._total, self._records, self._bytes = title, records, 0, 0
        self._since = self._said = time.monotonic()
        if self._live is not None:
            self._task = self._live.add_task(title, total=records or None, speed="")

    def tick(self, records: int, nbytes: int) -> None:
        """Count finished records and their bytes of text."""
        self._records += records
        self._bytes += nbytes
        if self._live is not None:
            self._live.update(self._task, completed=self._records, speed=self._speed())
        elif time.monotonic() - self._said > QUIET_EVERY:
            self._said = time.monotonic()
            self._line(f"{self._records:,} of {self._total:,} records, {self._speed()}, {self._left()}")

    def end(self) -> None:
        """Finish the segment."""
        seconds = time.monotonic() - self._since
        if self._live is not None:
            done = self._total or self._records or 1
            self._live.update(
                self._task, total=done, completed=done, speed=self._speed() if self._records else ""
            )
        else:
            what = f"{self._total:,} records in " if self._total else ""
            self._line(f"{what}{seconds:.1f} s" + (f", {self._speed()}" if self._records else ""))

    def note(self, text: str) -> None:
        """Say something that a person should know, above the bars."""
        (self._live.console if self._live is not None else self.console).print(
            f"note: {text}", highlight=False, soft_wrap=True, markup=False
        )

    def _line(self, text: str) -> None:
        self.console.print(f"{self._title}: {text}", highlight=False, soft_wrap=True)

    def _speed(self) -> str:
        return f"{self._bytes / 1e6 / max(time.monotonic() - self._since, 1e-9):.1f} MB/s"

    def _left(self) -> str:
        if not self._records:
            return "time left unknown"
        left = (time.monotonic() - self._since) / self._records * (self._total - self._records)
        return f"about {left:.0f} s left"


def funnel(manifest: dict[str, Any]) -> Group:
    """Return the funnel: what each stage saw, kept and took out, then its commonest reasons."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=0)  # fits 80 columns
    table.add_column("stage")
    for name in ("seen", "kept", "dropped", "quarantined", "edited", "flagged"):
        table.add_column(name, justify="right")
    table.add_column("of all", no_wrap=True)
    whole = manifest["stages"][0]["seen"]
    for stage in manifest["stages"]:
        numbers = (stage[name] for name in ("seen", "kept", "dropped", "quarantined", "edited", "flagged"))
        table.add_row(stage["name"], *map(_count, numbers), _bar(stage["kept"], whole))
    reasons = Table(box=None, show_header=False, pad_edge=False)
    reasons.add_column()
    reasons.add_column()
    reasons.add_column(justify="right")
    for stage in manifest["stages"]:
        common = sorted(stage["reasons"].items(), key=lambda item: (-item[1], item[0]))[:REASONS_SHOWN]
        for reason, n in common:
            reasons.add_row("" if reasons.row_count else "commonest reasons", reason, f"{n:,}")
    counts = manifest["counts"]
    removed = f"{counts['dropped']:,} dropped + {counts['quarantined']:,} quarantined"
    sums = f"{counts['seen']:,} seen = {counts['kept']:,} kept + {removed}"
    title = Text(f"{manifest['name']} {manifest['version']}", style="bold")
    return Group(title, table, reasons, Text(f"\n{sums}"), *_alarms(manifest))


def _count(n: int) -> str:
    return f"{n:,}" if n else "·"


def _bar(part: int, whole: int, width: int = 10) -> str:
    share = part / whole if whole else 0.0
    full = round(share * width)
    shown = min(share, 0.99) if part < whole else share  # 100% means all
    return "█" * full + "░" * (width - full) + f" {shown:4.0%}"


def _alarms(manifest: dict[str, Any]) -> list[Text]:
    lines = [
        Text(f"{f['severity']}: {f['message']}  [{f['reason']}]", style="yellow")
        for f in manifest["findings"]
    ]
    for gate in manifest["gates"]:
        if gate["passed"] is False:
            text = f"gate missed: {gate['gate']} is {gate['value']}, limit {gate['limit']} ({gate['where']})"
            lines.append(Text(text, style="bold red"))
    return lines


def story(s: Story) -> Group:
    """Return one record's story."""
    head = Text(f"{s.id}\n", style="bold")
    head.append(f"source {s.source} · {s.fate}", style="green" if s.fate == "kept" else "red")
    for part in (s.license and f"license {s.license}", s.language and f"language {s.language}"):
        head.append(f" · {part}" if part else "", style="default")
    for place in s.places:
        head.append(
            f"\nread from {place['read_from']}, now {place['now']}, row {place['row']:,}", style="default"
        )
    table = Table()
    for name in ("stage", "action", "reason", "score", "evidence"):
        table.add_column(name, overflow="fold")  # an id that is cut cannot be copied
    for step in s.steps:
        evidence = dict(step.evidence or {})
        if step.kept_id:
            evidence = {
                "kept": step.kept_id,
                **{k if k != "kept" else "kept_at": v for k, v in evidence.items()},
            }
        said = "\n".join(f"{key}: {_said(value)}" for key, value in evidence.items())
        score = "" if step.score is None else f"{step.score:.4f}"
        table.add_row(step.stage, step.action, step.reason or "", score, Text(said))
    parts: list[Any] = [head, table]
    for step in s.represented_by:
        fate = "is kept" if step.action == "keep" else f"was itself removed by {step.stage} ({step.reason})"
        there = _elsewhere(step.evidence) if step.evidence else ""
        parts.append(Text(f"{step.kept_id}, which stands for it, {fate}{there}"))
    if s.context:
        parts.append(
            Text("\n".join(["around the finds, which are masked:", *(f"  {line}" for line in s.context)]))
        )
    if s.duplicates:
        shown = ", ".join(s.duplicates[:10]) + (
            f" and {len(s.duplicates) - 10:,} more" if len(s.duplicates) > 10 else ""
        )
        parts.append(Text(f"dropped as duplicates of it: {shown}"))
    return Group(*parts)


def _elsewhere(held: dict[str, Any]) -> str:
    """Say which earlier release holds a record, and where, if that release was found."""
    release = held["release"]
    text = f" in release {release['name']} {release['version']} (root {release['root'][:16]}…)"
    if "folder" not in held:
        return f"{text}, which is not beside this one"
    places = "".join(f", {place['now']}, row {place['row']:,}" for place in held["places"])
    return f"{text}: {held['folder']}{places}"


def _said(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_said(part)}" for key, part in value.items())
    if isinstance(value, list):
        return "; ".join(map(_said, value))
    return "–" if value is None else str(value)


def audit(told: dict[str, Any]) -> Group:
    """Return what a person found in the sample of kept records."""
    lines = [_audited("personal data left", told["personal_data_left"], told["confidence"])]
    if bounds := told["personal_data_left"].get("records_in_release"):
        lines.append(Text(f"  in the release: {bounds[0]:,} to {bounds[1]:,} records"))
    if kinds := told["kinds_left"]:
        lines.append(Text("  kinds: " + ", ".join(f"{kind} {n:,}" for kind, n in kinds.items())))
    lines.append(_audited("wrongly edited", told["wrongly_edited"], told["confidence"]))
    return Group(*lines)


def _audited(what: str, found: dict[str, Any], confidence: float) -> Text:
    said = f"{what}: {found['yes']:,} of {found['answered']:,} records"
    if "share" not in found:
        return Text(f"{said} (no answers)")
    low, high = found["low"], found["high"]
    return Text(f"{said}, {found['share']:.1%} ({confidence:.0%} interval {low:.1%} to {high:.1%})")


def heading(text: str) -> Text:
    """Return a table's title."""
    return Text(text, style="bold")


def rows(title: str, rows: Sequence[dict[str, Any]], numbers: Sequence[str]) -> Group:
    """Return rows of equal keys as a table with a title; columns named in numbers stand to the right."""
    table = Table()
    for name in rows[0] if rows else ():
        table.add_column(name, justify="right" if name in numbers else "left")
    for row in rows:
        table.add_row(
            *(
                f"{v:,}" if isinstance(v, int) else Text(visible(str(v if v is not None else "")))
                for v in row.values()
            )
        )
    return Group(heading(title), table)


def out() -> Console:
    """Return the console for results; wide where it is no terminal, so that tables are never cut."""
    return Console() if sys.stdout.isatty() else Console(width=160)
