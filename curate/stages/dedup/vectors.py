"""The vectors of a corpus's records: made batch by batch, gathered on disk, made again one by one to verify."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import record
from curate.io.store import Store
from curate.kernels import parts
from curate.kernels.parts import On
from curate.record import Batch
from curate.stage import Engine, SketchPart
from curate.stages.dedup.candidates import content_columns
from curate.stages.dedup.embeddings import Embedder, embedder
from curate.stages.dedup.neighbours import Ints, Rows, Verified
from curate.stages.pinned import Pinned

PARTS = ("prompt", "response")
_DIGITS = re.compile(r"\d+")


def sides(batch: Batch, on: On) -> tuple[list[str], list[str]]:
    """Return the prompt and response of every record as ``on`` wants them compared; white space is no text.

    A document is all response; ``whole`` makes a conversation so too. ``prompt`` and ``response`` drop the
    other part; a record that lacks the part asked for is judged by the one that it has.
    """
    if on == "whole":
        prompts, responses = [""] * batch.num_rows, record.texts(batch)
    else:
        prompts, responses = record.prompts_and_responses(batch)
    prompts, responses = ([text if text.strip() else "" for text in part] for part in (prompts, responses))
    if on == "prompt":
        responses = ["" if prompt else response for prompt, response in zip(prompts, responses, strict=True)]
    elif on == "response":
        prompts = ["" if response else prompt for prompt, response in zip(prompts, responses, strict=True)]
    return prompts, responses


def column(
    model: Embedder, texts: Sequence[str], wanted: npt.NDArray[np.bool_], batch_size: int
) -> pa.FixedSizeListArray:
    """Return the vectors of the wanted texts in half precision, null for the others."""
    vectors = np.zeros((len(texts), model.dimension), np.float16)
    if wanted.any():
        vectors[wanted] = model.embed([texts[i] for i in np.flatnonzero(wanted).tolist()], batch_size)
    return pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.ravel()), model.dimension, mask=pa.array(~wanted)
    )


def _matrix(found: pa.ChunkedArray) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
    """Return a part's vectors [n, dimension], 0 for none, and whether there is one [n]."""
    width = found.type.list_size
    rows = [
        chunk.values.to_numpy()[chunk.offset * width : (chunk.offset + len(chunk)) * width]
        for chunk in found.chunks
    ]
    vectors = np.concatenate([np.empty(0, np.float16), *rows]).reshape(-1, width)
    there = found.is_valid().to_numpy()
    return np.where(there[:, None], vectors, np.float16(0)), there


def _joined(
    parts: Sequence[npt.NDArray[np.floating]], there: Sequence[npt.NDArray[np.bool_]]
) -> npt.NDArray[np.float32]:
    """Return one vector of length 1 per record, [n, parts x dimension], from those of its parts.

    The dot product of two is the mean of the cosines over the parts that both have, so at least the
    threshold wherever every part's is. Records that have not the same parts stay below 0.71 (one part of two
    is scaled by 1 / sqrt(2)); records without any text all get one vector.
    """
    count = np.sum(there, axis=0)
    scale = 1 / np.sqrt(np.maximum(count, 1, dtype=np.float32))
    joined: npt.NDArray[np.float32] = np.concatenate(parts, axis=1, dtype=np.float32) * scale[:, None]
    joined[count == 0, 0] = 1
    return joined


@dataclass(frozen=True, slots=True)
class PlainPart:
    """A part's sketches without the vectors, on this machine's disk (stage.SketchPart)."""

    part: SketchPart
    path: Path

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the sketches but the vectors, one row per record."""
        with pa.memory_map(str(self.path)) as file:
            found = pa.ipc.open_file(file).read_all()
        return found if columns is None else found.select(list(columns))

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Read the records back."""
        return self.part.records(columns)


