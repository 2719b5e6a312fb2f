"""What is looked for in free answers: personal data, another language, copies of repeated responses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.kernels.spans import widen
from curate.stages.detectors.telling import SURE, tell
from curate.stages.operators import Hand, Operator
from curate.stages.scrubbing.options import PiiOptions
from curate.stages.scrubbing.search import NAMED, PACK, SECRETS, Plan, kinds, search
from curate.tuning.contract import Floats

SHORTEST = 20
"""Characters of a repeated response that counts as copied: shorter ones (yes, 42, a city) are what many prompts have
for an answer."""
CUT = 40  # characters from which the beginning of a repeated response counts, where an answer was cut off


class Personal(NamedTuple):
    """The stage pii's search, as a recipe has it: same kinds, thresholds and names, and its own writing left out."""

    plan: Plan
    operators: tuple[tuple[str, Operator], ...]  # of every kind that is looked for
    model: Any = None  # for names

    @classmethod
    def of(cls, options: PiiOptions | None) -> Personal:
        """Return the search that a recipe's options ask for, or the default one; no key is needed."""
        options = options or PiiOptions()
        operators = tuple((kind, options.operator_of(kind)) for kind in options.kinds())
        return cls(options.plan(), operators, options.model())

    def found(self, texts: Sequence[str]) -> Floats:
        """Return 1 for each text that holds personal data, or that could not be read to its end.

        What an operator writes, such as <PHONE_NUMBER> or a stand-in, is none; nor is [PHONE_NUMBER].
        """
        finders = search(self.plan)
        finders = finders if self.model is None else finders.and_with(self.model)
        hand = _hand(self.operators)
        answers = finders.find(pa.array(texts, pa.string()), list(range(len(texts) + 1)))
        return np.array(
            [
                isinstance(found, Exception) or bool(found and hand.left_to_do(text, widen(text, found)))
                for text, found in zip(texts, answers, strict=True)
            ],
            np.float64,
        )


@lru_cache(maxsize=4)
def _hand(operators: tuple[tuple[str, Operator], ...]) -> Hand:
    return Hand(dict(operators), b"", (*kinds(PACK), *kinds(SECRETS), *NAMED))


def languages(texts: Sequence[str]) -> list[str | None]:
    """Return the language of each text, None where it is not told for sure (too short, for one)."""
    told = tell(pa.record_batch({"text": pa.array(texts, pa.string())}), "cascade")
    return [
        record.language if record.confidence is not None and record.confidence >= SURE else None
        for record in told
    ]


def foreign(texts: Sequence[str], own: Collection[str]) -> Floats:
    """Return 1 for each text that surely is in a language that is none of one's own; short ones are not."""
    if not own:
        return np.zeros(len(texts))
    return np.array([language is not None and language not in own for language in languages(texts)], float)


class Repeated:
    """Responses that stand in several records of the raw data."""

    def __init__(self, responses: Sequence[str]) -> None:
        self._known = frozenset(text for each in responses if len(text := plain(each)) >= SHORTEST)

    def copied(self, said: str, reference: str, whole: bool) -> bool:
        """Tell whether an answer is or holds one of them, or, where it was cut off, is the beginning of one.

        The response that the prompt's own record has does not count. ``whole``: the model ended it by itself.
        """
        answer, own = plain(said), plain(reference)
        return any(
            each in answer or (not whole and len(answer) >= CUT and each.startswith(answer))
            for each in self._known
            if each != own
        )


def plain(text: str) -> str:
    """Return a text as copies are compared: runs of white space as one blank, none around it."""
    return " ".join(text.split())
