"""Every number of the page is a link to its evidence, and says what stands there."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from datasheets import rich_release
from effects_told import tune
from tracing import Element, parsed, untraced

from curate.govern.datasheet import page
from curate.govern.datasheet.charts import COLORS
from curate.govern.datasheet.sheet import sheet

EXTRAS: dict[str, Any] = {  # parts of a manifest that other commands add
    "takedowns": [
        {
            "request": 1,
            "reference": "r-17",
            "received": "2026-11-01T10:00:00+00:00",
            "verified": "2026-11-02T10:00:00+00:00",
            "done": "2026-11-03T10:00:00+00:00",
            "by": ["id"],
            "records": 3,
            "near_duplicates": 2,
            "removed": 1,
            "shards": ["data/part-00000.parquet"],
            "supersedes": "ab" * 32,
        }
    ],
    "supersedes": {"root": "ab" * 32, "manifest_sha256": "cd" * 32},
    "index": {"records": 2798, "bytes": 100_000, "stages": ["exact", "minhash"]},
    "answers": {
        "motivation-purpose": {
            "text": "For 3 tests.",
            "by": "the tests",
            "at": "2026-11-21",
            "evidence_sha256": None,
        },
        "uses-already": {"text": "In 2 tests.", "by": None, "at": None, "evidence_sha256": "0" * 64},
    },
    "owners": {"*": "the 2 owners"},
    "tune": tune(),
}
LICENSES: dict[str, Any] = {
    "records": [],
    "collection": {
        "expression": "MIT AND CC-BY-4.0",
        "verdict": "allowed",
        "commercial": True,
        "derivatives": True,
        "attribution": True,
        "share_alike": None,
        "obligations": ["name-the-author"],
        "reasons": ["Each of 2 licenses stays with its records."],
    },
    "merged": {"verdict": "conflict", "reasons": ["2 licenses conflict."], "outbound": ["MIT"]},
    "conflicts": [{"a": "MIT", "b": "CC-BY-SA-4.0", "records_a": 5, "records_b": 7, "reason": "share-alike"}],
    "disagreements": [{"source": "docs", "declared": "MIT", "detected": "CC0-1.0", "records": 4}],
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    release = rich_release(tmp_path_factory.mktemp("page"))
    held: dict[str, Any] = orjson.loads((release.path / "manifest.json").read_bytes())
    return held


@pytest.fixture(scope="module")
def whole(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest with everything that can be in one."""
    return {**manifest, **EXTRAS, "licenses": LICENSES}


@pytest.fixture(scope="module")
def html(whole: dict[str, Any]) -> str:
    return page.render(sheet(whole))


def test_every_number_is_a_link_to_evidence_that_says_the_same(
    manifest: dict[str, Any], whole: dict[str, Any], html: str
) -> None:
    assert untraced(page.render(sheet(manifest)), manifest) == []
    assert untraced(html, whole) == []
    root = parsed(html)
    ids = {element.attributes["id"] for element in root.all() if "id" in element.attributes}
    links = [element for element in root.all() if element.tag == "a"]
    assert {link.attributes["href"].removeprefix("#") for link in links} <= ids
    assert sum(link.attributes.get("class") == "n" for link in links) > 300
    assert not [one for one in root.all() if one.attributes.get("class") == "n" and one.pointers is None]