@dataclass(frozen=True, slots=True)
class Gathered:
    """All sketches, on this machine's disk, and the vectors to search: one per record that is compared."""

    parts: tuple[PlainPart, ...]
    long: npt.NDArray[np.bool_]  # [records of all parts]
    compared: npt.NDArray[np.bool_]  # [records of all parts]
    vectors: tuple[npt.NDArray[np.float16], ...]  # of each part used [n, dimension], mapped files
    there: tuple[npt.NDArray[np.bool_], ...]  # [n] whether the record has the part
    used: tuple[int, ...]  # which PARTS vectors are made of: those that any record has

    @property
    def count(self) -> int:
        """Return n."""
        return len(self.there[0])

    @property
    def width(self) -> int:
        """Return how many numbers a vector to search has."""
        return sum(vectors.shape[1] for vectors in self.vectors)

    def read(self, positions: Ints) -> npt.NDArray[np.float32]:
        """Return the vectors to search at some positions."""
        return _joined(
            [vectors[positions] for vectors in self.vectors], [there[positions] for there in self.there]
        )


def gather(parts: Sequence[SketchPart], truncate: bool, folder: Path) -> Gathered:
    """Copy the sketches of all parts to this machine's disk, each of which is read once.

    truncate: compare records with a text too long, too.
    """
    plain, long, there = [], [], [[np.empty(0, bool)] for _ in PARTS]
    width = 0
    paths = [folder / f"{name}.vectors" for name in PARTS]
    for path in paths:
        path.touch()
    for number, part in enumerate(parts):
        table = part.table()
        long.append(table.column("too_long").to_numpy())
        chosen = np.flatnonzero(np.ones(len(long[-1]), bool) if truncate else ~long[-1])
        for path, name, have in zip(paths, PARTS, there, strict=True):
            vectors, valid = _matrix(table.column(name))
            have.append(valid[chosen])
            width = vectors.shape[1]
            with path.open("r+b") as file:  # where no record has one, the file has a hole
                if valid.any():
                    file.seek(0, 2)
                    file.write(vectors[chosen].data)
                else:
                    file.truncate(path.stat().st_size + 2 * width * len(chosen))
        plain.append(PlainPart(part, folder / f"{number:06d}.arrow"))
        rest = table.drop_columns(list(PARTS))
        with pa.ipc.new_file(str(plain[-1].path), rest.schema) as writer:
            writer.write_table(rest)
    have = [np.concatenate(one) for one in there]
    used = tuple(part for part, one in enumerate(have) if one.any()) or (len(PARTS) - 1,)
    whole = np.concatenate([np.empty(0, bool), *long])
    shape = (len(have[0]), width)
    return Gathered(
        tuple(plain),
        whole,
        np.ones(len(whole), bool) if truncate else ~whole,
        tuple(
            np.memmap(paths[part], np.float16, "r", shape=shape) if shape[0] else np.empty(shape, np.float16)
            for part in used
        ),
        tuple(have[part] for part in used),
        used,
    )


@dataclass(frozen=True, slots=True)
class How:
    """How candidates are embedded again."""

    model: Pinned
    on: On
    same_numbers: bool


class _Task(NamedTuple):
    """One part's candidates, to be embedded again."""

    part: SketchPart
    columns: tuple[str, ...]  # that hold what the records say
    store: Store
    name: str  # of what is written there
    first: int  # which of the rows in the store's file of candidates are the part's
    end: int
    how: How

    def batches(self) -> Iterator[Batch]:
        """Yield the candidates in the part's order."""
        rows = np.frombuffer(self.store.read_range(_ROWS, 8 * self.first, 8 * self.end), np.int64)
        start = 0
        for batch in self.part.records(self.columns):
            first, end = np.searchsorted(rows, (start, start + batch.num_rows))
            if first < end:
                yield batch.take(pa.array(rows[first:end] - start))
            start += batch.num_rows


_ROWS = "rows"  # int64, part after part: the candidates' rows in their part


