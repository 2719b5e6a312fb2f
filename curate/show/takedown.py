"""What the terminal shows of a take-down."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from curate.govern.takedown.switching import TakenDown


def takedown(done: TakenDown) -> Group:
    """Return what was erased, or would be, and what the take-down does not reach."""
    told = done.impact
    verb = "would be erased" if done.request is None else "were erased"
    whole = done.records + done.near_duplicates
    head = Text(f"{whole:,} records {verb}", style="bold")
    head.append(
        f": {done.records:,} asked for, {done.near_duplicates:,} near-duplicates of them", style="default"
    )
    where = [f"{n:,} rows of {part}" for part, n in told["rows"].items() if n]
    lines = [head, Text(", ".join(where) or "the ledger alone knew them")]
    if done.contained:
        lines.append(
            Text(
                f"{len(done.contained):,} records hold most of a text that goes, and were left: read them (--json "
                "names them); --id, or --match with --contained, takes them",
                style="yellow",
            )
        )
    lines += [Text(f"\n{len(done.shards):,} files {'to write' if done.request is None else 'written'} again")]
    lines += [Text(f"  {path}") for path in done.shards]
    parts: list[Any] = [
        *lines,
        Text("\nnot reached: the text still lies in", style="bold"),
        _inputs(told["inputs"]),
    ]
    others = told["releases"][1:]
    parts += [
        Text(f"release {one['folder']} ({one['name']} {one['version']}): {one['why']}") for one in others
    ]
    parts += [Text(f"{path}: trained on this release") for path in told["adapters"]]
    parts.append(Text(told["beyond"]))
    if done.request is None:
        return Group(*parts, Text("\nnothing was written"))
    end = f"\nrequest {done.request}; new root {done.root}; a release that was signed must be signed again"
    kept = f"suppression list: takedown/suppression.parquet; its key: {done.key_file} (keep it, and keep it secret)"
    finished = [Text("finished what had been stopped", style="yellow")] if done.resumed else []
    return Group(*parts, Text(end), Text(kept), *finished)


def _inputs(files: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("source", "file", "records"):
        table.add_column(name, justify="right" if name == "records" else "left")
    for file in files:
        table.add_row(file["source"], file["path"], f"{file['records']:,}")
    return table
