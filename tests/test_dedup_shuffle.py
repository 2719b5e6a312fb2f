"""Deduplication in pieces: the same answer however it is cut, wherever it is stored, and what it writes on the way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from reference import sketches

from curate.engine.local import LocalEngine
from curate.errors import StorageError
from curate.io.store import Store
from curate.record import Batch
from curate.stages.dedup import decisions, shuffle, shuffled
from curate.stages.dedup.resolved import Resolved
from curate.stages.dedup.shuffle import Slice
from curate.stages.exact import Exact
from curate.stages.minhash import MinHash

WORDS = ["river", "stone", "window", "garden", "market", "copper", "violin"]
WORDS += ["letter", "harbour", "winter", "engine", "pepper", "lantern", "meadow"]


def units(texts: int = 250, size: int = 17) -> list[list[Batch]]:
    """Return units of documents and conversations, of three files, with chains of look-alikes across them."""
    rng = random.Random(11)
    lines = [" ".join(rng.choices(WORDS, k=rng.choice([3, 20, 60]))) for _ in range(texts)]
    for line in lines[::3] + lines[::3]:
        words = line.split()
        words[rng.randrange(len(words))] = "other"
        lines.append(" ".join(words))
    lines += [line.upper() for line in lines[::5]]
    rng.shuffle(lines)
    third = len(lines) // 3
    batches = [
        sketches.batch([{"text": line} for line in lines[:third]], "a", "x.jsonl"),
        sketches.batch([{"text": line} for line in lines[third : 2 * third]], "a", "y.jsonl"),
        sketches.batch([sketches.chat("go", line) for line in lines[2 * third :]], "b", "x.jsonl"),
    ]
    return [[batch.slice(start, size)] for batch in batches for start in range(0, batch.num_rows, size)]


BARRIERS: dict[str, Any] = {
    "exact": Exact(Exact.Options(max_cluster=2)),
    "minhash": MinHash(MinHash.Options(similarity=0.5, recall=0.9, ngram=2, max_bucket=3, max_cluster=3)),
}


def cut(monkeypatch: pytest.MonkeyPatch, partitions: int, most: int) -> None:
    """Let resolutions have so many partitions, and groups of so many records."""
    plan = shuffle.plan
    monkeypatch.setattr(
        shuffle, "plan", lambda *given: plan(*given)._replace(partitions=partitions, most=most)
    )


def resolved(
    barrier: Any, store: Store, memory: int = 1 << 30, engine: Any = None, cuts: Sequence[Any] | None = None
) -> Resolved:
    parts = tuple(sketches.part(barrier, unit) for unit in cuts or units())
    found: Resolved = barrier.resolve(
        sketches.MemorySketches(parts, store, memory), engine or sketches.SerialEngine()
    )
    return found


@pytest.fixture(scope="module", params=["exact", "minhash"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Resolved]:
    """Each barrier, resolved in one piece."""
    folder = tmp_path_factory.mktemp(request.param)
    found = resolved(BARRIERS[request.param], Store.at(folder))
    assert found.summary["dropped"] > 40
    assert {finding["reason"] for finding in found.findings} >= {f"{request.param}/large-cluster"}
    return BARRIERS[request.param], found


@pytest.mark.parametrize("partitions", [1, 2, 8])
@pytest.mark.parametrize("most", [10**6, 40])
@pytest.mark.parametrize("memory", [1 << 30, 20_000, 2_000])
def test_the_answer_is_the_same_however_it_is_cut(
    plain: tuple[Any, Resolved],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    partitions: int,
    most: int,
    memory: int,
) -> None:
    barrier, whole = plain
    cut(monkeypatch, partitions, most)
    found = resolved(barrier, Store.at(tmp_path), memory)
    assert Path(found.file).read_bytes() == Path(whole.file).read_bytes()
    assert (found.summary, found.findings) == (whole.summary, whole.findings)
    assert [path.name for path in tmp_path.iterdir()] == [f"{barrier.name}.decisions.arrow"]


def test_the_answer_is_the_same_with_two_processes_that_share_all_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier, few = BARRIERS["minhash"], units(60)
    whole = resolved(barrier, Store.at(tmp_path / "one"), cuts=few)
    cut(monkeypatch, 2, 60)
    monkeypatch.setattr(shuffle, "_WORTH", 0)
    with LocalEngine(2) as engine:
        found = resolved(barrier, Store.at(tmp_path / "two"), 50_000, engine, few)
    assert Path(found.file).read_bytes() == Path(whole.file).read_bytes()
    assert found.summary == whole.summary


def test_in_object_storage_the_answer_is_the_same_and_is_read_by_the_batch(
    plain: tuple[Any, Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier, whole = plain
    cut(monkeypatch, 2, 100)
    store = Store(f"memory://resolved-{barrier.name}")
    found = resolved(barrier, store, 50_000)
    assert list(store.sizes()) == [f"{barrier.name}.decisions.arrow"]
    assert store.read(f"{barrier.name}.decisions.arrow") == Path(whole.file).read_bytes()
    batches = [batch for unit in units() for batch in unit]
    assert sketches.judge(found, batches) == sketches.judge(whole, batches)
    assert pa.Table.from_batches(found.members()) == pa.Table.from_batches(whole.members())


def test_decisions_are_found_wherever_a_file_s_are_cut(
    plain: tuple[Any, Resolved], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier, whole = plain
    batches = [batch for unit in units() for batch in unit]
    wanted = sketches.judge(whole, batches)
    monkeypatch.setattr(decisions, "BATCH", 7)
    found = resolved(barrier, Store.at(tmp_path))
    assert max(batch.num_rows for batch in found.members()) == 7
    assert sketches.judge(found, batches) == wanted
    together = [batch.slice(0) for unit in units(size=1000) for batch in unit]
    assert sketches.judge(found, together) == wanted


def test_what_was_shuffled_is_gone_also_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decisions, "write", broken)
    with pytest.raises(OSError, match="No space left"):
        resolved(BARRIERS["minhash"], Store.at(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_slice_that_storage_has_cut_short_is_an_error(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    with shuffle.slicing(store, "some") as out:
        out.add(np.arange(3), np.zeros(0, np.uint8))
        out.add(*shuffle.packed(np.arange(4, dtype=np.uint8), np.ones((2, 3)), np.empty(0, np.uint32)))
    first, second = out.done().slices(0, 1), out.done().slices(1, 2)
    assert np.frombuffer(first.read(store), np.int64).tolist() == [0, 1, 2]
    arrays, end = shuffle.unpacked(second.read(store))
    assert [array.tolist() for array in arrays] == [[0, 1, 2, 3], [[1.0] * 3] * 2, []]
    assert end == second.stop - second.start
    with pytest.raises(StorageError, match=r"some: 24 bytes at 0, and 10000 were written"):
        Slice("some", 0, 10_000).read(Store.at(_shortened(tmp_path / "some")))


def _shortened(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:24])
    return path.parent


def test_a_slice_file_that_two_machines_write_at_once_is_whole(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    with shuffle.slicing(store, "some") as one:
        one.add(np.arange(3))
        with shuffle.slicing(store, "some") as other:
            other.add(np.arange(3))
        assert np.frombuffer(store.read("some"), np.int64).tolist() == [0, 1, 2]
    assert np.frombuffer(store.read("some"), np.int64).tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["some"]


@pytest.mark.parametrize("found", [0, 2])
def test_decisions_that_are_not_as_many_as_counted_are_not_written(tmp_path: Path, found: int) -> None:
    about = {"fact": "f", "reason": "r", "releases": "[]"}
    lines = pa.Table.from_pylist([{"_file": 0, "row": row} for row in range(found)], decisions.LINES)
    with pytest.raises(ValueError, match="not as many as were counted"):
        decisions.write(Store.at(tmp_path), "d", about, [("s", "p")], Counter({0: 1}), [lines])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("partitions", [1, 4])
def test_forecasts_of_the_shuffle_are_what_was_written(
    plain: tuple[Any, Resolved], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    barrier, _ = plain
    if isinstance(barrier, Exact):  # not of the search for contradicting answers, a shuffle of its own
        barrier = Exact(barrier.options.model_copy(update={"conflicts": False}))
    cut(monkeypatch, partitions, 100)
    written: Counter[str] = Counter()
    files: dict[str, set[str]] = {}
    add = shuffle.Slicer.add

    def counted(slicer: shuffle.Slicer, *arrays: Any) -> None:
        kind = slicer.name.partition(".")[0]
        files.setdefault(kind, set()).add(slicer.name)
        written[kind] += sum(array.nbytes for array in arrays)
        add(slicer, *arrays)

    monkeypatch.setattr(shuffle.Slicer, "add", counted)
    found = resolved(barrier, Store.at(tmp_path), 100_000)
    told = found.summary
    records, candidates = told["records"], told["candidates"]
    keys = told.get("bands", 1)
    met = told.get("met", candidates) / records
    row = 64 + 8
    # What only the buckets tell: how many there are of each record.
    shape = shuffled.Shape(records, keys, met, 1.0, candidates / records, 1.0, 0.0, row, 1.0, 200.0)
    steps = shuffled.steps(shape, shuffle.plan(records, keys, 100_000, 1, 64))
    groups = -(-records // 100)
    assert written["keys"] == steps["keys"].written == 12 * keys * records
    assert groups <= len(files["keys"]) <= 2 * groups  # a group ends with a part
    assert len(files["asked"]) == steps["asked"].files == partitions
    if partitions == 1:
        assert written["asked"] == steps["asked"].written
    if keys > 1:
        assert written["planes"] == 8 * written["asked"] == 32 * written["flags"] == 8 * written["numbers"]
        assert written["slots"] == steps["slots"].written
        entries = written["entries"] / 8 / candidates
        assert 1 <= entries <= keys
        fixed = shuffled.steps(shape._replace(entries=entries), shuffle.plan(records, keys, 100_000, 1, 64))
        assert written["shares"] > fixed["shares"].written  # and the sets, whose sizes the text tells
    else:
        assert written["described"] == pytest.approx(steps["described"].written, rel=0.5)


def test_a_record_of_many_buckets_is_asked_after_by_most_partitions() -> None:
    shape = shuffled.Shape(10**9, 18, 0.3, 6.0, 0.25, 5.0, 3000.0, 100.0, 0.1, 200.0)
    assert shuffled.asked(shape, 1) == pytest.approx(3e8)
    rng = np.random.default_rng(1)
    distinct = np.mean([len(set(rng.integers(0, 16, 6).tolist())) for _ in range(20_000)])
    assert shuffled.asked(shape, 16) == pytest.approx(3e8 * distinct, rel=0.01)
    cut_so = shuffle.plan(10**9, 18, 16 * 10**9, 16, 64)
    steps = shuffled.steps(shape, cut_so)
    assert steps["keys"].written == 12 * 18 * 10**9
    assert shuffled.driver(shape, cut_so) > 8 * 0.25e9
