"""The shuffle of a resolution: what tasks leave for one another, in few large files that are read by the range.

A step is a map of the engine over *groups* (of parts, the records' owners) or *partitions* (of keys, or of what
is to be compared). What a task has for those of the next step are slices of one file, in their order; each of
them then reads its own slice of every file. Where the slices are goes through the driver: 8 bytes for each.
Nothing else does.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from curate.errors import StorageError
from curate.io.store import Store, scratch
from curate.stage import Engine, Sketches

T = TypeVar("T")
R = TypeVar("R")
Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

KEY = 12  # bytes of a key in the shuffle: 8, and 4 of the record's number in its group
_WORTH = 1 << 21  # keys, or as much work: below, sending tasks to workers costs more than it saves
_TYPES = tuple(np.dtype(code) for code in ("u1", "i4", "u4", "i8", "u8", "f8"))


class Slice(NamedTuple):
    """What one task left for another."""

    name: str
    start: int
    stop: int

    def read(self, store: Store) -> Bytes:
        """Return the bytes, which may be written on. Raises StorageError where there are too few."""
        wanted = self.stop - self.start
        found = np.empty(wanted, np.uint8)
        read = 0
        if store.is_remote and wanted:
            content = store.read_range(self.name, self.start, self.stop)
            read = len(content)
            found[:read] = np.frombuffer(content, np.uint8)
        elif wanted:
            with (store.path / self.name).open("rb", buffering=0) as file:
                file.seek(self.start)
                while read < wanted and (more := file.readinto(found.data[read:])):
                    read += more
        if read != wanted:
            raise StorageError(
                f"{self.name}: {read} bytes at {self.start}, and {wanted} were written; the storage lost what a "
                "resolution had put there: run again"
            )
        return found


class Sliced(NamedTuple):
    """A file of slices, one after the other."""

    name: str
    ends: Ints  # [slices]

    def slices(self, first: int, last: int) -> Slice:
        """Return the slices [first:last] as one."""
        return Slice(self.name, int(self.ends[first - 1]) if first else 0, int(self.ends[last - 1]))


def across(files: Sequence[Sliced], number: int) -> tuple[Slice, ...]:
    """Return the slice of that number of every file."""
    return tuple(file.slices(number, number + 1) for file in files)


class Slicer:
    """A file of slices in the making."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file
        self._ends: list[int] = []
        self._size = 0

    def add(self, *arrays: Array) -> None:
        """Write one slice: the arrays' bytes, one after the other."""
        for array in arrays:
            self._size += self._file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        self._ends.append(self._size)

    def done(self) -> Sliced:
        """Return where the slices are."""
        return Sliced(self.name, np.array(self._ends, np.int64))


@contextmanager
def slicing(store: Store, name: str) -> Iterator[Slicer]:
    """Write a file of slices, which is there when the block ends without an error.

    It is gone when the resolution is done, so nothing waits until it is safe on the disk.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(scratch()) if store.is_remote else store.path
        # A node that was given up may still write the same file, with a process of the same number.
        partial = folder / f"{name}.{secrets.token_hex(8)}.partial"
        with partial.open("wb") as file:
            yield Slicer(file, name)
        if store.is_remote:
            store.upload(partial, name)
        else:
            partial.replace(folder / name)


@contextmanager
def room(sketches: Sketches) -> Iterator[Store]:
    """Give a folder for one resolution's shuffle, which goes when the block ends."""
    store: Store = sketches.store.child("shuffle")
    store.clear()
    try:
        yield store
    finally:
        if store.is_remote:
            store.remove()
        else:
            shutil.rmtree(store.path, ignore_errors=True)


def packed(*arrays: Array) -> list[Array]:
    """Return arrays of one or two dimensions as one slice's arrays, for :func:`unpacked`: all 8 bytes aligned."""
    header = [len(arrays)]
    pieces = []
    for array in arrays:
        columns = array.shape[1] if array.ndim == 2 else -1
        header += [_TYPES.index(array.dtype), len(array), columns]
        pieces += [array, np.zeros(-array.nbytes % 8, np.uint8)]
    return [np.array(header, np.int64), *pieces]


