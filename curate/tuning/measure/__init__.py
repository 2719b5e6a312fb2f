"""What a trained model is asked, and the numbers that its answers give.

Each metric gives one value per unit (item, question, secret, sample); a run's value is sum(values) / sum(weights).
Which metrics there are follows from the probes alone, so every run has the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.tuning.contract import Floats
from curate.tuning.measure.metrics import METRICS

if TYPE_CHECKING:
    from curate.tuning.bench import Bench
    from curate.tuning.measure.probes import Probes

__all__ = ["METRICS", "latency", "measure", "weights"]

_BITS = 1 / math.log(2)  # per nat


def measure(model: Any, arms: int, bench: Bench, seeds: Sequence[int]) -> list[dict[str, Floats]]:
    """Return every metric's values, one dictionary per arm of the stack.

    model: a causal LM of transformers whose linears hold ``arms`` adapters: a batch goes in arm-major as
    [arms * b, T]; with one arm any plain or PEFT model. seeds: of each arm's run; they choose the random numbers of
    free answers. The same call gives the same bits on a CPU, and within rounding whatever else is in the stack.
    """
    if len(seeds) != arms:
        raise ValueError(f"found {len(seeds)} seeds for {arms} arms; allowed: one for each")
    probes = bench.probes
    found = {**_losses(model, arms, bench), **_privacy(model, arms, probes)}
    found |= _answers(model, arms, probes, seeds, bench.setup.sample_tokens)
    if probes.instructions:
        found["follows"] = _follows(model, arms, probes)
    if probes.tasks:
        from curate.tuning import harness

        found |= harness.evaluate(model, arms, probes.tokenizer, probes.length, probes.tasks, probes.stops)
    return [{name: values[arm] for name, values in found.items()} for arm in range(arms)]


def weights(bench: Bench) -> dict[str, Floats]:
    """Return every metric's denominators, the same for all runs: bytes of responses, instructions, or ones."""
    probes, held = bench.probes, bench.held
    usable = (held.lengths > 0).astype(np.float64)
    found: dict[str, Floats] = {"bpb": usable * held.nbytes, "exact": usable}
    if len(probes.train):
        learnt = np.where(bench.train.lengths > 0, bench.train.nbytes, 0)[probes.train]
        found["train_bpb"] = learnt.astype(np.float64)
    if probes.choices.questions:
        found |= dict.fromkeys(("gold", "choice"), np.ones(len(probes.choices.right)))
    if probes.planted:
        found |= dict.fromkeys(("canary_z", "canary_exposure"), np.ones(len(probes.planted.prompts)))
    if probes.scrubbed:
        found |= dict.fromkeys(("scrubbed_z", "extracted"), np.ones(len(probes.scrubbed.prompts)))
    if samples := len(probes.prompts.ids):
        found |= dict.fromkeys(("sampled_pii", "sampled_foreign"), np.ones(samples))
        if probes.duplicated:
            found["copied"] = np.ones(samples)
    if confiding := len(probes.confiding.ids):
        found["asked_pii"] = np.ones(confiding)
    if probes.instructions:
        found["follows"] = np.array([len(pairs) for pairs in probes.instructions], np.float64)
    return found | {name: np.ones(count) for name, count in probes.asked.items()}


def _losses(model: Any, arms: int, bench: Bench) -> dict[str, Floats]:
    """Return bpb, exact, train_bpb, gold and choice: [arms, n] each."""
    from curate.tuning.measure.choices import added
    from curate.tuning.measure.comparing import compare
    from curate.tuning.measure.losses import score

    probes = bench.probes
    held = score(model, arms, [bench.held.of(place) for place in range(len(bench.held))])
    usable = bench.held.lengths > 0
    found: dict[str, Floats] = {
        "bpb": held.nats * _BITS,
        "exact": ((held.wrong == 0) & usable).astype(np.float64),
    }
    if len(probes.train):
        known = score(model, arms, [bench.train.of(place) for place in probes.train.tolist()])
        found["train_bpb"] = known.nats * _BITS
    if probes.choices.questions:
        asked = probes.choices
        with_prompt, without = (
            [scores.nats for scores in compare(model, arms, questions)]
            for questions in (asked.questions, asked.alone)
        )
        nats = added(asked, with_prompt, without)
        each = list(zip(nats, asked.right.tolist(), asked.nbytes, strict=True))
        found["gold"] = np.stack([gold(own, right) for own, right, _ in each], axis=1)
        chosen = [(own / nbytes).argmin(axis=1) == right for own, right, nbytes in each]
        found["choice"] = np.stack(chosen, axis=1).astype(np.float64)
    return found


