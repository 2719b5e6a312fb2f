"""cascade: CLD2's opinion and py3langid's, made one.

CLD2 (pycld2) knows 160 languages, and short texts, but says of everything that it is sure; py3langid's model says
how sure it is. Both are asked about every text. py3langid's probabilities, with that of the language that CLD2
names made :data:`BOOST` times larger, are the answer and its confidence. So agreement raises it, disagreement
lowers it, and English that CLD2 alone sees in other languages' names and loan words goes (1.2 % of sentences in
74 other languages by CLD2, 0.1 % by both). Accuracy, the mean over 75 languages: 96.4 % of sentences (CLD2 95.2,
py3langid 92.4), 85.0 % of pairs of words (81.4, 77.5), 98.4 % of the Declaration of Human Rights in pieces of
1 KB (99.2, 94.0).

The figures in this file are of benchmarks/language.py and the data it reads: lingua's 74,141 sentences and 74,613
pairs of words in 75 languages. BOOST was fitted on the records of even number; the odd ones have the same
accuracy within 0.2 points. The other numbers, which touch few texts or the confidence alone, were read off all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pycld2

from curate import rules
from curate.kernels import bayes, wordlists
from curate.kernels.prose import SIZE
from curate.kernels.signs import refused
from curate.stages.detectors import NOT_LINGUISTIC, UNDETERMINED, Guess

Numbers: TypeAlias = npt.NDArray[np.float64]

FIRST = 500
"""Characters that CLD2 is asked about: half of the time is its. On texts of 1 KB in 75 languages the two are right
about 97.7 % with 300, 98.2 with 400, 98.4 with 500 and 98.3 with 600."""
SECOND = 200
"""Characters that py3langid's model is asked about. From 150 to 600, accuracy is the same within 0.3 points on texts
of 1 KB in 75 languages, 0.03 on sentences and 0.1 on English records; the time grows with them."""
BOOST = 4.0
"""How much likelier CLD2's word makes a language. A logistic regression on the texts about which the two disagree and
one is right gives weight 0.91 to the log ratio of py3langid's probabilities (1 would be calibrated as it is) and
1.31 to CLD2's word; exp(1.31 / 0.91) = 4.2. CLD2's own score and percentage and the text's length add nothing
(at most 0.1 points on the odd half). From 3 to 5 accuracy moves by 0.2 points; on texts of four sentences from 2
to 32 by 0.1."""
AGREED = 0.65
"""Least confidence where both name the same language; the rest comes from the probability p: AGREED + (1 -
AGREED) p. py3langid is modest about short texts: of pairs of words that both named alike, 0.80 were right at
p = 0.42, 0.86 at 0.66, 0.92 at 0.85. Where they disagree, p is right as it is."""
HALF_SCORE = 600.0
"""CLD2's score per KB at which it is right every other time about a language that py3langid does not know (Māori,
Tswana, Tsonga and some 40 others): below 400 it was right in 0.07 of 445 texts, from 400 on in 0.36, from 600 in
0.64, from 800 in 0.82, from 1000 in 0.92, from 1500 in 0.97: nearly 1 / (1 + (600 / score)^4)."""
LEAST = 0.2
"""Probability below which py3langid alone, where CLD2 names no language, tells none: 0.30 of 81 pairs of words below
0.3 were right, 0.62 of 48 between 0.3 and 0.5."""
FUNCTION_WORDS = 0.05
"""Least share of function words in English, each word counted once. Below it are none of 7,473 records of gsm8k, 0.13 %
of 2,996 of dolly and 0.4 % of 1,000 sentences, but all lists of file names and 58 % of texts of words drawn at random
that the two detectors call English (and 9 % of dolly's responses, lists of names, which the stage then judges with
their prompts). Where the two disagree the next likeliest language takes English's place; where both said English,
none does. Romanised Hindi is told from English by the second opinion already: 31 % of it is English to CLD2, 1.4 %
to both, 0.8 % with this. Other languages get no such test: of romanised Hindi and Russian, addresses, numbers and
random letters and words, at most 0.2 % each are called Spanish, French, German, Portuguese, Italian or Dutch."""
FEWEST = 6  # words from which that share is asked for: below, a twentieth is less than a third of a word
_ENOUGH = math.ceil(FUNCTION_WORDS * (SIZE // 2 + 1))  # function words that no prose has too many words for
SHOWN = 400
"""CLD2's score per KB from which a further language of a text is shown in its shares. Of texts of two sentences in
each of two languages, both are shown with a tenth or more in 92 %; a second language of a fifth that is not there,
in 1.5 % of texts of three sentences, 0.4 % of 1 KB of the Declaration and no English document of 2,200. At 200
these are 94, 2.1, 0.5 and 0.1 %, at 600 77, 0.8, 0.3 and 0 %."""

_INVENTED = {"tlh", "zzb", "zze", "zzh", "zzp"}
"""CLD2's Klingon, Bork, Fudd, Hacker and Pig Latin: found in identifiers, never meant."""
_SPELLED = {
    "fil": "tl",
    "iw": "he",
    "jw": "jv",
    "kik": "ki",
    "nb": "no",
    "sr-ME": "sr",
    "xx-Bugi": "bug",
    "xx-Goth": "got",
    "zh-Hant": "zh",
    # Members of macrolanguages (ISO 639-3) that CLD2 knows as a whole only: it could never agree to them.
    "ary": "ar",
    "arz": "ar",
    "gug": "gn",
    "ltg": "lv",
    "sdh": "ku",
    "uzs": "uz",
    "wuu": "zh",
    "yue": "zh",
}


