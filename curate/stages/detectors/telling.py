"""What is told of a batch: the language of every turn, of each record's prompt and response, of the record.

All texts of a batch are asked about at once, in three rounds: the turns; prompts and responses of more than one
turn, each as one text; prompt and response together, where the response alone does not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.record import Batch, content, kind, turns
from curate.stages.detectors import NOT_LINGUISTIC, UNDETERMINED, Detector, Engine, Guess, load

Ints = npt.NDArray[np.int64]

ENOUGH = {"cascade": 40}
"""Letters from which a response decides alone, per engine. Of 14,700 English responses of 40 to 200 letters the
cascade is sure of another language for 0.05 %, of 2,000 with 28 to 40 for none; but a response of 40 letters
that a request in another language has produced is told right far more often when it is asked about alone: of
6,000 translations of sentences into 75 languages 86 % at 40 letters, 76 % at 80."""
ENOUGH_ELSE = 80
"""The same for other engines. langdetect takes short English lists of names for other languages: of 15,431
English instruction records 52 come out wrong at 40 letters, 24 at 80."""
SURE = 0.9
"""Confidence from which a response decides alone, and from which a turn counts as in a second language. Of texts in
75 languages from 20 letters on, the cascade is sure of at least 76 %, and right about 98 % of those. langdetect
is either sure (over 0.999) or torn between its seven trials (0.43, 0.57, 0.71, 0.86)."""
LEAST = 20
"""Letters below which no language is told: of word pairs and sentences in 75 languages the cascade tells 0.95
right at 28 letters, 0.90 at 20 and 0.82 at 12."""
NATURAL = 0.6
"""Least share of the letters that must remain when code-like tokens are left out. Half of all responses that
are code lie below 0.5, 95 % of prose lies above 0.93."""
LENGTH = 20
"""Characters from which a text with next to no natural letters is called not linguistic; a shorter one may be
no more than a name or a number, and is undetermined."""

_APART = "\n\n"  # between the turns of a part, and between prompt and response
_NONE = -1  # in place of a text's number: there is no text


@dataclass(slots=True)
class Heard:
    """Texts that a detector was asked about, by number."""

    detector: Detector
    enough: int  # letters from which a response decides alone
    guesses: list[Guess] = field(default_factory=list)  # UNDETERMINED or NOT_LINGUISTIC without a confidence
    letters: list[int] = field(
        default_factory=list
    )  # natural letters of distinct words, dense scripts weighted

    def ask(self, texts: pa.Array) -> int:
        """Ask about texts: string [n], without nulls. Returns the number of the first one."""
        from curate.kernels.prose import prose

        first = len(self.guesses)
        found = prose(texts)
        fit = (found.letters >= LEAST) & (found.natural >= NATURAL)
        told = iter(self.detector.detect(found.texts.filter(pa.array(fit))))
        poor = ~fit & (found.natural < NATURAL)
        trimmed = pc.utf8_trim_whitespace(texts.filter(pa.array(poor)))
        poor[poor] = pc.utf8_length(trimmed).to_numpy() >= LENGTH
        for is_fit, is_poor in zip(fit.tolist(), poor.tolist(), strict=True):
            self.guesses.append(next(told) if is_fit else _UNLIKE if is_poor else _UNTOLD)
        self.letters += found.letters.tolist()
        return first


_UNTOLD = Guess(UNDETERMINED, None)
_UNLIKE = Guess(NOT_LINGUISTIC, None)


class Part(NamedTuple):
    """A turn of a record, or its prompt or response."""

    language: str | None  # null where the record has no such part
    confidence: float | None


class Record(NamedTuple):
    """What was told of one record."""

    language: str
    confidence: float | None  # null where no language was told
    letters: int  # natural letters found in the text that decided, or the most in any that could not
    turns: list[Part]  # what was told of each turn
    prompt: Part
    response: Part
    share: float | None  # of the letters read in turns that are told for sure, those in the record's language
    second: str | None  # the other language with the largest share
    second_share: float | None


def tell(batch: Batch, engine: Engine, model: Path | None = None) -> list[Record]:
    """Tell the languages of every record of a batch. Raises as :func:`curate.stages.detectors.load`."""
    texts, offsets = turns(batch)
    heard = Heard(load(engine, model), ENOUGH.get(engine, ENOUGH_ELSE))
    heard.ask(texts)
    sides = _sides(batch, texts, offsets)
    numbers = [side.ask(heard) for side in sides]
    together = _together(heard, sides, numbers)
    rows = zip(*numbers, together, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    return [_record(heard, *row) for row in rows]


@dataclass(frozen=True, slots=True)
class _Side:
    """All prompts, or all responses, of a batch."""

    texts: pa.StringArray  # [n] the part's turns as one text, empty where there is none
    count: Ints  # [n] turns in it that are not empty
    first: Ints  # [n] number of the first of them

    def ask(self, heard: Heard) -> list[int]:
        """Return the number of each record's part, or _NONE; parts of several turns are asked about."""
        numbers = np.where(self.count == 1, self.first, _NONE)
        several = self.count > 1
        if several.any():
            first = heard.ask(self.texts.filter(pa.array(several)))
            numbers[several] = np.arange(first, first + int(several.sum()))
        return [int(number) for number in numbers]


