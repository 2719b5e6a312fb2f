"""The runs as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Line = Mapping[
    str, Any
]  # one run: what its runner wrote, and corpus, name, round, curate (the run beside it)

HEAD = [
    "tool",
    "version",
    "MB",
    "MB/s in process",
    "MB/s whole process",
    "start-up s",
    "peak MB",
    "resolved",
    "… with symbols",
    "false removals",
    "curate is faster, in process",
    "whole process",
]


def rate(line: Line, seconds: str) -> float:
    """Return MB of text per CPU second; a clock tick at least."""
    return float(line["bytes"]) / 1e6 / max(0.01, float(line[seconds]))


def number(value: float) -> str:
    """Write a number with three digits that count, or all before its point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(lines: Sequence[Line], seconds: str) -> str:
    """Return the median of how much faster curate was on the same file just before."""
    pairs = [rate(line["curate"], seconds) / rate(line, seconds) for line in lines if "curate" in line]
    return f"{number(median(pairs))} ×" if pairs else ""


def row(lines: Sequence[Line]) -> list[str]:
    """Return the cells of one tool: medians over its runs."""
    first = lines[0]
    return [
        first["name"],
        first["version"],
        number(first["bytes"] / 1e6),
        number(median(rate(line, "in_process_s") for line in lines)),
        number(median(rate(line, "cpu_s") for line in lines)),
        f"{median(line['start_up_s'] for line in lines):.2f}",
        f"{median(line['peak_rss'] for line in lines) / 1e6:,.0f}",
        f"{first['quality']['resolved']:.4f}",
        f"{first['quality']['resolved_symbols']:.4f}",
        f"{first['quality']['false']:.1%}",
        ratio(lines, "in_process_s"),
        ratio(lines, "cpu_s"),
    ]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, numbers to the right."""
    rule = ["---", "---", *["---:"] * (len(head) - 2)] if len(head) > 2 else ["---", "---:"]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule[: len(head)], *rows))


def corpus_table(lines: Sequence[Line]) -> str:
    """Return the table of one corpus, the fastest tool first."""
    names = list(dict.fromkeys(line["name"] for line in lines))
    by_name = [[line for line in lines if line["name"] == name] for name in names]
    by_name.sort(key=lambda runs: -median(rate(line, "in_process_s") for line in runs))
    return markdown(HEAD, [row(runs) for runs in by_name])


def notes(lines: Sequence[Line]) -> str:
    """Return one line a tool: what was run."""
    said = {line["name"]: line["note"] for line in lines}
    return "\n".join(f"- {name}: {note}" for name, note in said.items())
