"""The quick-tune's report, the datasheet's section and the terminal say what the manifest says, to all readers."""

from __future__ import annotations

import copy
import io
import itertools
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from effects_told import timing, tune
from rich.console import Console
from tracing import parsed

from curate.govern import documents, effects
from curate.govern.datasheet import effects as datasheet
from curate.govern.datasheet import markdown
from curate.govern.datasheet.values import Held
from curate.govern.effects import plots, tables, words
from curate.govern.effects.plots import Effect
from curate.show import tune as view

HOSTILE = '</script><img src=x onerror="alert(1)">`*|\u202e[red]x'


def manifest(told: dict[str, Any] | None = None, timed: bool = True) -> dict[str, Any]:
    """Return as much of a manifest as the report reads."""
    told = tune() if told is None else told
    held: dict[str, Any] = {"stages": {"pii": {"cpu_seconds": 4.692}}}
    return {
        "name": "demo",
        "version": "1.0.0",
        "software": {"curate": "0.1.0"},
        "tune": told,
        "timing": {**held, **({"tune": timing(told)} if timed else {})},
    }


def page(told: dict[str, Any] | None = None) -> str:
    return effects.render(manifest(told))[effects.REPORT].decode()


@pytest.fixture(scope="module")
def html() -> str:
    return page()


def cells(html: str, caption: str) -> list[list[str]]:
    table = next(
        one
        for one in parsed(html).all()
        if one.tag == "table" and any(part.tag == "caption" and part.text == caption for part in one.all())
    )
    rows = [one for one in table.all() if one.tag == "tr"]
    return [
        [" ".join(part.text.split()) for part in row.all() if part.tag in ("td", "th")] for row in rows[1:]
    ]


def percent(value: float) -> str:
    return f"{value:+.2%}".replace("-", "−").replace("−0.00", "0.00").replace("+0.00", "0.00")


def test_a_release_without_a_tune_has_no_report() -> None:
    assert effects.render({"name": "demo"}) == {}
    assert effects.render in documents.RENDERERS


def test_the_same_manifest_gives_the_same_bytes_and_the_numbers_as_data() -> None:
    made = effects.render(manifest())
    assert made == effects.render(orjson.loads(orjson.dumps(manifest(), option=orjson.OPT_SORT_KEYS)))
    told = orjson.loads(made[effects.DATA])
    assert told.pop("timing") == timing(tune())
    assert told == orjson.loads(orjson.dumps(tune()))


def test_the_verdict_stands_first_in_words(html: str) -> None:
    text = parsed(html).text
    said = "2 of 6 filters help, 1 hurts, 3 have no detectable effect."
    assert said in text
    order = [said, "Controls: did the instrument work?", "What to keep, what to question", "Privacy", "Cost"]
    places = [text.rindex(part) for part in [*order, "80 % of pairs of datasets"]]
    assert places == sorted(places)


def test_a_failed_control_is_an_alarm() -> None:
    told = tune()
    assert 'class="alarm"' not in page(told)
    told["controls"][0]["passed"] = False
    assert "A control failed (planted defects)" in parsed(page(told)).text


def test_the_ranked_table_holds_each_filter_s_numbers(html: str) -> None:
    rows = cells(html, "What to keep, what to question")
    assert [row[0] for row in rows] == [f"{n}. {one['stage']}" for n, one in enumerate(tune()["filters"], 1)]
    for row, one in zip(rows, tune()["filters"], strict=True):
        interval = f"{percent(one['low'])} to {percent(one['high'])}"
        numbers = [percent(one["relative"]), interval, f"{one['mde']:.2%}", percent(one["alone"])]
        assert row[2:6] == numbers
        assert row[6] == f"{one['cpu_seconds']:.4g}"
        assert words.VERDICTS[one["verdict"]].words in row[1]
        assert words.VERDICTS[one["verdict"]].advice in row[1]
        assert one["why"] in parsed(html).text


def test_cpu_seconds_come_from_the_run_s_timing_where_the_tune_has_none() -> None:
    told = tune()
    for one in told["filters"]:
        one["cpu_seconds"] = None
    seconds = {row[0].split()[1]: row[6] for row in cells(page(told), "What to keep, what to question")}
    assert seconds["pii"] == "4.692"
    assert seconds["exact"] == "–"


