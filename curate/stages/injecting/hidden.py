"""Characters that are shown as nothing: which of them are in place, and texts without those that are not.

What is in place is decided by what stands beside a character: joiners beside letters of the scripts that use them
(Unicode Standard Annex 31, 2.3, taken by script) or between pictographs (Unicode Technical Standard 51, ED-16),
zero-width spaces beside letters of scripts that write no spaces, tags in an emoji flag (ED-14a), one variation
selector after what has variants, bidirectional controls that are balanced in a paragraph with right-to-left letters
(Unicode Standard Annex 9, X1 to X8).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import regex

INVISIBLE, BIDI, BIDI_MIXED = "injection/invisible", "injection/bidi", "injection/bidi-mixed"
TAGS, SELECTORS, ANSI = "injection/tag-characters", "injection/variation-selectors", "injection/ansi-escape"
KINDS = (INVISIBLE, BIDI, BIDI_MIXED, TAGS, SELECTORS, ANSI)

SUSPECTS = (
    r"[\x{180B}-\x{180F}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}-\x{206F}\x{FE00}-\x{FE0F}\x{FEFF}\x{FFF9}-\x{FFFB}"
    r"\x{1D173}-\x{1D17A}\x{E0000}-\x{E01EF}\x{1B}]"
)
"""RE2: a text without a match holds nothing that this module finds."""

# Scripts whose letters join or stack, and whose writers need U+200C and U+200D.
_JOINING = (
    *("Arabic", "Syriac", "Mongolian", "Nko", "Mandaic", "Manichaean", "Adlam", "Hanifi_Rohingya", "Sogdian"),
    *(
        "Phags_Pa",
        "Psalter_Pahlavi",
        "Devanagari",
        "Bengali",
        "Gurmukhi",
        "Gujarati",
        "Oriya",
        "Tamil",
        "Telugu",
    ),
    *(
        "Kannada",
        "Malayalam",
        "Sinhala",
        "Myanmar",
        "Khmer",
        "Tibetan",
        "Balinese",
        "Javanese",
        "Brahmi",
        "Grantha",
    ),
    *(
        "Kaithi",
        "Sharada",
        "Tirhuta",
        "Newa",
        "Modi",
        "Chakma",
        "Limbu",
        "Meetei_Mayek",
        "Syloti_Nagri",
        "Tai_Tham",
    ),
    *(
        "Cham",
        "Batak",
        "Buginese",
        "Lepcha",
        "Saurashtra",
        "Takri",
        "Khojki",
        "Khudawadi",
        "Siddham",
        "Bhaiksuki",
    ),
    *("Dogra", "Gunjala_Gondi", "Masaram_Gondi"),
)
# Scripts that write no spaces between words, where U+200B says where a line may break.
_SPACELESS = (
    *("Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Han", "Hiragana", "Katakana", "Javanese", "Balinese"),
    *("Tai_Le", "New_Tai_Lue", "Tai_Tham"),
)


def _scripts(names: tuple[str, ...]) -> str:
    known = []
    for name in names:
        try:
            regex.compile(rf"\p{{Script={name}}}")
        except regex.error:
            continue  # younger than the library's Unicode
        known.append(rf"\p{{Script={name}}}")
    return "".join(known)


_RTL = regex.compile(r"[\p{Bidi_Class=R}\p{Bidi_Class=AL}]")
_J, _S = _scripts(_JOINING), _scripts(_SPACELESS)
_PICTURE = r"\p{Extended_Pictographic}"
# The first group that matches says that the character is in place; 'out' that it is not.
_INVISIBLES = regex.compile(
    rf"\A\uFEFF"
    rf"|(?<=[{_J}]\p{{M}}*)[\u200C\u200D]|[\u200C\u200D](?=\p{{M}}*[{_J}])"
    rf"|(?<=(?:{_PICTURE}|\p{{Emoji_Modifier}})\uFE0F?)\u200D(?={_PICTURE})"
    rf"|(?<=[{_S}]\p{{M}}*)[\u200B\u2060\uFEFF]|[\u200B\u2060\uFEFF](?=[{_S}])"
    r"|(?<=\p{Script=Mongolian})\u180E"
    r"|(?P<out>[\u180E\u200B-\u200F\u2060-\u2064\u206A-\u206F\uFEFF\uFFF9-\uFFFB\U0001D173-\U0001D17A])"
)
_TAGS = regex.compile(
    r"(?<=\U0001F3F4)[\U000E0061-\U000E007A]{2}[\U000E0030-\U000E0039\U000E0061-\U000E007A]{1,3}\U000E007F"
    r"|(?P<out>[\U000E0000-\U000E007F]+)"
)
_SELECTOR = r"\uFE00-\uFE0F\U000E0100-\U000E01EF"
_SELECTORS = regex.compile(
    rf"(?<=\p{{Han}})[\uFE00-\uFE02\U000E0100-\U000E01EF](?![{_SELECTOR}])"
    rf"|(?<=[0-9#*])[\uFE0E\uFE0F](?![{_SELECTOR}])"
    rf"|(?<=[^\p{{ASCII}}\p{{Latin}}\p{{C}}\p{{Z}}{_SELECTOR}])[\uFE00-\uFE0F](?![{_SELECTOR}])"
    r"|(?<=\p{Mongolian})[\u180B-\u180D\u180F]"
    rf"|(?P<out>[{_SELECTOR}\u180B-\u180D\u180F]+)"
)
_MARKS = frozenset("\u200e\u200f\u061c")  # direction marks: in place beside right-to-left letters
_PARAGRAPH = regex.compile(r"[^\n\r\x1c-\x1e\x85\u2029]+")
_CONTROLS = regex.compile(r"[\u202A-\u202E\u2066-\u2069]")
_EMBEDS, _OVERRIDES, _ISOLATES = "\u202a\u202b", "\u202d\u202e", "\u2066\u2067\u2068"
_ESCAPES = regex.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])?"
)


class Place(NamedTuple):
    """Characters start to end of a text are of one kind."""

    kind: str
    start: int
    end: int


def places(text: str) -> list[Place]:
    """Return the characters that are not in place, those of one kind that touch as one, in order."""
    singles = sorted(
        {*_invisible(text), *_bidi(text), *_spelling(text)}, key=lambda one: (one.start, one.kind)
    )
    joined: list[Place] = []
    for one in singles:
        if joined and joined[-1].kind == one.kind and joined[-1].end == one.start:
            joined[-1] = joined[-1]._replace(end=one.end)
        else:
            joined.append(one)
    return joined


def _invisible(text: str) -> Iterator[Place]:
    marks = None
    for match in _met(text, _INVISIBLES):
        if match["out"] in _MARKS:
            marks = list(_right_to_left(text)) if marks is None else marks
            if any(start <= match.start() < end for start, end in marks):
                continue
        yield Place(INVISIBLE, *match.span())


def _right_to_left(text: str) -> Iterator[tuple[int, int]]:
    for paragraph in _PARAGRAPH.finditer(text):
        if _RTL.search(text, *paragraph.span()):
            yield paragraph.span()


def _bidi(text: str) -> Iterator[Place]:
    if not _CONTROLS.search(text):
        return
    for paragraph in _PARAGRAPH.finditer(text):
        controls = [(match.start(), match[0]) for match in _CONTROLS.finditer(text, *paragraph.span())]
        if not controls:
            continue
        if not _RTL.search(text, *paragraph.span()):
            yield from (Place(BIDI, at, at + 1) for at, _ in controls)
        else:
            yield from (Place(BIDI_MIXED, at, at + 1) for at in _unbalanced(controls))


def _unbalanced(controls: list[tuple[int, str]]) -> list[int]:
    """Return where controls of one paragraph are overrides, close nothing or are not closed."""
    odd, open_ = [], []
    for at, sign in controls:
        if sign in _OVERRIDES:
            odd.append(at)
        if sign in _EMBEDS + _OVERRIDES + _ISOLATES:
            open_.append((at, sign in _ISOLATES))
            continue
        isolate = sign == "\u2069"
        if isolate:  # closes whatever embeddings are still open in its isolate (UAX 9, X6a)
            while open_ and not open_[-1][1] and any(kind for _, kind in open_):
                odd.append(open_.pop()[0])
        if open_ and open_[-1][1] == isolate:
            open_.pop()
        else:
            odd.append(at)
    return sorted({*odd, *(at for at, _ in open_)})


def _spelling(text: str) -> Iterator[Place]:
    for kind, pattern in ((TAGS, _TAGS), (SELECTORS, _SELECTORS)):
        yield from (Place(kind, *match.span()) for match in _met(text, pattern))
    if "\x1b" in text:
        yield from (Place(ANSI, *match.span()) for match in _ESCAPES.finditer(text))


def _met(text: str, pattern: Any) -> Iterator[Any]:
    """Yield the matches of the pattern's group 'out'; it is tried at the suspects only, which are few."""
    done = 0
    for suspect in _ANY.finditer(text):
        if suspect.start() >= done and (match := pattern.match(text, suspect.start())) is not None:
            done = match.end()
            if match["out"] is not None:
                yield match


