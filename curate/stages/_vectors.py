"""The vectors of a corpus's records: made batch by batch, gathered on disk, made again one by one to verify."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import record
from curate.kernels.parts import On
from curate.record import Batch
from curate.stage import Engine, SketchPart
from curate.stages._embeddings import Embedder, embedder
from curate.stages._neighbours import Ints, Rows, Verified
from curate.stages._pinned import Pinned
from curate.stages.nominated import ReadBack, read_back

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


def _matrix(part: SketchPart, name: str) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
    """Return a part's vectors [n, dimension], 0 for none, and whether there is one [n]."""
    found = part.table([name]).column(name)
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
class Gathered:
    """The vectors to search, one per record."""

    table: npt.NDArray[np.float16]  # [n, width], a mapped file
    used: tuple[int, ...]  # which PARTS it is made of: those that any record has

    def read(self, positions: Ints) -> npt.NDArray[np.float32]:
        """Return the vectors at some positions."""
        return self.table[positions].astype(np.float32)


def gather(parts: Sequence[SketchPart], wanted: npt.NDArray[np.bool_], folder: Path) -> Gathered:
    """Write the vectors of the wanted records [records of all parts], in their order."""
    used = [
        index
        for index, name in enumerate(PARTS)
        if any(part.table([name]).column(name).is_valid().to_numpy().any() for part in parts)
    ] or [len(PARTS) - 1]
    width = len(used) * parts[0].table([PARTS[0]]).schema.field(PARTS[0]).type.list_size
    out = np.memmap(folder / "vectors", np.float16, "w+", shape=(int(wanted.sum()), width))
    start = written = 0
    for part in parts:
        vectors, there = zip(*(_matrix(part, PARTS[index]) for index in used), strict=True)
        chosen = _joined(vectors, there)[wanted[start : start + len(there[0])]]
        out[written : written + len(chosen)] = chosen
        start += len(there[0])
        written += len(chosen)
    return Gathered(out, tuple(used))


@dataclass(frozen=True, slots=True)
class How:
    """How candidates are embedded again."""

    model: Pinned
    on: On
    same_numbers: bool


def _embed(task: ReadBack) -> None:
    """Embed one part's candidates, each text by itself."""
    how: How = task.what
    model = embedder(how.model, "cpu")
    chosen = (batch.take(pa.array(rows)) for batch, rows in task.batches())
    pairs = [pair for batch in chosen for pair in zip(*sides(batch, how.on), strict=True)]
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
    there = np.array([[bool(text) for text in texts] for texts in pairs], bool)
    np.savez(Path(task.folder) / f"{task.name}.npz", vectors=vectors, there=there, numbers=numbers)


def _numbers(text: str) -> int:
    """Return a 64-bit hash of the numbers in a text, in digits of any script, in any order."""
    found = sorted(_DIGITS.findall(unicodedata.normalize("NFKC", text)))
    return int.from_bytes(hashlib.blake2b("\n".join(found).encode(), digest_size=8).digest(), "little")


def verified(
    parts: Sequence[SketchPart], records: Ints, order: Ints, how: How, engine: Engine, folder: Path
) -> Verified:
    """Embed the records (numbers, ascending) each by itself; return what was found, in the given order of them."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    vectors = np.empty((0, len(PARTS), 1), np.float32)
    there = np.zeros((len(order), len(PARTS)), bool)
    numbers = np.zeros((len(order), len(PARTS)), np.uint64)
    start = 0
    for name in read_back(parts, records, _embed, engine, folder, how):
        with np.load(folder / f"{name}.npz") as found:
            if not start:
                shape = (len(order), *found["vectors"].shape[1:])
                vectors = np.memmap(folder / "verified", np.float32, "w+", shape=shape)
            at = place[start : start + len(found["there"])]
            vectors[at], there[at], numbers[at] = found["vectors"], found["there"], found["numbers"]
        start += len(at)
        (folder / f"{name}.npz").unlink()
    return Verified(vectors, there, numbers)


def reader(found: Verified, used: Sequence[int]) -> Rows:
    """Return what reads the joined vectors of verified records."""

    def read(positions: Ints) -> npt.NDArray[np.float32]:
        vectors, there = found.vectors[positions], found.present[positions]
        return _joined([vectors[:, part] for part in used], [there[:, part] for part in used])

    return read
