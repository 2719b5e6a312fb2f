"""What the runs of a trial depend on is in the name of its folder, and what cannot be trained is refused before."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("lm_eval")

from conftest import sentence, write_jsonl
from tunes import SETUP, base, corpus, talk, tokenizer

from curate.errors import RecipeError
from curate.stages.contamination import harness
from curate.stages.scrubbing.options import PiiOptions
from curate.tuning.contract import Item
from curate.tuning.trial import Trial, prepare

TASK = """\
task: picks
dataset_path: json
dataset_kwargs: {data_files: {test: picks.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: gold
metric_list: [{metric: acc}]
"""


def prepared(**probing: Any) -> Trial:
    rng = random.Random(5)
    items = tuple(
        Item(talk(f"h{i}", sentence(rng, 4), sentence(rng, 6)), frozenset({"raw"})) for i in range(25)
    )
    more = {"sha256": "0", **probing.pop("of", {})}
    return prepare(corpus(items=items), base(**more), SETUP, (0, 1), **probing)


def test_what_answers_are_judged_by_is_in_the_name_of_a_trials_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    harness.loaded.cache_clear()
    task = tmp_path / "picks.yaml"
    write_jsonl(tmp_path / "picks.jsonl", [{"question": "river", "choices": ["a", "b"], "gold": 0}])
    keys = [prepared().key, prepared().key]
    assert keys[0] == keys[1]
    keys.append(prepared(languages=["de"]).key)
    keys.append(prepared(pii=PiiOptions(entities=("EMAIL_ADDRESS",))).key)
    for told in (TASK, TASK.replace("acc", "acc_norm")):
        task.write_text(told)
        harness.loaded.cache_clear()
        keys.append(prepared(tasks=[task]).key)
    assert len(set(keys)) == 5


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused() -> None:
    most = len(tokenizer())
    prepared(of={"vocabulary": most})
    with pytest.raises(RecipeError, match="writes tokens beyond the 300 that the model has"):
        prepared(of={"vocabulary": 300})


def test_another_setup_is_another_trial() -> None:
    trial = prepared()
    assert trial.under(replace(SETUP, rate=1e-4)).key != trial.key