def unpacked(content: Bytes, start: int = 0) -> tuple[list[Array], int]:
    """Return the arrays of a slice that begins at ``start``, in place, and where it ends."""
    count = int(np.frombuffer(content, np.int64, 1, start)[0])
    about = np.frombuffer(content, np.int64, 3 * count, start + 8).reshape(-1, 3).tolist()
    start += 8 + 24 * count
    arrays = []
    for code, rows, columns in about:
        kind = _TYPES[code]
        size = rows * (columns if columns >= 0 else 1)
        array = np.frombuffer(content, kind, size, start)
        arrays.append(array.reshape(rows, columns) if columns >= 0 else array)
        start += size * kind.itemsize + -(size * kind.itemsize) % 8
    return arrays, start


def whole(store: Store, name: str) -> list[Array]:
    """Return the arrays of a file that is one slice."""
    return unpacked(np.frombuffer(bytearray(store.read(name)), np.uint8))[0]


def numbers(slices: Iterable[Slice], store: Store, kind: str = "u4") -> list[Array]:
    """Return slices that are plain numbers."""
    return [np.frombuffer(one.read(store), kind) for one in slices]


def run(function: Callable[[T], R], tasks: Sequence[T], engine: Engine, work: int) -> list[R]:
    """Map tasks; here, where all of them together are little work (in keys to group, or the like)."""
    if work < _WORTH:
        return [function(task) for task in tasks]
    return list(engine.map(function, tasks))


@dataclass(frozen=True, slots=True)
class Group:
    """Consecutive parts of the run, or of the index of an earlier release: those that one task reads."""

    number: int
    parts: tuple[Any, ...]  # curate.stage.SketchPart or curate.stages.dedup.index.IndexPart
    sizes: tuple[int, ...]  # records of each
    start: int  # number of the first record: the run's first, then those of the indexes in order
    release: int = -1  # which index; -1: the run's own records
    place: int = 0  # of the first record among those of its index

    @property
    def records(self) -> int:
        """Return the number of all records."""
        return sum(self.sizes)

    def chosen(self, rows: Ints) -> Iterator[tuple[Any, Ints]]:
        """Yield each part that has some of the group's rows (ascending), and which of its own rows these are."""
        start = 0
        for part, size in zip(self.parts, self.sizes, strict=True):
            first, last = np.searchsorted(rows, (start, start + size))
            if first < last:
                yield part, rows[first:last] - start
            start += size


def grouped(
    parts: Sequence[Any], sizes: Sequence[int], most: int, after: Sequence[Group] = (), release: int = -1
) -> list[Group]:
    """Make groups of at most ``most`` records, or of one part, behind those that there are; of none, an empty one."""
    found: list[Group] = [] if parts or after else [Group(0, (), (), 0)]
    start = sum(group.records for group in after)
    place = first = 0
    while first < len(parts):
        last = first + 1
        while last < len(parts) and sum(sizes[first : last + 1]) <= most:
            last += 1
        group = Group(
            len(after) + len(found), tuple(parts[first:last]), tuple(sizes[first:last]), start, release, place
        )
        found.append(group)
        start, place, first = start + group.records, place + group.records, last
    return found


class Plan(NamedTuple):
    """How a resolution is cut."""

    most: int  # records of a group
    partitions: int  # of the keys; a power of two
    memory: int  # bytes that one task may hold


def plan(records: int, keys: int, memory: int, workers: int, per_key: int, per_record: int = 128) -> Plan:
    """Return how to cut a resolution of so many records of ``keys`` keys each.

    A task may hold ``memory / workers`` bytes. A group takes 24 bytes per key (its rows of the shuffle,
    then its candidates' entries) and ``per_record``; a partition ``per_key`` bytes per key, if every record meets
    another.
    Several workers get several groups each, so that none waits for long.
    """
    task = max(1, memory // workers)
    most = max(1, task // (24 * keys + per_record))
    if workers > 1:
        most = min(most, max(4096, -(-records // (4 * workers))))
    least = -(-records * keys * per_key // task)
    if records * keys >= _WORTH:
        least = max(least, workers)
    return Plan(most, 1 << max(0, least - 1).bit_length(), task)


@contextmanager
def held(count: int, kind: type[np.generic], memory: int) -> Iterator[Array]:
    """Give an array of ``count`` numbers: in memory, or in a mapped file where it would take more than ``memory``."""
    if count * np.dtype(kind).itemsize <= memory or not count:
        yield np.empty(count, kind)
        return
    with scratch() as folder:
        yield np.memmap(folder / "held", kind, "w+", shape=count)
