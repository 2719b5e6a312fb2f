"""The datasheet's section on other releases: which ones this was deduplicated against, and its own index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.govern.markdown import table


def section(manifest: Mapping[str, Any]) -> str:
    """Return the section as Markdown; empty without an index of this release or of earlier ones."""
    parts = [part for part in (_against(manifest), _index(manifest)) if part]
    return "\n\n".join(["## Earlier and later releases", *parts]) if parts else ""


def _against(manifest: Mapping[str, Any]) -> str:
    rows = [
        (
            stage["name"],
            release["name"],
            release["version"],
            f"`{release['root']}`",
            release["records"],
            release["dropped"],
        )
        for stage in manifest["stages"]
        for release in stage.get("resolution", {}).get("against", ())
    ]
    if not rows:
        return ""
    head = ("stage", "release", "version", "root of its manifest", "records it kept", "dropped here")
    return (
        "Records that one of these releases holds already were dropped. The ledger names the record there in "
        f"`kept_id` and the release in `evidence`.\n\n{table(head, rows, 2)}"
    )


def _index(manifest: Mapping[str, Any]) -> str:
    if "index" not in manifest:
        return ""
    held = manifest["index"]
    size = f"{held['bytes'] / held['records']:,.0f} bytes per record" if held["records"] else "no record"
    return (
        f"`index/` holds signatures of the kept records for the stages {', '.join(held['stages'])}, of the content "
        f"as each stage saw it: {size}. Who has a text can tell from it whether the text, or one much like it, is in "
        "this release; personal data that a later stage replaced is among what was hashed. It is derived from the "
        "records, so take their licenses to bind who passes it on."
    )