def gold(nats: Floats, right: int) -> Floats:
    """Return the share of the right answer in the likelihoods exp(-nats): [arms, choices] → [arms]."""
    likely = np.exp(nats.min(axis=1, keepdims=True) - nats)
    share: Floats = likely[:, right] / likely.sum(axis=1)
    return share


def _privacy(model: Any, arms: int, probes: Probes) -> dict[str, Floats]:
    from curate.tuning.measure.privacy import leaks

    found: dict[str, Floats] = {}
    if probes.planted:
        planted = leaks(model, arms, probes.planted)
        found |= {"canary_z": planted.z, "canary_exposure": planted.exposure}
    if probes.scrubbed:
        scrubbed = leaks(model, arms, probes.scrubbed)
        found |= {"scrubbed_z": scrubbed.z - probes.usual, "extracted": scrubbed.extracted}
    return found


def _answers(model: Any, arms: int, probes: Probes, seeds: Sequence[int], tokens: int) -> dict[str, Floats]:
    """Return what is found in free answers at temperature 1: sampled_pii, sampled_foreign, copied, asked_pii."""
    from curate.tuning.measure import heard
    from curate.tuning.measure.answers import answer, uniforms

    asked = probes.prompts
    if not asked.ids:
        return {}
    drawn = np.stack([uniforms(seed, asked.keys, tokens) for seed in seeds])
    said = answer(model, arms, asked.ids, tokens, probes.stops, drawn)
    texts = [text(probes, ids) for own in said for ids in own]
    shape = (arms, len(asked.ids))
    found = {
        "sampled_pii": probes.personal.found(texts).reshape(shape),
        "sampled_foreign": heard.foreign(texts, probes.languages).reshape(shape),
    }
    if probes.duplicated:
        repeated = heard.Repeated(probes.duplicated)
        whole = [len(ids) < tokens for own in said for ids in own]
        copies = [
            repeated.copied(each, reference, ended)
            for each, reference, ended in zip(texts, asked.references * arms, whole, strict=True)
        ]
        found["copied"] = np.array(copies, np.float64).reshape(shape)
    if confiding := probes.confiding.ids:
        drawn = np.stack([uniforms(seed, probes.confiding.keys, tokens) for seed in seeds])
        said = answer(model, arms, confiding, tokens, probes.stops, drawn)
        told = probes.personal.found([text(probes, ids) for own in said for ids in own])
        found["asked_pii"] = told.reshape(arms, len(confiding))
    return found


def _follows(model: Any, arms: int, probes: Probes) -> Floats:
    """Return how many of each item's instructions its greedy answer keeps to: [arms, n]."""
    from curate.tuning import following
    from curate.tuning.measure.answers import answer
    from curate.tuning.measure.probes import spoken

    said = answer(model, arms, probes.checked.ids, spoken(probes.length), probes.stops)
    return np.array(
        [
            [
                sum(following.kept(name, text(probes, ids), given) for name, given in pairs)
                for ids, pairs in zip(own, probes.instructions, strict=True)
            ]
            for own in said
        ],
        np.float64,
    )


def text(probes: Probes, ids: Sequence[int]) -> str:
    """Return what a model said, as text."""
    said: str = probes.tokenizer.decode(list(ids), skip_special_tokens=True)
    return said


def latency(model: Any, bench: Bench, tokens: int = 32, times: int = 5) -> float | None:
    """Return the milliseconds that a token of a greedy answer takes, one prompt at a time; None without prompts.

    Wall time, the median over ``times`` prompts after one to warm up. The shape of all adapters is the same, so it
    is measured once and not per arm. No stop ends the answers, so that all are equally long.
    """
    import time

    from curate.tuning.measure.answers import answer

    prompts = bench.probes.prompts.ids[: times + 1]
    taken = []
    for prompt in prompts:
        start = time.perf_counter()
        answer(model, 1, [prompt], tokens, frozenset())
        taken.append((time.perf_counter() - start) * 1e3 / tokens)
    return float(np.median(taken[1:] or taken)) if taken else None
