"""Reading a file in object storage by ranges: large ones, several at once, each tried again by itself."""

from __future__ import annotations

import io
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from curate.io.patience import ShortError, is_condition, patiently

BLOCK = 8 * 2**20  # bytes of a request: at 20 ms and 100 MB/s, a fifth of its time is the round trip
AHEAD = 2  # blocks on their way while one is read
AT_ONCE = 4  # requests at a time for one file


class Ranges:
    """A remote file of known size, read by ranges."""

    def __init__(self, fs: Any, path: str, shown: str, size: int | None = None) -> None:
        """Ask for the size where it is not given. Raises as patience.patiently."""
        self._fs, self._path, self._shown = fs, path, shown
        self.size: int = patiently(lambda: int(fs.info(path)["size"]), shown) if size is None else size

    def fetch(self, start: int, stop: int) -> bytes:
        """Return the bytes [start:stop], all of them: an answer cut short is asked for again."""
        start, stop = max(0, start), min(stop, self.size)
        if start >= stop:
            return b""

        def request() -> bytes:
            found = bytes(self._fs.cat_file(self._path, start=start, end=stop))
            if len(found) != stop - start:
                raise ShortError(f"{len(found)} bytes of {stop - start}")
            return found

        try:
            return patiently(request, self._shown)
        except OSError as error:
            if is_condition(error):  # the file has become shorter than it was listed
                raise ShortError("the file changed while it was read") from None
            raise

    def download(self, local: Path, part: int = 2 * BLOCK) -> None:
        """Write the whole file to a local one."""
        with local.open("wb") as file:
            if self.size <= part:
                file.write(self.fetch(0, self.size))
                return
            with ThreadPoolExecutor(AT_ONCE) as pool:
                starts = iter(range(0, self.size, part))
                waiting: list[Future[bytes]] = []
                for _ in range(-(-self.size // part)):
                    while len(waiting) < AT_ONCE and (start := next(starts, None)) is not None:
                        waiting.append(pool.submit(self.fetch, start, start + part))
                    file.write(waiting.pop(0).result())


class Streamed(io.RawIOBase):
    """A remote file read mostly from front to back: the next blocks are on their way while one is read."""

    def __init__(self, ranges: Ranges, block: int = BLOCK, ahead: int = AHEAD) -> None:
        self._ranges, self._size, self._ahead = ranges, block, ahead
        self._at = 0
        self._blocks: dict[int, Future[bytes]] = {}
        self._last = -1
        self._pool = ThreadPoolExecutor(ahead + 1)

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, as many as asked for unless the file ends."""
        stop = self._ranges.size if size is None or size < 0 else min(self._at + size, self._ranges.size)
        if not self._ahead and stop - self._at >= self._size:  # large, and nothing foretells the next
            found = self._ranges.fetch(self._at, stop)
            self._at += len(found)
            return found
        pieces = []
        while self._at < stop:
            number, offset = divmod(self._at, self._size)
            piece = self._block(number)[offset : offset + stop - self._at]
            pieces.append(piece)
            self._at += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _block(self, number: int) -> bytes:
        last = -(-self._ranges.size // self._size)
        ahead = self._ahead if number in (0, self._last, self._last + 1) else 0
        wanted = range(number, min(number + ahead + 1, last))
        for old in [held for held in self._blocks if held not in wanted]:
            self._blocks.pop(old).cancel()
        for block in wanted:
            if block not in self._blocks:
                self._blocks[block] = self._pool.submit(
                    self._ranges.fetch, block * self._size, (block + 1) * self._size
                )
        self._last = number
        return self._blocks[number].result()

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; return how many bytes came."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def readall(self) -> bytes:
        """Return the rest."""
        return self.read(-1)

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place."""
        self._at = max(0, place + (0, self._at, self._ranges.size)[whence])
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read from any place."""
        return True

    def close(self) -> None:
        """Let go of the blocks."""
        if not self.closed:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._blocks.clear()
        super().close()


class Spilled(Streamed):
    """A remote file read here and there, whose blocks are fetched once and kept on this machine's disk.

    Arrow reads the columns of a row group in turn, a little of each: without keeping blocks, it would fetch each of
    them many times, and all of them would be more than memory holds.
    """

    def __init__(self, ranges: Ranges, block: int = BLOCK, ahead: int = AHEAD) -> None:
        super().__init__(ranges, block, ahead)
        self._file = tempfile.TemporaryFile(prefix="curate-")  # noqa: SIM115 - closed with this file
        self._held: set[int] = set()

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, as many as asked for unless the file ends."""
        stop = self._ranges.size if size is None or size < 0 else min(self._at + size, self._ranges.size)
        if stop <= self._at:
            return b""
        first, end = self._at // self._size, -(-stop // self._size)
        missing = [block for block in range(first, end) if block not in self._held]
        if missing and missing[-1] - 1 in self._held:  # read from front to back
            more = range(end, min(end + self._ahead, -(-self._ranges.size // self._size)))
            missing += [block for block in more if block not in self._held]
        for start in range(0, len(missing), self._ahead + 1):
            self._fetch(missing[start : start + self._ahead + 1])
        self._file.seek(self._at)
        found = self._file.read(stop - self._at)
        self._at = stop
        return found

    def _fetch(self, blocks: list[int]) -> None:
        places = [block * self._size for block in blocks]
        found = self._pool.map(lambda place: self._ranges.fetch(place, place + self._size), places)
        for block, place, content in zip(blocks, places, found, strict=True):
            self._file.seek(place)
            self._file.write(content)
            self._held.add(block)

    def close(self) -> None:
        """Let go of the blocks."""
        if not self.closed:
            self._file.close()
        super().close()


class Patient:
    """A remote file of a library without requests by range; a read that fails is tried again."""

    def __init__(self, file: Any, shown: str) -> None:
        self._file, self._shown = file, shown

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        at = self._file.tell()

        def again() -> bytes:
            self._file.seek(at)
            return bytes(self._file.read(size))

        return patiently(again, self._shown)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
