"""The quick-tune's report in a browser, at the width of a desk and of a telephone: quiet, whole and accessible."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from effects_told import tune
from test_effects_page import manifest

from curate.govern import effects

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
SIZES = {"desk": (1280, 900), "telephone": (390, 844)}


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    told = tune(("exact", "minhash", "a-filter-with-a-very-long-name"))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(effects.render(manifest(told))[effects.REPORT])
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.parametrize(
    ("size", "scheme"), [("desk", "light"), ("telephone", "dark"), ("telephone", "light")]
)
def test_the_report_is_quiet_whole_and_accessible(browser: Any, html: Path, size: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(html.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate(
        "[...document.querySelectorAll('header *, main *')].filter(one => !one.closest('.scroll, .unseen') && "
        "one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 90))"
    )
    assert wide == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    shown = page.evaluate(
        "[...document.querySelectorAll('#filters figure div')].filter(one => one.offsetHeight)"
        ".map(one => one.className)"
    )
    assert shown == ["large" if size == "desk" else "small"]
    assert [url for url in asked if not url.startswith(("file://", "data:"))] == []
    if (size, scheme) != ("telephone", "light"):  # axe takes seconds
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        found = Axe().run(page).response["violations"]
        assert {one["id"]: one["nodes"][0]["html"][:200] for one in found} == {}
    assert said == []
    page.close()


CROSSING = """
const boxes = svg => [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
const cross = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3;
[...document.querySelectorAll('main figure svg')].flatMap(svg => {
  const seen = boxes(svg).filter(([text, box]) => text && box.width);
  return seen.flatMap(([a, box], i) => seen.slice(i + 1).filter(([, b]) => cross(box, b)).map(([b]) => a + '/' + b));
})
"""


def test_names_and_numbers_of_the_plots_do_not_overlap(browser: Any, html: Path) -> None:
    for width, height in SIZES.values():
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(html.as_uri())
        assert page.evaluate("document.querySelectorAll('main figure svg text').length") > 100
        assert page.evaluate(CROSSING) == []
        page.close()


def test_nothing_is_cut_off_on_paper(browser: Any, html: Path) -> None:
    page = browser.new_page(
        viewport={"width": 690, "height": 1000}
    )  # the text of A4 at 96 pixels to the inch
    page.goto(html.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    cut = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1)"
        ".map(one => one.getAttribute('aria-label'))"
    )
    assert cut == []
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
