"""What tells that a text may hold a disguise, asked of many texts at once: expressions in RE2's syntax."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import pyarrow as pa

from curate import rules
from curate.stages.injecting import hidden as _hidden
from curate.stages.injecting.payloads import PACK, Joined, compiled

_STYLED = (
    r"\x{24B6}-\x{24E9}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{1D400}-\x{1D7FF}\x{1F130}-\x{1F189}\x{262}\x{26A}\x{274}\x{280}\x{28F}"
    r"\x{299}\x{29C}\x{29F}\x{1D00}-\x{1D25}\x{1D43}-\x{1D5B}\x{A730}\x{A731}\x{AD}"
)
ODD = (
    rf"[{_STYLED}\x{{180B}}-\x{{180F}}\x{{200B}}-\x{{200F}}\x{{202A}}-\x{{202E}}\x{{2060}}-\x{{206F}}\x{{FEFF}}"
    r"\x{115F}\x{1160}\x{3164}\x{FFA0}\x{34F}\x{E0000}-\x{E01EF}]|[a-zA-Z][\x{300}-\x{36F}\x{FE00}-\x{FE0F}]"
    r"|[a-zA-Z][\p{Cyrillic}\p{Greek}\p{Armenian}\p{Cherokee}]|[\p{Cyrillic}\p{Greek}\p{Armenian}\p{Cherokee}][a-zA-Z]"
)
SPACED = r"\b[a-zA-Z](?:[ .\-_*·|]{1,3}[a-zA-Z]\b){9,}"
GLUED = (
    r"(?i)(?:ignore|disregard|forget)(?:all|any|the|your|these)?"
    r"(?:previous|prior|above|earlier|preceding|instructions)|doanythingnow"
)
BACKWARDS = (
    "(?i)erongi|dragersid|tegrof|snoitcurtsni|tpmorp metsys|senilediug|detcirtsernu|deretlifnu|won gnihtyna"
)
ROT13 = (
    "(?i)vtaber|qvfertneq|sbetrg|vafgehpgvba|flfgrz cebzcg|thvqryvarf|haerfgevpgrq|hasvygrerq|nalguvat abj"
)
_ENCODED = (
    r"(?:[0-9a-fA-F]{2}[ :,]){15}|%[0-9A-Fa-f]{2}[^%\s]{0,40}%[0-9A-Fa-f]{2}"
    r"|(?:&#[xX]?[0-9a-fA-F]{2,6};?){2}|(?:\\x[0-9a-fA-F]{2}){3}|(?:\\u[0-9a-fA-F]{4}){3}|(?:[01]{8}[ ,]?){8}"
)
_MARKUP = (
    r"<!--|(?i:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0|color\s*:\s*(?:#fff|white|transparent)"
    r"|<[a-z]+[^>]{0,200}\shidden\b)|\\textcolor\{white\}|\\color\{white\}|\[//\]: ?#|\[comment\]: ?"
)
SUM = r"\b[A-Za-z]\w{0,11}(?:\s*\+\s*[A-Za-z]\w{0,11}){1,30}"
PIECES = r"\b([A-Za-z]\w{0,11})\s*(?:=|:=|\bis)\s*(?:\"([^\"\n]{1,80})\"|'([^'\n]{1,80})'|“([^”\n]{1,80})”)"


@lru_cache(maxsize=1)
def leet() -> str:
    """Return an expression for the pack's words with at least one digit or sign for a letter."""
    data = rules.load(PACK).data
    signs: dict[str, str] = {}
    for sign, letter in data["leet"].items():
        signs[letter] = signs.get(letter, "") + sign

    def classed(letters: str) -> str:
        return "".join(f"[{x}{re.escape(signs.get(x, ''))}]" for x in letters)

    forms = (
        f"{word[:at]}[{re.escape(signs[letter])}]{classed(word[at + 1 :])}"
        for word in data["leet_words"]
        for at, letter in enumerate(word)
        if letter in signs
    )
    return f"(?i)(?:{'|'.join(forms)})"


@lru_cache(maxsize=1)
def _checks() -> dict[str, str]:
    return {
        "hidden": _hidden.SUSPECTS,
        "odd": ODD,
        "spaced": SPACED,
        "spelled": f"(?:{GLUED})|(?:{leet()})|(?:{BACKWARDS})|(?:{ROT13})",
        "base64": r"[A-Za-z0-9+/_-]{24}",
        "encoded": f"[0-9a-fA-F]{{24}}|{_ENCODED}",
        "markup": _MARKUP,
        "pieces": SUM,
    }


_GROUPS = (("hidden", "odd"), ("spaced", "spelled", "encoded", "markup", "pieces"), ("base64",))


@lru_cache(maxsize=1)
def _grouped() -> dict[str, tuple[str, ...]]:
    """Return one expression for each group of checks that are asked of all texts at once."""
    return {"|".join(f"(?:{_checks()[name]})" for name in names): names for names in _GROUPS}


def suspicious(texts: pa.StringArray, joined: Joined) -> dict[int, frozenset[str]]:
    """Return, of the texts that may hold a disguise, which."""
    named: dict[int, frozenset[str]] = {}
    for pattern, names in _grouped().items():
        for at in joined.holding(pattern):
            found = frozenset(names) if len(names) == 1 else checked(texts[at].as_py(), names)
            if found:
                named[at] = named.get(at, frozenset()) | found
    return named


ALL = tuple(name for names in _GROUPS for name in names)


def checked(text: str, names: Iterable[str] = ALL) -> frozenset[str]:
    """Return the disguises, of those named, whose sign a text has."""
    data = text.encode()
    return frozenset(name for name in names if compiled(_checks()[name]).search(data) is not None)