_PASSES = 4


def without(text: str, kinds: Mapping[str, object] | frozenset[str] | set[str]) -> str:
    """Return the text without the characters of these kinds that are not in place; a second call changes nothing.

    Taking one out may leave another out of place. Where that goes on for more passes than any honest text needs, all
    that could be of the kinds are taken out, in place or not.
    """
    for _ in range(_PASSES):
        found = [place for place in places(text) if place.kind in kinds]
        if not found:
            return text
        text = _cut(text, found)
    return "".join(
        sign for sign in text if not (_ANY.match(sign) and not (sign == "\x1b" and ANSI not in kinds))
    )


_ANY = re.compile(
    r"[\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\uFE00-\uFE0F\uFEFF\uFFF9-\uFFFB\U0001D173-\U0001D17A"
    r"\U000E0000-\U000E01EF\x1B]"
)


def _cut(text: str, found: list[Place]) -> str:
    pieces, at = [], 0
    for place in found:
        pieces.append(text[at : place.start])
        at = max(at, place.end)
    return "".join([*pieces, text[at:]])


# --- what they spell -------------------------------------------------------------------------------------------

_LEAST = 16  # signs of two kinds that are read as bits: two letters


def spelled(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield what runs of tags, variation selectors or two zero-width characters spell, with where they stand."""
    for place in places(text):
        run = text[place.start : place.end]
        if place.kind == TAGS:
            yield place.start, place.end, "".join(chr(ord(s) - 0xE0000) for s in run if ord(s) >= 0xE0020)
        elif place.kind == SELECTORS:
            yield place.start, place.end, _bytes_of(run).decode("utf-8", "replace")
        elif place.kind == INVISIBLE and len(run) >= _LEAST and len(signs := sorted(set(run))) == 2:
            for zero, one in (signs, signs[::-1]):
                yield place.start, place.end, _from_bits(run.translate({ord(zero): "0", ord(one): "1"}))


def _bytes_of(run: str) -> bytes:
    """Return the bytes that variation selectors stand for: VS1 to VS16 are 0 to 15, VS17 to VS256 the others."""
    codes = [ord(sign) for sign in run]
    return bytes(c - 0xFE00 if c <= 0xFE0F else c - 0xE0100 + 16 for c in codes if c >= 0xFE00)


def _from_bits(bits: str) -> str:
    whole = len(bits) // 8 * 8
    return bytes(int(bits[i : i + 8], 2) for i in range(0, whole, 8)).decode("utf-8", "replace")


def counted(found: list[Place]) -> dict[str, int]:
    """Return how many characters of each kind there are."""
    by_kind = sorted((place.kind, place.end - place.start) for place in found)
    return {kind: sum(n for _, n in group) for kind, group in groupby(by_kind, key=lambda one: one[0])}
