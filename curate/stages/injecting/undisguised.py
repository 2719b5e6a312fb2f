"""Texts with one disguise undone: characters as they are read, runs of code decoded, pieces put together."""

from __future__ import annotations

import binascii
import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import numpy as np

from curate import rules
from curate.stages.injecting.disguise_signs import ODD, PIECES, SUM, checked
from curate.stages.injecting.payloads import BETWEEN, PACK, compiled, in_text

_MOST = 1 << 16  # characters of one run of base64 and the like
_RUNS = 200  # of a text that are decoded
_SAMPLE = 18  # bytes that tell text from data: 24 characters of base64
_PRINTABLE = 0.9


class View(NamedTuple):
    """A text as it reads once a disguise is undone."""

    disguise: str
    text: str
    origin: Sequence[int] | None  # [characters] of the view: where they stand in the text; null: all of span
    span: tuple[int, int]
    hidden: bool = False  # a reader does not see it
    glued: bool = False
    again: bool = False  # may hold further disguises

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Return where characters of the view stand in the text: start and end."""
        if self.origin is None:
            return self.span
        first, last = self.origin[start], self.origin[end - 1]
        return min(first, last), max(first, last) + 1


# --- characters --------------------------------------------------------------------------------------------------

_STYLED_RANGES = (
    *((0x2070, 0x20A0), (0x2100, 0x2150), (0x2460, 0x2500), (0xFF00, 0xFFF0), (0x1D400, 0x1D800)),
    *((0x1F100, 0x1F200), (0x1D00, 0x1DC0), (0x2C60, 0x2C80), (0x1E00, 0x1F00), (0xC0, 0x250)),
)
_NOTHING = (
    *(range(0x300, 0x370), range(0x180B, 0x1810), range(0x200B, 0x2010), range(0x202A, 0x202F)),
    *(range(0x2060, 0x2070), range(0xFE00, 0xFE10), range(0xFFF9, 0xFFFC), range(0xE0000, 0xE01F0)),
    *((0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x3164, 0xFEFF, 0xFFA0),),
)


@lru_cache(maxsize=1)
def _plain() -> dict[int, str]:
    """Return what each styled, accented, lookalike or invisible character is read as."""
    table: dict[int, str] = {}
    for first, last in _STYLED_RANGES:
        for code in range(first, last):
            parts = unicodedata.normalize("NFKD", chr(code))
            bare = "".join(sign for sign in parts if not unicodedata.combining(sign))
            if bare != chr(code) and bare.isascii() and bare:
                table[code] = bare
    for code in range(0x1F130, 0x1F18A):  # squared and negative letters, which have no decomposition
        name = unicodedata.name(chr(code), "")
        if name[-2:-1] == " " and name[-1].isalpha():
            table[code] = name[-1].lower()
    for letter, alike in rules.load(PACK).data["confusables"].items():
        table.update({ord(sign): letter for sign in alike if not unicodedata.combining(sign)})
    table.update({code: "" for codes in _NOTHING for code in codes})
    return table


_WINDOW = 600  # bytes before and after an odd character that a payload with it in may reach


def unmasked(text: str) -> Iterator[View]:
    """Yield the surroundings of odd characters as they are read, where they hold a payload."""
    data = text.encode()
    for first, last in _windows(data):
        part = data[first:last].decode()
        if next(in_text(plain := part.translate(_plain())), None) is not None:
            start = len(data[:first].decode())
            lengths = [len(_plain().get(ord(sign), sign)) for sign in part]
            origin = np.repeat(np.arange(start, start + len(part)), lengths).tolist()
            yield View("characters", plain, origin, (start, start + len(part)))


def _windows(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield bytes from a space to a space around odd characters; windows that meet are one."""
    search, first, last = compiled(ODD).search, -1, -1
    while (match := search(data, max(last - _WINDOW, 0))) is not None and last < len(data):
        start = _edge(data, match.start() - _WINDOW, -1)
        end = _edge(data, match.end() + _WINDOW, 1)
        if first >= 0 and start > last:
            yield first, last
            first = start
        first, last = start if first < 0 else first, end
    if first >= 0:
        yield first, last


def _edge(data: bytes, at: int, step: int) -> int:
    """Return where a window may end near a byte: beside a space if one is near, else between two characters."""
    if not 0 < at < len(data):
        return max(0, min(at, len(data)))
    space = data.rfind(b" ", max(0, at - _WINDOW), at) if step < 0 else data.find(b" ", at, at + _WINDOW)
    if space >= 0:
        return space + 1 if step < 0 else space
    while 0 < at < len(data) and data[at] & 0xC0 == 0x80:
        at += step
    return at


# --- codes -------------------------------------------------------------------------------------------------------

