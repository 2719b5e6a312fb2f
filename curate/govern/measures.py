"""Everything in the manifest that is counted from a release's tables, so that it can be counted again.

``curate run`` counts it once the tables are written, a take-down when it has rewritten some of them, and
``curate verify`` to see that the manifest tells the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.govern import columns, contamination, distributions, drift, mixture, profile, statistics
from curate.govern.disclosures import volume
from curate.govern.licensing import measure as licensing


def measure(folder: Path, recipe: Mapping[str, Any], memory: int) -> dict[str, Any]:
    """Return parts of the manifest by key.

    folder: holds the tables. recipe: in its resolved form, as the manifest has it. memory: bytes that the run may hold.
    """
    parts = {
        "statistics": statistics.measure(folder, memory),
        "licenses": licensing.measure(folder, recipe, memory),
        "schema": columns.measure(folder),
        "volume": volume.measure(folder, recipe, memory),
        "mixture": mixture.measure(folder, recipe, memory),
        "distributions": distributions.measure(folder, memory),
        **profile.measure(folder, recipe, memory),
    }
    if evals := contamination.measure(folder, recipe):
        parts["contamination"] = evals
    if gate := (recipe.get("gates") or {}).get("drift"):
        parts["drift"] = drift.told(gate, parts)
    return parts
