"""Free answers of a model that may hold several adapters: greedy, or drawn with random numbers that arms share.

A token is drawn by inversion: the first whose cumulative probability exceeds a uniform number that depends on seed,
prompt and position alone (Philox, a counter-based generator: Salmon et al. 2011). So two arms that agree about the
probabilities say the same, and what differs between their answers is what was learnt.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch

from curate.tuning.contract import Floats, Ints
from curate.tuning.measure.asked import Ids
from curate.tuning.measure.comparing import last, pad_left
from curate.tuning.measure.losses import headed, quiet, wide

PROMPTS = 64  # answered at a time, by each arm
_ROWS = 64  # whose probabilities are summed up at a time, in float64


def uniforms(seed: int, keys: np.ndarray[Any, np.dtype[np.uint64]], tokens: int) -> Floats:
    """Return a number in [0, 1) for each prompt, known by its key, and position: [n, tokens]."""
    drawn = np.empty((len(keys), tokens))
    for row, key in enumerate(keys):
        raw = np.random.Philox(key=np.array([seed, key], np.uint64)).random_raw(tokens)
        drawn[row] = (raw >> np.uint64(11)) * 2.0**-53
    return drawn


def answer(
    model: Any,
    arms: int,
    prompts: Sequence[Ids],
    tokens: int,
    stops: frozenset[int],
    drawn: Floats | None = None,
) -> list[list[list[int]]]:
    """Return each arm's answer to each prompt [arms][n]: up to ``tokens`` ids, without the stop that ended it.

    drawn: uniform numbers [arms, n, tokens]; without them the likeliest token is said.
    """
    said: list[list[list[int]]] = [[[] for _ in prompts] for _ in range(arms)]
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    with quiet(model):
        for start in range(0, len(order), PROMPTS):
            batch = order[start : start + PROMPTS]
            chosen = None if drawn is None else drawn[:, batch].reshape(arms * len(batch), -1)
            rows = _answers(model, arms, [prompts[place] for place in batch], tokens, stops, chosen)
            for row, ids in enumerate(rows):
                said[row // len(batch)][batch[row % len(batch)]] = ids
    return said


def _answers(
    model: Any, arms: int, prompts: Sequence[Ids], tokens: int, stops: frozenset[int], drawn: Floats | None
) -> list[list[int]]:
    """Answer one batch → [arms * b] lists of ids."""
    steps = _steps(model, arms, prompts, tokens)
    logits = next(steps)
    ended = np.zeros(arms * len(prompts), bool)
    ids = np.empty((len(ended), tokens), np.int64)
    lengths = np.full(len(ended), tokens)
    ending = np.array(sorted(stops), np.int64)
    for place in range(tokens):
        ids[:, place] = _choice(logits, None if drawn is None else drawn[:, place])
        now = np.isin(ids[:, place], ending) & ~ended
        lengths[now] = place
        ended |= now
        if ended.all() or place + 1 == tokens:
            break
        logits = steps.send(ids[:, place])
    return [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]


def _steps(model: Any, arms: int, prompts: Sequence[Ids], tokens: int) -> Generator[Any, Ints, None]:
    """Yield the logits [arms * b, vocabulary] of the next token; is sent the token that each row then says."""
    ids, seen = pad_left(prompts)
    spoken = np.pad(seen.astype(np.int64), ((0, 0), (0, tokens)), constant_values=1)
    given = torch.from_numpy(ids).to(model.device).repeat(arms, 1)
    mask = torch.from_numpy(spoken).to(model.device).repeat(arms, 1)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache: Any = None
    end = ids.shape[1]
    while True:
        with headed(model, last(given)):
            found = model(
                input_ids=given,
                attention_mask=mask[:, :end],
                position_ids=positions[:, end - given.shape[1] : end],
                past_key_values=cache,
                use_cache=True,
            )
        cache = found.past_key_values
        said = yield wide(found.logits)
        given = torch.from_numpy(said).to(model.device)[:, None]
        end += 1


def _choice(logits: Any, drawn: Floats | None) -> Ints:
    """Return each row's next token: the likeliest, or the one that its number falls on."""
    if drawn is None:
        likeliest: Ints = logits.argmax(-1).cpu().numpy()
        return likeliest
    chosen = []
    for start in range(0, len(logits), _ROWS):
        summed = torch.softmax(logits[start : start + _ROWS].double(), -1).cumsum(-1)
        wanted = torch.from_numpy(drawn[start : start + _ROWS, None]).to(summed.device) * summed[:, -1:]
        found = torch.searchsorted(summed, wanted, right=True).clamp(max=logits.shape[-1] - 1)
        chosen.append(found[:, 0].cpu().numpy())
    return np.concatenate(chosen)
