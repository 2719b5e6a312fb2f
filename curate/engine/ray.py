"""The Ray engine: tasks on all nodes of a Ray cluster.

A task is a Ray task of one core. What it reads and writes goes through the run's file system (curate.io.store); Ray
carries the tasks and their results alone, which are small, and its object store holds no data. Ray's own retries are
off: it cannot tell a task that kills its worker, which is the task's doing, from a node that is lost, which is not.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from curate.engine import memory as budgets
from curate.engine import travel
from curate.engine.flight import Flight
from curate.engine.local import Tick, cores
from curate.errors import MissingExtra, RecipeError, StageError

T = TypeVar("T")
R = TypeVar("R")

ANSWER = 10.0  # seconds that a cluster has to answer
NO_NODE = 600.0  # seconds without any node that has a core, after which a run gives up
_IN_FLIGHT = 2  # tasks handed to Ray per worker: the next one is there when a core is free
_LOOK = 5.0  # seconds between two looks at the cluster, while nothing finishes
_STORE = 128 * 2**20  # bytes of the object store of a cluster that is started here
_PROBE = 120.0  # seconds that nodes have to say what runs on them; who does not is asked with the first task


class RayEngine:
    """Maps over the nodes of a Ray cluster. Use it as a context manager; it joins when it is entered.

    address: ``auto`` (RAY_ADDRESS, else a cluster that this machine is a node of), ``host:port``, ``ray://host:port``
    (Ray's client: this machine is no node), or ``local``: one is started on this machine and stopped at the end.

    workers: tasks at a time on the whole cluster; by default as many as its cores, and more as nodes come.

    memory: bytes that the tasks may take on each node. A node gets as many tasks at a time as that holds
    (memory.WORKER each), at most its cores: the largest node's, of which others get their share by their memory. It
    is no hard limit here: what goes beyond the node's is killed by Ray, and counts as a worker's death.

    beside: the recipe's folder, whose own modules travel to the workers.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        tick: Tick | None = None,
        memory: int | None = None,
        beside: Path | None = None,
    ) -> None:
        self._address, self._asked, self._memory, self._beside = address, workers, memory, beside
        self.tick = tick
        self.workers = workers or 1
        self._last_look = self._bare_since = 0.0
        self._request: int | None = None  # bytes of memory that a task asks Ray for
        self._share = budgets.WORKER  # bytes that a task may take

    def __enter__(self) -> RayEngine:
        asked = budgets.workers_within(self._memory, self._asked or cores())
        self._joined = joined(self._address, asked, "runs on a Ray cluster")
        self.ray = self._joined.__enter__()
        try:
            self._check_nodes()
            self.look(time.monotonic())
            modules = travel.modules(self._beside) if self._beside is not None else b""
            setup = travel.Setup(travel.identity(), modules)
            self.setup, self.setup_key = self.ray.put(setup), setup.key
            options: dict[str, Any] = {"num_cpus": 1, "max_retries": 0}
            if self._request:
                options["memory"] = self._request
            self.task = self.ray.remote(**options)(_work)
        except BaseException:
            self._joined.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.setup = self.task = None
        self._joined.__exit__(None, None, None)

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        again: Callable[[T, int], T] | None = None,
    ) -> Iterator[R]:
        """Yield function(task) in the order of the tasks (curate.stage.Engine).

        A task whose node is lost is handed out anew, flight.LOSSES times; then, and where no node is left for NO_NODE
        seconds, StageError is raised.
        """
        if tasks:
            yield from Flight(self, function, tasks, again).results()

    def in_flight(self) -> int:
        """Return how many tasks Ray may have at a time."""
        return self._asked or self.workers * _IN_FLIGHT

    def memory(self) -> int:
        """Return the bytes that all tasks at work may take together, by default half of what the nodes have."""
        return self._share * self.workers

    # -- the cluster --------------------------------------------------------------------------------------------

    def alive(self) -> dict[str, dict[str, float]]:
        """Return the resources of the nodes that live and have a core, by the node's id."""
        nodes = {node["NodeID"]: node["Resources"] for node in self.ray.nodes() if node["Alive"]}
        return {name: resources for name, resources in nodes.items() if resources.get("CPU", 0) >= 1}

    def dead(self) -> frozenset[str]:
        """Return the ids of the nodes that are lost."""
        return frozenset(node["NodeID"] for node in self.ray.nodes() if not node["Alive"])

    def look(self, now: float) -> None:
        """Look at the cluster: nodes come and go. Raises StageError where there has been none for too long."""
        if now < self._last_look + _LOOK:
            return
        self._last_look = now
        nodes = self.alive()
        self._bare_since = 0.0 if nodes else self._bare_since or now
        if not nodes:
            if now - self._bare_since > NO_NODE:
                raise StageError(
                    f"the Ray cluster has had no node with a core for {NO_NODE:.0f} seconds; what is finished is "
                    "kept: run again when it has"
                )
            return
        largest = max(nodes.values(), key=lambda node: node.get("memory", 0))
        if self._memory is not None and self._request is None:
            here = min(self._memory, int(largest.get("memory", self._memory)))
            self._request = int(largest.get("memory", 0)) // max(
                1, min(int(largest["CPU"]), here // budgets.WORKER)
            )
        most = max(self._slots(node) for node in nodes.values())
        room = sum(self._slots(node) for node in nodes.values())
        each = self._memory or min(int(node.get("memory", 0)) for node in nodes.values()) // 2
        self._share = each // max(1, most) or budgets.WORKER
        self.workers = max(1, min(self._asked or room, room))

    def _slots(self, node: dict[str, float]) -> int:
        slots = int(node["CPU"])
        return min(slots, int(node.get("memory", 0)) // self._request) if self._request else slots

    def check_folder(self, folder: Path) -> None:
        """Raise RecipeError unless every node sees a local folder, or where it is to be, as this machine does."""
        there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
        with tempfile.NamedTemporaryFile(dir=there, prefix=".curate-") as file:
            seen = self._asked_of_nodes(_sees, file.name)
        if blind := sum(answer is not True for answer in seen):
            raise RecipeError(
                f"{folder}: {blind} of the cluster's {len(seen)} nodes do not see this folder; allowed: object "
                "storage, such as s3://bucket/folder, or a file system that all nodes share"
            )

    def _check_nodes(self) -> None:
        """Raise RecipeError unless every node runs the software that this process runs."""
        wrong: Counter[str] = Counter()
        answers = self._asked_of_nodes(_own_identity())
        for there in answers:
            wrong[there if isinstance(there, str) else travel.differences(there, travel.identity())] += 1
        del wrong[""]
        if wrong:
            found = "; ".join(
                f"{count} of {len(answers)} nodes: {what}" for what, count in sorted(wrong.items())
            )
            raise RecipeError(
                f"--address {self._address or 'auto'}: the cluster runs other software than this machine ({found}); "
                "allowed: the same on all nodes; install it there (an image of the same build does)"
            )

    def _asked_of_nodes(self, function: Callable[..., Any], *given: Any) -> list[Any]:
        """Return what a function returns on each node that answers, or the name of the error that it ended with."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        task = self.ray.remote(num_cpus=0, max_retries=0)(function)
        refs = []
        for name in self.alive():
            there = NodeAffinitySchedulingStrategy(name, soft=False)
            refs.append(task.options(scheduling_strategy=there).remote(*given))
        found, _ = self.ray.wait(refs, num_returns=len(refs), timeout=_PROBE) if refs else ([], [])
        answers = []
        for ref in found:
            try:
                answers.append(self.ray.get(ref))
            except self.ray.exceptions.RayTaskError as error:
                answers.append(type(error.cause).__name__)
            except self.ray.exceptions.RayError:
                continue  # the node is lost
        return answers


def _sees(path: str) -> bool:
    return Path(path).exists()


def _work(once: tuple[Any, Any], keys: tuple[str, str], payload: bytes) -> tuple[bytes, int, int]:
    """Do a task, in a worker. once: references to what is fetched once (in a tuple, so that Ray leaves them alone)."""
    import ray

    setup, common = once
    return travel.work(travel.Message(keys, payload, lambda: ray.get(setup), lambda: ray.get(common)))


def _own_identity() -> Callable[[], dict[str, str] | str]:
    def own() -> dict[str, str] | str:  # a function in a function travels whole: there may be no curate
        try:
            from curate.engine.travel import identity
        except ImportError as error:
            return f"{error.name or 'curate'} is not installed, or another version is"
        return identity()

    return own


# -- joining a cluster ------------------------------------------------------------------------------------------


@contextmanager
def joined(address: str | None, workers: int, feature: str) -> Iterator[Any]:
    """Give the library ray, joined to a cluster, and leave it at the end (a cluster that was started here stops).

    A process that has joined one already stays with that one. workers: cores of a cluster that is started here.
    Raises MissingExtra, named for the feature; RecipeError where no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    try:
        import ray
    except ImportError:
        raise MissingExtra.of(feature, "ray") from None
    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = (os.environ.get("RAY_ADDRESS") or "auto") if address in (None, "auto") else address
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if address == "local":
            ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=_STORE, **quiet)
        else:
            _join(ray, str(address), quiet)
    _hush(ray)
    try:
        yield ray
    finally:
        ray.shutdown()


