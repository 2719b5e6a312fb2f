"""The Ray engine on a cluster of two nodes: the same bytes as on one machine, whatever dies."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from conftest import RECIPE, contents, make_corpus, sentence, write_jsonl

from curate import release
from curate.engine import flight, tasks, travel
from curate.engine import ray as engines
from curate.engine.local import report
from curate.engine.ray import RayEngine
from curate.engine.tasks import Item
from curate.errors import InputError, RecipeError, StageError

HERE = Path(__file__).parent
SMALL = (
    64 * 2**10
)  # bytes; what is smaller than 100 KiB, Ray carries in its messages and not in its object store
# A module beside a recipe, which no node has: it tells that it works on a cluster, and kills where it is told to.
STAGE = """
import os, signal, time
from pathlib import Path
from typing import ClassVar
from curate import record
from curate.stage import StageOptions, Verdict

class Stage:
    name: ClassVar[str] = "far"
    version: ClassVar[str] = "1"
    rules: ClassVar[tuple[str, ...]] = ()
    class Options(StageOptions):
        told: str
        pause: float = 0
        poison: str = "nothing of the kind"
        awaits: str = ""  # a node that has to have had a task before others go on
    def __init__(self, options):
        self.options = options
    def judge(self, batch):
        if node := os.environ.get("CURATE_TEST_NODE"):
            Path(self.options.told, node).touch()
            # The node that is waited for is removed while it has a task, however slow the machine.
            time.sleep(60 if node == self.options.awaits else self.options.pause)
            end = time.monotonic() + 60
            while self.options.awaits and not Path(self.options.told, self.options.awaits).exists():
                if time.monotonic() > end:
                    break
                time.sleep(0.05)
        if any(self.options.poison in text for text in record.texts(batch)):
            os.kill(os.getpid(), signal.SIGKILL)
        return Verdict.of(batch.num_rows)
