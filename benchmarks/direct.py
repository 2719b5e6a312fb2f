"""The stages `exact` and `minhash` by themselves over parquet files: read, sketch, group, verify, decide.

    python benchmarks/direct.py [--stage minhash|exact] [--similarity 0.8] [--recall 0.95] [--workers 1] FILE ...

The files have the columns ``id`` and ``text``. What `curate run` does besides (records as they pass from stage
to stage, the ledger, shards) is left out, as it is for the other tools that benchmarks/dedup.py runs. It is
the code that the pipeline calls, fed from row groups.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.engine.local import LocalEngine
from curate.io.store import Store
from curate.record import Batch

_PIECE = 2048  # records


@dataclass(frozen=True)
class Direct:
    """What a stage did."""

    dropped: dict[str, str]  # id → id of the kept record that stands for it
    records: int
    text_bytes: int
    seconds: dict[str, float]  # wall, by step
    cpu: dict[str, float]  # of this process and its workers, by step
    summary: dict[str, Any]


@dataclass(frozen=True)
class ParquetPart:
    """One row group and its sketches (stage.SketchPart)."""

    path: str
    group: int
    sketch: str

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        with pa.memory_map(self.sketch) as file:
            return pa.ipc.open_file(file).read_all().select(list(columns or ()))

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        return self._batches(list(columns or ["text"]))

    def batches(self) -> Iterator[Batch]:
        """Yield the records with what a reader adds; rows are numbered within the group's place in the file."""
        start = self.group << 32
        for batch in self._batches(["id", "text"]):
            n = batch.num_rows
            same = {"source": "s", "_path": self.path, "license": None}
            columns = {name: pa.repeat(pa.scalar(value, pa.string()), n) for name, value in same.items()}
            rows = pa.array(np.arange(start + 1, start + n + 1))
            start += n
            yield pa.RecordBatch.from_pydict(
                {**dict(zip(["id", "text"], batch.columns, strict=True)), "_row": rows, **columns}
            )

    def _batches(self, columns: list[str]) -> Iterator[Batch]:
        """Unpack the group a piece at a time: what is read is then still in the cache when it is sketched."""
        with pq.ParquetFile(self.path, memory_map=True) as file:
            yield from file.iter_batches(_PIECE, row_groups=[self.group], columns=columns, use_threads=False)


@dataclass(frozen=True)
class AllParts:
    """All parts (stage.Sketches)."""

    parts: tuple[ParquetPart, ...]
    store: Store
    memory: int


@dataclass(frozen=True)
class SketchTask:
    """Sketch one row group."""

    barrier: Any
    part: ParquetPart


def sketch(task: SketchTask) -> tuple[int, int]:
    """Write a row group's sketches; return its records and the bytes of their text."""
    writer, nbytes, records = None, 0, 0
    with pa.OSFile(task.part.sketch, "wb") as sink:
        for batch in task.part.batches():
            found = task.barrier.sketch(batch)
            keys = ["id", "source", "_path", "_row"]
            whole = pa.record_batch(
                [*batch.select(keys).columns, *found.columns], names=[*keys, *found.schema.names]
            )
            if writer is None:
                writer = pa.ipc.new_file(sink, whole.schema)
            writer.write_batch(whole)
            texts = batch.column("text")
            nbytes += texts.buffers()[2].size if texts.offset == 0 else texts.nbytes
            records += batch.num_rows
        if writer is not None:
            writer.close()
    return records, nbytes


def warm(barrier: Any, folder: Path, engine: LocalEngine) -> None:
    """Load or compile the kernels here and in every worker: what a run pays once."""
    few = folder / "few.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["one two three four five six é"] * 2}), few)
    part = ParquetPart(str(few), 0, f"{few}.arrow")
    barrier.resolve(AllParts((part,), Store.at(folder), 1 << 30), engine) if sketch(
        SketchTask(barrier, part)
    ) else None
    tasks = [
        SketchTask(barrier, ParquetPart(str(few), 0, f"{few}.{n}.arrow")) for n in range(4 * engine.workers)
    ]
    for _ in engine.map(sketch, tasks if engine.workers > 1 else []):
        pass


