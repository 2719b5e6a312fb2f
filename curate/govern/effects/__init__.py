"""The effect of each filter on a model: the report and what the datasheet says, from the manifest's key ``tune``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REPORT = "tune/report.html"
DATA = "tune/report.json"


def render(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the quick-tune's report: the same manifest always gives the same bytes; nothing where there was none."""
    if "tune" not in manifest:
        return {}
    from curate.govern.datasheet.values import canonical, settled  # templates and charts: only to render
    from curate.govern.effects import page

    whole = settled(dict(manifest))
    told = {**whole["tune"], "timing": whole["timing"].get("tune")}
    return {DATA: canonical(told) + b"\n", REPORT: page.render(whole).encode()}