def _join(ray: Any, address: str, quiet: dict[str, Any]) -> None:
    if address != "auto" and not address.startswith("ray://") and address.count(":") != 1:
        raise RecipeError(f"--address {address}: allowed: auto, local, host:port, ray://host:port")
    advice = (
        "start one with 'ray start --head' and name it as host:port on one of its nodes, ray://host:10001 "
        "elsewhere (RAY_AUTH_MODE=token if it asks for one); or use --address local"
    )
    try:
        found = address
        if address == "auto":
            found = ray._private.services.canonicalize_bootstrap_address("auto") or ""
        _answers(found.removeprefix("ray://"))
        if address.startswith("ray://"):
            _client()
        ray.init(address, **quiet)
    except (RecipeError, MissingExtra):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  Ray raises of all kinds, and exits
        said = " ".join(str(error).split()).partition(". ")[0][:200] or type(error).__name__
        raise RecipeError(f"--address {address}: no Ray cluster answers ({said}); {advice}") from None


def _client() -> None:
    """Raise MissingExtra unless Ray's client can run, which is an extra of Ray's own."""
    try:
        import grpc

        grpc.StatusCode  # noqa: B018  Ray leaves an empty module of that name where it is missing
    except (ImportError, AttributeError):
        raise MissingExtra.of("addresses that begin with ray://", "ray") from None


def _answers(place: str) -> None:
    """Raise OSError unless what listens at host:port speaks HTTP/2, as Ray does: Ray itself would try for minutes.

    A server's first frame is SETTINGS (RFC 9113, 3.4), whose type, the fourth byte, is 4 (6.5).
    """
    host, _, port = place.partition("/")[0].rpartition(":")
    if not port.isdecimal() or not host:
        raise OSError("it names no host and port" if place else "none runs on this machine")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER) as connection:
        if os.environ.get("RAY_USE_TLS", "0") == "1":
            return
        connection.settimeout(ANSWER)
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        head = b""
        while len(head) < 4 and (more := connection.recv(9 - len(head))):
            head += more
        if head[3:4] != b"\x04":
            raise OSError("what listens there is no Ray")


def _hush(ray: Any) -> None:
    """Stop the thread that prints what happens to nodes and workers on stdout, where results go."""
    with suppress(Exception):
        worker = ray._private.worker.global_worker
        worker.threads_stopped.set()
        worker.gcs_error_subscriber.close()
