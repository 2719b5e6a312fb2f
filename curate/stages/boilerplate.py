"""Stage ``boilerplate``: paragraphs or lines that stand in record after record are taken out of them.

Notices, navigation, sign-offs and templates of machine-written answers are no duplicates of records: they
are duplicates inside records that differ. The other tools' faults that this stage avoids: it edits whole
lines and never cuts a character, leaves code alone, counts the records that hold a passage before the first
one is edited (so the order of files decides nothing), and says of every edit where it was and why.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate import record
from curate.io.store import Store
from curate.record import Batch
from curate.stage import Decision, Engine, Sketches, StageOptions, Verdict
from curate.stages.passages import frequency
from curate.stages.passages.frequency import Census, Frequencies
from curate.stages.passages.frequent import Frequent
from curate.stages.passages.paragraphs import Cutting, On, Passages, Span, characters_of, with_turns

_EXAMPLES = 10  # passages whose counts, and records whose ids, a finding names
_NOTHING_LEFT = "boilerplate/nothing-left"


class Boilerplate:
    """Takes out passages that occur in more records than the limit (barrier).

    A passage is a paragraph (lines between blank ones) or a line, compared by a 128-bit hash of its form
    after NFKC, case folding and white space made single: among a billion passages two different ones meet
    with a chance of 10^-21. One that is repeated inside a record counts once. Too short to count is what a
    heading, a label or a line of a dialogue may well share with others: under ``min_words`` words, or under
    ``min_chars`` characters in scripts written without spaces.

    The limit is the larger of ``max_records`` and ``max_share``. Ten records are more than a quotation or a
    clause is usually repeated in; a first copy stays (``keep: first``), in the first record by source, file
    and row, so that nothing known is lost to the whole.

    Of conversations only the responses are edited, for an instruction that many records share is no
    boilerplate; system turns never are. A turn that is boilerplate from end to end is no frame around an
    answer but the answer itself (a label, a refusal), and stays as it is unless ``emptied_turns`` is drop. A
    document of which nothing is left is dropped.

    Code is neither counted nor edited: fenced blocks, also in lists and quotes (CommonMark 0.31, section
    4.5), and, as answers often have no fence, every paragraph with a line that is indented by four columns or
    ends in a brace; where lines are compared, such lines.
    """

    name: ClassVar[str] = "boilerplate"
    version: ClassVar[str] = f"1.unicode{unicodedata.unidata_version}"
    rules: ClassVar[tuple[str, ...]] = ()
    bytes_per_record: ClassVar[int] = 200  # of one passage each, that resolving holds if memory allows

    class Options(StageOptions):
        """What boilerplate is, and what becomes of it."""

        unit: Literal["paragraph", "line"] = Field(
            "paragraph", description="What is compared: paragraphs between blank lines, or single lines."
        )
        min_words: int = Field(10, ge=1, description="A passage of fewer words is not looked at.")
        min_chars: int = Field(
            20,
            ge=1,
            description="The same for scripts written without spaces (Han, kana, Thai, Lao, Khmer, Burmese), "
            "whose characters are counted instead; a passage may reach it in part by words, in part by characters.",
        )
        max_records: int = Field(
            10, ge=1, description="A passage that occurs in more records than this is boilerplate."
        )
        max_share: float | None = Field(
            None,
            gt=0,
            lt=1,
            description="It must also occur in more than this share of all records, if given.",
        )
        keep: Literal["first", "none"] = Field(
            "first",
            description="Leave the first occurrence, in the first record by source, file and row, or none.",
        )
        on: On = Field(
            "response",
            description="Turns of a conversation that are looked at: the assistant's, all others, or both. "
            "System turns never are; documents always.",
        )
        emptied_turns: Literal["keep", "drop"] = Field(
            "keep",
            description="What becomes of a conversation with a turn that is nothing but boilerplate: the "
            "turn is kept as it is, or the record dropped.",
        )
        protect_code: bool = Field(
            True,
            description="Leave out fenced code, and what is indented by four columns or ends in a brace.",
        )
        max_source_loss: float = Field(
            0.2,
            gt=0,
            le=1,
            description="A source with a larger share of its characters in boilerplate is reported.",
        )

        def notes(self) -> list[str]:
            """Return what the stage takes for prose, and that notices of rights are no exception."""
            code = "code in fences, or with indented lines or braces, is left alone; other lines of it"
            return [
                f"Passages are looked for in prose: {code if self.protect_code else 'code'} counts as prose.",
                "Notices of copyright and license that many records share are taken out like anything else "
                "that they share; the ledger tells which records had some passage taken out.",
            ]

    def __init__(self, options: Options) -> None:
        self.options = options

    def sketch(self, batch: Batch) -> pa.RecordBatch:
        """Return each record's different passages as hashes, and its number of characters."""
        return Passages.of(batch, _cutting(self.options)).sketch(batch)

    def resolve(self, sketches: Sketches, engine: Engine) -> Repeated:
        """Count the passages of all records.

        The workers together hold no more than the memory allowed; 48 bytes per different passage of a file pass
        through the store, and 40 per frequent one through the disk of the machine that this is called on.
        """
        store, file = sketches.store.child("passages"), f"{self.name}.passages.arrow"
        try:
            known = frequency.gather(sketches, store, engine)
            limit = self.options.max_records
            if self.options.max_share is not None:  # as a decimal: 0.29 of 100 records are 29, not 28.99…
                limit = max(limit, int(Decimal(str(self.options.max_share)) * known.records))
            found = frequency.count(known, sketches, store, limit, engine, file, _EXAMPLES)
        finally:
            store.remove()
        summary = {
            "records": known.records,
            "passages": found.passages,
            "distinct": found.distinct,
            "limit": limit,
            "boilerplate": found.frequent,
            "characters": sum(known.characters.values()),
            "boilerplate_characters": sum(found.characters.values()),
        }
        findings = (*_frequent(self.options, found, known, sketches), *_losses(self.options, found, known))
        return Repeated(self.name, sketches.store, file, found.digest, self.options, findings, summary)


