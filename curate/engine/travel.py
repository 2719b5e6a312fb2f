"""What travels between the main process and workers on other machines: the same software at both ends, and tasks.

Tasks are small. What many tasks of a map have in common (the stages, above all) travels once, not with each of them,
and a worker unpacks it once.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib
import io
import os
import pickle
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from curate import rules
from curate.engine import local, worker
from curate.errors import RecipeError
from curate.software import software

MODULES_MOST = 16 * 2**20  # bytes that a recipe's own modules may have
_ALIKE = 4  # maps whose common part a worker holds
_PLAIN = (str, int, float, bool, type(None))  # not worth a common part


@functools.cache
def identity() -> dict[str, str]:
    """Return what must be the same on all machines: versions, and SHA-256s of this package's code and rule packs."""
    home = Path(__file__).parents[1]
    code = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        code.update(f"{path.relative_to(home).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    packs = "".join(rules.load(name).sha256 for name in rules.names())
    packed = hashlib.sha256(packs.encode()).hexdigest()
    return {**software(), "curate's code": code.hexdigest()[:12], "rule packs": packed[:12]}


def differences(there: dict[str, str], here: dict[str, str]) -> str:
    """Say in what two identities differ; empty for nothing."""
    names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    return ", ".join(f"{name} {there.get(name, 'none')} (here {here.get(name, 'none')})" for name in names)


def modules(folder: Path) -> bytes:
    """Return a recipe's own Python modules as a zip file, empty where none of them is in use.

    These are the modules that lie in its folder, and the packages of those that this process has imported. Raises
    RecipeError if they are larger than MODULES_MOST.
    """
    folder = folder.resolve()
    tops = {top for name in list(sys.modules) if (top := _own(name, folder)) is not None}
    if not tops:
        return b""
    chosen = sorted(folder.glob("*.py"))
    for top in sorted(tops):
        chosen += sorted((folder / top).rglob("*.py"))
    if (size := sum(path.stat().st_size for path in chosen)) > MODULES_MOST:
        raise RecipeError(
            f"{folder}: the recipe's own modules have {size:,} bytes; allowed: {MODULES_MOST:,}; "
            "install them on every node as a package instead"
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in chosen:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())  # without a date: same bytes
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _own(name: str, folder: Path) -> str | None:
    """Return the top of a module's name if it is imported and lies in the folder itself, none of ours."""
    top = name.partition(".")[0]
    file = getattr(sys.modules.get(name), "__file__", None)
    if top in ("curate", "__main__") or not file:
        return None
    path = Path(file)
    return top if path in (folder / f"{top}.py", folder / top / "__init__.py") else None


class Setup(NamedTuple):
    """What a worker is told before its first task."""

    identity: dict[str, str]
    modules: bytes

    @property
    def key(self) -> str:
        """Return what tells it from another: a worker may come to work for several runs."""
        return hashlib.sha256(pickle.dumps((sorted(self.identity.items()), self.modules))).hexdigest()


# -- tasks ------------------------------------------------------------------------------------------------------


class Packer:
    """Packs the tasks of a map; what they have in common is a reference to ``common``, which travels once."""

    def __init__(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> None:
        self._function = function
        shared = [function]
        if len(tasks) > 1:
            second = {id(part) for part in _parts(tasks[1])}
            shared += [part for part in _parts(tasks[0]) if id(part) in second and type(part) not in _PLAIN]
        self._shared = shared  # held, so that no other object comes to have the same id
        self._numbers = {id(part): number for number, part in enumerate(shared)}
        self.common = pickle.dumps(shared, pickle.HIGHEST_PROTOCOL)
        self.key = hashlib.sha256(self.common).hexdigest()

    def pack(self, task: Any) -> bytes:
        """Return the function and a task, pickled."""
        packed = io.BytesIO()
        _Pickler(packed, self._numbers).dump((self._function, task))
        return packed.getvalue()


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, numbers: dict[int, int]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._numbers = numbers

    def persistent_id(self, thing: Any) -> int | None:
        return self._numbers.get(id(thing))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, common: list[Any]) -> None:
        super().__init__(file)
        self._common = common

    def persistent_load(self, number: Any) -> Any:
        return self._common[number]


def _parts(task: Any) -> list[Any]:
    """Return what a task is made of: its fields, and what is in those that are tuples."""
    if isinstance(task, tuple):
        fields = list(task)
    else:
        names = getattr(task, "__dataclass_fields__", None) or getattr(task, "__dict__", {})
        fields = [getattr(task, name) for name in names]
    return fields + [part for value in fields if isinstance(value, tuple) for part in value]


# -- in a worker ------------------------------------------------------------------------------------------------


@dataclass
class _State:
    """What this worker process has been given."""

    ready: str = ""  # the key of the setup
    modules: str = ""  # where a recipe's own lie
    common: dict[str, list[Any]] = field(default_factory=dict)
    lock: Any = None  # an open file; while it is, no other process takes this one's folder for a dead one's


_state = _State()


class Message(NamedTuple):
    """A task for a worker, and how to come by what travels once."""

    keys: tuple[str, str]  # of the setup, and of the common part
    payload: bytes
    setup: Callable[[], Setup]
    common: Callable[[], bytes]


def work(message: Message) -> tuple[bytes, int, int]:
    """Do a task. Returns its outcome, pickled (DONE, result) or (FAILED, exception, traceback), records and bytes."""
    counted = [0, 0]

    def tick(records: int, nbytes: int) -> None:
        counted[0] += records
        counted[1] += nbytes

    global _message
    _message = message  # functions do not travel; it is in this process already
    local.listen(tick)
    try:
        outcome = worker.outcome_of(pickle.dumps((_call, None)))
    finally:
        local.listen(None)
        _message = None
    return outcome, counted[0], counted[1]


_message: Message | None = None


def _call(_: None) -> Any:
    message = _message
    assert message is not None
    setup, key = message.keys
    if _state.ready != setup:
        _prepare(message.setup())
        _state.ready, _state.common = setup, {}
    if key not in _state.common:
        while len(_state.common) >= _ALIKE:
            del _state.common[next(iter(_state.common))]
        _state.common[key] = pickle.loads(message.common())
    function, task = _Unpickler(io.BytesIO(message.payload), _state.common[key]).load()
    return function(task)


def _prepare(setup: Setup) -> None:
    """Make this process a worker: the same software, one thread per library, a folder of its own, the modules."""
    if differs := differences(identity(), setup.identity):
        raise RecipeError(
            f"a node of the cluster runs other software than this machine: {differs}; allowed: the same on all nodes; "
            "install it there (an image of the same build does)"
        )
    for name in worker.THREADS:
        os.environ.setdefault(name, "1")
    worker.limit_arrow(1)
    if _state.lock is None:
        tempfile.tempdir = os.environ["TMPDIR"] = str(_own_folder())
    _unpack(setup.modules)


def _unpack(modules: bytes) -> None:
    """Make a recipe's own modules importable, in place of those of the run before."""
    if _state.modules:
        sys.path.remove(_state.modules)
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(_state.modules):
                del sys.modules[name]
        _state.modules = ""
    if modules:
        _state.modules = tempfile.mkdtemp(prefix="modules-")
        with zipfile.ZipFile(io.BytesIO(modules)) as archive:
            archive.extractall(_state.modules)
        sys.path.append(_state.modules)  # last, so that it hides nothing
        importlib.invalidate_caches()


def _own_folder() -> Path:
    """Return a new folder for this process's temporary files, and remove those of workers that were killed."""
    try:
        import fcntl
    except ImportError:  # no such locks on Windows: nothing is removed
        _state.lock = True
        return Path(tempfile.mkdtemp(prefix="curate-"))
    home = Path(tempfile.gettempdir())
    for lock in home.glob("curate-ray-*/lock"):
        with suppress(OSError), lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix="curate-ray-"))
        _state.lock = (folder / "lock").open("w")
        with suppress(OSError):
            fcntl.flock(_state.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (folder / "lock").exists():  # none found it before it was locked
                atexit.register(shutil.rmtree, folder, ignore_errors=True)
                return folder
