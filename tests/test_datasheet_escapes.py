"""What comes from data can break no rendering of the datasheet, and stands in all of them as it is."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from datasheets import rich_release
from tracing import parsed, untraced

from curate.govern import datasheet
from curate.govern.datasheet import charts, markdown, questions
from curate.govern.datasheet.blocks import Bar, Chart
from curate.govern.datasheet.sheet import sheet
from curate.govern.datasheet.values import Held, Value

NASTY = (
    "nul\x00 bell\x07 \x1b[31mred",  # a picture with a NUL in it once ended the whole process
    "許可 CC-BY",
    "unassigned \u0378 \ufffe",
    "a\u0301\u0327\u0328 \u0485",
    "\u202egnitteg",
    '<script>x</script> role="x" "#0b5cad"',
    "a|b`c` ![i](http://evil.example/p.png) [l](javascript:x)",
    "#pagebreak() $x$ @ref \\ *b* _i_",
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    release = rich_release(tmp_path_factory.mktemp("escapes"))
    held: dict[str, Any] = orjson.loads((release.path / "manifest.json").read_bytes())
    return held


def _with_licenses(manifest: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    rows = [{"source": "docs", "license": name, "records": 2} for name in names]
    return {**manifest, "statistics": {**manifest["statistics"], "licenses": rows}}


def test_any_text_of_the_data_is_shown_in_every_rendering(manifest: dict[str, Any]) -> None:
    import pypdf

    changed = _with_licenses(manifest, NASTY)
    made = datasheet.render(changed)
    html = made["datasheet.html"].decode()
    assert "<script" not in html
    assert untraced(html, changed) == []
    assert "nulU+0000 bellU+0007 U+001B[31mred" in html
    assert not any(letter in html for letter in "\x00\x07\x1b\u202e\ufffe")
    [figure] = [e for e in parsed(html).all() if e.tag == "figure" and "Records by license" in e.text]
    assert 'role="x" "#0b5cad"'[:8] in figure.text
    text = made["datasheet.md"].decode()
    assert "<script" not in text
    assert "![i](" not in text
    assert r"#pagebreak() $x$ @ref \\ \*b\* \_i\_" in text
    pages = pypdf.PdfReader(io.BytesIO(made["datasheet.pdf"])).pages
    printed = "".join("".join(page.extract_text() for page in pages).split())
    for part in ("U+8A31U+53EFCC-BY", "U+0378", "#pagebreak()$x$@ref\\*b*_i_"):
        assert part in printed, part


def test_markdown_shows_a_person_s_words_as_they_are(manifest: dict[str, Any]) -> None:
    said = {
        "text": "# Not a heading\n<img src=x> a & b\n1. x",
        "by": "*me*",
        "at": None,
        "evidence_sha256": None,
    }
    text = markdown.render(sheet({**manifest, "answers": {"uses-other": said}}))
    assert "> \\# Not a heading\n> &lt;img src=x> a &amp; b\n> 1\\. x — \\*me\\*" in text


def test_code_in_markdown_ends_where_it_ends() -> None:
    value = Value("a`b``c", ("/x",), raw="a`b``c", code=True)
    assert markdown.line(("in ", value)) == "in ``` a`b``c ```"


def test_plain_text_of_an_answer_keeps_marks_of_the_data(manifest: dict[str, Any]) -> None:
    changed = _with_licenses(manifest, ("**b** `c`",))
    [answer] = [one for one in questions.answered(changed) if one.question.id == "distribution-license"]
    assert "under **b** `c`" in str(answer.text)


def test_an_engine_started_in_a_thread_draws_the_same() -> None:
    bars = tuple(Bar(Value(name, ("/a",)), Value(f"{n}", ("/b",), raw=n)) for name, n in (("x", 1), ("y", 2)))
    chart = Chart("c", "T", "n", bars)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from curate.govern.datasheet import charts; charts.start(); "
        "from curate.govern.datasheet.blocks import Bar, Chart; from curate.govern.datasheet.values import Value; "
        "bars = tuple(Bar(Value(k, ('/a',)), Value(str(n), ('/b',), raw=n)) for k, n in (('x', 1), ('y', 2))); "
        "print(charts.svg(Chart('c', 'T', 'n', bars)), end='')"
    )
    root = str(Path(__file__).parent.parent)
    drawn = subprocess.run(
        [sys.executable, "-c", code, root], capture_output=True, text=True, check=True
    ).stdout
    assert drawn == charts.svg(chart)


def _answer(manifest: dict[str, Any], name: str) -> str:
    return next(str(one.text) for one in questions.answered(manifest) if one.question.id == name)


def test_only_edits_of_personal_data_count_as_such(manifest: dict[str, Any]) -> None:
    edits = [
        {"reason": "boilerplate/line", "source": "docs", "records": 9, "edits": 50},
        {"reason": "pii/EMAIL_ADDRESS", "source": "docs", "records": 3, "edits": 4},
    ]
    changed = {**manifest, "statistics": {**manifest["statistics"], "edits": edits}}
    assert "it was replaced 4 times" in _answer(changed, "composition-identifiable")


def test_a_shared_id_is_no_unreadable_record(manifest: dict[str, Any]) -> None:
    stages = [dict(stage) for stage in manifest["stages"]]
    stages[0] = {**stages[0], "quarantined": 0, "reasons": {"read/duplicate-id": 2}}
    text = _answer({**manifest, "stages": stages}, "composition-missing")
    assert "0 of" in text
    assert "in quarantine." in text
    assert "2 records share their id with another" in text


def test_what_earlier_take_downs_left_out_is_told(manifest: dict[str, Any]) -> None:
    none = {"kept": 0, "seen": 9, "dropped": 2, "quarantined": 0, "edited": 0, "flagged": 0}
    left_out = {**none, "name": "suppress", "reasons": {"suppress/id": 2}, "sources": {}}
    changed = {**manifest, "stages": [manifest["stages"][0], left_out, *manifest["stages"][1:]]}
    told = "2 records were left out of this run because of take-downs"
    assert told in _answer(changed, "maintenance-erratum")
    assert told in _answer(changed, "collection-revoke")
    taken = {**manifest, "takedowns": [{"records": 1, "near_duplicates": 0}]}
    assert "byte for byte" not in _answer(taken, "maintenance-old-versions")


def test_whether_removed_is_encrypted_is_told(manifest: dict[str, Any]) -> None:
    output = {**manifest["recipe"]["output"], "encrypt_removed": {"fingerprint": "ab"}}
    changed = {**manifest, "recipe": {**manifest["recipe"], "output": output}}
    for name in ("preprocessing-raw", "maintenance-retention"):
        assert "encrypted" in _answer(changed, name)
        assert "encrypted" not in _answer(manifest, name)


def test_a_value_never_acts() -> None:
    assert Value("a\u2066b\x7f", ("/x",)).text == "aU+2066bU+007F"
    assert Held({"x": 1})["x"].pointer == "/x"
