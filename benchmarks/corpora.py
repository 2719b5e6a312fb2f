"""Two corpora with planted near duplicates, made of public data, in as many copies as wanted.

    python benchmarks/corpora.py DATA OUT [--copies-short N] [--copies-web N]      (default: one copy of each)

DATA is the folder of public data that the other benchmarks read. OUT/<name>/all.parquet (id, text; zstd, row
groups of at most 65,536 records and about 64 MB of text) and OUT/<name>/counts.json are written for:

* ``short``: instructions, prompt and response joined, of instruct/*.jsonl.zst where both are there and come to
  1.5 KB at most, and pieces of 0.15 to 0.6 KB cut at paragraph borders from corpus/permissive-47mb: 0.4 KB in
  the mean.
* ``web``: pieces of 1 to 5 KB cut at paragraph borders from corpus/permissive-47mb and from the texts of dedup/
  and license/. As in much of the web, some of it is there in several versions before anything is planted.

Planted, besides what the data holds of itself: one record in 8 gets a near duplicate, of words replaced,
inserted and deleted at random so that the Jaccard similarity of their 5-grams is about uniform over 0.5 to 1
(PLANTED_NEAR); one in 50 gets an exact copy in another case and with other white space (PLANTED_COPIES). A
near duplicate may be made of another one. Each stands within 2,000 records after its origin, so that the first
records of a corpus hold pairs too. The seed is fixed: the same data gives the same corpora.

A piece whose bytes are not mostly (60 %) ASCII letters is left out. The copies need it: each is the same text
under another permutation of the letters a to z, case kept, so that it has the same statistics but shares no
words with the others. And the tools need it to be compared: in text without spaces each has words of its own.
Ids are ``c<copy>-<number>``.
"""

from __future__ import annotations

import argparse
import heapq
import io
import json
import os
import random
import re
import string
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

SEED = 20_260_501
PLANTED_NEAR = 1 / 8
PLANTED_COPIES = 1 / 50
NEAREST = 0.5  # similarity of the most different near duplicates
WITHIN = 2000  # records between an origin and what is planted of it
LONGEST_SHORT = 1500  # characters of an instruction
ASCII_LETTERS = 0.6  # of a piece's bytes, at least
GROUP_RECORDS, GROUP_BYTES = 1 << 16, 64 << 20
LETTERS = re.compile(rb"[A-Za-z]+")


def rows(path: Path) -> Iterator[dict[str, object]]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        yield from (orjson.loads(line) for line in io.BufferedReader(stream) if line.strip())


def texts(path: Path) -> Iterator[str]:
    """Yield the texts of a file: its column text, or text1 and text2."""
    for row in rows(path):
        yield from (str(row[name]) for name in ("text", "text1", "text2") if name in row)


def latin(text: str) -> bool:
    """Tell whether a text is mostly ASCII letters."""
    data = text.encode()
    return sum(map(len, LETTERS.findall(data))) >= ASCII_LETTERS * max(1, len(data))


def pieces(text: str, low: int, high: int, rng: random.Random) -> Iterator[str]:
    """Cut a text at paragraph borders (at line borders where a paragraph is too long) to low…high characters."""
    target = rng.randint(low, high)
    held: list[str] = []
    size = 0
    for paragraph in text.split("\n\n"):
        for part in [paragraph] if len(paragraph) <= high else paragraph.split("\n"):
            if size + len(part) > high:
                held, size = [], 0  # too little to be a piece, too much to be joined
            if len(part) > high:
                continue
            held.append(part)
            size += len(part) + 2
            if size >= target:
                yield "\n\n".join(held)
                held, size, target = [], 0, rng.randint(low, high)
    if size >= low:
        yield "\n\n".join(held)


def short_records(data: Path, rng: random.Random) -> Iterator[str]:
    for path in sorted((data / "instruct").glob("*.jsonl.zst")):
        for row in rows(path):
            if row["output"]:
                text = "\n".join(str(row[name]) for name in ("instruction", "input", "output") if row[name])
                if len(text) <= LONGEST_SHORT:
                    yield text
    for text in texts(data / "corpus" / "permissive-47mb.jsonl.zst"):
        yield from pieces(text, 150, 600, rng)


def web_records(data: Path, rng: random.Random) -> Iterator[str]:
    files = [data / "corpus" / "permissive-47mb.jsonl.zst", *sorted((data / "license").glob("*.jsonl.zst"))]
    for path in [*files, *sorted((data / "dedup").glob("*.jsonl.zst"))]:
        for text in texts(path):
            yield from pieces(text, 1000, 5000, rng)


