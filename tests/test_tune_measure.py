"""What a model is asked after training: against slow twins, in stacks and alone."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from reference import measures as slow  # noqa: E402
from tunes import SETUP, base, bench, corpus, llama, secret, stack, talk, tokenizer  # noqa: E402

from curate.tuning.contract import DOCUMENT, Arm, Item, Text, Turn  # noqa: E402
from curate.tuning.measure import METRICS, choices, gold, heard, latency, losses, measure, weights  # noqa: E402
from curate.tuning.measure.answers import answer, uniforms  # noqa: E402
from curate.tuning.measure.probes import build, common  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def asked() -> Any:
    secrets = tuple(secret(number, planted=number < 3) for number in range(5))
    return bench(corpus(secrets=secrets, duplicated=("an answer of more than twenty characters",)))


def test_losses_equal_those_of_one_text_at_a_time(asked: Any) -> None:
    model = stack(5)
    [found] = measure(model, 1, asked, [0])
    for place in range(len(asked.held)):
        ids, learnt = asked.held.of(place)
        expected = slow.nats(model, ids.tolist(), learnt.tolist()) / math.log(2)
        assert found["bpb"][place] == pytest.approx(expected, rel=1e-9)
        assert found["exact"][place] == slow.is_exact(model, ids.tolist(), learnt.tolist())
    ids, learnt = asked.train.of(int(asked.probes.train[4]))
    expected = slow.nats(model, ids.tolist(), learnt.tolist()) / math.log(2)
    assert found["train_bpb"][4] == pytest.approx(expected, rel=1e-9)


def test_a_base_that_carries_a_state_along_is_asked_whole_texts() -> None:
    from transformers import AutoModelForCausalLM, Lfm2Config

    from curate.tuning.measure.asked import Questions
    from curate.tuning.measure.comparing import compare

    torch.manual_seed(0)
    shape = Lfm2Config(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, layer_types=["conv", "full_attention"],
    )  # fmt: skip
    held = AutoModelForCausalLM.from_config(shape).double().eval()
    rng = np.random.default_rng(0)
    prompts = tuple(rng.integers(5, 400, size).astype(np.int32) for size in (3, 9))
    answers = tuple(tuple(rng.integers(5, 400, size).astype(np.int32) for size in (1, 4)) for _ in prompts)
    for prompt, each, found in zip(
        prompts, answers, compare(held, 1, Questions(prompts, answers)), strict=True
    ):
        for at, said in enumerate(each):
            ids = torch.from_numpy(np.concatenate([prompt, said])).long()[None]
            labels = ids.clone()
            labels[:, : len(prompt)] = -100
            alone = held(input_ids=ids, labels=labels).loss.item() * len(said)
            assert np.isclose(found.nats[0, at], alone, rtol=1e-5)  # summed in float32


def test_an_exact_match_is_seen() -> None:
    model = stack(1)
    prompt = np.array([1, 3, 40, 41, 4], np.int32)
    [[said]] = answer(model, 1, [prompt], 5, frozenset())
    ids = np.array([*prompt, *said], np.int32)
    learnt = np.arange(len(ids)) >= len(prompt)
    other = ids.copy()
    other[-1] = (other[-1] + 1) % 300
    found = losses.score(model, 1, [(ids, learnt), (other, learnt)])
    assert found.wrong.tolist() == [[0, 1]]


def test_choices_equal_those_of_one_answer_at_a_time(asked: Any) -> None:
    model = stack(5)
    [found] = measure(model, 1, asked, [0])
    known = asked.probes.choices
    for at, (prompt, answers) in enumerate(zip(*known.questions, strict=True)):
        nats = [
            slow.continued(model, prompt.tolist(), each.tolist())
            - slow.continued(model, [1, 3, 4], each.tolist())
            for each in answers
        ]
        per_byte = [loss / size for loss, size in zip(nats, known.nbytes[at], strict=True)]
        assert found["gold"][at] == pytest.approx(slow.share_of_right(nats, known.right[at]), rel=1e-9)
        assert found["choice"][at] == (per_byte.index(min(per_byte)) == known.right[at])


def test_arms_of_a_stack_are_measured_as_if_alone(asked: Any) -> None:
    together = measure(stack(5, 6, 7), 3, asked, [0, 1, 0])
    for arm, (number, seed) in enumerate([(5, 0), (6, 1), (7, 0)]):
        [alone] = measure(stack(number), 1, asked, [seed])
        assert together[arm].keys() == alone.keys()
        for name, values in alone.items():
            np.testing.assert_allclose(together[arm][name], values, rtol=1e-8, atol=1e-8, err_msg=name)
    assert not np.allclose(together[0]["bpb"], together[1]["bpb"])


def test_a_rerun_gives_the_same_bits_and_batches_of_one_the_same_numbers(
    asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stack(5, 6, dtype=torch.float32)
    first, again = (measure(model, 2, asked, [0, 1]) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    monkeypatch.setitem(losses.TOKENS, "cpu", 1)
    monkeypatch.setattr("curate.tuning.measure.answers.PROMPTS", 1)
    alone = measure(model, 2, asked, [0, 1])
    for name in first[1]:
        np.testing.assert_allclose(alone[1][name], first[1][name], rtol=1e-4, atol=1e-3, err_msg=name)


def test_every_metric_is_described_and_weighed(asked: Any) -> None:
    [found] = measure(stack(5), 1, asked, [0])
    weighed = weights(asked)
    assert {name: len(values) for name, values in found.items()} == {k: len(v) for k, v in weighed.items()}
    assert set(found) == {metric.name for metric in METRICS} - {"follows"}
    assert weighed["bpb"].sum() == asked.held.nbytes.sum()
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert all(metric.about.endswith(".") for metric in METRICS)


def test_a_text_without_tokens_weighs_nothing() -> None:
    given = corpus()
    long = Item(talk("long", "window", "river " * 500), frozenset({"raw"}))
    asked = bench(corpus(items=(*given.items, long)))
    [found] = measure(stack(5), 1, asked, [0])
    assert (found["bpb"][-1], found["exact"][-1]) == (0, 0)
    assert (weights(asked)["bpb"][-1], weights(asked)["exact"][-1]) == (0, 0)


def test_a_model_is_left_as_it_was(asked: Any) -> None:
    model = stack(5).train()
    state = torch.get_rng_state()
    measure(model, 1, asked, [0])
    assert model.training
    assert not model.get_output_embeddings()._forward_pre_hooks
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_answers_equal_those_of_one_token_at_a_time(asked: Any) -> None:
    prompts, tokens = asked.probes.prompts, 12
    drawn = uniforms(3, prompts.keys, tokens)
    stops = frozenset({2, *range(50, 60)})
    for numbers in (None, drawn):
        given = None if numbers is None else np.stack([numbers, numbers])
        found = answer(stack(5, 6), 2, prompts.ids, tokens, stops, given)
        for arm, model in enumerate((stack(5), stack(6))):
            for at, prompt in enumerate(prompts.ids):
                own = None if numbers is None else numbers[at].tolist()
                expected = slow.spoken(model, prompt.tolist(), tokens, list(stops), own)
                assert found[arm][at] == expected


def test_random_numbers_hang_on_seed_prompt_and_position_alone() -> None:
    keys = np.array([11, 2**64 - 1, 5], np.uint64)
    drawn = uniforms(4, keys, 2000)
    assert np.array_equal(uniforms(4, keys[1:2], 10), drawn[1:2, :10])
    assert abs(drawn.mean() - 0.5) < 0.02
    assert 0 <= drawn.min() < drawn.max() < 1
    assert not np.allclose(drawn, uniforms(5, keys, 2000))
    assert len(np.unique(drawn)) == drawn.size


def test_answers_are_drawn_as_often_as_they_are_likely() -> None:
    model, prompt = stack(5), np.array([1, 3, 40, 4], np.int32)
    drawn = uniforms(0, np.arange(4000, dtype=np.uint64), 1)[None]
    said = answer(model, 1, [prompt] * 4000, 1, frozenset(), drawn)[0]
    counts = np.bincount([ids[0] for ids in said], minlength=len(tokenizer())) / 4000
    expected = np.exp(slow.next_chances(model, prompt.tolist())[-1])
    assert np.abs(counts - expected).sum() / 2 < 0.12  # total variation; 0.09 by chance with 400 tokens
    assert counts.max() == pytest.approx(expected.max(), abs=0.03)


def test_other_items_answers_are_of_the_same_source_and_category_and_length() -> None:
    items = [
        Item(
            talk(f"{source}{n}", "ask", "x" * n, source=source, category="qa" if n % 2 else "sum"),
            frozenset({"raw"}),
        )
        for source in "ab"
        for n in range(1, 13)
    ]
    found = choices.build(items, base(), 96)
    assert len(found.right) == 24
    at = found.items.tolist().index(6)  # a7: category qa, so the nearest are 5, 9 and 3 or 11
    said = [tokenizer().decode(ids, skip_special_tokens=True) for ids in found.questions.answers[at]]
    assert said[0] == "x" * 7
    assert {len(said[1]), len(said[2])} == {5, 9}
    assert len(said[3]) in (3, 11)


def test_an_item_is_not_asked_where_there_are_too_few_others() -> None:
    items = [Item(talk(str(n), "ask", "same"), frozenset({"raw"})) for n in range(9)]
    assert not choices.build(items, base(), 96).questions
    assert len(choices.build(items, base(), 96).right) == 0


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"choices": ["yes", "no"], "gold": 1}, 1),
        ({"choices": ["yes", "no"], "answer": "B"}, 1),
        ({"choices": ["yes", "no"], "answer": "no"}, 1),
        ({"choices": ["1", "0"], "answer": "0"}, 1),
        ({"choices": ["yes", "no"], "label": "1"}, 1),
        ({"choices": {"text": ["yes", "no"], "label": ["1", "2"]}, "answerKey": "2"}, 1),
        ({"options": {"A": "yes", "B": "no"}, "answer": "B"}, 1),
        ({"choices": ["yes", "no"], "gold": [1]}, 1),
        ({"choices": ["yes", "no"], "gold": 2}, None),
        ({"choices": ["yes", "no"], "answer": "maybe"}, None),
        ({"choices": ["yes", "no"]}, None),
        ({"choices": ["yes"], "gold": 0}, None),
        ({"choices": [1, 2], "gold": 0}, None),
        ({"choices": ["yes", "no"], "gold": True}, None),
        ({}, None),
    ],
)
def test_choices_of_an_eval_file_are_read(extra: dict[str, Any], expected: int | None) -> None:
    found = choices.options(extra)
    assert (found and found[1]) == expected


def test_an_eval_files_choices_are_asked_whole() -> None:
    turns = (Turn("user", "river or stone?"),)
    extra = {"choices": ["river " * 60, "stone"], "answer": "stone"}
    item = Item(Text("e", turns, "eval"), frozenset({"eval"}), extra)
    found = choices.build([item], base(), 256)
    assert found.right.tolist() == [1]
    assert len(found.questions.answers[0][0]) > choices.LONGEST
    assert found.nbytes[0].tolist() == [361, 6]


def test_choices_of_an_eval_file_are_compared_as_they_are_and_own_responses_by_what_the_prompt_adds() -> None:
    extra = {"choices": ["river", "stone window"], "gold": 1}
    item = Item(Text("e", (Turn("user", "Which?"),), "eval"), frozenset({"eval"}), extra)
    asked = bench(corpus(items=(*corpus().items, item)))
    model = stack(5)
    [found] = measure(model, 1, asked, [0])
    known = asked.probes.choices
    assert known.items[0] == len(corpus().items)
    assert known.bare[:2].tolist() == [-1, -1]
    assert sorted(set(known.bare[2:].tolist())) == list(range(sum(map(len, known.alone.answers))))
    prompt = known.questions.prompts[0].tolist()
    nats = [slow.continued(model, prompt, each.tolist()) for each in known.questions.answers[0]]
    assert found["gold"][0] == pytest.approx(slow.share_of_right(nats, 1), rel=1e-9)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks
def test_a_model_of_peft_is_measured(asked: Any) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(3)
    shape = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    model = peft.get_peft_model(llama(), shape)
    [found] = measure(model, 1, asked, [0])
    ids, learnt = asked.held.of(3)
    expected = slow.nats(model, ids.tolist(), learnt.tolist()) / math.log(2)
    assert found["bpb"][3] == pytest.approx(expected, rel=1e-9)
    assert not np.isclose(found["bpb"][3], measure(llama(), 1, asked, [0])[0]["bpb"][3])


def test_adapters_that_are_trained_together_are_measured_apart(asked: Any) -> None:
    from curate.tuning import lora

    model = llama()
    with lora.attach(model, 2, SETUP, [0, 1]) as made:
        for layer in made.layers.values():
            torch.nn.init.normal_(layer.B.data, 0, 0.1)
        first, second = measure(model, 2, asked, [0, 1])
    assert not np.allclose(first["bpb"], second["bpb"])


def test_the_likelihood_of_a_right_answer_never_overflows() -> None:
    assert gold(np.array([[1e4, 2e4], [5.0, 5.0]]), 0).tolist() == [1, 0.5]


def test_the_training_loss_is_of_texts_that_all_arms_have() -> None:
    given = corpus()
    assert common(given).tolist() == list(range(2, 20))
    half = {seed: np.arange(10 * seed, 10 * seed + 10) for seed in (0, 1)}
    arms = (*given.arms, Arm("random_drop", "random", None, (), half))
    assert common(corpus(arms=arms)).tolist() == list(
        range(2, 20)
    )  # random_drop has nothing in common with itself
    assert common(corpus(arms=(arms[2],))).tolist() == []


def test_documents_are_continued() -> None:
    items = [
        Item(Text(f"d{n}", (Turn(DOCUMENT, f"river {n} stone window garden " * 5),), "a"), frozenset({"raw"}))
        for n in range(6)
    ]
    asked = bench(corpus(items=tuple(items)))
    [found] = measure(stack(5), 1, asked, [0])
    assert "choice" not in found
    assert len(found["sampled_pii"]) == len(asked.probes.prompts.ids) == 6


def test_probes_travel_between_processes(asked: Any) -> None:
    again = pickle.loads(pickle.dumps(asked))
    [one], [other] = (measure(stack(5), 1, each, [0]) for each in (asked, again))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_an_answer_ends_where_the_template_ends_a_turn() -> None:
    assert build(corpus(), base(), SETUP).stops == {2}


def test_copies_are_repeated_responses_that_are_not_the_prompts_own() -> None:
    known = "It is a long answer that many records have."
    repeated = heard.Repeated([known, "Yes."])
    assert repeated.copied(f"Well. {known.replace(' ', '  ')} Bye", "other", True)
    assert not repeated.copied(known, known, True)
    assert not repeated.copied("Yes.", "No.", True)
    assert repeated.copied(known[:40], "other", False)
    assert not repeated.copied(known[:40], "other", True)
    assert not repeated.copied(known[:39], "other", False)


def test_foreign_answers_are_those_surely_in_another_language() -> None:
    texts = [
        "The harbour was quiet in the morning and the boats stayed in until the wind had turned.",
        "Der Hafen war am Morgen ruhig, und die Boote blieben dort, bis der Wind sich gedreht hatte.",
        "ja nein",
        "4711 0815",
    ]
    assert heard.foreign(texts, ["en"]).tolist() == [0, 1, 0, 0]
    assert heard.foreign(texts, ["de", "en"]).tolist() == [0, 0, 0, 0]
    assert heard.foreign(texts, []).tolist() == [0, 0, 0, 0]


def test_the_latency_of_a_token_is_measured(asked: Any) -> None:
    found = latency(stack(5), asked, tokens=3, times=2)
    assert found is not None
    assert 0 < found < 10_000
