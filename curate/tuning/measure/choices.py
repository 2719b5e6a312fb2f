"""Multiple choice: a held-out item's own response among other items' responses, or the choices of an eval file.

Likelihoods are compared in two ways:

* ``gold``: the share of the right answer in the likelihoods, exp(-nats) over their sum.
* ``choice``: whether it is the likeliest per byte (acc_norm of lm-evaluation-harness).

Some responses are likelier than others whatever was asked: verse less than a list. So of items' own responses it is
what the prompt adds that is compared, log p(response | prompt) - log p(response | no prompt), for both (Holtzman et
al. 2021, arXiv 2104.08315). On natural text (dolly and gsm8k) plain likelihoods are at chance under a tiny base, 0.24
to 0.25, and tell which response is the easiest; what the prompt adds gives 0.28.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from curate.tuning.contract import DOCUMENT, Encoded, Floats, Ints, Item, Text, Turn
from curate.tuning.measure.asked import Ids, Questions, digest

OWN = 100  # items whose own responses are asked about: a quarter of what all of a run's measures cost
GIVEN = 500  # items of an eval file with choices
LONGEST = 32
"""Tokens of a response that is compared with others': a prompt tells most about the beginning, and 4 x 100 whole
responses would cost more than all else together. Choices of an eval file are compared whole."""
OTHERS = 3
_PART = 32  # answers after no prompt that are scored together
_CHOICES = ("choices", "options", "endings")
_GOLD = ("gold", "answer", "answerKey", "answer_index", "answer_idx", "label", "correct", "target")


class Choices(NamedTuple):
    """Questions whose answers are compared, and which of them is right."""

    questions: Questions = Questions()
    right: Ints = np.zeros(0, np.int64)  # [n]
    nbytes: tuple[Floats, ...] = ()  # [n][c] UTF-8 bytes of each answer, its end of turn as one
    items: Ints = np.zeros(0, np.int64)  # [n] places in Corpus.items
    alone: Questions = Questions()  # every answer of ``bare`` once, after no prompt; in parts
    bare: Ints = np.zeros(
        0, np.int64
    )  # [answers of all n, one after the other] place in ``alone``; -1: not asked


class _Question(NamedTuple):
    item: int
    turns: tuple[Turn, ...]  # the prompt
    answers: tuple[str, ...]
    right: int
    longest: int  # tokens of an answer


def build(items: Sequence[Item], base: Any, length: int) -> Choices:
    """Return the questions that fit into ``length`` tokens."""
    from curate.tuning import encoding

    asked = [*_given(items), *_own(items)]
    texts = [
        Text(f"{place} {at}", (*question.turns, Turn("assistant", answer)), "")
        for place, question in enumerate(asked)
        for at, answer in enumerate(question.answers)
    ]
    encoded = encoding.encode(base, texts, length) if texts else None
    prompts, answers, nbytes, kept = [], [], [], []
    first = 0
    for question in asked:
        assert encoded is not None
        places = range(first, first + len(question.answers))
        first += len(question.answers)
        if (cut := _cut(encoded, places, question.longest)) is not None:
            prompts.append(cut[0])
            answers.append(cut[1])
            whole = encoded.nbytes[list(places)].astype(np.float64)
            nbytes.append(whole * cut[2])
            kept.append(question)
    alone, bare = _alone(base, kept, answers)
    return Choices(
        Questions(tuple(prompts), tuple(answers)),
        np.array([question.right for question in kept], np.int64),
        tuple(nbytes),
        np.array([question.item for question in kept], np.int64),
        alone,
        bare,
    )


def _alone(
    base: Any, kept: Sequence[_Question], answers: Sequence[tuple[Ids, ...]]
) -> tuple[Questions, Ints]:
    """Return the items' own responses after an empty prompt, each once, and where each answer stands among them."""
    from curate.tuning import encoding

    bare: list[Ids] = []
    known: dict[bytes, int] = {}
    places: list[int] = []
    for question, each in zip(kept, answers, strict=True):
        for ids in each:
            if question.longest != LONGEST:
                places.append(-1)
                continue
            if (name := ids.tobytes()) not in known:
                known[name] = len(bare)
                bare.append(ids)
            places.append(known[name])
    if not bare:
        return Questions(), np.array(places, np.int64)
    nothing = np.array(encoding.prompt(base, (Turn("user", ""),)), np.int32)
    parts = [tuple(bare[at : at + _PART]) for at in range(0, len(bare), _PART)]
    return Questions((nothing,) * len(parts), tuple(parts)), np.array(places, np.int64)


def added(asked: Choices, nats: Sequence[Floats], alone: Sequence[Floats]) -> list[Floats]:
    """Return losses [arms, c] less what they are without a prompt, for questions of items' own responses."""
    if not alone:
        return list(nats)
    without = np.concatenate([*alone, np.zeros((len(alone[0]), 1))], axis=1)[:, asked.bare]
    ends = np.cumsum([each.shape[1] for each in nats])[:-1]
    return [own - bare for own, bare in zip(nats, np.split(without, ends, axis=1), strict=True)]