def _sides(batch: Batch, texts: pa.StringArray, offsets: Ints) -> tuple[_Side, _Side]:
    """Return prompts and responses; a document is all response."""
    said = np.ones(len(texts), bool)
    if kind(batch) == "messages":
        roles = pc.struct_field(content(batch).flatten(), "role")
        said = pc.fill_null(pc.equal(roles, "assistant"), False).to_numpy(zero_copy_only=False)
    filled = pc.greater(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    return _side(texts, offsets, filled & ~said), _side(texts, offsets, filled & said)


def _side(texts: pa.StringArray, offsets: Ints, chosen: npt.NDArray[np.bool_]) -> _Side:
    places = np.flatnonzero(chosen)
    bounds = np.searchsorted(places, offsets)
    lists = pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), texts.take(pa.array(places)))
    first = np.append(places, _NONE)[bounds[:-1]]
    return _Side(pc.binary_join(lists, _APART), np.diff(bounds), first)


def _together(heard: Heard, sides: tuple[_Side, _Side], numbers: Sequence[list[int]]) -> list[int]:
    """Ask about prompt and response as one text, where there are both and the response does not decide."""
    ask = np.array(
        [
            prompt != _NONE and response != _NONE and not _decides(heard, response)
            for prompt, response in zip(*numbers, strict=True)
        ],
        bool,
    )
    found = np.full(len(ask), _NONE)
    if ask.any():
        chosen = pa.array(ask)
        joined = pc.binary_join_element_wise(*(side.texts.filter(chosen) for side in sides), _APART)
        first = heard.ask(joined)
        found[ask] = np.arange(first, first + int(ask.sum()))
    return [int(number) for number in found]


def _decides(heard: Heard, response: int) -> bool:
    confidence = heard.guesses[response].confidence
    return confidence is not None and confidence >= SURE and heard.letters[response] >= heard.enough


def _record(heard: Heard, prompt: int, response: int, together: int, start: int, end: int) -> Record:
    """Put together what was told of one record, from the numbers of its texts."""
    by = _deciding(heard, prompt, response, together)
    guess = heard.guesses[by] if by != _NONE else _UNTOLD
    own, second, second_share = None, None, None
    if guess.confidence is not None:
        sure = [n for n in range(start, end) if n == by or (heard.guesses[n].confidence or 0.0) >= SURE]
        own, second, second_share = _largest(heard, sure or (by,), guess)
        if not own:  # no turn is sure of the language that they tell together
            own, second, second_share = _largest(heard, (by,), guess)
    return Record(
        guess.language,
        guess.confidence,
        max((heard.letters[n] for n in (prompt, response, together) if n != _NONE), default=0),
        [Part(*heard.guesses[number][:2]) for number in range(start, end)],
        _part(heard, prompt),
        _part(heard, response),
        own,
        second,
        second_share,
    )


def _deciding(heard: Heard, prompt: int, response: int, together: int) -> int:
    """Return the number of the text that tells the record's language, or of one that tells why none is."""
    if together == _NONE:
        return response if response != _NONE else prompt
    order = (together, prompt, response)
    return next((n for n in order if heard.guesses[n].confidence is not None), together)


def _part(heard: Heard, number: int) -> Part:
    return Part(None, None) if number == _NONE else Part(*heard.guesses[number][:2])


def _largest(
    heard: Heard, numbers: Sequence[int], guess: Guess
) -> tuple[float | None, str | None, float | None]:
    """Return the guessed language's share of texts' letters, the largest other language, and its share."""
    found = [heard.guesses[number] for number in numbers]
    if all(one.language == guess.language and len(one.shares) < 2 for one in found):
        return 1.0, None, None
    letters: dict[str, float] = {}
    for number, (language, _, seen) in zip(numbers, found, strict=True):
        whole = sum(share for _, share in seen)
        for code, share in seen if whole > 0 else ((language, 1.0),):
            letters[code] = letters.get(code, 0.0) + heard.letters[number] * share / (whole or 1.0)
    total = sum(letters.values())
    own = round(letters.pop(guess.language, 0.0) / total, 6)
    second = min(letters, key=lambda code: (-letters[code], code), default=None)
    if second is None or letters[second] < LEAST:
        return own, None, None
    return own, second, round(letters[second] / total, 6)
