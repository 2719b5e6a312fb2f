"""Losses of texts under a model that may hold several adapters: teacher-forced, padded right, sorted by length.

All functions take a causal language model of transformers whose linears hold ``arms`` adapters: a batch [b, T] goes
in arm-major as [arms * b, T], row block k through adapter k. With one arm any model will do, PEFT's too. Values come
back as float64 [arms, n]; only tokens that are asked about reach the head, whatever else the model does with logits
(scaling, soft caps).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from curate.tuning.contract import Floats, Ints
from curate.tuning.measure.asked import Flags, Ids

TOKENS = {"cpu": 2_048, "cuda": 65_536}
"""Most tokens of a batch, padding and all arms counted. The tiny base scores 43,000 tokens of rows of 256 per CPU
second with 2,048, 35,000 with 4,096 and 32,000 with 8,192; a GPU wants many at a time."""
LOGITS = {"cpu": 2**24, "cuda": 2**29}  # most logits of a batch: 64 MB and 2 GB in float32


class Scores(NamedTuple):
    """What a model makes of texts."""

    nats: Floats  # [arms, n] loss summed over the learnt tokens
    wrong: Floats  # [arms, n] learnt tokens that are not the likeliest


def score(model: Any, arms: int, texts: Sequence[tuple[Ids, Flags]]) -> Scores:
    """Score texts, each given as its ids and which of them count; the first token of a text is never counted."""
    nats, wrong = (np.zeros((arms, len(texts))) for _ in range(2))
    counts = np.array([int(flags[1:].sum()) for _, flags in texts], np.int64)
    places = np.flatnonzero(counts)
    lengths = np.array([len(ids) for ids, _ in texts], np.int64)
    with quiet(model):
        for batch in batches(model, arms, places, lengths, counts):
            ids, flags = pad([texts[place] for place in batch])
            losses, misses = _losses(model, arms, ids, flags)
            rows = np.repeat(np.arange(len(batch)), counts[batch])
            for arm in range(arms):
                nats[arm, batch] = np.bincount(rows, losses[arm], len(batch))
                wrong[arm, batch] = np.bincount(rows, misses[arm], len(batch))
    return Scores(nats, wrong)


def batches(model: Any, arms: int, places: Ints, lengths: Ints, counts: Ints) -> Iterator[Ints]:
    """Cut texts into batches, shortest first, that keep within TOKENS and LOGITS."""
    tokens, heads = room(model)
    order = places[np.argsort(lengths[places], kind="stable")]
    first = counted = 0
    for at, place in enumerate(order.tolist()):
        full = arms * (at + 1 - first) * int(lengths[place]) > tokens
        if at > first and (full or arms * (counted + int(counts[place])) > heads):
            yield order[first:at]
            first, counted = at, 0
        counted += int(counts[place])
    if len(order):
        yield order[first:]


def room(model: Any) -> tuple[int, int]:
    """Return the most tokens of a batch, and the most of them that may reach the head."""
    kind = "cuda" if model.device.type == "cuda" else "cpu"
    return TOKENS[kind], max(1, LOGITS[kind] // model.config.get_text_config().vocab_size)


def pad(texts: Sequence[tuple[Ids, Flags]]) -> tuple[Ints, Flags]:
    """Return ids and flags [b, T], padded on the right: causal attention never looks there, so no mask is needed."""
    longest = max(len(ids) for ids, _ in texts)
    ids = np.zeros((len(texts), longest), np.int64)
    flags = np.zeros((len(texts), longest), bool)
    for row, (own, counted) in enumerate(texts):
        ids[row, : len(own)] = own
        flags[row, : len(own)] = counted
    return ids, flags


def _losses(model: Any, arms: int, ids: Ints, flags: Flags) -> tuple[Floats, Floats]:
    """Return loss and miss of every counted token, row by row: [b, T] → [arms, tokens] twice."""
    inputs = torch.from_numpy(ids).to(model.device)
    before = torch.from_numpy(np.pad(flags[:, 1:], ((0, 0), (0, 1)))).to(model.device)
    targets = torch.from_numpy(ids[:, 1:][flags[:, 1:]]).to(model.device).repeat(arms)
    with headed(model, before.repeat(arms, 1)):
        logits = wide(model(input_ids=inputs.repeat(arms, 1), use_cache=False).logits)
    losses, misses = judged(logits, targets)
    return losses.reshape(arms, -1), misses.reshape(arms, -1)


def judged(logits: Any, targets: Any) -> tuple[Floats, Floats]:
    """Return the loss of each target in nats, and 1 where it is not the likeliest: [n, vocabulary], [n] → [n] twice."""
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    misses = logits.argmax(-1) != targets
    return losses.double().cpu().numpy(), misses.double().cpu().numpy()


def wide(logits: Any) -> Any:
    """Return logits in float32 at least."""
    return logits if logits.dtype == torch.float64 else logits.float()


@contextmanager
def headed(model: Any, flags: Any) -> Iterator[None]:
    """Let only the flagged positions [B, T] reach the head, so that logits are [flagged, vocabulary]."""
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _, given: (given[0][flags],))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def quiet(model: Any) -> Iterator[None]:
    """Ask a model without gradients or dropout, and leave it as it was."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
