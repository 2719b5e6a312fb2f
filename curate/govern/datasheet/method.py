"""The datasheet's sections on how the release was made, and of which files."""

from __future__ import annotations

from collections.abc import Iterator

from curate.govern.datasheet import duplicates, languages
from curate.govern.datasheet.blocks import Block, Cell, Items, Line, Section, Strong, say, table
from curate.govern.datasheet.values import Held, code, name, short_hash, show


def section(m: Held) -> Section:
    """Return what was done, in which order, with which options, rules and software."""
    said = {note.pointer for note in languages.notes(m)}  # beside the histogram
    steps: list[Line] = []
    for stage in m["recipe"]["stages"]:
        notes: Line = tuple(
            part for note in stage.below("notes") if note.pointer not in said for part in (" ", show(note))
        )
        version = show(stage["version"])
        steps.append(
            (Strong((show(stage["name"]),)), " (version ", version, "): ", code(stage["options"]), *notes)
        )
    return Section(
        "method",
        "What was done",
        (
            say("In this order, with these options:"),
            Items(tuple(steps), steps=True),
            *_resolutions(m),
            *_made_by(m),
        ),
    )


def _resolutions(m: Held) -> Iterator[Block]:
    for stage in m["stages"]:
        resolution = stage.get("resolution")
        if not resolution or duplicates.is_deduplicating(stage.value):
            continue
        counts: Line = tuple(
            part
            for one in resolution
            for part in (", ", one.key.replace("_", " ") + " ", show(one) if _plain(one) else code(one))
        )[1:]
        yield say("Resolution of ", Strong((show(stage["name"]),)), ": ", *counts, ".")


def _plain(held: Held) -> bool:
    return not isinstance(held.value, dict | list)


def _made_by(m: Held) -> Iterator[Block]:
    if m["rules"]:
        packs = [
            (code(pack["path"]), show(pack["version"]), short_hash(pack["sha256"])) for pack in m["rules"]
        ]
        yield table("Rule packs", ("pack", "version", "sha256"), packs, 0, m["rules"])
    software = [part for one in m["software"] for part in (", ", name(one), " ", show(one))][1:]
    yield say("Software: ", *software, ".")
    yield say("Recipe (resolved) sha256 ", code(m["recipe_sha256"]), ".")


def files(m: Held) -> Section:
    """Return the files that were read and written, with their hashes."""
    read: list[tuple[Cell, ...]] = [
        (show(f["source"]), code(f["path"]), short_hash(f["sha256"]), show(f["bytes"]), show(f["records"]))
        for f in m["inputs"]
    ]
    made: list[tuple[Cell, ...]] = [
        (code(f["path"]), short_hash(f["sha256"]), show(f["bytes"]), show(f["records"])) for f in m["outputs"]
    ]
    return Section(
        "files",
        "Files",
        (
            say("Full hashes are in `manifest.json`."),
            table("Files read", ("source", "file", "sha256", "bytes", "records"), read, 2, m["inputs"]),
            table("Files written", ("file", "sha256", "bytes", "records"), made, 2, m["outputs"]),
        ),
    )
