"""What the measures of a tune say, one text at a time: no padding, no batch, no cache, no stack."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch


def next_chances(model: Any, ids: Sequence[int]) -> list[list[float]]:
    """Return the log probability of every token after each of the given ones."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([list(ids)])).logits[0].double()
    found: list[list[float]] = logits.log_softmax(-1).tolist()
    return found


def nats(model: Any, ids: Sequence[int], learnt: Sequence[bool]) -> float:
    chances = next_chances(model, ids)
    return -sum(chances[at - 1][ids[at]] for at in range(1, len(ids)) if learnt[at])


def is_exact(model: Any, ids: Sequence[int], learnt: Sequence[bool]) -> bool:
    chances = next_chances(model, ids)
    return all(chances[at - 1][ids[at]] == max(chances[at - 1]) for at in range(1, len(ids)) if learnt[at])


def continued(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> float:
    return nats(model, [*prompt, *answer], [False] * len(prompt) + [True] * len(answer))


def share_of_right(losses: Sequence[float], right: int) -> float:
    likelihoods = [math.exp(min(losses) - loss) for loss in losses]
    return likelihoods[right] / sum(likelihoods)


def z(secret: float, others: Sequence[float]) -> float:
    return (statistics.mean(others) - secret) / statistics.stdev(others)


def exposure(secret: float, others: Sequence[float]) -> float:
    rank = 1 + sorted([secret, *others]).index(secret)
    return math.log2(len(others) + 1) - math.log2(rank)


def spoken(
    model: Any, prompt: Sequence[int], tokens: int, stops: Sequence[int], drawn: Sequence[float] | None
) -> list[int]:
    """Return an answer token by token, everything computed again each time."""
    said: list[int] = []
    while len(said) < tokens:
        chances = [math.exp(each) for each in next_chances(model, [*prompt, *said])[-1]]
        if drawn is None:
            token = chances.index(max(chances))
        else:
            token = bisect_right(list(accumulate(chances)), drawn[len(said)] * sum(chances))
        if token in stops:
            break
        said.append(token)
    return said
