"""What ``curate export`` shows: the files, and what became of every record."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from curate.exporting.export import Exported

FILES_SHOWN = 12  # all of them are in export.json


def exported(done: Exported) -> Group:
    """Return an export as people read it."""
    counts, files = done.told["counts"], done.told["files"]
    table = Table("file", box=SIMPLE_HEAD)
    table.add_column("records" if done.told["to"] != "tokens" else "rows", justify="right")
    table.add_column("MB", justify="right")
    for file in files[:FILES_SHOWN]:
        records = f"{file['records']:,}" if "records" in file else ""
        table.add_row(Text(file["path"]), records, f"{file['bytes'] / 1e6:,.1f}")
    if len(files) > FILES_SHOWN:
        table.add_row(f"and {len(files) - FILES_SHOWN:,} more", "", "")
    lines = [f"{counts['exported']:,} of {counts['seen']:,} records exported"]
    if counts["cut"]:
        lines[0] += f", {counts['cut']:,} of them cut to fit a row"
    lines += [f"  {count:,} left out: {reason}" for reason, count in counts["skipped"].items()]
    for split, told in done.told.get("splits", {}).items():
        if "rows" in told:
            filled = "" if told["filled"] is None else f", {told['filled']:.1%} of them filled"
            said = f"{told['tokens']:,} tokens, {told['learnt']:,} of them learnt"
            lines.append(f"{split}: {said}, in {told['rows']:,} rows{filled}")
        else:
            lines.append(f"{split}: {told['tokens']:,} tokens")
    lines.append(f"export: {done.folder}  (export.json holds every number)")
    return Group(table, Text("\n".join(lines)))
