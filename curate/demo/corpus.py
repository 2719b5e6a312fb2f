"""The demo corpus: about 3,200 records in six sources and formats, and the truth about what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.demo import duplicates, faults, files, lookalikes, sources
from curate.demo.drafts import Corpus, Draft

LATE = 24
"""Records of the handbook that stand in a second file, among lines that cannot be read."""

LATE_FILE = "late-additions.jsonl"

SOURCES = tuple(sorted(files.FILES))

_PREFIX = {"handbook": "hb", "support": "t", "forum": "f", "articles": "a", "norsk": "no", "web": "p"}


@dataclass(frozen=True)
class Summary:
    """What was written."""

    folder: Path
    files: tuple[Path, ...]  # as :func:`paths` lists them
    records: dict[str, int]  # source → readable records
    plants: dict[str, int]  # plant → records, originals of duplicates not counted


def paths(folder: Path) -> tuple[Path, ...]:
    """Return what :func:`write` writes: the data files, then truth.jsonl."""
    data = [folder / "data" / source / files.FILES[source][0] for source in SOURCES]
    return (*data, folder / "data" / "handbook" / LATE_FILE, folder / "truth.jsonl")


def write(folder: Path, seed: int = 7) -> Summary:
    """Write the corpus to folder/data/ and what was planted to folder/truth.jsonl.

    The same seed gives the same bytes on every machine. A line of the truth has ``source id plant stage``;
    duplicates and hard negatives have ``cluster``, originals ``original: true``, PII ``types`` (entity →
    how many), lines that cannot be read ``file`` and ``line``.
    """
    corpus = Corpus(seed)
    sources.sow(corpus)
    for planter in (duplicates, lookalikes, faults):
        planter.plant(corpus)
    truth: list[dict[str, Any]] = []
    for source in SOURCES:
        draw = corpus.draw(f"{source} file")
        drafts = _numbered(draw.shuffled(corpus.drafts[source]), _PREFIX[source])
        rows = [files.ROWS[source](draft, draw) for draft in drafts]
        name, write_file = files.FILES[source]
        place = folder / "data" / source
        place.mkdir(parents=True, exist_ok=True)
        late = LATE if source == "handbook" else 0
        write_file(place / name, rows[late:])
        for draft in drafts:
            truth += [{"source": source, "id": f"{source}/{draft.id}", **plant} for plant in draft.plants]
        if late:
            truth += _late_additions(place / LATE_FILE, rows[:late], folder)
    (folder / "truth.jsonl").write_bytes(files.lines(truth))
    plants = Counter(line["plant"] for line in truth if not line.get("original"))
    records = {source: len(corpus.drafts[source]) for source in SOURCES}
    return Summary(folder, paths(folder), records, dict(sorted(plants.items())))


def _numbered(drafts: Sequence[Draft], prefix: str) -> Sequence[Draft]:
    for number, draft in enumerate(drafts, 1):
        draft.id = f"{prefix}-{number:04}"
    return drafts


_MALFORMED = (
    b"# added by hand, to be sorted in later",
    b'{"id": "late-1", "instruction": "How long do I boil an egg?", "output": "Six and a half min',
    b'{"id": "late-2", "instruction": "What is caf\xe9 au lait?", "output": "Coffee with hot milk."}',
    b'{"id": "late-3", "instruction": "Why is the sky blue?"}',
    b'{"id": "late-4", "instruction": "How do I descale a kettle?", "input": "", "output": null}',
    b'{"id": "late-5" "instruction": "Name a winter vegetable.", "output": "Kale."}',
    b'["late-6", "What is the capital of Norway?", "Oslo."]',
    b'{"id": "late-7", "input": "", "output": "Put them in a bag with a damp cloth."}',
    b"{'id': 'late-8', 'instruction': 'Name a river in Poland.', 'output': 'The Vistula.'}",
    b'{"id": "late-9", "instruction": null, "output": "Because the axis of the Earth is tilted."}',
    b'{"id": "late-10", "instruction": "What is a lichen?", "output": "A fungus \xff\xfe and an alga."}',
    b'{"id": "late-11", "instruction": "How many sides has a hexagon?", "output": 6}',
)
"""Lines that are no record: not JSON, cut short, not UTF-8, a field missing, null or a number."""


def _late_additions(path: Path, rows: Sequence[files.Columns], folder: Path) -> list[dict[str, Any]]:
    """Write good rows with the malformed lines in between; return the truth about the latter."""
    written = [files.lines([row]).rstrip(b"\n") for row in rows]
    truth = []
    for number, line in enumerate(_MALFORMED):
        at = 2 + number * 3  # every third line from the third on
        written.insert(at, line)
        where = {"file": path.relative_to(folder).as_posix(), "line": at + 1}
        truth.append(
            {
                "source": "handbook",
                "id": f"handbook/{path.stem}/{at + 1}",
                "plant": "malformed",
                "stage": "read",
                **where,
            }
        )
    path.write_bytes(b"\n".join(written) + b"\n")
    return truth
