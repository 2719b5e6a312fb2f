"""The slow, readable twin of curate.kernels.prose: strings and regular expressions, no bytes."""

from __future__ import annotations

import re
import unicodedata

SIZE, READ = 600, 8192
NOT_TEXT = re.compile(
    "[\0-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join(chr(p << 16 | e) for p in range(17) for e in (0xFFFE, 0xFFFF))
    + "]"
)
FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
RUN = re.compile(r"[!-~]+")
ADDRESS = re.compile(r"@|://|www\.")
CODE = re.compile(r"[=<>{}\[\]()_\\/|*+#$^~&%`;0-9]")
PUNCTUATION = ".,;:!?\"'\u2019\u201c\u201d-\u2013\u2014"
LETTER = re.compile(r"[^\W\d_]")
CHEROKEE = re.compile("[\u13a0-\u13f5]")  # capitals in name only
TWICE = re.compile("[\u0590-\u0dff]")
FOURFOLD = re.compile("[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")


def prose(text: str) -> tuple[str, int, float]:
    """Return the text's natural language, its letters, and the natural share of all letters and thirds of digits."""
    text = text.encode()[:READ].decode(errors="ignore")
    text = FENCED.sub(" ", NOT_TEXT.sub(" ", text))
    letters = thirds = 0
    kept: dict[str, str] = {}
    for word in text.split():
        natural = RUN.sub(lambda run: " " if of_code(run[0]) or of_address(run[0]) else run[0], word)
        letters += weight(natural)
        code = "".join(run for run in RUN.findall(word) if of_code(run) and not of_address(run))
        thirds += 3 * weight(code) + sum(map(str.isdigit, code))
        for piece in natural.split():
            kept.setdefault("".join(map(lower, piece.strip(PUNCTUATION))), piece)
        if len(" ".join(kept.values())) >= SIZE:
            break
    found = " ".join(kept.values())
    raised = sum(map(str.isupper, CHEROKEE.sub("", found))) > sum(map(str.islower, found))
    found = cut(found, SIZE)
    share = letters / max(letters + thirds / 3, 1.0)
    return "".join(map(lower, found)) if raised else found, weight("".join(kept.values())), share


def of_address(run: str) -> bool:
    return ADDRESS.search(run) is not None


def of_code(run: str) -> bool:
    return CODE.search(run) is not None


def weight(text: str) -> int:
    return sum(4 if FOURFOLD.match(c) else 2 if TWICE.match(c) else 1 for c in LETTER.findall(text))


def lower(char: str) -> str:
    return char if CHEROKEE.match(char) else char.lower()[0]


def cut(text: str, size: int) -> str:
    """Return at most the first size characters; a letter is not parted from the marks that follow it."""
    if len(text) <= size:
        return text
    while size and unicodedata.category(text[size]).startswith("M"):
        size -= 1
    return text[:size]
