"""Decompressed bytes and their lines, streamed: what scan and read share.

A line over the limit is never held in memory: it comes out as None, so that it still counts.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from curate.io.files import opened, why
from curate.io.layouts import Compression

BLOCK = 2**20  # bytes read at once
_ZSTD_PIECE = 16 * 2**10  # compressed bytes unpacked at once; a piece may grow many times over
_BOM = b"\xef\xbb\xbf"


class BrokenStream(Exception):
    """Compressed data that does not unpack; the message says what was found; expected; what to do."""


class Lines(NamedTuple):
    """Some whole lines of a file."""

    lines: list[bytes | None]  # without newline; None is a line over the limit
    end: int  # offset in the decompressed bytes of what follows them


def blocks(
    location: str, compression: Compression | None, start: int = 0, stop: int | None = None, size: int = BLOCK
) -> Iterator[bytes]:
    """Yield the decompressed bytes [start, stop) of a file, in pieces.

    A compressed file is unpacked from its beginning: the cost of reaching start grows with start.
    Raises BrokenStream where the data does not unpack or ends too soon; OSError as the storage does.
    """
    with opened(location) as file:
        if compression is None:
            file.seek(start)
            position, pieces = start, _plain(file, size)
        else:
            position, pieces = 0, (_gunzip(file, size) if compression == "gzip" else _unzstd(file))
        for piece in pieces:
            begins, position = position, position + len(piece)
            if position <= start:
                continue
            yield piece[max(0, start - begins) : None if stop is None else stop - begins]
            if stop is not None and position >= stop:
                return


def _plain(file: BinaryIO, size: int) -> Iterator[bytes]:
    while piece := file.read(size):
        yield piece


def _gunzip(file: BinaryIO, size: int) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file) as unpacked:  # knows about several members and checks their CRC
            while piece := unpacked.read(size):
                yield piece
    except EOFError:
        raise BrokenStream(_truncated("gzip")) from None
    except (gzip.BadGzipFile, zlib.error):
        raise BrokenStream("the gzip data is damaged; expected an intact file; fetch it again") from None


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    """Unpack every frame; one cut short is an error, which the library's own file object does not notice."""
    import zstandard

    # Windows up to 2 GiB, as 'zstd --long=31' writes them; the library's default stops at 128 MiB.
    frame = None
    decompressor = zstandard.ZstdDecompressor(max_window_size=2**31)
    try:
        while piece := file.read(_ZSTD_PIECE):
            while piece:
                frame = frame or decompressor.decompressobj()
                if out := frame.decompress(piece):
                    yield out
                piece = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
    except zstandard.ZstdError:
        raise BrokenStream("the zstd data is damaged; expected an intact file; fetch it again") from None
    if frame is not None:
        raise BrokenStream(_truncated("zstd"))


def _truncated(kind: str) -> str:
    return f"the {kind} data ends too soon (truncated); expected an intact file; fetch it again"


def split(pieces: Iterable[bytes], limit: int, start: int = 0) -> Iterator[Lines]:
    """Cut bytes that begin at a line's start into lines of at most limit bytes; longer ones become None.

    A byte order mark at the very start of a file is taken off.
    """
    held: list[bytes] = []  # beginning of a line whose end has not been seen; empty once it is over the limit
    length = 0
    position, fresh = start, start == 0
    for piece in pieces:
        position += len(piece)
        cut = piece.rfind(b"\n")
        if cut < 0:
            length += len(piece)
            held = [*held, piece] if len(held) < 64 else [b"".join(held), piece]
            held = held if length <= limit else []
            continue
        found: list[bytes | None] = list(piece[:cut].split(b"\n"))
        found[0] = None if length + len(found[0] or b"") > limit else b"".join([*held, found[0] or b""])
        if limit < len(piece):
            found = [line if line is not None and len(line) <= limit else None for line in found]
        held, length = [piece[cut + 1 :]], len(piece) - cut - 1
        held = held if length <= limit else []
        yield Lines(_unmarked(found, fresh), position - length)
        fresh = False
    if length:
        yield Lines(_unmarked([b"".join(held) if length <= limit else None], fresh), position)


def _unmarked(lines: list[bytes | None], fresh: bool) -> list[bytes | None]:
    if fresh and lines[0] is not None:
        lines[0] = lines[0].removeprefix(_BOM)
    return lines


def reason_for(error: BaseException) -> str:
    """Return found; expected; what to do, for whatever reading bytes raised."""
    if isinstance(error, BrokenStream):
        return str(error)
    return f"cannot be read ({why(error)}); expected a readable file; check its permissions and storage"