_CODES = {
    "base64": r"[A-Za-z0-9+/_-]{24,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*={0,2}",
    "hexadecimal": r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[ :,]?){12,}",
    "percent": r"[^\s%<>\"']*(?:%[0-9A-Fa-f]{2}[^\s%<>\"']*){2,}",
    "binary": r"(?:[01]{8}[ ,]?){8,}",
    "entities": r"(?:&#[xX]?[0-9a-fA-F]{2,6};?[^&\n]{0,100}){2,}",
    "escapes": r"(?:(?:\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2})[^\\\n]{0,40}){3,}",
}
OTHERS = tuple(_CODES)[1:]
_URL_SAFE = {ord("-"): "+", ord("_"): "/"}
_RE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")


def decoded(text: str, codes: Iterable[str]) -> Iterator[View]:
    """Yield what runs of some codes in a text decode to, as views: the first of each code, no longer than a limit."""
    data = text.encode()
    for name in codes:
        read = []
        for number, run in enumerate(compiled(_CODES[name]).finditer(data)):
            if number == _RUNS:
                break
            if name == "base64" and not _promising(run[0][:24]):
                continue
            if (meant := _read(name, run[0][:_MOST].decode("utf-8", "ignore"))) is not None:
                read.append((meant, run))
        if not read:
            continue
        together = BETWEEN.join(meant for meant, _ in read)  # most hold nothing: asked once for all
        if not checked(together) and next(in_text(together), None) is None:
            continue
        for meant, run in read:
            start = len(data[: run.start()].decode())
            yield View(name, meant, None, (start, start + len(run[0].decode())), again=True)


def _read(code: str, run: str) -> str | None:
    """Return the text that a run of code stands for, or None where it stands for none."""
    if code == "entities":
        return html.unescape(run)
    if code == "escapes":
        return (
            _RE_ESCAPE.sub(lambda m: chr(int(m[1] or m[2], 16)), run)
            .encode("utf-16", "surrogatepass")
            .decode("utf-16", "replace")
        )
    if code == "percent":
        return unquote_to_bytes(run.replace("+", " ")).decode("utf-8", "replace")
    if code == "base64":
        return _as_text(_from_base64(re.sub(r"[\r\n=]", "", run)))
    digits = re.sub(r"0x|\\x|[ :,]", "", run)
    try:
        data = (
            bytes.fromhex(digits[: len(digits) & ~1])
            if code == "hexadecimal"
            else bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8))
        )
    except ValueError:
        return None
    return _as_text(data) if _is_text(data[:_SAMPLE]) else None


def _promising(run: bytes) -> bool:
    """Tell whether a run of base64 begins like a text. No English is all lower-case in it."""
    return not run.islower() and _is_text(_from_base64(run.decode()))


def _from_base64(signs: str) -> bytes:
    whole = len(signs) - (len(signs) % 4 == 1)
    try:
        return binascii.a2b_base64(signs[:whole].translate(_URL_SAFE) + "=" * (-whole % 4))
    except binascii.Error:
        return b""


_CONTROLS = bytes([*range(1, 9), 11, 12, *range(14, 32), 127])
_OTHER = bytes(sorted({*range(256)} - {*_CONTROLS}))


def _is_text(data: bytes) -> bool:
    """Tell whether bytes look like the beginning of a text, in UTF-8 or little-endian UTF-16."""
    if data.translate(None, _OTHER):
        return False
    if len(data) >= 8 and not any(data[1:8:2]):
        data = data[::2]
    signs = data.decode("utf-8", "ignore")
    shown = sum(sign.isprintable() or sign in "\t\r\n" for sign in signs)
    return len(signs) * 4 >= len(data) and shown >= _PRINTABLE * max(len(signs), 1) and bool(signs)


def _as_text(data: bytes) -> str:
    wide = len(data) >= 8 and not any(data[1:8:2])
    return data.decode("utf-16-le" if wide else "utf-8", "replace")


# --- pieces ------------------------------------------------------------------------------------------------------


def _named_pieces(data: bytes) -> list[tuple[str, str, tuple[int, int]]]:
    return [
        (match[1].decode(), (match[2] or match[3] or match[4]).decode(), match.span())
        for match in compiled(PIECES).finditer(data)
    ]


def pieces(text: str) -> Iterator[View]:
    """Yield the quoted pieces that are put together by a sum of their names."""
    data = text.encode()
    added = {
        name for match in compiled(SUM).finditer(data) for name in re.split(r"\s*\+\s*", match[0].decode())
    }
    if len(added) < 2:
        return
    chosen = [piece for piece in _named_pieces(data) if piece[0] in added]
    if len({name for name, _, _ in chosen}) > 1 and len(chosen) <= _RUNS:
        start = len(data[: chosen[0][2][0]].decode())
        end = len(data[: chosen[-1][2][1]].decode())
        yield View("pieces", "".join(piece for _, piece, _ in chosen), None, (start, end))
