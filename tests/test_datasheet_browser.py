"""The page in a browser, at the width of a desk and of a telephone, light and dark: quiet, whole and accessible."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import curate

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
SIZES = {"desk": (1280, 900), "telephone": (390, 844)}


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from datasheets import rich_release

    return rich_release(tmp_path_factory.mktemp("page")).path / "datasheet.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_is_quiet_whole_and_accessible(browser: Any, html: Path, size: str, scheme: str) -> None:
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
        "[...document.querySelectorAll('main *')].filter(one => !one.closest('.scroll, .unseen, .pointers') && "
        "one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 90))"
    )
    assert wide == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    drawn = page.evaluate(
        "[...document.querySelectorAll('#funnel svg path')].map(one => getComputedStyle(one).fill)"
    )
    assert ("rgb(11, 92, 173)" in drawn) == (scheme == "light")
    assert [url for url in asked if not url.startswith(("file://", "data:"))] == []
    assert len([url for url in asked if url.startswith("file://")]) == 1
    looked_at = (
        ("desk", "light"),
        ("telephone", "dark"),
    )  # colors do not depend on width, and axe takes seconds
    found = Axe().run(page).response["violations"] if (size, scheme) in looked_at else []
    grave = {
        one["id"]: one["nodes"][0]["html"][:200] for one in found if one["impact"] in ("serious", "critical")
    }
    assert grave == {}
    assert said == []
    page.close()


def test_a_number_leads_to_its_evidence_by_keyboard(browser: Any, html: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(html.as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    number = page.locator("#funnel a.n").first
    number.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    target = page.locator(":target")
    assert target.count() == 1
    assert number.inner_text() in target.inner_text()
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


def test_the_release_has_what_is_looked_at(html: Path) -> None:
    text = html.read_text()
    assert text.count("<figure>") == 12
    assert curate.load(html.parent).manifest["root"] in text