@dataclass
class Repeated:
    """A resolved ``boilerplate``. ``judge`` needs the file; ``findings`` and ``summary`` are for whoever runs it."""

    name: str
    store: Store
    file: str  # in the store
    digest: str  # SHA-256 of the file
    options: Boilerplate.Options
    findings: tuple[dict[str, Any], ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)

    def at(self, store: Store) -> Repeated:
        """Return the stage for a store that lies elsewhere now."""
        return replace(self, store=store)

    def judge(self, batch: Batch) -> Verdict:
        """Edit the records that hold frequent passages; drop those that would be left with nothing."""
        frequent = Frequent.open(self.store, self.file, self.digest)
        if not len(frequent.high):
            return Verdict.of(batch.num_rows)
        passages = Passages.of(batch, _cutting(self.options))
        found = frequent.find(passages.high, passages.low)
        if not (found >= 0).any():
            return Verdict.of(batch.num_rows)
        entry = np.full(len(passages.text), -1, np.int64)  # [b]
        entry[passages.which] = found
        if self.options.keep == "first":
            entry[_first_places(batch, passages, entry, frequent)] = -1
        emptied = passages.emptied(entry >= 0)
        documents = record.kind(batch) == "text"
        if not documents and self.options.emptied_turns == "keep":
            entry[emptied[passages.text]] = -1
            emptied[:] = False
        return self._verdict(batch, passages, entry, emptied, frequent)

    def _verdict(
        self, batch: Batch, passages: Passages, entry: npt.NDArray[np.int64], emptied: npt.NDArray[np.bool_],
        frequent: Frequent,
    ) -> Verdict:  # fmt: skip
        """Act on the blocks [b] that have an entry; drop the records of the turns that are emptied."""
        lost = set(passages.owner[emptied].tolist())
        spans: dict[int, list[dict[str, Any]]] = {}
        edited: dict[int, dict[int, str]] = {}
        gone = np.flatnonzero(entry >= 0)
        which = entry[gone]
        texts, bounds = np.unique(passages.text[gone], return_index=True)
        cuts = list(zip(gone.tolist(), *(c.tolist() for c in passages.cuts(entry >= 0)), strict=True))
        counts, names = frequent.records[which].tolist(), frequent.high[which].tolist()
        ends = np.append(bounds, len(gone))[1:]
        for text, low, high in zip(texts.tolist(), bounds.tolist(), ends.tolist(), strict=True):
            row, turn = int(passages.owner[text]), int(passages.turn[text])
            if row in lost:
                taken = [Span(block, *passages.place(block)) for block, _, _ in cuts[low:high]]
            else:
                edited.setdefault(row, {})[turn], taken = passages.take_out(text, cuts[low:high])
            places = spans.setdefault(row, [])
            for (_, start, end), count, name in zip(taken, counts[low:high], names[low:high], strict=True):
                about = {"records": count, "passage": f"{name:016x}"}
                places.append({"turn": turn, "start": start, "end": end, **about})
        decisions = list(self._decisions(spans, lost, characters_of(batch)))
        return Verdict.of(batch.num_rows, decisions, with_turns(batch, edited) if edited else None)

    def _decisions(
        self, spans: Mapping[int, list[dict[str, Any]]], lost: set[int], lengths: npt.NDArray[np.int64]
    ) -> Iterator[Decision]:
        """Yield one decision per record; its score is the share of the record's characters that goes."""
        for row, places in spans.items():
            share = sum(place["end"] - place["start"] for place in places) / int(lengths[row])
            evidence = {"spans": places}
            if row in lost:
                yield Decision(row, "drop", _NOTHING_LEFT, round(share, 4), evidence)
            else:
                reason = f"boilerplate/repeated-{self.options.unit}"
                yield Decision(row, "edit", reason, round(share, 4), evidence)


