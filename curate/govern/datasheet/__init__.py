"""The datasheet of a release in four renderings of one content, from the manifest alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


def render(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the datasheet's files: the same manifest always gives the same bytes."""
    from curate.govern.datasheet import data, markdown, page, paper  # Typst and templates: only to render
    from curate.govern.datasheet.sheet import sheet

    made = sheet(manifest)
    return {
        "datasheet.json": orjson.dumps(data.data(made), option=orjson.OPT_INDENT_2) + b"\n",
        "datasheet.md": markdown.render(made).encode(),
        "datasheet.html": page.render(made).encode(),
        "datasheet.pdf": paper.render(made),
    }
