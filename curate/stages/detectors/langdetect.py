"""langdetect, with the same answers, some fifteen times faster and without its randomness.

langdetect draws n-grams of the text at random and multiplies their language probabilities until one language
is all but certain; seven trials are averaged. Left alone it draws from an unseeded generator and reads its
profiles in the order of the file system. Here every text starts from the same seed and the profiles are read
in the order of their names, so that a text's answer depends on the text alone.

Imported only by the function that needs it: langdetect reads 55 profiles, numba loads a compiled kernel.
"""

from __future__ import annotations

import math
import random
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import langdetect.detector_factory
import numpy as np
import numpy.typing as npt
from langdetect.detector import Detector
from langdetect.utils.ngram import NGram

from curate.kernels.jit import making_arrays

SEED = 0
DRAWS = 40_000  # 32-bit words of the generator held ready: 7 trials of at most 1,001 draws use about 14,000

# langdetect.detector.Detector: trials, smoothing and where a trial ends
_TRIALS = 7
_ALPHA, _ALPHA_WIDTH = Detector.ALPHA_DEFAULT, Detector.ALPHA_WIDTH
_BASE_FREQUENCY = Detector.BASE_FREQ
_CERTAIN = Detector.CONV_THRESHOLD
_MOST_DRAWS = Detector.ITERATION_LIMIT

_SPACES = re.compile(" +")
_LATIN = re.compile("[A-z]")  # as langdetect has it: it takes in [ \ ] ^ _ and the backquote
_LATIN_RUN = re.compile("[A-z]+")
_OTHER_SCRIPT = re.compile(
    "[\u0300-\u1dff\u1f00-\U0010ffff]"
)  # from U+0300 on, but Latin Extended Additional


class Profiles(NamedTuple):
    """langdetect's language profiles, as one table."""

    codes: tuple[str, ...]  # langdetect's language codes, sorted
    lines: dict[str, int]  # n-gram → line of the table
    table: npt.NDArray[np.float64]  # [n-grams, languages] relative frequency of the n-gram in the language
    draws: npt.NDArray[np.uint32]  # [DRAWS] output of Python's generator, seeded


@lru_cache(maxsize=1)
def profiles() -> Profiles:
    """Return the profiles, read once per process, in the order of their names."""
    folder = Path(langdetect.detector_factory.PROFILES_DIRECTORY)
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    factory = langdetect.detector_factory.DetectorFactory()
    factory.load_json_profile([path.read_text(encoding="utf-8") for path in files])
    found = factory.word_lang_prob_map
    generator = random.Random(SEED)
    return Profiles(
        codes=tuple(factory.get_lang_list()),
        lines={gram: line for line, gram in enumerate(found)},
        table=np.array(list(found.values()), dtype=np.float64),
        draws=np.array([generator.getrandbits(32) for _ in range(DRAWS)], dtype=np.uint32),
    )


def probabilities(text: str, impossible: frozenset[str] = frozenset()) -> dict[str, float]:
    """Return the probability of each of langdetect's languages; nothing for a text without a known n-gram.

    ``impossible`` codes get no prior probability (langdetect's ``set_prior_map``). The cost grows with the
    text: give it no more than a thousand characters or so (langdetect itself stops at ten thousand).
    """
    known = profiles()
    grams = _grams(text)
    if not len(grams):
        return {}
    prior = np.array([code not in impossible for code in known.codes], dtype=np.float64)
    found = _trials(known.table, grams, prior / prior.sum(), known.draws)
    return dict(zip(known.codes, found.tolist(), strict=True))


def _grams(text: str) -> npt.NDArray[np.int64]:
    """Return the lines of the table for the text's n-grams, in langdetect's order."""
    text = Detector.URL_RE.sub(" ", text)
    text = Detector.MAIL_RE.sub(" ", text)
    text = _SPACES.sub(" ", NGram.normalize_vi(text))
    if not text.isascii() and 2 * len(_LATIN.findall(text)) < len(_OTHER_SCRIPT.findall(text)):
        text = _LATIN_RUN.sub("", text)
    # langdetect's n-grams never cross a space, so a word's are the same wherever it stands. Only the last
    # word of the text lacks the n-grams that end in a space.
    *words, last = text.translate(_NORMAL).split(" ")
    lines = [line for word in words for line in _word_grams(word, True)]
    lines += _word_grams(last, False)
    return np.array(lines, dtype=np.int64)


@lru_cache(maxsize=1 << 16)
def _word_grams(word: str, closed: bool) -> tuple[int, ...]:
    """Return the table lines of one normalised word's n-grams; closed words are followed by a space."""
    known = profiles().lines
    window = NGram()
    lines = []
    for char in word + " " * closed:
        window.add_char(char)
        if window.capitalword:
            continue
        for length in range(1, min(NGram.N_GRAM, len(window.grams)) + 1):
            gram = window.grams[-length:]
            if gram != " " and gram in known:
                lines.append(known[gram])
    return tuple(lines)


class _Normal(dict[int, str]):
    """A table for str.translate that asks langdetect once per character."""

    def __missing__(self, code: int) -> str:
        self[code] = normal = str(NGram.normalize(chr(code)))
        return normal


_NORMAL = _Normal()


@making_arrays
def _unit(draws: npt.NDArray[np.uint32], at: int) -> float:
    """Return ``random.random()`` from two words of the generator (CPython's _randommodule.c)."""
    return float(((draws[at] >> 5) * 67108864.0 + (draws[at + 1] >> 6)) / 9007199254740992.0)


@making_arrays
def _trials(
    table: npt.NDArray[np.float64],
    grams: npt.NDArray[np.int64],
    prior: npt.NDArray[np.float64],
    draws: npt.NDArray[np.uint32],
) -> npt.NDArray[np.float64]:
    """Return each language's mean probability over the trials: langdetect's ``_detect_block``, draw for draw.

    table [n-grams, languages], grams [n] lines of the table, prior [languages], draws [DRAWS] → [languages].
    Draws are those of CPython's ``random``: ``gauss`` gives two values per four words and ``choice`` takes
    the first word whose top bits fall below n. Sums run from left to right, the same on every machine.
    """
    languages = table.shape[1]
    bits = 0
    while len(grams) >> bits:
        bits += 1
    mean = np.zeros(languages)
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
                belief[language] *= smoothing + table[grams[drawn], language]
            if step % 5 == 0:
                total = 0.0
                for language in range(languages):
                    total += belief[language]
                belief /= total
                if belief.max() > _CERTAIN:
                    break
        mean += belief / _TRIALS
    return mean
