"""What an answer commits itself to, where that is a word or two: yes or no, a number, a label. Most answers do not.

Two answers to one question that make different claims cannot both be right, unless the question has several right
answers; two long answers in other words can, so they make none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

WORDS = 4
"""Words of a whole answer that is a claim by itself; characters, in scripts without spaces."""
_MARKED = (  # where reasoning ends in an answer, the last of these says which
    re.compile(r"####\s*(.+?)\s*$", re.MULTILINE),  # GSM8K (Cobbe et al., 2021)
    re.compile(r"\\boxed\{([^{}]*)\}"),  # MATH (Hendrycks et al., 2021)
    re.compile(r"\b(?:the|final) answer(?: is|:)\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE),
)
_SIDES = {
    "yes": "yes true correct oui si sí ja да sim はい 是",
    "no": "no false incorrect non nein нет não いいえ 否",
    "maybe": "maybe",
}
_SIDE = {word: side for side, words in _SIDES.items() for word in words.split()}
_SAID = re.compile(r"(\w+)\s*(?:[.,;:!–—]|$)")
_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")
_NUMBER = re.compile(r"[^\w.-]*(-?\d[\d,]*(?:\.\d+)?)\s*([^\W\d]*|%)\W*")


def claim(answer: str) -> str | None:
    """Return what an answer claims, in a form in which two claims are compared; null where it is no such answer."""
    for marked in _MARKED:
        if found := marked.findall(answer):
            return _plain(found[-1])
    text = unicodedata.normalize("NFKC", answer).casefold().strip()
    if (side := _SAID.match(text)) and side[1] in _SIDE:
        return _SIDE[side[1]]
    return _plain(answer)


def _plain(text: str) -> str | None:
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    if number := _NUMBER.fullmatch(folded):
        value = number[1].replace(",", "")
        return value.rstrip("0").rstrip(".") if "." in value else value
    words = _WORD.findall(folded)
    return " ".join(words) if 0 < len(words) <= WORDS else None


def disagreeing(claims: Collection[str]) -> dict[str, str]:
    """Return the claims that another one contradicts, each with the first such: neither says all of the other."""
    words = {claim: set(claim.split()) for claim in claims}
    found: dict[str, str] = {}
    for one, said in words.items():
        for name, other in words.items():
            if not (said <= other or other <= said):
                found.setdefault(one, name)
    return found