def test_intervals_in_the_metric_s_unit_are_told_as_shares_like_the_effect(html: str) -> None:
    one = next(one for one in tune()["contrasts"] if one["arm"] == "full" and one["reference"] == "raw")
    level = next(arm for arm in tune()["arms"] if arm["name"] == "raw")["metrics"]["bpb@raw"]["value"]
    row = next(
        row
        for row in cells(html, "Contrasts: Response bits per byte, raw hold-out")
        if row[0] == "full − raw"
    )
    assert row[2:4] == [
        percent(one["relative"]),
        f"{percent(one['low'] / level)} to {percent(one['high'] / level)}",
    ]


def test_every_arm_metric_and_contrast_is_told(html: str) -> None:
    told = tune()
    text = parsed(html).text
    for arm in told["arms"]:
        assert f"{arm['records']:,}" in text
        for one in arm["metrics"].values():
            assert f"{one['value']:.4g} ±{(one['high'] - one['low']) / 2:.2g}" in text
    for one in told["contrasts"]:
        value = (
            percent(one["relative"])
            if one["relative"] is not None
            else f"{one['effect']:+.3g}".replace("-", "−")
        )
        assert value in text
        assert f"{one['arm']} − {one['reference']}" in text
    for one in told["groups"]:
        assert percent(one["relative"]) in text
    for part in ("742,144", "61,440", "1,500", "boilerplate", "changed no record", "412.7 s", "240", "5.3"):
        assert part in text
    assert set(told["limits"]) <= {one.text for one in parsed(html).all() if one.tag == "li"}


def test_a_gain_in_privacy_is_named_beside_a_filter_without_effect_on_the_loss(html: str) -> None:
    said = next(
        one.text for one in parsed(html).all() if one.tag == "dd" and "Personal data in samples" in one.text
    )
    assert ", better" in said


def test_what_nothing_corrects_is_called_a_hint_and_a_miss_is_no_proof(html: str) -> None:
    by_id = {
        one: html.split(f'<section id="{one}"')[1].split("</section>")[0]
        for one in ("privacy", "task", "parts")
    }
    assert all("nothing corrects for their number" in section for section in by_id.values())
    assert "no verdict rests on it" in html  # the bootstrap
    assert "missed one time in five" in words.MEANINGS["undetected"]
    assert "no effect larger" not in html


def test_a_metric_that_never_moves_has_no_detectable_effect_and_no_power() -> None:
    told = tune()
    name = told["contrasts"][-1]["metric"]
    for one in told["contrasts"]:
        if one["metric"] == name:
            one |= {"effect": 0.0, "low": 0.0, "high": 0.0, "mde": None, "power": None, "p": 1.0}
    page = effects.render(manifest(told))[effects.REPORT].decode()
    table = tables.declared(told, name)
    assert {row[7:9] for row in table.rows} == {(words.NOTHING, words.NOTHING)}
    assert {row[3:5] for row in table.rows} == {(words.NOTHING, words.NOTHING)}  # no interval of no width
    assert table.caption in page


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert words.short(-0.0004, -0.02, 0.02, percent=False) == "0.000 ±0.020"
    assert words.short(-0.04, -0.06, -0.02, percent=False) == "−0.040 ±0.020"


def test_direction_follows_the_metric() -> None:
    assert words.direction("lower") == ("← better", "worse →")
    assert words.direction("higher") == ("← worse", "better →")
    assert [words.tone(value, True, better) for value, better in ((-1, "lower"), (-1, "higher"))] == [
        "good",
        "bad",
    ]
    assert words.tone(-1, False, "lower") == words.tone(-1, True, "neither") == "plain"


def test_charts_have_a_name_numbers_in_words_and_the_page_s_colors(html: str) -> None:
    figures = [one for one in parsed(html).all() if one.tag == "figure"]
    assert len(figures) > 8
    for figure in figures:
        listed = next(one for one in figure.all() if one.attributes.get("id", "").startswith("c-"))
        assert sum(one.tag == "li" for one in listed.all()) >= 1
        for svg in (one for one in figure.all() if one.tag == "svg"):
            assert svg.attributes["role"] == "img"
            assert svg.attributes["aria-describedby"] == listed.attributes["id"]
            colors = {
                value
                for one in svg.all()
                for name, value in one.attributes.items()
                if name in ("fill", "stroke")
            }
            assert {color for color in colors if color.startswith("#")} == set()


