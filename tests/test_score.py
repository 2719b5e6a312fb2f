"""The stage score: what a model says of a text by itself, whatever it was read with."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import bases
import pyarrow as pa
import pytest
from conftest import WORDS
from pydantic import ValidationError

from curate.errors import MissingExtra, RecipeError
from curate.record import MESSAGES, Batch
from curate.stages.score import Score
from curate.stages.scoring import score_models
from curate.stages.scoring.score_models import Read, Scorer, Told

RNG = random.Random(4)
TEXTS = [
    "",
    "river",
    *(" ".join(RNG.choices(WORDS, k=RNG.randrange(1, 90))) for _ in range(30)),
    "river " * 400,
]
PROMPTS = [" ".join(RNG.choices(WORDS, k=RNG.randrange(1, 20))) for _ in TEXTS]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny models with random weights: lm, judge (three labels), grade (a regression)."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("models")
    made = bases.tokenizer(None)
    bases.folder(folder / "lm", "llama", made)
    for name, labels in (("judge", ["bad", "fair", "good"]), ("grade", ["LABEL_0"])):
        torch.manual_seed(2)
        config = transformers.BertConfig(
            vocab_size=len(made),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=128,
            pad_token_id=0,
            id2label=dict(enumerate(labels)),
            label2id={label: i for i, label in enumerate(labels)},
        )
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        torch.nn.init.normal_(model.classifier.weight, std=2.0)  # or all texts would score alike
        model.save_pretrained(folder / name)
        made.save_pretrained(folder / name)
    return folder


def asked(models: Path, measure: str, **how: Any) -> Any:
    name = {"classifier": "judge"}.get(measure, "lm")
    options = {
        "model": name,
        "measure": measure,
        **({"label": "good"} if measure == "classifier" else {}),
        **how,
    }
    checked = Score.Options.model_validate({"models": {"m": options}}, context={"folder": models})
    return checked.found()["m"]


def judge(models: Path, batch: Batch, **options: Any) -> Any:
    checked = Score.Options.model_validate({"models": options}, context={"folder": models})
    verdict = Score(checked).judge(batch)
    verdict.check("score", batch)
    return verdict


def pairs() -> Batch:
    rows = [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
        for prompt, text in zip(PROMPTS, TEXTS, strict=True)
    ]
    ids = pa.array([f"s/{i}" for i in range(len(rows))])
    return pa.record_batch({"id": ids, "messages": pa.array(rows, MESSAGES)})


@pytest.mark.parametrize("measure", ["classifier", "perplexity", "ifd"])
def test_scores_are_the_same_whatever_texts_are_read_together(models: Path, measure: str) -> None:
    found = asked(models, measure)
    alone = Scorer(found)
    wanted = alone.score(PROMPTS, TEXTS)
    assert len({told.value for told in wanted}) > 5
    for size in (1, 3, 32):
        together = Scorer(replace(found, batch_size=size), "cpu")
        assert together.score(PROMPTS, TEXTS) == wanted
        assert together.score(PROMPTS[::-1], TEXTS[::-1]) == wanted[::-1]
        assert together.read_again < len(TEXTS)  # or the batches would be for nothing


def test_a_batch_that_says_otherwise_near_a_rounding_does_not_count(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = asked(models, "perplexity")
    wanted = Scorer(found).score(PROMPTS, TEXTS)
    noisy, rng = Scorer(found, "cpu"), random.Random(1)
    forward = noisy._forward

    def disturbed(model: Any, device: str, reads: list[Read]) -> list[float]:
        values = forward(model, device, reads)
        return values if model is noisy.model else [v + rng.uniform(-9e-5, 9e-5) for v in values]

    monkeypatch.setattr(noisy, "_forward", disturbed)
    assert noisy.score(PROMPTS, TEXTS) == wanted
    assert noisy.read_again > 0


def test_a_language_model_s_score_is_its_loss(models: Path) -> None:
    import torch

    scorer = Scorer(asked(models, "perplexity"))
    tokenizer, model = scorer.tokenizer, scorer.model
    answer = tokenizer(TEXTS[3], add_special_tokens=False)["input_ids"]
    prompt = tokenizer(f"{PROMPTS[3]}\n\n", add_special_tokens=False)["input_ids"]

    def loss(before: list[int]) -> float:
        ids = torch.tensor([[tokenizer.bos_token_id, *before, *answer]])
        labels = ids.clone()
        labels[0, : 1 + len(before)] = -100
        return float(model(input_ids=ids, labels=labels).loss.detach())

    assert scorer.score([""], [TEXTS[3]])[0].value == pytest.approx(loss([]), abs=0.0051)
    ratio = math.exp(loss(prompt) - loss([]))
    found = Scorer(asked(models, "ifd")).score([PROMPTS[3]], [TEXTS[3]])
    assert found[0].value == pytest.approx(ratio, abs=0.0051)


def test_what_a_model_does_not_read_to_its_end_is_told(models: Path) -> None:
    for measure in ("classifier", "perplexity", "ifd"):
        told = Scorer(asked(models, measure)).score(PROMPTS, TEXTS)
        assert told[0] == Told(None, False)
        assert told[-1].truncated
        assert not told[1].truncated
        assert told[-1].value is not None
    short = Scorer(asked(models, "perplexity", max_tokens=8)).score([""], [TEXTS[3]])
    assert short[0].truncated


def test_a_record_beyond_a_limit_is_acted_on(models: Path) -> None:
    verdict = judge(
        models,
        pairs(),
        grade={"model": "grade", "measure": "classifier", "min": 0.0, "action": "drop"},
        lm={"model": "lm", "measure": "perplexity", "max": 0.01, "on": "whole"},
    )
    values = [one["value"] for one in verdict.facts.column("score_grade").to_pylist()]
    low = [value is not None and value < 0 for value in values]
    assert any(low)
    assert not all(low)
    assert [action == "drop" for action in verdict.action.to_pylist()] == low
    assert {*verdict.reason.to_pylist()} == {"score/grade-low", "score/lm-high"}
    assert verdict.facts.schema.names == ["score_grade", "score_lm", "score_of"]


def test_ifd_is_of_conversations(models: Path) -> None:
    batch = pa.record_batch({"id": pa.array(["a"]), "text": pa.array(["river stone"])})
    verdict = judge(models, batch, ifd={"model": "lm", "measure": "ifd"})
    assert verdict.facts.column("score_ifd").to_pylist() == [{"value": None, "truncated": False}]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "judge", "measure": "classifier"}, "found no label; allowed: one of bad, fair, good"),
        (
            {"model": "judge", "measure": "classifier", "label": "best"},
            "has no label 'best'; allowed: one of bad",
        ),
        ({"model": "lm", "measure": "perplexity", "label": "good"}, "measure perplexity has no label"),
        ({"model": "nowhere", "measure": "ifd"}, "no such folder; expected one with config.json"),
        ({"model": "lm", "revision": "main", "measure": "ifd"}, "is a folder, which has no revisions"),
    ],
)
def test_a_model_that_cannot_be_asked_is_an_error(models: Path, options: dict[str, Any], said: str) -> None:
    checked = Score.Options.model_validate({"models": {"m": options}}, context={"folder": models})
    with pytest.raises(RecipeError, match=said):
        checked.fingerprint()


def test_a_hub_that_cannot_be_reached_is_an_error(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    checked = Score.Options.model_validate({"models": {"m": {"model": "no/such-model", "measure": "ifd"}}})
    with pytest.raises(RecipeError, match="the hub gives none"):
        checked.fingerprint()


def test_without_its_extra_the_stage_says_how_to_get_it(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_models, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'curate\[score\]'"):
        asked(models, "ifd")


def test_limits_are_no_part_of_what_scores_depend_on_and_the_model_s_files_are(
    models: Path, tmp_path: Path
) -> None:
    def fingerprint(**how: Any) -> Any:
        options = {"m": {"model": "lm", "measure": "perplexity", **how}}
        return Score.Options.model_validate({"models": options}, context={"folder": models}).fingerprint()

    assert fingerprint() == fingerprint(max=3.0, action="drop")
    assert fingerprint() != fingerprint(max_tokens=50)
    before = fingerprint()
    (models / "lm" / "note.txt").write_text("another")
    try:
        assert fingerprint() != before
    finally:
        (models / "lm" / "note.txt").unlink()


@pytest.mark.parametrize(
    "options",
    [
        {"measure": "ifd", "on": "prompt"},
        {"measure": "perplexity", "min": 2, "max": 1},
        {"measure": "perplexity", "max": float("nan")},
    ],
)
def test_what_cannot_be_meant_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"take out on|exchange them|finite number"):
        Score.Options.model_validate({"models": {"m": {"model": "lm", **options}}})
