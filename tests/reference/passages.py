"""The slow, readable twin of curate.stages.boilerplate: strings and regular expressions, no hash."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LINE = re.compile(r"([^\n\r\v\f\x85\u2028\u2029]*)(\r\n|[\n\r\v\f\x85\u2028\u2029]|\Z)")
FENCE = re.compile(r"(?:[ \t>]|[-*+](?=[ \t])|[0-9]+[.)](?=[ \t]))*(`{3,}(?=[^`]*\Z)|~{3,})")
CLOSING = re.compile(r"[ \t>]*(`+|~+)[ \t>]*")
LIKE_CODE = re.compile(r" {4}| {0,3}\t|.*[{}][ \t]*\Z")
UNSPACED = re.compile(
    "CJK|IDEOGRAPHIC|HANGZHOU|HIRAGANA|HENTAIGANA|(HALFWIDTH )?KATAKANA|THAI|LAO|KHMER|MYANMAR"
)


@dataclass(frozen=True)
class How:
    """The stage's options."""

    unit: str = "paragraph"
    min_words: int = 10
    min_chars: int = 20
    max_records: int = 10
    keep: str = "first"
    emptied_turns: str = "keep"
    protect_code: bool = True


class Block(NamedTuple):
    """Characters start to end of a text: a passage, or code."""

    start: int
    end: int
    code: bool


def blocks(text: str, how: How) -> list[Block]:
    """Cut a text line by line; a block that the next line does not continue is closed."""
    found: list[Block] = []
    kind = ""  # of the block that is open: paragraph, fenced; none after a blank line
    fence = ""
    for match in LINE.finditer(text):
        line, line_break = match.groups()
        if not line and not line_break:
            break
        closed = False
        if fence:
            now, closed = "fenced", closes(line, fence)
        elif not line.strip():
            now = ""
        elif how.protect_code and (opened := FENCE.match(line)):
            now, fence, kind = "fenced", opened[1], ""
        else:
            now = "paragraph"
        code = now == "fenced" or (how.protect_code and LIKE_CODE.match(line) is not None)
        if now and now == kind and not (now == "paragraph" and how.unit == "line"):
            found[-1] = found[-1]._replace(end=match.end(1), code=found[-1].code or code)
        elif now:
            found.append(Block(match.start(1), match.end(1), code))
        kind = now
        if closed:
            kind = fence = ""
        if line_break == "\u2029" and now != "fenced":
            kind = ""
    return found


def closes(line: str, fence: str) -> bool:
    """Tell whether a line ends a fenced block."""
    match = CLOSING.fullmatch(line)
    return match is not None and match[1][0] == fence[0] and len(match[1]) >= len(fence)


def normal(text: str) -> str:
    """Return the form in which passages are compared."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def is_long(passage: str, how: How) -> bool:
    """Tell whether a normalised passage has words and characters enough."""
    unspaced = [c for c in passage if c.isalnum() and UNSPACED.match(unicodedata.name(c, ""))]
    words = [w for w in passage.split(" ") if any(c.isalnum() and c not in unspaced for c in w)]
    return len(words) * how.min_chars + len(unspaced) * how.min_words >= how.min_words * how.min_chars


def keys(text: str, how: How) -> list[str | None]:
    """Return what each block of a text is compared by; None for code and what is too short."""
    found = [None if b.code else normal(text[b.start : b.end]) for b in blocks(text, how)]
    return [key if key is not None and is_long(key, how) else None for key in found]


def frequent(records: Sequence[Sequence[str]], how: How) -> dict[str, int]:
    """Return the passages over the limit with their counts; a record is the list of its turns."""
    counts = Counter(
        key for turns in records for key in {k for turn in turns for k in keys(turn, how)} if key
    )
    return {key: n for key, n in counts.items() if n > how.max_records}


def edit(records: Sequence[Sequence[str]], how: How, *, documents: bool) -> list[list[str] | None]:
    """Return the records' turns without what is frequent, None for those that are dropped.

    The records come in the order that decides which of them is the first.
    """
    over = frequent(records, how)
    seen: set[str] = set()
    edited: list[list[str] | None] = []
    for turns in records:
        made: list[str] = []
        dropped = False
        for turn in turns:
            gone = set()
            for place, key in enumerate(keys(turn, how)):
                if key in over and (how.keep == "none" or key in seen):
                    gone.add(place)
                if key:
                    seen.add(key)
            if gone and len(gone) == len(blocks(turn, how)):
                dropped = dropped or documents or how.emptied_turns == "drop"
                gone = set()
            made.append(without(turn, gone, how))
        edited.append(None if dropped else made)
    return edited


def without(text: str, gone: set[int], how: How) -> str:
    """Take blocks out one after the other, each with the narrower separator next to it."""
    bounds = [(block.start, block.end) for block in blocks(text, how)]
    ends = [0, *(end for _, end in bounds)]
    starts = [*(start for start, _ in bounds), len(text)]
    gaps = [text[a:b] for a, b in zip(ends, starts, strict=True)]  # the first and the last are no separators
    pieces: list[str | None] = [text[a:b] for a, b in bounds]
    for place in sorted(gone):
        pieces[place] = None
        here = [i for i, piece in enumerate(pieces) if piece is not None]
        before = [i for i in here if i < place]
        after = [i for i in here if i > place]
        assert before or after
        if not before:
            gaps[place + 1] = ""
        elif not after or width(gaps[place]) < width(gaps[place + 1]):
            gaps[place] = ""
        else:
            gaps[place], gaps[place + 1] = "", gaps[place]
    return "".join(interleaved(gaps, pieces))


def width(gap: str) -> int:
    """Return how many line breaks a separator has, the paragraph separator counting as two."""
    return sum(1 + (m[2] == "\u2029") for m in LINE.finditer(gap) if m[2])


def interleaved(gaps: Sequence[str], pieces: Sequence[str | None]) -> Iterator[str]:
    """Yield gap, piece, gap, piece, …, gap."""
    yield gaps[0]
    for piece, gap in zip(pieces, gaps[1:], strict=True):
        yield piece or ""
        yield gap


def murmur3(data: bytes) -> tuple[int, int]:
    """Return MurmurHash3_x64_128 with seed 0 as two 64-bit numbers (Appleby, public domain)."""
    mask = (1 << 64) - 1
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F

    def rotated(x: int, bits: int) -> int:
        return (x << bits | x >> (64 - bits)) & mask

    def mixed(h: int) -> int:
        h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & mask
        h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & mask
        return h ^ h >> 33

    h1 = h2 = 0
    whole = len(data) // 16 * 16
    for at in range(0, len(data) + 1, 16):
        k1 = int.from_bytes(data[at : at + 8], "little") * c1 & mask
        k2 = int.from_bytes(data[at + 8 : at + 16], "little") * c2 & mask
        h1 ^= rotated(k1, 31) * c2 & mask
        if at == whole:  # the tail is mixed no further
            h2 ^= rotated(k2, 33) * c1 & mask
            break
        h1 = ((rotated(h1, 27) + h2) * 5 + 0x52DCE729) & mask
        h2 ^= rotated(k2, 33) * c1 & mask
        h2 = ((rotated(h2, 31) + h1) * 5 + 0x38495AB5) & mask
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & mask
    h2 = (h2 + h1) & mask
    h1, h2 = mixed(h1), mixed(h2)
    h1 = (h1 + h2) & mask
    return h1, (h2 + h1) & mask