def test_the_page_needs_nothing_else_and_is_well_formed(html: str) -> None:
    root = parsed(html)
    assert not [one for one in root.all() if one.tag in ("script", "iframe", "object", "embed", "form")]
    for element in root.all():
        for name in ("src", "href", "xlink:href", "action"):
            assert element.attributes.get(name, "#").startswith(("#", "data:,")), element.attributes
    assert "url(" not in html
    ids = [one.attributes["id"] for one in root.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    levels = [int(one.tag[1]) for one in root.all() if one.tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    links = {
        one.attributes["href"][1:] for one in root.all() if one.attributes.get("href", "").startswith("#")
    }
    assert links <= set(ids)


def _hostile(part: Any) -> Any:
    """Return a tune in which every name that comes from a user is hostile."""
    if isinstance(part, dict):
        return {key: _hostile(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_hostile(one) for one in part]
    return part.replace("minhash", HOSTILE) if isinstance(part, str) else part


def test_hostile_names_are_shown_and_never_act() -> None:
    told = _hostile(tune())
    told["base"]["name"] = told["groups"][0]["name"] = told["skipped"][0]["stage"] = HOSTILE
    html = page(told)
    assert "<img" not in html
    assert "\u202e" not in html
    assert "&lt;img src=x onerror=" in html
    parsed(html)
    said = terminal(told)
    assert "\u202e" not in said
    assert "[red]x" in said


STRANGE: dict[str, dict[str, Any]] = {
    "one seed": tune(seeds=1),
    "no filters": tune(()),
    "one filter": tune(("pii",)),
    "no evaluation file": tune(evals=False),
    "no privacy arms": tune(privacy=False),
    "25 filters of long names": tune([f"a-filter-with-a-very-long-name-{n}" for n in range(25)]),
}


def _without_intervals() -> dict[str, Any]:
    told = tune()
    for one in [*told["contrasts"], *told["filters"]]:
        for name in ("low", "high", "boot_low", "boot_high", "mde", "p", "holm", "power", "alone"):
            if name in one:
                one[name] = None
    return {**told, "groups": [], "controls": [], "skipped": [], "limits": []}


@pytest.mark.parametrize("name", [*STRANGE, "no intervals", "an effect of zero"])
def test_whatever_a_tune_holds_is_told(name: str) -> None:
    told = _without_intervals() if name == "no intervals" else copy.deepcopy(STRANGE.get(name, tune()))
    if name == "an effect of zero":
        for one in told["contrasts"]:
            one.update(effect=0.0, relative=None if one["relative"] is None else 0.0)
    for timed in (True, False):
        html = effects.render(manifest(told, timed))[effects.REPORT].decode()
        assert ("Cost" in parsed(html).text) is timed
    text = parsed(html).text
    assert words.headline(told["filters"]) in text
    assert not re.search(r"\b(None|nan|inf|Undefined)\b", text.replace("None was run", ""))
    assert words.headline(told["filters"]) in terminal(told).replace("\n", " ")


def test_a_plot_has_round_ticks_and_shows_every_interval_whole() -> None:
    assert plots.ticks(-4.7, 2.4, 5) == ([-4.0, -2.0, 0.0, 2.0], 0)
    assert plots.ticks(-0.011, 0.013, 5) == ([-0.01, -0.005, 0.0, 0.005, 0.01], 3)
    rows = [Effect("x", "removed", 0.5, -2.0, 3.0, 100.0, "", "", "plain", False)]
    low, high = plots._range(rows)
    assert low < -2
    assert 3 < high < 6  # a band of what cannot be detected does not squeeze what was


def test_the_datasheet_s_section_names_verdicts_controls_and_limits() -> None:
    section = datasheet.section(Held({"tune": tune()}))
    text = "\n".join(markdown._block(block) for block in section.blocks)
    assert "**2 of 6 filters help, 1 hurts, 3 have no detectable effect.**" in text
    for one in tune()["filters"]:
        assert f"| {one['stage']} | {words.VERDICTS[one['verdict']].words}" in text
        assert percent(one["relative"]) in text
        assert f"{one['mde']:.2%}" in text
    for control in ("Planted defects: passed", "Random drop: passed", "A/A calibration: inconclusive"):
        assert control in text
    assert "The base is tiny: it shows gross defects" in text
    assert [block for block in section.blocks if getattr(block, "spans", ())]
    assert datasheet.section(Held({})).blocks == ()
    for told in (*STRANGE.values(), _without_intervals()):
        assert datasheet.section(Held({"tune": told})).blocks


def terminal(told: dict[str, Any], width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(view.effects(told, timing(told), Path("release")))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
