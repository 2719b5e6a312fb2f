"""The datasheet's section on other releases: what was deduplicated against, what was taken down, its own index."""

from __future__ import annotations

from collections.abc import Iterator

from curate.govern.datasheet.blocks import Block, Section, joined, say, table
from curate.govern.datasheet.values import Held, Value, code, count, show


def section(m: Held) -> Section:
    """Return the section; empty without an index of this release or of earlier ones."""
    return Section("earlier", "Earlier and later releases", (*_supersedes(m), *_against(m), *_index(m)))


def errata(m: Held) -> Section:
    """Return what was taken down after the release was made; empty if nothing was."""
    held = m.get("takedowns")
    if not held:
        return Section("errata", "Errata")
    rows = [
        (
            show(one["request"]),
            show(one["done"]),
            joined([show(kind) for kind in one["by"]]),
            show(one["records"]),
            show(one["near_duplicates"]),
            count(one["shards"]),
        )
        for one in held
    ]
    head = ("request", "done", "by", "records", "near-duplicates", "files written again")
    note = say(
        "Records that were taken down after the release was made. Their places in the Merkle tree stay."
    )
    return Section("errata", "Errata", (note, table("Take-downs", head, rows, 3, held)))


def _supersedes(m: Held) -> Iterator[Block]:
    if held := m.get("supersedes", "root"):
        yield say("This release supersedes the one with the root ", code(held), ".")


def _against(m: Held) -> Iterator[Block]:
    rows = [
        (
            show(stage["name"]),
            show(release["name"]),
            show(release["version"]),
            code(release["root"]),
            show(release["records"]),
            show(release["dropped"]),
        )
        for stage in m["stages"]
        if stage.get("resolution")
        for release in stage["resolution"].below("against")
    ]
    if not rows:
        return
    yield say(
        "Records that one of these releases holds already were dropped. The ledger names the record there in "
        "`kept_id` and the release in `evidence`."
    )
    head = ("stage", "release", "version", "root of its manifest", "records it kept", "dropped here")
    yield table("Releases that this one was deduplicated against", head, rows, 2)


def _index(m: Held) -> Iterator[Block]:
    held = m.get("index")
    if held is None:
        return
    stages = [Value(written, (held["stages"].pointer,), "in", written) for written in held.value["stages"]]
    nbytes, records = held["bytes"], held["records"]
    mean = nbytes.value / records.value if records.value else 0
    size = (Value(f"{mean:,.0f}", (nbytes.pointer, records.pointer), "mean", mean), " bytes per record")
    yield say(
        "`index/` holds signatures of the kept records for the stages ",
        *joined(stages),
        ", of the content as each stage saw it: ",
        *(size if records.value else ("no record",)),
        ". Who has a text can tell from it whether the text, or one much like it, is in this release; personal data "
        "that a later stage replaced is among what was hashed. It is derived from the records, so take their "
        "licenses to bind who passes it on.",
    )
