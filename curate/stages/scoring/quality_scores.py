"""The scores of the stage ``quality``: what is counted of each record, as ratios.

Of a document its text is measured, of a conversation its answers (the turns of the assistant), each by itself: counts
are summed over them, but what repeats itself is that of the answer that repeats most. Fenced code counts nowhere but in
``fenced``, the ends of brackets and JSON. Ratios of integers are rounded to four decimals, in integers, so that they
are the same on every machine; null where there is nothing to divide by.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import record, rules
from curate.kernels import measuring
from curate.record import Batch

Values: TypeAlias = npt.NDArray[np.float64]
_Ints: TypeAlias = npt.NDArray[np.int64]

_SHARES = {  # score: counts (curate.kernels.counting.COUNTS) that are divided
    "word_length": ("word_characters", "words"),
    "hashes": ("hashes", "words"),
    "ellipses": ("ellipses", "words"),
    "lettered": ("lettered", "tokens"),
    "bullet_lines": ("bullet_lines", "lines"),
    "ellipsis_lines": ("ellipsis_lines", "lines"),
    "ended_lines": ("ended_lines", "lines"),
    "short_lines": ("short_lines", "lines"),
    "scant_lines": ("scant_lines", "lines"),
    "letters": ("letters", "characters"),
    "capitals": ("capitals", "cased"),
    "code_signs": ("signs", "characters"),
    "unspaced": ("alone", "tokens"),
}
_REPEATED = {
    "repeated_lines": ("repeated_lines", "lines"),
    "repeated_line_characters": ("repeated_line_characters", "characters"),
    "repeated_paragraphs": ("repeated_paragraphs", "paragraphs"),
    "repeated_paragraph_characters": ("repeated_paragraph_characters", "characters"),
    **{f"top_{n}_gram": (f"top_{n}", "characters") for n in (2, 3, 4)},
    **{f"repeated_{n}_grams": (f"again_{n}", "characters") for n in range(5, 11)},
}
_TOTALS = ("words", "stop_words", "sentences", "braces")  # as they are
_OF_DOCUMENTS = ("lorem_ipsum", "javascript_lines", "policy_lines")  # shares of lines
_OF_CONVERSATIONS = ("prompt_words", "copied", "open_fence", "open_brackets", "broken_json", "only_urls")
NAMES = (*_TOTALS, *_SHARES, *_REPEATED, "fenced", *_OF_DOCUMENTS, *_OF_CONVERSATIONS)
TYPE = pa.struct([(name, pa.float64()) for name in NAMES])

_DECIMALS = 10**4
_FENCED = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*\n(.*?)^[ \t]*(?:```|~~~)", re.MULTILINE | re.DOTALL)


def scores(batch: Batch) -> pa.StructArray:
    """Return the scores of every record: TYPE [n]."""
    turns, first = record.turns(batch)
    if record.kind(batch) == "text":
        said = np.ones(len(turns), np.bool_)
    else:
        said = _bools(pc.equal(pc.struct_field(record.content(batch).flatten(), "role"), "assistant"))
    counted = measuring.measure(turns, first, said, rules.load("quality").data["stop_words"])
    counts = dict(zip(measuring.COUNTS, counted.counts.T, strict=True))
    answers = {name: _sums(np.where(said, values, 0), first) for name, values in counts.items()}
    found = {name: answers[name].astype(np.float64) for name in _TOTALS}
    found |= {name: ratio(answers[over], answers[under]) for name, (over, under) in _SHARES.items()}
    for name, (over, under) in _REPEATED.items():
        found[name] = _most(np.where(said, ratio(counts[over], counts[under]), np.nan), first)
    found["fenced"] = ratio(answers["fenced"], answers["fenced"] + answers["characters"])
    if record.kind(batch) == "text":
        found |= _of_documents(turns, answers["lines"])
    else:
        silent = _sums(said.astype(np.int64), first) == 0
        found = {name: np.where(silent, np.nan, values) for name, values in found.items()}
        found["prompt_words"] = _sums(np.where(said, 0, counts["words"]), first).astype(np.float64)
        found["copied"] = ratio(counted.copied, answers["characters"])
        found["open_fence"] = np.minimum(answers["open_fence"], 1).astype(np.float64)
        found |= _forms(turns, first, said)
    nothing = np.full(batch.num_rows, np.nan)
    columns = [pa.array(found.get(name, nothing), pa.float64(), from_pandas=True) for name in NAMES]
    return pa.StructArray.from_arrays(columns, fields=list(TYPE))


def ratio(over: _Ints, under: _Ints) -> Values:
    """Return over / under [n], rounded half up to four decimals; NaN where ``under`` is 0."""
    safe = np.maximum(under, 1)
    return np.where(under == 0, np.nan, (2 * _DECIMALS * over + safe) // (2 * safe) / _DECIMALS)


def _sums(values: _Ints, first: _Ints) -> _Ints:
    before = np.concatenate([[0], np.cumsum(values)])
    return np.asarray(np.diff(before[first]), np.int64)


def _most(values: Values, first: _Ints) -> Values:
    """Return the largest value of each record's turns that is not NaN; NaN where there is none."""
    owners = np.repeat(np.arange(len(first) - 1), np.diff(first))
    found = np.full(len(first) - 1, -1.0)
    stated = ~np.isnan(values)
    np.maximum.at(found, owners[stated], values[stated])
    return np.where(found < 0, np.nan, found)


