"""The terminal shows a quick-tune's effects, and its progress, in 80 columns."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

from effects_told import tune
from rich.console import Console
from test_effects_page import percent, terminal

from curate.show import tune as view


def test_the_terminal_shows_the_ranked_filters_at_80_columns() -> None:
    text = terminal(tune())
    assert max(map(len, text.splitlines())) <= 80
    for one in tune()["filters"]:
        half = (one["high"] - one["low"]) / 2
        line = next(line for line in text.splitlines() if line.strip().startswith(one["stage"]))
        assert f"{percent(one['relative'])} ±{half * 100:.2f}" in line
        assert f"{one['mde']:.2%}" in line
        assert "●" in line
    assert "← better" in text
    for part in ("Planted defects: passed", "what this cannot tell", "release/tune/report.html", "54 runs"):
        assert part in text
    long = [f"a-filter-with-a-very-long-name-{n}" for n in range(3)]
    assert max(map(len, terminal(tune(long)).splitlines())) <= 80


def test_an_interval_in_characters_keeps_its_place() -> None:
    assert view.interval(0.0, None, None, -1.0, 1.0, 5) == "  ●  "
    assert view.interval(-1.0, -1.0, -0.5, -1.0, 1.0, 5) == "●─│  "
    assert view.interval(0.5, -0.5, 1.0, -1.0, 1.0, 5) == " ─┼●─"


def test_progress_is_quiet_where_there_is_no_terminal() -> None:
    console = Console(width=80, file=io.StringIO())
    with view.TuneDisplay(console) as display:
        display.begin("train [red]", 2)
        display.advance("raw--0")
        display.advance("full--0")
        display.end()
    assert isinstance(console.file, io.StringIO)
    assert re.fullmatch(r"train \[red\]: 2 in \d+\.\d s\n", console.file.getvalue())


def test_a_live_bar_shows_the_run_and_the_time_left() -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=True)
    with view.TuneDisplay(console) as display:
        display.begin("train", 3)
        display.advance("only_pii--0")
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "1/3" in said
    assert "only_pii--0" in said


def test_a_self_test_says_what_was_expected_and_found() -> None:
    row = {"contrast": "only_corrupt - raw", "expected": "lower", "found": "lower"}
    null = {"contrast": "random_drop - raw", "expected": "no effect", "found": "higher"}
    rows = [
        {**row, "relative": -0.056, "holm": 2e-13, "passed": True},
        {**null, "relative": 0.01, "holm": 0.011, "passed": False},
    ]
    console = Console(width=80, file=io.StringIO())
    console.print(view.selftest(SimpleNamespace(rows=rows, seconds=171.2)))  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert re.search(r"only_corrupt - raw +lower +lower +−5.60% +< 0.0001 +✓", said)
    assert re.search(r"random_drop - raw +no effect +higher +\+1.00% +0.0110 +✗", said)
    assert "failed: 1 of 2, in 171 s" in said
