"""Losses of several continuations of one prompt: the prompt is read once, its keys and values serve all of them.

Of 16 secrets with 31 alternatives each that is 5 times less to compute than whole texts are, of four choices half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from curate.tuning.contract import Floats, Ints
from curate.tuning.measure.asked import Flags, Ids, Questions
from curate.tuning.measure.losses import Scores, headed, judged, pad, quiet, room, score, wide


def compare(model: Any, arms: int, questions: Questions) -> list[Scores]:
    """Score every continuation of every prompt, all of its tokens → per question nats and wrong tokens [arms, c]."""
    found: dict[int, Scores] = {}
    with quiet(model):
        for batch in _batches(model, arms, questions):
            prompts = [questions.prompts[place] for place in batch]
            answers = [answer for place in batch for answer in questions.answers[place]]
            shape = (arms, len(batch), -1)
            nats, wrong = (values.reshape(shape) for values in _compared(model, arms, prompts, answers))
            for at, place in enumerate(batch):
                found[place] = Scores(nats[:, at], wrong[:, at])
    return [found[place] for place in range(len(questions.prompts))]


def _batches(model: Any, arms: int, questions: Questions) -> Iterator[list[int]]:
    """Cut questions into batches of as many answers each, shortest prompts first.

    A batch keeps as many keys and values as two batches of whole texts would.
    """
    tokens, heads = room(model)

    def size(place: int) -> tuple[int, int, int]:
        answers = questions.answers[place]
        return len(answers), len(questions.prompts[place]), max(map(len, answers))

    batch: list[int] = []
    longest = 0
    for place in sorted(range(len(questions.prompts)), key=size):
        count, prompt, answer = size(place)
        longest = max(longest, answer)
        rows = arms * (len(batch) + 1) * count
        if batch and (
            count != len(questions.answers[batch[0]])
            or rows * (prompt + longest) > 2 * tokens
            or rows * longest > min(tokens, heads)
        ):
            yield batch
            batch, longest = [], answer
        batch.append(place)
    if batch:
        yield batch


def _compared(model: Any, arms: int, prompts: Sequence[Ids], answers: Sequence[Ids]) -> tuple[Floats, Floats]:
    """Return nats and wrong tokens of answers to b prompts, c to each: [arms * b * c] twice."""
    each = len(answers) // len(prompts)
    ids, seen = pad_left(prompts)
    said, flags = pad([(answer, np.ones(len(answer), bool)) for answer in answers])
    logits, cache = _read(model, arms, ids, seen)
    if not _repeats(cache):
        return _whole(model, arms, prompts, answers)
    first = torch.from_numpy(said[:, 0]).to(model.device).repeat(arms)
    nats, wrong = judged(logits.repeat_interleave(each, 0), first)
    if said.shape[1] == 1:
        return nats, wrong
    cache.batch_repeat_interleave(each)
    # A token is told by the position before it: the last of an answer tells none.
    told = torch.from_numpy(flags[:, 1:]).to(model.device).repeat(arms, 1)
    before = np.repeat(seen, each, axis=0)
    mask = torch.from_numpy(np.concatenate([before, flags[:, :-1]], axis=1).astype(np.int64))
    positions = before.sum(axis=1)[:, None] + np.arange(said.shape[1] - 1)
    with headed(model, told):
        rest = model(
            input_ids=torch.from_numpy(said[:, :-1].copy()).to(model.device).repeat(arms, 1),
            attention_mask=mask.to(model.device).repeat(arms, 1),
            position_ids=torch.from_numpy(positions).to(model.device).repeat(arms, 1),
            past_key_values=cache,
            use_cache=True,
        ).logits
    targets = torch.from_numpy(said[:, 1:][flags[:, 1:]]).to(model.device).repeat(arms)
    rows = np.repeat(np.arange(len(nats)), np.tile(flags[:, 1:].sum(axis=1), arms))
    losses, misses = (np.bincount(rows, values, len(nats)) for values in judged(wide(rest), targets))
    return nats + losses, wrong + misses


def _repeats(cache: Any) -> bool:
    """Tell whether what a prompt left can serve several continuations: states that are carried along cannot."""
    return all(
        hasattr(layer, "batch_repeat_interleave") and not hasattr(layer, "conv_states")
        for layer in getattr(cache, "layers", ())
    )


def _whole(model: Any, arms: int, prompts: Sequence[Ids], answers: Sequence[Ids]) -> tuple[Floats, Floats]:
    """Return the same as :func:`_compared`, of whole texts."""
    each = len(answers) // len(prompts)
    texts = [
        (
            np.concatenate([prompts[at // each], answer]),
            np.arange(-len(prompts[at // each]), len(answer)) >= 0,
        )
        for at, answer in enumerate(answers)
    ]
    nats, wrong = score(model, arms, texts)
    return nats.ravel(), wrong.ravel()


def _read(model: Any, arms: int, ids: Ints, seen: Flags) -> tuple[Any, Any]:
    """Return the logits [arms * b, vocabulary] after prompts, and their keys and values."""
    given = torch.from_numpy(ids).to(model.device).repeat(arms, 1)
    mask = torch.from_numpy(seen.astype(np.int64)).to(model.device).repeat(arms, 1)
    with headed(model, last(given)):
        found = model(
            input_ids=given,
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            use_cache=True,
        )
    return wide(found.logits), found.past_key_values


def pad_left(prompts: Sequence[Ids]) -> tuple[Ints, Flags]:
    """Return ids [b, T] and which of them are the prompts', padded on the left: all end at the same place."""
    longest = max(map(len, prompts))
    ids = np.zeros((len(prompts), longest), np.int64)
    seen = np.zeros((len(prompts), longest), bool)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = prompt
        seen[row, longest - len(prompt) :] = True
    return ids, seen


def last(given: Any) -> Any:
    """Return flags for the last position of each row: [b, T]."""
    flags = torch.zeros(given.shape, dtype=torch.bool, device=given.device)
    flags[:, -1] = True
    return flags