def _cut(encoded: Encoded, places: range, longest: int) -> tuple[Ids, tuple[Ids, ...], Floats] | None:
    """Return prompt, answers and which share of each answer is left; None where one does not fit into a row."""
    prompts, answers, shares = [], [], []
    for place in places:
        ids, learnt = encoded.of(place)
        start = last_run(learnt)
        if not 0 < start < len(ids):
            return None
        prompts.append(ids[:start])
        answers.append(ids[start : start + longest])
        shares.append(len(answers[-1]) / (len(ids) - start))
    return min(prompts, key=len), tuple(answers), np.array(shares)  # the one that was cut to fit, if any was


def last_run(learnt: np.ndarray[Any, np.dtype[np.bool_]]) -> int:
    """Return where the last response begins: after the last token before it that is not learnt."""
    ends = np.flatnonzero(learnt)
    if not len(ends):
        return len(learnt)
    before = np.flatnonzero(~learnt[: ends[-1]])
    return int(before[-1]) + 1 if len(before) else 0


def asks(item: Item) -> tuple[Turn, ...]:
    """Return the turns before an item's last response; none of a document."""
    turns = item.text.turns
    turns = turns[:-1] if turns and turns[-1].role == "assistant" else turns
    return () if any(turn.role == DOCUMENT for turn in turns) else turns


def _given(items: Sequence[Item]) -> Iterator[_Question]:
    """Yield what an eval file asks."""
    found = 0
    for place, item in enumerate(items):
        known, turns = options(item.extra), asks(item)
        if known is not None and turns and found < GIVEN:
            found += 1
            yield _Question(place, turns, known[0], known[1], 1 << 30)


def options(extra: Mapping[str, Any]) -> tuple[tuple[str, ...], int] | None:
    """Return the choices of an item and which is right, None where it has none or does not tell.

    Choices are a list of texts, ``{text: […], label: […]}`` or ``{A: …, B: …}``, under choices, options or
    endings; the right one is told by its place from 0, its letter or label, or its text.
    """
    given = next((extra[name] for name in _CHOICES if extra.get(name)), None)
    labels: Sequence[Any] = ()
    if isinstance(given, Mapping):
        named = "text" in given and not isinstance(given["text"], str)
        labels = given.get("label") or () if named else tuple(given)
        given = given["text"] if named else tuple(given.values())
    if not isinstance(given, (list, tuple)) or len(given) < 2 or not all(isinstance(c, str) for c in given):
        return None
    gold = next((extra[name] for name in _GOLD if extra.get(name) is not None), None)
    gold = gold[0] if isinstance(gold, (list, tuple)) and len(gold) == 1 else gold
    right = _place(gold, tuple(given), tuple(map(str, labels)))
    return None if right is None else (tuple(given), right)


def _place(gold: Any, choices: tuple[str, ...], labels: tuple[str, ...]) -> int | None:
    if isinstance(gold, bool) or not isinstance(gold, (int, str)):
        return None
    if isinstance(gold, str):
        told = gold.strip()
        letters = [chr(ord("A") + at) for at in range(min(len(choices), 26))]
        for names in (labels, choices, tuple(choice.strip() for choice in choices), letters):
            if told in names:
                return names.index(told)
        if not told.isascii() or not told.isdigit():
            return None
        gold = int(told)
    return gold if 0 <= gold < len(choices) else None


def _own(items: Sequence[Item]) -> Iterator[_Question]:
    """Yield raw held-out items' own responses with three of other items, of the same kind and length where possible."""
    able = [
        place
        for place, item in enumerate(items)
        if "raw" in item.sets and asks(item) and item.text.turns[-1].role == "assistant"
    ]
    said = {place: items[place].text.turns[-1].content for place in able}
    order = sorted(able, key=lambda place: digest(items[place].text.key))
    for place in order[:OWN]:
        others = _others(place, order, said, items)
        if len(others) == OTHERS:
            yield _Question(place, asks(items[place]), (said[place], *others), 0, LONGEST)


def _others(
    place: int, pool: Sequence[int], said: Mapping[int, str], items: Sequence[Item]
) -> tuple[str, ...]:
    """Return the responses of other items: of its source and category, its source, any; the nearest in length."""
    own = items[place].text
    size = len(said[place].encode())

    def far(other: int) -> tuple[bool, bool, int]:
        text = items[other].text
        return (
            text.source != own.source,
            text.category != own.category,
            abs(len(said[other].encode()) - size),
        )

    chosen: dict[str, None] = {}
    for other in sorted(pool, key=far):
        if said[other].strip() and said[other].strip() != said[place].strip():
            chosen[said[other]] = None
        if len(chosen) == OTHERS:
            break
    return tuple(chosen)
