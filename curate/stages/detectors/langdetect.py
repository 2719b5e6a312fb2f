"""langdetect, with the same answers, many times faster and without its randomness.

langdetect draws n-grams of the text at random and multiplies their language probabilities until one language
is all but certain; seven trials are averaged. Left alone it draws from an unseeded generator and reads its
profiles in the order of the file system. Here every text starts from the same seed and the profiles are read
in the order of their names, so that a text's answer depends on the text alone.

langdetect-rs 0.1.0 gives the same probabilities to the last bit; on texts of 1 KB it is two thirds as fast as this
(6,750 against 9,960 a second of one core; langdetect itself 254), so it is only compared with, in the tests.

Imported only by the function that needs it: langdetect reads 55 profiles, numba loads a compiled kernel.
"""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import langdetect.detector_factory
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from langdetect.detector import Detector
from langdetect.utils.ngram import NGram

from curate.stages.detectors import UNDETERMINED, Guess, _langdetect
from curate.stages.detectors.known import known

SEED = 0
DRAWS = 40_000  # 32-bit words of the generator held ready: 7 trials of at most 1,001 draws use about 14,000
_CHANGED = 0x20000  # code points that NGram.normalize may change or that are capitals lie below


class Langdetect:
    """langdetect's 55 profiles, seeded; a text that lacks a language's letters is not in that language."""

    def __init__(self) -> None:
        self._known = known("langdetect")

    def detect(self, texts: pa.Array) -> list[Guess]:
        """Return a guess for each of the texts (:class:`curate.stages.detectors.Detector`)."""
        return [self._guess(text) for text in texts.to_pylist()]

    def _guess(self, text: str) -> Guess:
        """Sum up a language's profiles (Chinese has two); ties go to the first code."""
        lacking = [codes for codes, letter in self._known.needs if not letter.search(text)]
        found: dict[str, float] = {}
        for code, share in told(text, frozenset().union(*lacking)).items():
            language = self._known.codes[code]
            found[language] = found.get(language, 0.0) + share
        if not found:
            return Guess(UNDETERMINED, None)
        best = min(found, key=lambda language: (-found[language], language))
        return Guess(best, round(min(found[best], 1.0), 6))


def told(text: str, impossible: frozenset[str] = frozenset()) -> dict[str, float]:
    """Return the probabilities that langdetect would tell: those above its threshold, sorted by code.

    ``impossible`` codes get no prior probability (langdetect's ``set_prior_map``). The cost grows with the
    text: give it no more than a thousand characters or so (langdetect itself stops at ten thousand).
    """
    found, codes = _mean(text, impossible), profiles().codes
    return {codes[place]: float(found[place]) for place in np.flatnonzero(found > Detector.PROB_THRESHOLD)}


class Profiles(NamedTuple):
    """langdetect's language profiles, as one table, and what it makes of characters."""

    codes: tuple[str, ...]  # langdetect's language codes, sorted
    keys: npt.NDArray[
        np.int64
    ]  # [slots] n-grams as numbers (see _key), 0 in a free slot: an open hash table …
    lines: npt.NDArray[np.int32]  # [slots] … and their lines in the
    rows: npt.NDArray[
        np.int32
    ]  # [n-grams + 1] where each line begins: of a sparse table, nine tenths are zero,
    languages: npt.NDArray[np.uint8]  # [r] … the languages that have the n-gram …
    frequencies: npt.NDArray[np.float64]  # [r] … and its relative frequency there
    normal: npt.NDArray[np.int32]  # [_CHANGED] the character that NGram.normalize makes of each
    upper: npt.NDArray[np.bool_]  # [_CHANGED] whether that is a capital
    draws: npt.NDArray[np.uint32]  # [DRAWS] output of Python's generator, seeded


@lru_cache(maxsize=1)
def profiles() -> Profiles:
    """Return the profiles, read once per process, in the order of their names."""
    factory = langdetect.detector_factory.DetectorFactory()
    factory.load_json_profile(_profile_texts())
    found = factory.word_lang_prob_map
    generator = random.Random(SEED)
    normal = [str(NGram.normalize(chr(code))) for code in range(_CHANGED)]
    table = np.array(list(found.values()), dtype=np.float64)
    keys, lines = np.zeros((2, 1 << (2 * len(found)).bit_length()), np.int64)
    _langdetect.fill(np.array([_key(gram) for gram in found]), keys, lines)
    return Profiles(
        codes=tuple(factory.get_lang_list()),
        keys=keys,
        lines=lines.astype(np.int32),
        rows=np.append(0, np.cumsum(np.count_nonzero(table, axis=1))).astype(np.int32),
        languages=np.nonzero(table)[1].astype(np.uint8),
        frequencies=table[np.nonzero(table)],
        normal=np.array([*map(ord, normal)], np.int32),
        upper=np.array([*map(str.isupper, normal)], np.bool_),
        draws=np.array([generator.getrandbits(32) for _ in range(DRAWS)], dtype=np.uint32),
    )


def _key(gram: str) -> int:
    """Return one to three characters as a number: 21 bits each."""
    key = 0
    for char in gram:
        key = key << 21 | ord(char)
    return key


def _profile_texts() -> list[str]:
    folder = Path(langdetect.detector_factory.PROFILES_DIRECTORY)
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return [path.read_text(encoding="utf-8") for path in files]


def _mean(text: str, impossible: frozenset[str]) -> npt.NDArray[np.float64]:
    known = profiles()
    if "://" in text:
        text = Detector.URL_RE.sub(" ", text)
    if "@" in text:
        text = Detector.MAIL_RE.sub(" ", text)
    if not text.isascii():
        text = NGram.normalize_vi(text)
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.int32)
    found: npt.NDArray[np.float64] = _langdetect.answer(characters, _prior(impossible), *known[1:])
    return found


@lru_cache(maxsize=16)
def _prior(impossible: frozenset[str]) -> npt.NDArray[np.float64]:
    possible = np.array([code not in impossible for code in profiles().codes], dtype=np.float64)
    prior: npt.NDArray[np.float64] = possible / possible.sum()
    return prior
