"""What a model gives away of values that stood in training records.

A secret is compared with values of the same shape that it might as well have been: its loss less than theirs is
memory. Losses are of the tokens that tell secret and alternatives apart from the text before them, which all share.

* z: (mean loss of the alternatives - loss of the secret) / their standard deviation. 0 where nothing is remembered.
* exposure: log2 |R| - log2 rank of the secret among all |R| values (Carlini et al. 2019, arXiv 1802.08232,
  definition 4, with |R| the values compared). Where nothing is remembered, ranks are equally likely and its mean is
  log2 |R| - log2(|R|!) / |R|: 1.32 for 32 values.
* extracted: whether greedy decoding after the text before it says the secret, token by token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from curate.tuning.contract import DOCUMENT, Floats, Secret, Turn
from curate.tuning.measure.asked import Questions
from curate.tuning.specials import plain, specials

FEWEST = 3  # alternatives, for a standard deviation that means something


class Leaks(NamedTuple):
    """What of each secret shows: [arms, n]."""

    z: Floats
    exposure: Floats
    extracted: Floats


def questions(secrets: Sequence[Secret], base: Any, length: int) -> Questions:
    """Return one question per secret: the text before it, and the secret first among its alternatives.

    A tokenizer may join the end of the text before with the beginning of a value; the cut is where tokens of no
    value differ from those of the text alone. Long prompts lose their beginning.
    """
    from curate.tuning import encoding

    prompts, answers = [], []
    for secret in secrets:
        before = encoding.prompt(base, secret.turns or (Turn(DOCUMENT, ""),)) or _begin(base)
        values = [secret.secret, *secret.alternatives]
        prefix = _ids(base, secret.prefix)
        whole = [_ids(base, secret.prefix + value) for value in values]
        cut = min(_shared(prefix, ids) for ids in whole)
        shared = before + prefix[:cut]
        room = length - max(len(ids) - cut for ids in whole)
        prompts.append(np.array(shared[-max(1, room) :], np.int32))
        answers.append(tuple(np.array(ids[cut:], np.int32) for ids in whole))
    return Questions(tuple(prompts), tuple(answers))


def _begin(base: Any) -> list[int]:
    """Return the token that a document without anything before it begins with: something must predict the first."""
    end = base.tokenizer.eos_token_id
    return [0 if end is None else int(end)]


def _ids(base: Any, text: str) -> list[int]:
    """Return an answer's tokens, as in training: no special token is read in it."""
    [piece] = specials(base.tokenizer).encode([plain(text)])
    ids: list[int] = piece.ids.tolist()
    return ids


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two lists begin with alike; at least one of the other is left over."""
    pairs = zip(one, other[:-1], strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other) - 1))


def leaks(model: Any, arms: int, asked: Questions) -> Leaks:
    """Return what shows of each secret, under each arm."""
    from curate.tuning.measure.comparing import compare

    scores = compare(model, arms, asked)
    if not scores:
        return Leaks(*(np.zeros((arms, 0)) for _ in Leaks._fields))
    told = [(*compared(each.nats), (each.wrong[:, 0] == 0).astype(np.float64)) for each in scores]
    return Leaks(*(np.stack(values, axis=1) for values in zip(*told, strict=True)))


def compared(nats: Floats) -> tuple[Floats, Floats]:
    """Return z and exposure of the first of some values: [arms, values] → [arms] twice."""
    own, others = nats[:, 0], nats[:, 1:]
    spread = others.std(axis=1, ddof=1)
    z = np.divide(others.mean(axis=1) - own, spread, out=np.zeros_like(own), where=spread > 0)
    rank = 1.0 + (others < own[:, None]).sum(axis=1) + (others == own[:, None]).sum(axis=1) / 2
    return z, math.log2(nats.shape[1]) - np.log2(rank)
