"""langdetect's arithmetic, compiled: n-grams of a text, and trials that multiply their probabilities.

tests/test_language_engines.py holds it to langdetect itself and to langdetect-rs.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from langdetect.detector import Detector

from curate.kernels.jit import making_arrays

# langdetect.detector.Detector: trials, smoothing and where a trial ends
_TRIALS = 7
_ALPHA, _ALPHA_WIDTH = Detector.ALPHA_DEFAULT, Detector.ALPHA_WIDTH
_BASE_FREQUENCY = Detector.BASE_FREQ
_CERTAIN = Detector.CONV_THRESHOLD
_MOST_DRAWS = Detector.ITERATION_LIMIT

# What cleaning_text counts as Latin (its A to z takes in [ \\ ] ^ _ and the backquote) and as another script: all
# from U+0300 on. It means to leave out Latin Extended Additional, but compares a number with that name.
_A, _Z, _OTHER = ord("A"), ord("z"), 0x300
_SPACE = ord(" ")


@making_arrays
def slot(keys: npt.NDArray[np.int64], key: np.int64) -> int:
    """Return where an n-gram stands in the hash table, or the free slot where it would."""
    mask = len(keys) - 1
    at = np.int64(((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & np.uint64(mask))
    while keys[at] != 0 and keys[at] != key:
        at = np.int64((at + 1) & mask)
    return int(at)


@making_arrays
def fill(grams: npt.NDArray[np.int64], keys: npt.NDArray[np.int64], lines: npt.NDArray[np.int64]) -> None:
    """Enter n-grams [n] into a hash table that is free: keys [slots], and their numbers as lines [slots]."""
    for line in range(len(grams)):
        at = slot(keys, grams[line])
        keys[at] = grams[line]
        lines[at] = line


@making_arrays
def _grams(
    text: npt.NDArray[np.int32],
    keys: npt.NDArray[np.int64],
    lines: npt.NDArray[np.int32],
    normal: npt.NDArray[np.int32],
    upper: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int32]:
    """Return the lines of the table for the text's n-grams, in langdetect's order.

    text [n] code points → [at most 3 n]. This is ``Detector.cleaning_text`` and ``_extract_ngrams`` with
    ``NGram.add_char``: n-grams never cross a space, and end where a second capital follows a first.
    """
    latin, other = 0, 0
    for code in text:
        if _A <= code <= _Z:
            latin += 1
        elif code >= _OTHER:
            other += 1
    without_latin = 2 * latin < other
    found = np.empty(3 * len(text), np.int32)
    count = 0
    first, second, last = np.int64(0), np.int64(0), np.int64(_SPACE)  # the window of three characters …
    length = 1  # … of which so many count
    was_upper = False
    for code in text:
        if without_latin and _A <= code <= _Z:
            continue
        changed = code < len(normal)
        char = np.int64(normal[code]) if changed else np.int64(code)
        is_upper = changed and upper[code]
        if last == _SPACE:
            length, was_upper = 1, False
            if char == _SPACE:
                continue
        first, second, last = second, last, char
        length = min(length + 1, 3)
        in_capitals, was_upper = is_upper and was_upper, is_upper
        if in_capitals:
            continue
        key = np.int64(0)
        for size in range(1, length + 1):
            part = last if size == 1 else second if size == 2 else first
            key |= part << (21 * (size - 1))
            if key != _SPACE:
                at = slot(keys, key)
                if keys[at] != 0:
                    found[count] = lines[at]
                    count += 1
    return found[:count]


@making_arrays
def answer(
    text: npt.NDArray[np.int32],
    prior: npt.NDArray[np.float64],
    keys: npt.NDArray[np.int64],
    lines: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
    languages: npt.NDArray[np.uint8],
    frequencies: npt.NDArray[np.float64],
    normal: npt.NDArray[np.int32],
    upper: npt.NDArray[np.bool_],
    draws: npt.NDArray[np.uint32],
) -> npt.NDArray[np.float64]:
    """Return each language's probability [languages], of a text [n] of code points; [0] without a known n-gram."""
    grams = _grams(text, keys, lines, normal, upper)
    if not len(grams):
        return np.empty(0)
    return _trials(rows, languages, frequencies, grams, prior, draws)


@making_arrays
def _unit(draws: npt.NDArray[np.uint32], at: int) -> float:
    """Return ``random.random()`` from two words of the generator (CPython's _randommodule.c)."""
    return float(((draws[at] >> 5) * 67108864.0 + (draws[at + 1] >> 6)) / 9007199254740992.0)


@making_arrays
def _normalise(belief: npt.NDArray[np.float64]) -> float:
    """Divide the beliefs by their sum, added from left to right; return the greatest."""
    total, most = 0.0, 0.0
    for value in belief:
        total += value
        most = max(most, value)
    for language in range(len(belief)):
        belief[language] /= total
    return most / total


@making_arrays
def _trials(
    rows: npt.NDArray[np.int32],
    spoken: npt.NDArray[np.uint8],
    frequencies: npt.NDArray[np.float64],
    grams: npt.NDArray[np.int32],
    prior: npt.NDArray[np.float64],
    draws: npt.NDArray[np.uint32],
) -> npt.NDArray[np.float64]:
    """Return each language's mean probability over the trials: langdetect's ``_detect_block``, draw for draw.

    rows, spoken, frequencies: the sparse table; grams [n] lines of it, prior [languages], draws [DRAWS]
    → [languages].
    Draws are those of CPython's ``random``: ``gauss`` gives two values per four words and ``choice`` takes
    the first word whose top bits fall below n. Sums run from left to right, the same on every machine.
    """
    languages = len(prior)
    bits = 0
    while len(grams) >> bits:
        bits += 1
    mean, factor = np.zeros(languages), np.empty(languages)
    at = 0
    spare = 0.0
    for trial in range(_TRIALS):
        if trial % 2 == 0:
            angle = _unit(draws, at) * 2.0 * math.pi
            radius = math.sqrt(-2.0 * math.log(1.0 - _unit(draws, at + 2)))
            at += 4
            gauss, spare = math.cos(angle) * radius, math.sin(angle) * radius
        else:
            gauss = spare
        smoothing = (_ALPHA + gauss * _ALPHA_WIDTH) / _BASE_FREQUENCY
        belief = prior.copy()
        for step in range(_MOST_DRAWS + 1):
            drawn = draws[at] >> (32 - bits)
            at += 1
            while drawn >= len(grams):
                drawn = draws[at] >> (32 - bits)
                at += 1
            for language in range(languages):
                factor[language] = smoothing
            for entry in range(rows[grams[drawn]], rows[grams[drawn] + 1]):
                factor[spoken[entry]] = smoothing + frequencies[entry]
            for language in range(languages):
                belief[language] *= factor[language]
            if step % 5 == 0 and _normalise(belief) > _CERTAIN:
                break
        mean += belief / _TRIALS
    return mean
