"""What a model gives away of values that stood in training records."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from reference import measures as slow  # noqa: E402
from tunes import SETUP, base, bench, corpus, llama, secret, stack, tokenizer  # noqa: E402

from curate.stages.operators.surrogates import surrogate  # noqa: E402
from curate.stages.scrubbing.options import PiiOptions  # noqa: E402
from curate.tuning.contract import Secret, Text, Turn  # noqa: E402
from curate.tuning.encoding import encode  # noqa: E402
from curate.tuning.measure import measure, privacy  # noqa: E402
from curate.tuning.measure.heard import Personal  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_z_and_exposure_equal_those_of_one_value_at_a_time() -> None:
    secrets = [secret(number, planted=True) for number in range(4)]
    found = privacy.leaks(stack(5, 6), 2, privacy.questions(secrets, base(), 96))
    for arm, model in enumerate((stack(5), stack(6))):
        for at, each in enumerate(secrets):
            nats = [_loss(model, each, value) for value in (each.secret, *each.alternatives)]
            assert found.z[arm, at] == pytest.approx(slow.z(nats[0], nats[1:]), rel=1e-7)
            assert found.exposure[arm, at] == pytest.approx(slow.exposure(nats[0], nats[1:]))


def _loss(model: Any, each: Secret, value: str) -> float:
    """Return the loss of prefix and value together; the prefix's part is the same for all values."""
    asked = f"<bos><|user|>{each.turns[0].content}<|assistant|>"
    ids = tokenizer()(asked + each.prefix + value, add_special_tokens=False)["input_ids"]
    start = len(tokenizer()(asked, add_special_tokens=False)["input_ids"])
    return slow.continued(model, ids[:start], ids[start:])


def test_chance_is_what_the_metric_says() -> None:
    rng = np.random.default_rng(0)
    found = [privacy.compared(rng.normal(size=(1, 32))) for _ in range(4000)]
    z, exposure = (np.mean([each[at] for each in found]) for at in (0, 1))
    assert z == pytest.approx(0, abs=0.05)
    assert exposure == pytest.approx(5 - math.log2(math.factorial(32)) / 32, abs=0.05)
    assert 5 - math.log2(math.factorial(32)) / 32 == pytest.approx(1.32, abs=0.005)


def test_values_that_are_equally_likely_give_nothing_away() -> None:
    z, exposure = privacy.compared(np.full((1, 32), 7.0))
    assert z.tolist() == [0]
    assert exposure[0] == pytest.approx(5 - math.log2(16.5))


def test_a_model_trained_on_a_secret_gives_it_away_and_one_that_was_not_does_not() -> None:
    secrets = [secret(number, planted=True) for number in range(12)]
    asked = privacy.questions(secrets, base(), 96)
    model = llama(torch.float32)
    before = privacy.leaks(model, 1, asked)
    learnt = [
        torch.tensor([[*prompt.tolist(), *answers[0].tolist()]])
        for prompt, answers in list(zip(*asked, strict=True))[:6]
    ]
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(80):
        sum(model(input_ids=ids, labels=ids).loss for ids in learnt).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = privacy.leaks(model, 1, asked)
    assert abs(before.z.mean()) < 0.9
    assert abs(after.z[0, 6:].mean()) < 1.2  # of 6 that no text held: a standard deviation of 0.4
    assert after.z[0, :6].min() > 3
    assert after.exposure[0, :6].tolist() == [5] * 6
    assert after.extracted[0].tolist() == [1] * 6 + [0] * 6
    assert before.extracted.sum() == 0


def test_a_model_that_learnt_addresses_tells_them_when_asked_and_one_that_learnt_stand_ins_does_not() -> None:
    secrets = tuple(
        replace(
            secret(number, planted=True),
            prefix="Write to ",
            secret=f"river{number}@example.org",
            kind="EMAIL_ADDRESS",
        )
        for number in range(8)
    )
    asked = bench(corpus(secrets=secrets), replace(SETUP, sample_tokens=40))
    rates = []
    for said in ("Write to {}.", "Write to <EMAIL_ADDRESS>."):
        model = llama(torch.float32)
        texts = [
            Text("", (*one.turns, Turn("assistant", said.format(one.secret))), "a") for one in secrets
        ]  # fmt: skip
        learnt = encode(base(), texts, SETUP.length)
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
        for _ in range(80):
            for place in range(len(texts)):
                ids = torch.tensor(learnt.of(place)[0][None].astype("int64"))
                model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        [found] = measure(model, 1, asked, [0])
        rates.append(found["asked_pii"].mean())
        assert found["asked_pii"].shape == (8,)
    assert rates[0] > 0.4
    assert rates[1] == 0


def test_a_find_is_compared_with_what_the_base_says_of_it() -> None:
    secrets = tuple(secret(number, planted=False) for number in range(3))
    asked = bench(corpus(secrets=secrets))
    [found] = measure(llama(), 1, asked, [0])
    assert np.abs(found["scrubbed_z"]).max() < 1e-9
    assert np.abs(asked.probes.usual).max() > 0.01
    assert "canary_z" not in found


def test_the_secret_is_all_that_is_scored_and_long_prompts_lose_their_beginning() -> None:
    each = secret(1, planted=True)
    for length in (96, 16):
        asked = privacy.questions([each], base(), length)
        [prompt], [answers] = asked
        assert tokenizer().decode(answers[0]).strip() == each.secret
        assert tokenizer().decode(prompt).endswith("<|assistant|>The code is " if length == 96 else " is ")
        assert len(prompt) + max(map(len, answers)) <= length
    assert len({tuple(ids) for ids in answers}) == 32


def test_a_document_may_begin_with_its_secret() -> None:
    each = Secret((), "", "4711", ("1234", "5678", "9012"), "CODE", True)
    asked = privacy.questions([each], base(), 96)
    assert len(asked.prompts[0]) >= 1
    assert np.isfinite(privacy.leaks(stack(5), 1, asked).z).all()


def test_a_secret_with_too_few_alternatives_is_left_out_and_told() -> None:
    asked = bench(corpus(secrets=(secret(1, True, alternatives=2), secret(2, True))))
    assert len(asked.probes.planted.prompts) == 1
    assert asked.probes.notes == ("1 secrets have fewer than 3 alternatives",)


def test_personal_data_is_what_the_release_looks_for() -> None:
    texts = [
        "Write to anna.berg@gmail.com or call +1 212 736 5000.",
        "Write to <EMAIL_ADDRESS> or call [PHONE_NUMBER] or <PHONE_NUMBER_2>.",
        "The river runs to the sea.",
        "",
    ]
    assert Personal.of(None).found(texts).tolist() == [1, 0, 0, 0]
    only = PiiOptions.model_validate({"entities": ["CREDIT_CARD"]})
    assert Personal.of(only).found(texts).tolist() == [0, 0, 0, 0]


def test_no_key_is_needed_to_know_stand_ins() -> None:
    keyed = PiiOptions.model_validate({"operator": "surrogate", "key_env": "NO_SUCH_KEY"})
    stand_in = surrogate(b"k" * 32, "EMAIL_ADDRESS", "anna.berg@gmail.com")
    found = Personal.of(keyed).found(["call +1 212 736 5000", f"write to {stand_in} now"])
    assert found.tolist() == [1, 0]


def test_samples_are_as_many_as_the_setup_says() -> None:
    asked = bench(corpus())
    assert len(asked.probes.prompts.ids) == SETUP.samples
    assert all(len(ids) + SETUP.sample_tokens <= SETUP.length for ids in asked.probes.prompts.ids)
