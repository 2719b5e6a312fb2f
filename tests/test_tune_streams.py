from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bases import folder, tokenizer
from reference import streams as twin
from transformers import AutoModelForCausalLM

from curate.errors import RecipeError
from curate.tuning.contract import Encoded, Ints, Setup
from curate.tuning.streams import UNLEARNT, order, steps, stream

SETUP = Setup("any", length=64, rows=3, tokens=10**6, rate=1e-3)


def texts(count: int = 300, seed: int = 0, longest: int = 40, sources: int = 3) -> Encoded:
    """Return texts in which every token says whose it is; each tenth has none."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, longest, count)
    lengths[::10] = 0
    ids = np.repeat(np.arange(count), lengths).astype(np.int32)
    return Encoded(
        ids=ids,
        learnt=rng.random(len(ids)) < 0.6,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        nbytes=lengths.astype(np.int64),
        keys=rng.integers(0, 2**64, count, dtype=np.uint64),
        groups=rng.integers(0, sources, count),
    )


def chosen(share: float, seed: int = 1, count: int = 300) -> Ints:
    return np.flatnonzero(np.random.default_rng(seed).random(count) < share)


ALL = np.arange(300)


@pytest.mark.parametrize("share", [1, 0.7, 0.1])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"paired": False},
        {"mixture": "fixed"},
        {"budget": "passes"},
        {"budget": "passes", "mixture": "fixed", "tokens": 1500},
        {"tokens": 1500},
        {"length": 39, "rows": 1},
    ],
)
def test_a_stream_equals_its_slow_twin(change: dict[str, Any], share: float) -> None:
    setup = replace(SETUP, **change)
    train, members = texts(), chosen(share) if share < 1 else ALL
    for seed in (0, 7):
        found = stream(train, members, ALL, setup, seed, "only_pii")
        _, rows, count = twin.stream(train, members.tolist(), ALL.tolist(), setup, seed, "only_pii")
        assert len(found.ids) == count
        for name in ("ids", "labels", "positions"):
            told = getattr(found, name).reshape(-1, setup.length).tolist()
            assert told == [getattr(row, name) for row in rows]


def test_every_text_that_is_drawn_stands_there_whole() -> None:
    train = texts()
    found = stream(train, chosen(0.4), ALL, SETUP, 3)
    starts = np.flatnonzero(found.positions.ravel() == 0)
    ids = np.split(found.ids.ravel(), starts[1:])
    for piece in ids:
        whole = len(piece) == train.lengths[piece[0]] and (piece == piece[0]).all()
        assert whole or (piece == 0).all()  # padding; the first text has no tokens
    drawn = Counter(int(piece[0]) for piece in ids if piece.any())
    assert set(drawn) <= set(chosen(0.4).tolist())
    assert (
        max(drawn.values()) - min(drawn.values()) <= 1
    )  # passes are over before the next begins, but the last
    assert found.epochs == pytest.approx(found.tokens / train.lengths[chosen(0.4)].sum())


def test_taking_records_away_leaves_the_order_of_the_others() -> None:
    keys = texts().keys
    for epoch in (0, 1):
        whole = order(keys, "5", epoch, "").tolist()
        kept = chosen(0.6)
        part = kept[order(keys[kept], "5", epoch, "")].tolist()
        assert part == [place for place in whole if place in set(kept.tolist())]
    orders = {
        tuple(order(keys, *which)) for which in (("5", 0, ""), ("5", 1, ""), ("6", 0, ""), ("5", 0, "a"))
    }
    assert len(orders) == 4


def test_arms_meet_a_record_at_about_the_same_step_only_when_paired() -> None:
    train = texts(2000, sources=1)
    raw, fewer = np.arange(2000), chosen(0.95, count=2000)

    def met(members: Ints, arm: str, setup: Setup) -> dict[int, int]:
        found = stream(train, members, raw, setup, 0, arm)
        return {
            int(place): step for step in range(len(found.ids) - 1, -1, -1) for place in found.ids[step].flat
        }

    def apart(setup: Setup) -> float:
        one, other = met(raw, "raw", setup), met(fewer, "full", setup)
        return float(np.median([abs(one[place] - other[place]) for place in set(one) & set(other) - {0}]))

    count = steps(train, raw, SETUP)
    assert apart(SETUP) < 0.05 * count
    assert apart(replace(SETUP, paired=False)) > 0.15 * count


def test_all_arms_and_seeds_have_as_many_steps_and_nearly_as_many_tokens() -> None:
    train = texts(3000, longest=30)
    raw = np.arange(3000)
    found = [
        stream(train, members, raw, SETUP, seed)
        for members in (raw, chosen(0.5, count=3000), chosen(0.1, count=3000))
        for seed in (0, 1)
    ]
    assert {len(one.ids) for one in found} == {steps(train, raw, SETUP)}
    tokens = np.array([one.tokens for one in found])
    assert np.ptp(tokens) < 0.01 * tokens[0]
    assert found[0].epochs == pytest.approx(1, abs=0.02)
    assert tokens[0] > 0.95 * found[0].ids.size  # the rows are full


def test_one_pass_holds_each_text_once() -> None:
    train, members = texts(), chosen(0.5)
    found = stream(train, members, ALL, replace(SETUP, budget="passes"), 2)
    assert found.epochs == 1
    assert found.tokens == train.lengths[members].sum()


def test_a_fixed_mixture_keeps_each_sources_share_of_tokens() -> None:
    train = texts(3000)
    raw = np.arange(3000)
    members = raw[
        (train.groups != 1) | (np.random.default_rng(0).random(3000) < 0.2)
    ]  # of one source a fifth

    def share(setup: Setup) -> float:
        found = stream(train, members, raw, setup, 0)
        said = found.ids[(found.positions > 0) & (found.ids > 0)]
        return float((train.groups[said] == 1).mean())

    wanted = train.lengths[train.groups == 1].sum() / train.lengths.sum()
    assert share(replace(SETUP, mixture="fixed")) == pytest.approx(wanted, abs=0.02)
    assert share(SETUP) < 0.5 * wanted
    gone = stream(train, raw[train.groups != 1], raw, replace(SETUP, mixture="fixed"), 0)
    assert gone.tokens > 0.9 * gone.ids.size  # its share falls to the others


def test_an_arm_without_a_text_to_train_on_is_refused() -> None:
    with pytest.raises(RecipeError, match="an arm has 30 texts, none of which can be trained on"):
        stream(texts(), ALL[::10], ALL, SETUP, 0)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_texts_in_one_row_do_not_see_one_another(family: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    path = folder(tmp_path / family, family, tokenizer(None))
    model = AutoModelForCausalLM.from_pretrained(path).double().eval()
    train = texts(40)
    train = replace(train, learnt=np.ones_like(train.learnt))
    found = stream(train, np.arange(40), np.arange(40), SETUP, 0)

    def losses(ids: Any, labels: Any, positions: Any) -> Any:
        logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits[:, :-1]
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none")

    whole = [
        torch.from_numpy(one.reshape(-1, 64)).long() for one in (found.ids, found.labels, found.positions)
    ]
    with torch.no_grad():
        packed = losses(*whole)
        assert (whole[1][:, 1:] != UNLEARNT).sum() == (packed != 0).sum()
        for row in range(len(whole[0])):
            starts = [*np.flatnonzero(whole[2][row] == 0).tolist(), 64]
            for start, end in pairwise(starts):
                if end - start > 1:
                    ids, labels, positions = (part[row : row + 1, start:end] for part in whole)
                    alone = losses(ids, labels, positions)
                    assert torch.allclose(alone[0], packed[row, start : end - 1], atol=1e-10)