def _numbers(held: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(held, dict | list):
        keys = held if isinstance(held, dict) else range(len(held))
        for key in keys:
            yield from _numbers(held[key], (*path, key))
    elif isinstance(held, int | float) and not isinstance(held, bool):
        yield path


def test_a_page_of_other_numbers_fails_at_each_of_them(whole: dict[str, Any], html: str) -> None:
    used = {pointer for element in parsed(html).all() for pointer in element.pointers or ()}
    changed = copy.deepcopy(whole)
    numbers = []
    for path in _numbers(whole):
        pointer = "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)
        if pointer in used:
            numbers.append(pointer)
            *above, last = path
            part: Any = changed
            for key in above:
                part = part[key]
            factor = 2 + len(numbers) % 5  # not the same for all, or shares would stay
            part[last] = part[last] / factor if isinstance(part[last], float) else part[last] * factor + 7
    assert len(numbers) > 200
    said = "\n".join(untraced(html, changed))
    missed = [pointer for pointer in numbers if f"'{pointer}'" not in said]
    assert [pointer for pointer in missed if _value(changed, pointer) != _value(whole, pointer)] == []
    again = page.render(sheet(changed))
    assert untraced(again, changed) == []  # the page follows each of them


def _value(manifest: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        manifest = manifest[int(key)] if isinstance(manifest, list) else manifest[key]
    return manifest


def test_an_edited_number_is_found(whole: dict[str, Any], html: str) -> None:
    kept = f"{whole['counts']['kept']:,}"
    assert untraced(html.replace(f">{kept}</a> records", ">9,999</a> records", 1), whole)
    assert untraced(html.replace("</main>", "<p>It has 1,234 records.</p></main>"), whole)


def test_the_page_needs_nothing_else(html: str) -> None:
    root = parsed(html)
    assert not [one for one in root.all() if one.tag in ("script", "iframe", "object", "embed", "form")]
    for element in root.all():
        for name in ("src", "href", "xlink:href", "action"):
            assert element.attributes.get(name, "#").startswith(("#", "data:,")), element.attributes
    assert "url(" not in html
    assert "@import" not in html


def test_the_page_is_built_for_readers_of_all_kinds(html: str) -> None:
    root = parsed(html)
    tags = [one.tag for one in root.all()]
    assert [tag for tag in tags if tag in ("header", "nav", "main")] == ["header", "nav", "main"]
    levels = [int(tag[1]) for tag in tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [one.attributes["id"] for one in root.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    for table in (one for one in root.all() if one.tag == "table"):
        inside = list(table.all())
        assert sum(one.tag == "caption" and bool(one.text) for one in inside) == 1
        assert all(
            one.attributes.get("scope") in ("row", "col") and one.text for one in inside if one.tag == "th"
        )


def test_charts_are_pictures_with_a_name_and_their_numbers_in_words(html: str) -> None:
    figures = [one for one in parsed(html).all() if one.tag == "figure"]
    names = []
    for figure in figures:
        svg = next(one for one in figure.all() if one.tag == "svg")
        assert svg.attributes["role"] == "img"
        [title, description] = [next(one for one in svg.all() if one.tag == tag) for tag in ("title", "desc")]
        assert title.text
        assert description.text
        listed = next(
            one for one in figure.all() if one.attributes.get("id") == svg.attributes["aria-describedby"]
        )
        assert len([one for one in listed.all() if one.pointers]) >= 2
        names.append(svg.attributes["aria-describedby"].removeprefix("c-"))
        assert not any(color in _source(svg) for color in COLORS)
    expected = ["funnel", "mixture", "exact-sizes", "minhash-curve", "minhash-sizes", "minhash-similarity"]
    mixed = ["mixture-source", "mixture-license", "mixture-language"]
    assert names == [*expected, *mixed, "licenses", "languages", "pii-kinds", "effects"]


def _source(element: Element) -> str:
    return " ".join(value for one in element.all() for value in one.attributes.values())


def test_what_a_person_says_cannot_break_out(manifest: dict[str, Any]) -> None:
    said = {
        "text": "</article><script>alert(1)</script> `x` **y**",
        "by": "<i>",
        "at": None,
        "evidence_sha256": None,
    }
    text = page.render(sheet({**manifest, "answers": {"uses-other": said}}))
    assert "<script" not in text
    assert "&lt;/article&gt;&lt;script&gt;alert(1)&lt;/script&gt; `x` **y**" in text


def test_all_renderings_together_are_cheap(manifest: dict[str, Any], tmp_path: Path) -> None:
    import subprocess
    import sys

    file = tmp_path / "manifest.json"
    file.write_bytes(orjson.dumps(manifest))
    code = (
        "import sys, time, orjson; from curate.govern import datasheet; "
        "import curate.govern.datasheet.page, curate.govern.datasheet.paper; "
        "m = orjson.loads(open(sys.argv[1]).read()); "
        "start = time.process_time(); datasheet.render(m); print(time.process_time() - start)"
    )
    took = [
        float(subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, check=True).stdout)
        for _ in range(2)
    ]
    assert (
        min(took) < 2.5
    )  # seconds of CPU; about 1.2 on a quiet machine, half of them a JavaScript engine's start
