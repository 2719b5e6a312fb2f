"""Damage in a text that can be undone, and the undoing: the same text always gives the same answer.

A repair is a function from a text to the text without the damage and how many places it mended. Repairs run one
after the other until none of them changes anything, so that mending twice is mending once; each of them makes a
text shorter or leaves fewer control characters in it, so there is an end. The patterns are those of the rule pack
``conversation``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

import ftfy
import numpy as np
import polars as pl
import pyarrow as pa
from ftfy.badness import BADNESS_RE, is_bad
from ftfy.chardata import UTF8_DETECTOR_RE

from curate import rules
from curate.stages.conversing.turns import anywhere, found, series

Repair: TypeAlias = Callable[[str], tuple[str, int]]

MOJIBAKE, MIXED, CONTROLS, NEWLINES, LEAKED = (
    f"conversation/{name}"
    for name in ("mojibake", "mojibake-mixed", "control-characters", "literal-newlines", "leaked-turn")
)
REPAIRS = (MOJIBAKE, MIXED, CONTROLS, NEWLINES, LEAKED)
"""Rules whose finds can be undone, in the order in which they are."""
OF_DOCUMENTS = frozenset({MOJIBAKE, MIXED, CONTROLS})

# Only encodings are undone: no other opinion of ftfy's about typography.
_ONLY_ENCODING = ftfy.TextFixerConfig(
    unescape_html=False, remove_terminal_escapes=False, fix_encoding=True, restore_byte_a0=True,
    replace_lossy_sequences=False, decode_inconsistent_utf8=False, fix_c1_controls=False,
    fix_latin_ligatures=False, fix_character_width=False, uncurl_quotes=False, fix_line_breaks=False,
    fix_surrogates=False, remove_control_chars=False, normalization=None, explain=False,
)  # fmt: skip

_LONGEST_PART = 10_000  # characters in a row that all look damaged: a whole text of them is no part any more
_OVERSTRUCK = re.compile(
    "_\x08([^\n\x08_])|([^\n\x08])\x08(?=\\2)"
)  # underlined, and bold, on a line printer
_TERMINAL = re.compile(
    "\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\))"
)  # ECMA-48: CSI and OSC
_FEED = re.compile("\n?[\x0b\x0c]+\n?")
_HYPHEN = re.compile(
    "(?<=[^\\W_])\x1e(?=[/\\w])|(?<=\\.)\x1e(?=\\w)|(?<= )\x1e(?=[^\\W\\d_])"
)  # Word's, that does not break
_C1 = re.compile(
    "[\x80-\x9f](?<![\x80-\xff].)(?![\x80-\xff])"
)  # beside another such, it is half of something
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Mended(NamedTuple):
    """What became of some texts."""

    text: pa.StringArray
    counts: dict[str, dict[int, int]]  # rule → position of the text → places found


@cache
def prefilter() -> str:
    """Return a pattern that finds every text with damage to its characters, and few others.

    The last part is ftfy's own test, without which it changes nothing.
    """
    return rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x{{80}}-\x{{9f}}]|{_badness()}"


@cache
def _badness() -> str:
    """Return ftfy's test (ftfy.badness, 6.3) as polars takes it, which is some fifty times as fast."""
    # Outside of classes, white space and comments go.
    tokens = re.findall(r"\[(?:\\.|[^\]\\])*\]|\\.|#[^\n]*|[ \t\n\r]+|.", BADNESS_RE.pattern)
    return "".join(token for token in tokens if token[0] not in "# \t\n\r")


def _holds(text: str, pattern: str) -> bool:
    return bool(pl.Series([text]).str.contains(pattern)[0])


def mend(
    texts: pa.StringArray, asked: Mapping[str, bool], about: Callable[[int], str], leaks: Collection[int] = ()
) -> Mended:
    """Look for damage in texts, none of them null, and undo it.

    asked: the rules that are asked, and whether what they find is undone. about: position of a text → all texts of
    its record, since a text about encodings is not damaged by one. leaks: positions of texts that may be cut off
    where another speaker's turn begins.
    """
    counts: dict[str, dict[int, int]] = {rule: {} for rule in asked}
    changed: dict[int, str] = {}
    candidates = set(leaks)
    told = series(texts)
    damaged, lines = anywhere(told, prefilter(), r"\\n")
    if OF_DOCUMENTS & asked.keys() and damaged:
        candidates |= set(np.flatnonzero(found(told, prefilter())).tolist())
    if NEWLINES in asked and lines:
        written = np.flatnonzero(told.str.contains("\\n", literal=True).to_numpy())
        pattern = rules.load("conversation").rule(NEWLINES).data["pattern"]
        candidates |= set(written[found(texts.take(pa.array(written)), pattern)].tolist())
    for position in sorted(candidates):
        before = texts[position].as_py()
        able = [rule for rule in asked if rule != LEAKED or position in leaks]
        after, tally = mended(before, {rule: asked[rule] for rule in able}, partial(about, position))
        for rule, count in tally.items():
            counts[rule][position] = count
        if after != before:
            changed[position] = after
    return Mended(_put(texts, changed), counts)


def _put(texts: pa.StringArray, changed: Mapping[int, str]) -> pa.StringArray:
    if not changed:
        return texts
    places = np.arange(len(texts))
    places[list(changed)] = np.arange(len(changed)) + len(texts)
    return pa.concat_arrays([texts, pa.array(changed.values(), pa.string())]).take(pa.array(places))