def _cutting(options: Boilerplate.Options) -> Cutting:
    return Cutting(options.unit, options.on, options.min_words, options.min_chars, options.protect_code)


def _first_places(
    batch: Batch, passages: Passages, entry: npt.NDArray[np.int64], frequent: Frequent
) -> npt.NDArray[np.int64]:
    """Return the blocks that are the first of their passage in the first record that has it."""
    hit = np.flatnonzero(entry >= 0)
    owner = passages.owner[passages.text[hit]]
    keys = zip(batch.column("source").to_pylist(), batch.column("_path").to_pylist(), strict=True)
    files = np.fromiter((frequent.place.get(key, -1) for key in keys), np.int64, batch.num_rows)
    rows = batch.column("_row").to_numpy()
    which = entry[hit]
    first = hit[(frequent.file[which] == files[owner]) & (frequent.row[which] == rows[owner])]
    _, places = np.unique(entry[first], return_index=True)
    spared: npt.NDArray[np.int64] = first[places]
    return spared


def _frequent(
    options: Boilerplate.Options, found: Frequencies, known: Census, sketches: Sketches
) -> Iterator[dict[str, Any]]:
    """Yield a finding that names the most frequent passages' counts, and a record for each."""
    if not found.frequent:
        return
    most = found.most
    ids = _ids(
        list(zip(*(most.column(name).to_pylist() for name in ("file", "row")), strict=True)), known, sketches
    )
    counts = ", ".join(f"{n:,}" for n in most.column("records").to_pylist())
    total = found.frequent
    yield {
        "reason": "boilerplate/frequent",
        "severity": "note",
        "message": f"different {options.unit}s taken for boilerplate: {total:,}; the most frequent stand in "
        f"{counts} records, of which the examples are one each",
        "count": total,
        "examples": ids,
    }


def _ids(places: list[tuple[int, int]], known: Census, sketches: Sketches) -> list[str]:
    """Return the ids of the records at these (file, row), each once, in their order."""
    wanted = dict.fromkeys(places)
    found: dict[tuple[int, int], str] = {}
    number = {file: index for index, file in enumerate(known.files)}
    rows = pa.array(sorted({row for _, row in wanted}), pa.int64())
    for holder in sorted({holder for place in wanted for holder in known.holders(*place)}):
        table = sketches.parts[holder].table(["source", "_path", "_row", "id"])
        table = table.filter(pc.is_in(table.column("_row"), rows))
        for source, path, row, name in zip(*(column.to_pylist() for column in table.columns), strict=True):
            found[number[source, path], row] = name
    return [found[place] for place in wanted]


def _losses(options: Boilerplate.Options, found: Frequencies, known: Census) -> Iterator[dict[str, Any]]:
    """Yield a warning for each source of which too much is boilerplate."""
    for source, lost in found.characters.items():
        whole = known.characters[source]
        if lost > options.max_source_loss * whole:
            yield {
                "reason": "boilerplate/source-loss",
                "severity": "warning",
                "message": f"{lost:,} of {whole:,} characters ({lost / whole:.0%}) of source {source} stand in "
                f"{options.unit}s that are taken for boilerplate; see whether they are",
                "count": lost,
                "examples": [],
            }