def _bools(values: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), np.bool_)


def _of_documents(texts: pa.StringArray, lines: _Ints) -> dict[str, Values]:
    """Return the shares of lines in which the pack's phrases stand; texts are looked at only where one does."""
    found = {}
    for name in _OF_DOCUMENTS:
        pattern = rules.load("quality").data["lines"][name]
        hits = np.zeros(len(texts), np.int64)
        for row in np.flatnonzero(_bools(pc.match_substring_regex(texts, pattern, ignore_case=True))):
            hits[row] = sum(bool(_phrase(pattern).search(line)) for line in texts[row].as_py().split("\n"))
        found[name] = ratio(np.minimum(hits, lines), lines)
    return found


@lru_cache(maxsize=8)
def _phrase(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _forms(turns: pa.StringArray, first: _Ints, said: npt.NDArray[np.bool_]) -> dict[str, Values]:
    """Return what the answers' form shows: brackets that stay open, JSON that cannot be read, nothing but addresses."""
    data = rules.load("quality").data
    opened = np.zeros(len(turns), np.int64)
    for one, other in ("[]", "{}"):
        counts = (pc.count_substring(turns, bracket).to_numpy().astype(np.int64) for bracket in (one, other))
        opened += np.maximum(next(counts) - next(counts), 0)
    urls = _bools(pc.match_substring_regex(turns, data["only_urls"]))
    answered = _sums(said.astype(np.int64), first)
    only = (_sums((said & urls).astype(np.int64), first) == answered) & (answered > 0)
    asked = _bools(pc.match_substring_regex(turns, data["asks_json"])) & ~said
    broken = np.full(len(first) - 1, np.nan)
    for row in np.flatnonzero(_sums(asked.astype(np.int64), first)):
        own = np.arange(first[row], first[row + 1])
        told = [_is_json(text) for text in turns.take(pa.array(own[said[own]])).to_pylist()]
        if stated := [one for one in told if one is not None]:
            broken[row] = 1.0 - all(stated)
    return {
        "open_brackets": _sums(np.where(said, opened, 0), first).astype(np.float64),
        "only_urls": only.astype(np.float64),
        "broken_json": broken,
    }


def _is_json(text: str) -> bool | None:
    """Tell whether an answer that looks like JSON, or its fenced code that does, can be read; None for none."""
    found = [part for part in _candidates(text) if part[:1] in ("{", "[")]
    return all(map(_reads, found)) if found else None


def _candidates(text: str) -> Iterable[str]:
    fenced = [part.strip() for part in _FENCED.findall(text)]
    return fenced or [text.strip()]


def _reads(text: str) -> bool:
    """Tell whether a text is JSON, or JSON lines."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        lines = text.splitlines()
        try:
            return len(lines) > 1 and all(isinstance(orjson.loads(line), dict | list) for line in lines)
        except orjson.JSONDecodeError:
            return False
    return True