def languages() -> Mapping[str, tuple[str, ...]]:
    """Return the languages that can be told, as Guess.language has them, each with the detectors' codes for it."""
    named = dict(pycld2.LANGUAGES)
    found: dict[str, set[str]] = {}
    for code in (*(named[name] for name in pycld2.DETECTED_LANGUAGES), *bayes.model().codes.tolist()):
        if (ours := _ours(code)) not in (None, NOT_LINGUISTIC):
            found.setdefault(str(ours), set()).add(code)
    return {code: tuple(sorted(found[code])) for code in sorted(found)}


def _ours(code: str) -> str | None:
    """Return the code that this project has for a detector's, None for what is no language."""
    ours = _SPELLED.get(code, code)
    return None if ours in _INVENTED or ours.startswith("xx-") or ours == "un" else ours


class _Second(NamedTuple):
    """The second opinion's languages."""

    codes: tuple[str, ...]  # [languages] sorted
    places: Mapping[str, int]  # code → its place there
    starts: npt.NDArray[np.int64]  # [languages] where each one's entries begin in the model's, so ordered …
    order: npt.NDArray[np.int64]  # … : [entries of the model]


@lru_cache(maxsize=1)
def _second() -> _Second:
    ours = np.array([_ours(code) for code in bayes.model().codes.tolist()])
    codes, starts = np.unique(np.sort(ours), return_index=True)
    places = {code: place for place, code in enumerate(codes.tolist())}
    return _Second(tuple(places), places, starts, np.argsort(ours, kind="stable"))


@lru_cache(maxsize=1)
def _listed() -> npt.NDArray[np.uint64]:
    return wordlists.table(rules.load("function_words").rule("en").data["words"].split())