"""


# Processes that start with a node and do nothing for it here: each takes seconds to import what it needs.
_LEAN = {"no_monitor": True, "include_log_monitor": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core, each with raylet and workers of its own, and a third at a test's wish."""
    pytest.importorskip("ray", reason="Ray is not installed (the extra ray)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # 15 by default: on a busy machine that is all of the time
        patch.setenv("PYTHONPATH", str(HERE))  # for toys
        from ray.cluster_utils import Cluster

        own = Cluster()

        def add(name: str) -> Any:
            patch.setenv("CURATE_TEST_NODE", name)
            node = own.add_node(num_cpus=1, object_store_memory=80 * 2**20, include_dashboard=False, **_LEAN)
            patch.delenv("CURATE_TEST_NODE")
            return node

        add("first")
        add("second")
        own.add = add
        yield own
        own.shutdown()


@pytest.fixture(scope="module")
def engine(cluster: Any) -> Iterator[RayEngine]:
    """Joined once: a run in this process stays with that."""
    with RayEngine(cluster.address, tick=ticks.append_both) as joined:
        yield joined


class _Ticks(list[tuple[int, int]]):
    def append_both(self, records: int, nbytes: int) -> None:
        self.append((records, nbytes))


ticks = _Ticks()


class Job(NamedTuple):
    number: int
    folder: Path
    ballast: tuple[bytes, ...] = ()


def tried(job: Job) -> int:
    """Count this try, and return how many there were before."""
    before = len(list(job.folder.glob(f"{job.number}-*")))
    (job.folder / f"{job.number}-{before}").write_text(os.environ.get("CURATE_TEST_NODE", ""))
    return before


def double(job: Job) -> tuple[int, str, int]:
    time.sleep(0.05)
    report(1, job.number)
    return 2 * job.number, os.environ["CURATE_TEST_NODE"], len(job.ballast[0])


def odd_ones_fail(job: Job) -> int:
    if job.number % 2:
        raise InputError(f"number {job.number}")
    return job.number


def dies_at_first(job: Job) -> int:
    if tried(job) == 0 and job.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return job.number


def waits(job: Job) -> int:
    tried(job)
    time.sleep(600)
    return job.number


def spied(function: Callable[..., Any], sizes: list[int], size: Callable[..., int]) -> Callable[..., Any]:
    def spy(*given: Any, **named: Any) -> Any:
        found = function(*given, **named)
        sizes.append(size(found, *given))
        return found

    return spy


def test_results_come_in_order_from_both_nodes_and_what_is_common_travels_once(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    pack = travel.Packer.pack
    monkeypatch.setattr(travel.Packer, "pack", spied(pack, sizes, lambda found, *_: len(found)))
    ballast = os.urandom(10**5)
    ticks.clear()
    found = list(engine.map(double, [Job(n, tmp_path, (ballast,)) for n in range(40)]))
    assert [(number, size) for number, _, size in found] == [(2 * n, 10**5) for n in range(40)]
    assert {node for _, node, _ in found} == {"first", "second"}
    assert max(sizes) < 500
    assert sorted(ticks) == [(1, n) for n in range(40)]


def test_an_exception_comes_back_as_it_was_where_its_result_was_due(
    engine: RayEngine, tmp_path: Path
) -> None:
    going = engine.map(odd_ones_fail, [Job(n, tmp_path) for n in range(4)])
    assert next(going) == 0
    with pytest.raises(InputError, match=r"^number 1$") as raised:
        next(going)
    assert type(raised.value) is InputError


def test_a_dead_worker_is_asked_about_and_one_that_always_dies_is_an_error(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def again(job: Job, deaths: int) -> Job:
        asked.append((job.number, deaths))
        return job._replace(number=10) if deaths == 1 else job

    assert list(engine.map(dies_at_first, [Job(n, tmp_path) for n in range(3)], again)) == [0, 10, 2]
    assert asked == [(1, 1)]
    monkeypatch.setattr(tasks, "TRIES", 2)
    with pytest.raises(StageError, match=r"task 1 of 1 of .*kill: tried 2 times, and the worker died"):
        list(engine.map(_kill, [Job(0, tmp_path)]))


def _kill(job: Job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_whoever_stops_listening_leaves_nothing_running(engine: RayEngine, tmp_path: Path) -> None:
    results = engine.map(waits, [Job(n, tmp_path) for n in range(2)])

    def interrupt() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        next(results)
    started = time.monotonic()
    assert list(engine.map(odd_ones_fail, [Job(0, tmp_path), Job(2, tmp_path)])) == [0, 2]
    assert time.monotonic() - started < 30  # the two cores were free


def laid(folder: Path, extra: str = "", output: str = "") -> Path:
    """Write a corpus, an earlier release to deduplicate against, and a recipe."""
    make_corpus(folder, 600)
    text = RECIPE.replace("  - exact\n", "  - exact: {against: [earlier]}\n") if output else RECIPE
    (folder / "curate.yaml").write_text(text + extra + output)
    return folder / "curate.yaml"


def both(recipe: Path, cluster: Any) -> tuple[dict[str, bytes], dict[str, bytes]]:
    out = recipe.parent / "release"
    here = contents(release.run(recipe, out, workers=1).path)
    shutil.rmtree(out)
    there = contents(release.run(recipe, out, engine="ray", address=cluster.address).path)
    return here, there


def test_a_release_is_the_same_bytes_and_no_data_goes_through_rays_store(
    cluster: Any, engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = laid(tmp_path, "  - pii\n", "output: {index: true}\n")
    earlier = tmp_path / "before"
    make_corpus(earlier, 40)
    (earlier / "curate.yaml").write_text(RECIPE + "output: {index: true}\n")
    release.run(earlier / "curate.yaml", tmp_path / "earlier", workers=1)
    put: list[int] = []
    packed: list[int] = []
    results: list[int] = []

    monkeypatch.setattr(
        engine.ray, "put", spied(engine.ray.put, put, lambda _, what: len(pickle.dumps(what)))
    )
    monkeypatch.setattr(
        travel.Packer, "pack", spied(travel.Packer.pack, packed, lambda found, *_: len(found))
    )
    loads = spied(pickle.loads, results, lambda _, what: len(what))
    monkeypatch.setattr(flight, "pickle", SimpleNamespace(loads=loads))
    here, there = both(recipe, cluster)
    assert here == there
    exact = next(stage for stage in json.loads(here["manifest.json"])["stages"] if stage["name"] == "exact")
    assert exact["resolution"]["against"][0]["dropped"] > 30
    assert len(packed) == len(results) > 10
    assert max(packed) < SMALL
    assert max(results) < SMALL
    assert max(put) < SMALL
    assert (tmp_path / "docs" / "a.jsonl").stat().st_size > 2 * SMALL


def test_a_lost_node_changes_nothing_and_the_recipes_own_modules_travel(
    cluster: Any, engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(1)
    for name in "abcdefghijkl":
        rows = [{"text": sentence(rng, 20) + f" {name}{i}"} for i in range(30)]
        write_jsonl(tmp_path / "in" / f"{name}.jsonl", rows)
    (tmp_path / "awayfar.py").write_text(STAGE)
    (tmp_path / "curate.yaml").write_text(
        "curate: 1\nname: far\nversion: '1'\nsources:\n  - {name: in, files: [in/*.jsonl], license: CC0-1.0}\n"
        f"stages:\n  - exact\n  - awayfar:Stage: {{told: {tmp_path}, pause: 0.5, awaits: third}}\n"
    )
    lost: list[int] = []
    lose = flight.Flight._lost

    def told(self: flight.Flight, item: Item) -> None:
        lost.append(item.number)
        lose(self, item)

    monkeypatch.setattr(flight.Flight, "_lost", told)
    third = cluster.add("third")

    def remove() -> None:
        while not (tmp_path / "third").exists():
            time.sleep(0.02)
        cluster.remove_node(third, allow_graceful=False)

    thread = threading.Thread(target=remove, daemon=True)
    thread.start()
    here, there = both(tmp_path / "curate.yaml", cluster)
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert here == there
    assert lost
    assert (tmp_path / "first").exists()


def test_a_record_that_kills_its_worker_is_quarantined_as_on_one_machine(
    cluster: Any, engine: RayEngine, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "in.jsonl", [{"text": f"word {i}"} for i in range(9)] + [{"text": "poison"}])
    (tmp_path / "awaykills.py").write_text(STAGE)
    (tmp_path / "curate.yaml").write_text(
        "curate: 1\nname: far\nversion: '1'\nsources:\n  - {name: in, files: [in.jsonl], license: CC0-1.0}\n"
        f"stages:\n  - awaykills:Stage: {{told: {tmp_path}, poison: poison}}\n"
    )
    made = release.run(tmp_path / "curate.yaml", engine="ray", address=cluster.address)
    counts = made.manifest["counts"]
    assert (counts["kept"], counts["quarantined"]) == (9, 1)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:{closed}", "127.0.0.1:{silly}", "nowhere", "ray://127.0.0.1:{closed}"]
)
def test_where_no_cluster_answers_is_one_line_soon(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (the extra ray)")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as silly:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            ports = {"closed": closed.getsockname()[1], "silly": silly.getsockname()[1]}

        def serve() -> None:
            with suppress(OSError):
                connection, _ = silly.accept()
                with connection:
                    connection.sendall(b"SSH-2.0-silly\r\n")

        threading.Thread(target=serve, daemon=True).start()
        named = address.format(**ports)
        started = time.monotonic()
        with pytest.raises(RecipeError) as raised, RayEngine(named):
            raise AssertionError
    assert time.monotonic() - started < 20
    assert str(raised.value).startswith(f"--address {named}: ")
    assert "\n" not in str(raised.value)


def test_a_cluster_with_other_software_is_refused(
    cluster: Any, engine: RayEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**travel.identity(), "curate": "0.0.1"}
    monkeypatch.setattr(travel, "identity", lambda: other)
    with (
        pytest.raises(RecipeError, match=r"of . nodes: curate .* \(here 0\.0\.1\)\); allowed: the same"),
        RayEngine(cluster.address),
    ):
        raise AssertionError


def seen_by_first(path: str) -> bool:
    return os.environ["CURATE_TEST_NODE"] == "first" and Path(path).exists()


def test_a_folder_that_a_node_does_not_see_is_refused(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.check_folder(tmp_path / "not" / "yet")
    monkeypatch.setattr(engines, "_sees", seen_by_first)
    with pytest.raises(RecipeError, match=r"1 of the cluster's 2 nodes do not see this folder"):
        engine.check_folder(tmp_path / "not" / "yet")
    assert list(tmp_path.iterdir()) == []