def edited(text: str, similarity: float, rng: random.Random, words: list[str]) -> str:
    """Return the text with as many words replaced, inserted or deleted as make it about that similar.

    A word replaced takes 5 of n shingles away and adds 5: e edits leave J = (n - 5e) / (n + 5e).
    """
    parts = re.split(r"(\s+)", text)  # words at the even places
    count = (len(parts) + 1) // 2
    edits = max(1, round(count * (1 - similarity) / (5 * (1 + similarity))))
    for place in rng.sample(range(count), min(edits, count)):
        kind = rng.randrange(3)
        if kind == 0:
            parts[2 * place] = rng.choice(words)
        elif kind == 1:
            parts[2 * place] += " " + rng.choice(words)
        else:
            parts[2 * place] = ""
    return "".join(parts)


def disguised(text: str, rng: random.Random) -> str:
    """Return the text in another case and with other white space."""
    change: Callable[[str], str] = rng.choice((str.upper, str.lower, str.title))
    changed = change(text)
    if changed.lower() != text.lower():  # "ß" in capitals is "SS": other words
        changed = text
    return rng.choice(("  ", "\n", " \t")).join(changed.split())


def planted(originals: list[str], rng: random.Random) -> tuple[list[str], int, int]:
    """Return the records with near duplicates and copies planted, and how many of each."""
    some = rng.sample(originals, min(2000, len(originals)))
    words = [word for text in some for word in text.split() if word.isalpha()]
    waiting: list[tuple[int, int, str]] = []  # (place, tie, text): a heap
    out: list[str] = []
    near = copies = 0

    def put(text: str) -> None:
        nonlocal near, copies
        out.append(text)
        if rng.random() < PLANTED_NEAR:
            twin = edited(text, rng.uniform(NEAREST, 1), rng, words)
            near += 1
            heapq.heappush(waiting, (len(out) + rng.randrange(WITHIN), near + copies, twin))
        if rng.random() < PLANTED_COPIES:
            copies += 1
            heapq.heappush(waiting, (len(out) + rng.randrange(WITHIN), near + copies, disguised(text, rng)))

    for text in originals:
        while waiting and waiting[0][0] <= len(out):
            put(heapq.heappop(waiting)[2])
        put(text)
    while waiting:
        put(heapq.heappop(waiting)[2])
    return out, near, copies


def permuted(column: pa.StringArray, copy: int) -> pa.StringArray:
    """Return the texts with their letters permuted; copy 0 as they are."""
    if copy == 0:
        return column
    letters = list(string.ascii_lowercase)
    random.Random(SEED + copy).shuffle(letters)
    other = "".join(letters)
    table = bytes.maketrans(string.ascii_letters.encode(), (other + other.upper()).encode())
    _, offsets, text = column.buffers()
    return pa.StringArray.from_buffers(
        len(column), offsets, pa.py_buffer(text.to_pybytes().translate(table)), offset=column.offset
    )


def groups(column: pa.StringArray) -> Iterator[tuple[int, int]]:
    """Yield start and length of the row groups."""
    ends = np.cumsum(pc.binary_length(column).to_numpy())
    start = 0
    while start < len(column):
        before = ends[start - 1] if start else 0
        length = min(GROUP_RECORDS, int(np.searchsorted(ends, before + GROUP_BYTES)) - start)
        yield start, max(1, length)
        start += max(1, length)


def write(path: Path, column: pa.StringArray, copies: int) -> None:
    """Write all copies into one file."""
    schema = pa.schema({"id": pa.string(), "text": pa.string()})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for copy in range(copies):
            ids = [f"c{copy}-{number}" for number in range(len(column))]
            table = pa.table([pa.array(ids), permuted(column, copy)], schema=schema)
            for start, length in groups(column):
                writer.write_table(table.slice(start, length), row_group_size=length)


def build(data: Path, out: Path, name: str, copies: int) -> dict[str, int]:
    """Write one corpus; return its counts (of one copy). What is there already, of as many copies, is left."""
    folder = out / name
    said = folder / "counts.json"
    if said.exists():
        counts: dict[str, int] = json.loads(said.read_text())
        if counts["copies"] == copies:
            return counts
        said.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{SEED}-{name}")
    records = short_records if name == "short" else web_records
    originals = [text for text in records(data, rng) if latin(text)]
    rng.shuffle(originals)
    final, near, twins = planted(originals, rng)
    column = pa.array(final, pa.string())
    write(folder / "all.parquet", column, copies)
    counts = {
        "seed": SEED,
        "copies": copies,
        "records": len(final),
        "bytes": pc.sum(pc.binary_length(column)).as_py(),
        "planted_near": near,
        "planted_copies": twins,
    }
    said.write_text(json.dumps(counts))
    return counts


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?", default=os.environ.get("CURATE_DATA"))
    parser.add_argument("out", type=Path, nargs="?", default=Path("out/dedup"))
    parser.add_argument("--copies-short", type=int, default=1)
    parser.add_argument("--copies-web", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse()
    for corpus in ("short", "web"):
        copies = arguments.copies_short if corpus == "short" else arguments.copies_web
        print(corpus, build(arguments.data, arguments.out, corpus, copies), flush=True)