class Cascade:
    """CLD2 with py3langid's second opinion and a test of English by its function words."""

    def detect(self, texts: pa.Array) -> list[Guess]:
        """Return a guess for each text: string [n], natural language alone (curate.kernels.prose), no nulls."""
        if not len(texts):
            return []
        first = [_cld2(text) for text in pc.utf8_slice_codeunits(texts, 0, FIRST).to_pylist()]
        known = _second()
        found = bayes.probabilities(pc.utf8_slice_codeunits(texts, 0, SECOND))
        found = np.add.reduceat(found[:, known.order], known.starts, axis=1)
        top = found.argmax(axis=1)
        named = np.array([known.places.get(code or "", -1) for code, _, _ in first])
        boosted = np.flatnonzero(named >= 0)
        found[boosted, named[boosted]] *= BOOST
        found /= found.sum(axis=1, keepdims=True)
        agreed = top == named
        self._gate(texts, found, agreed)
        best = found.argmax(axis=1)
        chances = _chances(found, best)
        chances = np.where(agreed & (best == named), AGREED + (1 - AGREED) * chances, chances)
        return [
            _answer(code, score, shares, known.codes[place], chance)
            for (code, score, shares), place, chance in zip(
                first, best.tolist(), chances.tolist(), strict=True
            )
        ]

    def _gate(self, texts: pa.Array, found: Numbers, agreed: npt.NDArray[np.bool_]) -> None:
        """Take English out of ``found`` [texts, languages] where the text lacks its function words.

        Where both had said English, nothing else is left to say: such a text gets no probability at all.
        """
        english = _second().places["en"]
        told = np.flatnonzero(found.argmax(axis=1) == english)
        foreign = told[~_running(texts.take(pa.array(told)))]
        found[foreign, english] = 0.0
        found[foreign] /= np.maximum(found[foreign].sum(axis=1, keepdims=True), 1e-300)
        found[foreign[agreed[foreign]]] = 0.0


def _chances(found: Numbers, best: npt.NDArray[np.int64]) -> Numbers:
    """Return the probability of each text's likeliest language: [texts, languages], [texts] → [texts].

    The two written forms of Norwegian count together: of a text that is as likely one as the other it is sure that
    it is Norwegian, and a recipe that allows ``no`` means both.
    """
    chances: Numbers = found[np.arange(len(found)), best]
    forms = np.array([_second().places[code] for code in ("nn", "no")])
    norwegian = np.isin(best, forms)
    chances[norwegian] = found[np.ix_(norwegian, forms)].sum(axis=1)
    return chances


_Shares: TypeAlias = tuple[tuple[str, float], ...]
_BLANKED = dict.fromkeys(refused(), " ")


def _cld2(text: str) -> tuple[str | None, float, _Shares]:
    """Return the language that CLD2 names, None if it names none, with its score per KB and all it saw."""
    try:
        _, _, details = pycld2.detect(text, isPlainText=True, bestEffort=True)
    except pycld2.error:
        _, _, details = pycld2.detect(text.translate(_BLANKED), isPlainText=True, bestEffort=True)
    _, code, percent, score = details[0]
    named = _ours(code)
    if not details[1][2]:
        return named, score, ((named, percent / 100),) if named else ()
    shares: dict[str, float] = {}
    for _, code, percent, each in details:
        if percent and each >= SHOWN and (ours := _ours(code)):
            shares[ours] = shares.get(ours, 0.0) + percent / 100
    return named, score, tuple(sorted(shares.items(), key=lambda share: (-share[1], share[0])))


def _answer(named: str | None, score: float, shares: _Shares, other: str, chance: float) -> Guess:
    """Return the guess, from CLD2's language and score and from the likeliest of those both know."""
    language, confidence = other, chance
    if named is not None and named not in _second().places:
        right = 1.0 / (1.0 + (HALF_SCORE / max(score, 1.0)) ** 4)
        confidence *= 1.0 - right
        if right >= confidence:
            language, confidence = named, right
    if language == NOT_LINGUISTIC:
        return Guess(NOT_LINGUISTIC, None)
    if confidence == 0.0 or (named is None and confidence < LEAST):
        return Guess(UNDETERMINED, None)
    seen = shares if any(code == language for code, _ in shares) else ()
    return Guess(language, round(min(confidence, 1.0), 6), seen)


def _running(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Tell of each text [n] whether it has the function words of English, or is too short to tell."""
    words, listed = wordlists.count(texts, _listed(), _ENOUGH).T
    enough: npt.NDArray[np.bool_] = (words < FEWEST) | (listed >= FUNCTION_WORDS * words)
    return enough


def is_running_text(rule: rules.Rule, example: str) -> bool:
    """Tell whether an example is running text in the rule's language: how rules/function_words.yaml is tested."""
    words, listed = wordlists.count(pa.array([example]), wordlists.table(rule.data["words"].split()))[0]
    return bool(words >= FEWEST and listed >= FUNCTION_WORDS * words)