def _embed(task: _Task) -> None:
    """Embed one part's candidates, each text by itself."""
    how = task.how
    model = embedder(how.model, "cpu")
    pairs: list[tuple[str, str]] = []
    beside = [np.empty(0, np.uint64)]
    for batch in task.batches():
        pairs += zip(*sides(batch, how.on), strict=True)
        keys = parts.beside_keys(batch)
        beside.append(np.zeros(batch.num_rows, np.uint64) if keys is None else keys)
    vectors = np.zeros((len(pairs), len(PARTS), model.dimension), np.float32)
    numbers = np.zeros((len(pairs), len(PARTS)), np.uint64)
    seen: dict[str, tuple[int, int]] = {}  # where a text's vector is: many records share a prompt
    for place, texts in enumerate(pairs):
        for part, text in enumerate(texts):
            first = seen.setdefault(text, (place, part))
            if first != (place, part):
                vectors[place, part], numbers[place, part] = vectors[first], numbers[first]
                continue
            if text:
                vectors[place, part] = model.embed([text], 1)[0]
            if how.same_numbers:
                numbers[place, part] = _numbers(text)
    numbers ^= np.concatenate(beside)[:, None]  # calls and lost replies must be the same, as numbers must
    there = np.array([[bool(text) for text in texts] for texts in pairs], bool)
    with task.store.writing(task.name) as path, path.open("wb") as file:
        np.savez(file, vectors=vectors, there=there, numbers=numbers)


def _numbers(text: str) -> int:
    """Return a 64-bit hash of the numbers in a text, in digits of any script, in any order."""
    found = sorted(_DIGITS.findall(unicodedata.normalize("NFKC", text)))
    return int.from_bytes(hashlib.blake2b("\n".join(found).encode(), digest_size=8).digest(), "little")


def verified(
    gathered: Gathered, records: Ints, order: Ints, how: How, engine: Engine, store: Store, folder: Path
) -> Verified:
    """Embed the records (numbers, ascending) each by itself; return what was found, in the given order of them.

    What workers embed passes through the store, and is gathered in the folder of this machine.
    """
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    vectors = np.empty((0, len(PARTS), 1), np.float32)
    there = np.zeros((len(order), len(PARTS)), bool)
    numbers = np.zeros((len(order), len(PARTS)), np.uint64)
    start = 0
    tasks = _tasks(gathered, records, how, store)
    for task, _ in zip(tasks, engine.map(_embed, tasks), strict=True):
        with store.reading(task.name) as path, np.load(path) as found:
            if not start:
                shape = (len(order), *found["vectors"].shape[1:])
                vectors = np.memmap(folder / "verified", np.float32, "w+", shape=shape)
            at = place[task.first : task.end]
            vectors[at], there[at], numbers[at] = found["vectors"], found["there"], found["numbers"]
        start = task.end
        store.remove(task.name)
    return Verified(vectors, there, numbers)


def _tasks(gathered: Gathered, records: Ints, how: How, store: Store) -> list[_Task]:
    """Return a task per part that has candidates, whose rows are written into the store."""
    tasks: list[_Task] = []
    written = []
    start = done = 0
    for number, plain in enumerate(gathered.parts):
        kinds = plain.table(["conversation", "beside"])
        rows = records[slice(*np.searchsorted(records, (start, start + kinds.num_rows)))] - start
        start += kinds.num_rows
        if len(rows):
            columns = content_columns(*(column[0].as_py() for column in kinds.columns))
            name = f"part-{number:06d}.npz"
            tasks.append(_Task(plain.part, columns, store, name, done, done + len(rows), how))
            written.append(rows)
            done += len(rows)
    if tasks:
        store.write(_ROWS, np.concatenate(written).astype(np.int64).tobytes())
    return tasks


def reader(found: Verified, used: Sequence[int]) -> Rows:
    """Return what reads the joined vectors of verified records."""

    def read(positions: Ints) -> npt.NDArray[np.float32]:
        vectors, there = found.vectors[positions], found.present[positions]
        return _joined([vectors[:, part] for part in used], [there[:, part] for part in used])

    return read