def mended(text: str, asked: Mapping[str, bool], about: Callable[[], str]) -> tuple[str, dict[str, int]]:
    """Return a text without its damage, and how many places each rule found; arguments as in :func:`mend`."""
    tally: dict[str, int] = {}
    again = True
    while again:
        again = False
        for rule in (rule for rule in REPAIRS if rule in asked):
            if rule in tally and not asked[rule]:
                continue  # found and told already; nothing is done about it
            new, count = _FUNCTIONS[rule](text, about)
            if count:
                tally[rule] = tally.get(rule, 0) + count
                if asked[rule]:
                    text, again = new, True
    return text, tally


# --- the repairs ------------------------------------------------------------------------------------------


def _whole(text: str) -> str:
    """Return the text after a way back through the same encodings for all of it; as it is where there is none."""
    return text if text.isascii() or not _holds(text, _badness()) else ftfy.fix_encoding(text, _ONLY_ENCODING)


def _certain(text: str, about: Callable[[], str]) -> tuple[str, int]:
    fixed = _whole(text)
    if fixed == text or _speaks_of_encodings(about()):
        return text, 0
    return fixed, max(1, len(text) - len(fixed))


def _mixed(text: str, about: Callable[[], str]) -> tuple[str, int]:
    """Mend the parts of a text that look like UTF-8 in disguise; count them."""
    if text.isascii() or not _holds(text, _badness()):
        return text, 0
    fixed = _whole(text)
    if fixed != text:
        return (fixed, max(1, len(text) - len(fixed))) if _speaks_of_encodings(about()) else (text, 0)
    total = 0

    def mend_part(match: re.Match[str]) -> str:
        nonlocal total
        part = match[0]
        new = _part(part) if len(part) <= _LONGEST_PART else part
        total += new != part
        return new

    return UTF8_DETECTOR_RE.sub(mend_part, text), total


@lru_cache(maxsize=4096)
def _part(part: str) -> str:
    return ftfy.fix_encoding(part, _ONLY_ENCODING) if is_bad(part) else part


def _speaks_of_encodings(text: str) -> bool:
    return _holds(text, rules.load("conversation").rule(MOJIBAKE).data["unless_about"])


@cache
def _commands() -> tuple[re.Pattern[str], dict[str, str]]:
    """Return a pattern of LaTeX commands whose backslash and first letter became one control character."""
    listed = rules.load("conversation").rule(CONTROLS).data["commands"]
    letters = {"a": "\x07", "b": "\x08", "f": "\x0c", "v": "\x0b"}  # escapes of C and JSON
    parts = [f"{letters[letter]}(?=(?:{rest}))" for letter, rest in listed.items()]
    return re.compile("|".join(parts)), {letters[letter]: f"\\{letter}" for letter in listed}


def _controls(text: str, about: Callable[[], str]) -> tuple[str, int]:
    """Take out control characters other than tab, line feed and carriage return; give back what they stood for.

    Sequences for terminals go whole, in code too: they color what a program printed and are no part of any source.
    A form feed or vertical tab breaks a line. C1 characters are what the Encoding Standard of WHATWG takes them for:
    Windows-1252, the five that it does not have excepted.
    """
    pattern, restored = _commands()
    total = 0
    steps: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
        (pattern, lambda match: restored[match[0]]),
        (_OVERSTRUCK, lambda match: match[1] or ""),
        (_TERMINAL, lambda match: ""),
        (_FEED, lambda match: "\n"),
        (_HYPHEN, lambda match: "-"),
        (_CONTROL, lambda match: ""),
        (_C1, lambda match: match[0].encode("latin-1").decode("cp1252", "ignore")),
    )
    for step, replacement in steps if _CONTROL.search(text) else steps[-1:]:
        text, count = step.subn(replacement, text)
        total += count
    return text, total


@cache
def _lines() -> tuple[re.Pattern[str], re.Pattern[str], int]:
    data = rules.load("conversation").rule(NEWLINES).data
    return re.compile(data["between"]), re.compile(data["unless"]), data["at_least"]


def _newlines(text: str, about: Callable[[], str]) -> tuple[str, int]:
    """Make the two characters ``\\n`` a line break, where each of them ends or begins what a line of prose is."""
    between, unless, at_least = _lines()
    written = text.count("\\n")
    if "\n" in text or written < at_least or unless.search(text):
        return text, 0
    new, count = between.subn(lambda match: match[0].replace("\\r", "").replace("\\n", "\n"), text)
    # One that stands anywhere else means that the text is about the two characters.
    return (text, 0) if "\\n" in new else (new, written if count else 0)


@cache
def _leaks() -> re.Pattern[str]:
    return re.compile("|".join(rules.load("conversation").rule(LEAKED).data["cuts"].values()))


def _leaked(text: str, about: Callable[[], str]) -> tuple[str, int]:
    """Cut an answer off where its own end is marked, or another speaker's turn begins; code is left alone."""
    match = None if "`" in text else _leaks().search(text)
    if match is None or not text[: match.start()].strip():
        return text, 0
    return text[: match.start()].rstrip(), 1


_FUNCTIONS: dict[str, Callable[[str, Callable[[], str]], tuple[str, int]]] = {
    MOJIBAKE: _certain, MIXED: _mixed, CONTROLS: _controls, NEWLINES: _newlines, LEAKED: _leaked,
}  # fmt: skip


def told(rule: str, places: Mapping[int, int], rejected: Mapping[int, int]) -> dict[str, Any]:
    """Return a repair's evidence. places, rejected: turn → places found, in the messages and in the rejected reply."""
    evidence: dict[str, Any] = {"count": sum(places.values()) + sum(rejected.values())}
    if places:
        evidence["turns"] = sorted(places)
    if rejected:
        evidence["rejected"] = sorted(rejected)
    return evidence
