"""A verification, and a signature, as the terminal shows them."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from curate.govern.signing import Signed
from curate.govern.verify import Check, Proof, Report

_MARKS = {"ok": ("✓", "green"), "failed": ("✗", "bold red"), "not checked": ("–", "yellow")}
_SHOWN = 5  # findings of one check; --json has all


def report(told: Report) -> Group:
    """Return each check with its mark, what it found, and the verdict."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in told.checks:
        mark, style = _MARKS[check.state]
        table.add_row(Text(mark, style=style), check.name, _said(check))
    head = Text(f"{told.name or told.out} {told.version or ''}".rstrip(), style="bold")
    parts: list[Any] = [head, Padding(table, (1, 0))]
    parts += [_proof(proof) for proof in told.proofs]
    parts.append(_verdict(told))
    return Group(*parts)


def _said(check: Check) -> Text:
    if not check.findings:
        return Text(f"not checked: {check.said}" if check.state == "not checked" else check.said)
    text = Text("\n".join(map(str, check.findings[:_SHOWN])), style="red")
    if more := len(check.findings) - _SHOWN:
        text.append(f"\nand {more:,} more (--json)" if more > 0 else "")
    return text


def _proof(proof: Proof) -> Text:
    place = f"{proof.shard}, row {proof.row:,}: leaf {proof.index:,} of {proof.size:,}"
    lines = [
        f"{proof.id}: {place}",
        f"  leaf {proof.leaf}",
        f"  line {proof.line_sha256} (SHA-256 of the record)",
    ]
    lines += [f"  {'path' if not at else '    '} {step}" for at, step in enumerate(proof.path)]
    return Text("\n".join([*lines, f"  root {proof.root}\n"]))


def _verdict(told: Report) -> Text:
    seconds = sum(check.seconds for check in told.checks)
    if told.first is not None:
        return Text(f"does not verify: {told.first}", style="bold red")
    signed = told.check("signature").state == "ok"
    how = "" if signed else "; its signature was not checked, so only damage is ruled out, not a forger"
    return Text(f"verifies in {seconds:.1f} s{how}", style="bold green" if signed else "green")


def signed(told: Signed) -> Group:
    """Return what was signed, by which key, and how others verify it."""
    lines = [
        f"signed {told.subjects:,} files: {told.path} ({told.signatures:,} signature{'s' * (told.signatures > 1)})",
        f"key {told.keyid}",
    ]
    if told.new_key is not None:
        lines.append(f"new key {told.new_key}: keep it secret; {told.new_key}.pub is for whoever verifies")
    return Group(*map(Text, lines))
