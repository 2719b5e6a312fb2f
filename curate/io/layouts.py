"""How a file is laid out: told by its name, verified by its first bytes."""

from __future__ import annotations

from typing import Literal, TypeAlias

Layout: TypeAlias = Literal["jsonl", "parquet", "arrow", "csv"]
Compression: TypeAlias = Literal["gzip", "zstd"]

SUFFIXES: dict[str, Layout] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
    ".csv": "csv",
    ".tsv": "csv",
}
COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}

HEAD = 512  # bytes of a file that misfit() wants to see

# First bytes → what they are; the sources are the formats' own specifications.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"PAR1", "parquet data"),
    (b"PARE", "encrypted parquet data"),
    (b"ARROW1", "Arrow IPC data"),
    (b"\xff\xff\xff\xff", "Arrow IPC stream data"),
    (b"FEA1", "Feather V1 data"),
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
_LFS = b"version https://git-lfs.github.com/spec/v1"
_EXPECTED: dict[Layout | Compression, tuple[str, ...]] = {
    "gzip": ("gzip data",),
    "zstd": ("zstd data",),
    "parquet": ("parquet data",),
    "arrow": ("Arrow IPC data", "Arrow IPC stream data"),
}
_ADVICE = {
    "gzip data": "end its name in .gz",
    "zstd data": "end its name in .zst",
    "parquet data": "end its name in .parquet",
    "Arrow IPC data": "end its name in .arrow",
    "Arrow IPC stream data": "end its name in .arrow",
    "encrypted parquet data": "decrypt it",
    "Feather V1 data": "write it again as Arrow IPC (Feather V2)",
    "UTF-16 text": "convert it to UTF-8",
}


def layout_of(path: str) -> tuple[Layout, Compression | None]:
    """Return layout and compression as the name tells them. Raises ValueError: found; expected; to do."""
    name = path.rpartition("/")[2].lower()
    base, compression = name, None
    for suffix, kind in COMPRESSIONS.items():
        if name.endswith(suffix):
            base, compression = name.removesuffix(suffix), kind
    layout = next((kind for suffix, kind in SUFFIXES.items() if base.endswith(suffix)), None)
    if layout is None:
        known = f"{' '.join(SUFFIXES)}, the text ones also with {' or '.join(COMPRESSIONS)}"
        raise ValueError(
            f"the name does not tell how the file is laid out; expected one of {known}; rename it"
        )
    if compression and layout in ("parquet", "arrow"):
        raise ValueError(
            f"a compressed {layout} file; expected a plain one (it compresses inside); unpack it"
        )
    return layout, compression


def stem(path: str) -> str:
    """Return a file's name without folder and without the suffixes that tell its layout."""
    name = path.rpartition("/")[2]
    for suffixes in (COMPRESSIONS, SUFFIXES):
        suffix = next((s for s in suffixes if name.lower().endswith(s)), "")
        name = name[: len(name) - len(suffix)]
    return name


def separator(path: str) -> str:
    """Return what separates the fields of a csv file: a tab in .tsv, a comma in .csv."""
    return "\t" if any(path.lower().endswith(".tsv" + tail) for tail in ("", *COMPRESSIONS)) else ","


def misfit(head: bytes, layout: Layout, compression: Compression | None) -> str | None:
    """Return what is wrong with a file whose first HEAD bytes are these: found; expected; what to do."""
    expected = " ".join(filter(None, (compression, layout)))
    if not head:
        return (
            f"the file is empty (0 bytes); expected {expected}; fetch it again or take it out of the source"
        )
    if head.startswith(_LFS):
        return f"a Git LFS pointer, not the data; expected {expected}; run 'git lfs pull' where it was cloned"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return (
            f"a web page saved as data; expected {expected}; download the file itself (it may need a log-in)"
        )
    found = _name(head)
    wanted = _EXPECTED.get(compression or layout)
    if wanted is None and found is None:
        return None
    if wanted is None or found not in wanted:
        advice = _ADVICE.get(found or "", "unpack it" if found else "fetch it again or correct its name")
        return f"{found or 'other data'}; expected {expected}; {advice}"
    return None


def _name(head: bytes) -> str | None:
    # RFC 8878, 3.1.2: a zstd file may begin with a skippable frame, 0x184D2A50 to 0x184D2A5F.
    if head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstd data"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)