def cpu_seconds() -> float:
    """Return CPU time of this process and of its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run(barrier: Any, paths: Sequence[Path], workers: int = 1, memory: int = 8 << 30) -> Direct:
    """Run a barrier over parquet files."""
    seconds, cpu = {}, {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        wall, before = time.perf_counter(), cpu_seconds()
        result = work()
        seconds[name], cpu[name] = time.perf_counter() - wall, cpu_seconds() - before
        return result

    with tempfile.TemporaryDirectory() as folder, LocalEngine(workers) as engine:
        timed("start up", lambda: warm(barrier, Path(folder), engine))
        groups = [(path, g) for path in paths for g in range(pq.ParquetFile(path).metadata.num_row_groups)]
        parts = tuple(
            ParquetPart(str(path), group, f"{folder}/{index}.arrow")
            for index, (path, group) in enumerate(groups)
        )
        tasks = [SketchTask(barrier, part) for part in parts]
        sizes = timed("read and sketch", lambda: list(engine.map(sketch, tasks)))
        sketches = AllParts(parts, Store.at(folder), memory)
        stage = timed("group, verify, decide", lambda: barrier.resolve(sketches, engine))
        with pa.memory_map(stage.file) as file:
            decided = pa.ipc.open_file(file).read_all()
        gone = decided.filter(decided.column("kept_id").is_valid())
        dropped = dict(zip(_ids(parts, gone), gone.column("kept_id").to_pylist(), strict=True))
    records, nbytes = (sum(column) for column in zip(*sizes, strict=True))
    return Direct(dropped, records, nbytes, seconds, cpu, stage.summary)


def _ids(parts: Sequence[ParquetPart], gone: pa.Table) -> list[str]:
    rows = gone.column("row").to_numpy()
    known: list[str] = []
    if len({part.path for part in parts}) > 1:
        raise ValueError("give one file with several row groups")
    for part in parts:
        mine = rows[(rows - 1) >> 32 == part.group]
        known += part.table(["id"]).column("id").take(pa.array(mine - 1 - (part.group << 32))).to_pylist()
    return known


def minhash(
    path: Path, *, similarity: float, recall: float, ngram: int = 5, workers: int = 1, **more: Any
) -> Direct:
    """Run `minhash` over one parquet file."""
    from curate.stages.minhash import MinHash

    options = MinHash.Options(similarity=similarity, recall=recall, ngram=ngram, **more)
    return run(MinHash(options), [path], workers)


def exact(path: Path, *, workers: int = 1) -> Direct:
    """Run `exact` over one parquet file."""
    from curate.stages.exact import Exact

    return run(Exact(Exact.Options()), [path], workers)


def ceiling(paths: Sequence[Path]) -> dict[str, float]:
    """Return MB of text per CPU second of what no near-duplicate search can do without, measured here.

    Unpacking the text, and that with one hash made of every shingle.
    """
    from curate.kernels import folding, parts, reading, text

    out = np.empty(0, np.uint64)

    def hashed(batch: Batch) -> None:
        spoken = parts.turns(batch)
        cutting, how = reading.Cutting(5, text.SALTS, reading.BOTH), folding.characters()
        bounds, todo = np.zeros((batch.num_rows + 1, 3), np.int64), np.ones(batch.num_rows, np.bool_)
        size = int(spoken.ends[-1] - spoken.starts[0])

        def step(turns: Any, room: Any, first: int) -> int:
            nonlocal out
            out = text.grown(out, bounds[-1, 0], room, size)
            done: int = reading.record_shingles(turns, cutting, False, how, room, first, todo, out, bounds)
            return done

        text.read(spoken, todo, step)

    def rate(work: Callable[[Batch], Any]) -> float:
        nbytes, before = 0, time.process_time()
        for path in paths:
            with pq.ParquetFile(path, memory_map=True) as file:
                for batch in file.iter_batches(_PIECE, columns=["text"], use_threads=False):
                    work(batch)
                    nbytes += batch.column("text").buffers()[2].size
        return nbytes / 1e6 / (time.process_time() - before)

    hashed(pa.record_batch({"text": ["one two three four five six"]}))
    return {"unpack": rate(lambda batch: None), "unpack and hash each shingle": rate(hashed)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--stage", choices=["minhash", "exact"], default="minhash")
    parser.add_argument("--similarity", type=float, default=0.8)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--symbols", action="store_true", help="pairs must agree in symbols too")
    given = parser.parse_args()
    if given.stage == "exact":
        found = exact(given.file, workers=given.workers)
    else:
        found = minhash(given.file, similarity=given.similarity, recall=given.recall, workers=given.workers)
    whole, cpu = (sum(step.values()) - step["start up"] for step in (found.seconds, found.cpu))
    print(f"{found.records} records, {found.text_bytes / 1e6:.1f} MB, {len(found.dropped)} dropped")
    print({name: round(value, 3) for name, value in found.seconds.items()}, f"{whole:.2f} s")
    print({name: round(value, 3) for name, value in found.cpu.items()}, f"{cpu:.2f} CPU s")
    print(f"{found.text_bytes / 1e6 / whole:.1f} MB/s wall, {found.text_bytes / 1e6 / cpu:.1f} MB per CPU s")
    print({name: value for name, value in found.summary.items() if name not in ("s_curve", "overlap")})
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
