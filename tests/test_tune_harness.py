"""lm-evaluation-harness: the user's own tasks, offline, for every arm of a stack."""

from __future__ import annotations

import copy
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("lm_eval")

from conftest import sentence, write_jsonl
from reference import measures as slow
from tunes import bench, corpus, stack, tokenizer

from curate.errors import MissingExtra, RecipeError
from curate.stages.contamination import harness as _harness
from curate.stages.decontaminate import Decontaminate
from curate.tuning import harness
from curate.tuning.measure import measure, weights
from curate.tuning.measure.lm import Asked

COMMON = """\
task: {task}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {task}.jsonl}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
"""
CHOICES = (
    COMMON.format(task="picks", kind="multiple_choice")
    + """\
doc_to_choice: "{{choices}}"
doc_to_target: gold
target_delimiter: ""
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
)
EXACT = (
    COMMON.format(task="says", kind="generate_until")
    + """\
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["q"], max_gen_toks: 8, do_sample: false}
metric_list: [{metric: exact_match}]
"""
)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
    _harness.loaded.cache_clear()


def _write(folder: Path, name: str, yaml: str, rows: list[dict[str, Any]]) -> Path:
    write_jsonl(folder / f"{name}.jsonl", rows)
    (folder / f"{name}.yaml").write_text(yaml)
    return folder / f"{name}.yaml"


def _picks(folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    rng = random.Random(1)
    rows = [
        {"question": sentence(rng, 4), "choices": [sentence(rng, rng.randint(1, 4)) for _ in range(3)], "gold": n % 3}
        for n in range(7)
    ]  # fmt: skip
    return _write(folder, "picks", CHOICES, rows), rows


def test_choices_are_picked_by_likelihood_for_every_arm(tmp_path: Path) -> None:
    path, rows = _picks(tmp_path)
    found = harness.evaluate(stack(5, 6), 2, tokenizer(), 96, [path])
    assert set(found) == {"task/picks/acc", "task/picks/acc_norm"}
    for arm, number in enumerate((5, 6)):
        for at, row in enumerate(rows):
            nats = [_loss(stack(number), row["question"], choice) for choice in row["choices"]]
            assert found["task/picks/acc"][arm, at] == (nats.index(min(nats)) == row["gold"])
            normed = [loss / len(choice) for loss, choice in zip(nats, row["choices"], strict=True)]
            assert found["task/picks/acc_norm"][arm, at] == (normed.index(min(normed)) == row["gold"])


def _loss(model: Any, question: str, answer: str) -> float:
    prompt = tokenizer()(f"<bos><|user|>{question}<|assistant|>", add_special_tokens=False)["input_ids"]
    return slow.continued(model, prompt, tokenizer()(answer, add_special_tokens=False)["input_ids"])


def test_answers_end_where_turns_end_and_prompts_tell_no_day(tmp_path: Path) -> None:
    dated = copy.copy(tokenizer())
    dated.chat_template = "{{ strftime_now('%d %b %Y') }}" + dated.chat_template
    asked = Asked(stack(5), 1, dated, 96)
    prompt = asked.apply_chat_template([{"role": "user", "content": "river"}])
    assert prompt.startswith("26 Jul 2024")
    told = json.dumps({"max_gen_toks": 8})
    first = dated(asked._generate([(prompt, told)])[0][0], add_special_tokens=False)["input_ids"]
    ending = Asked(stack(5), 1, dated, 96, frozenset({first[2]}))
    said = ending._generate([(prompt, told)])[0][0]
    assert dated(said, add_special_tokens=False)["input_ids"] == first[: first.index(first[2])]


def test_tasks_are_metrics_with_weights(tmp_path: Path) -> None:
    picks, rows = _picks(tmp_path)
    prompt = f"<bos><|user|>{rows[0]['question']}<|assistant|>"
    ids = tokenizer()(prompt, add_special_tokens=False)["input_ids"]
    said = tokenizer().decode(slow.spoken(stack(5), ids, 8, [2], None))
    says = [
        {"question": rows[0]["question"], "answer": said.split("q")[0]},
        {"question": "no", "answer": "?!"},
    ]
    asked = bench(corpus(), tasks=[picks, _write(tmp_path, "says", EXACT, says)])
    [found] = measure(stack(5), 1, asked, [0])
    assert found["task/says/exact_match"].tolist() == [1, 0]
    weighed = weights(asked)
    assert {name: len(values) for name, values in found.items()} == {k: len(v) for k, v in weighed.items()}
    assert weighed["task/picks/acc"].tolist() == [1] * 7


def test_a_task_says_which_side_of_its_metrics_is_better(tmp_path: Path) -> None:
    picks, rows = _picks(tmp_path)
    wrong = CHOICES.replace("task: picks", "task: errs").replace(
        "metric: acc}", "metric: acc, higher_is_better: false}"
    )
    paths = (picks, _write(tmp_path, "errs", wrong, rows))
    (tmp_path / "errs.jsonl").rename(tmp_path / "picks.jsonl")
    names = harness.count(paths, tokenizer())
    found = {one.name: one.better for one in harness.metrics(paths, names)}
    assert found["task/picks/acc"] == "higher"
    assert found["task/errs/acc"] == "lower"
    assert set(found) == set(names)


def test_the_process_is_left_as_it_was(tmp_path: Path) -> None:
    path, _ = _picks(tmp_path)
    before = dict(os.environ), random.getstate(), Path.cwd()
    state = np.random.get_state()[1].tolist()  # type: ignore[index]
    harness.count([path], tokenizer())
    assert (dict(os.environ), random.getstate(), Path.cwd()) == before
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index]


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("task: [", "cannot be used as a task of lm-evaluation-harness: ParserError"),
        ("dataset_path: json\n", "cannot be used as a task of lm-evaluation-harness: ValueError: Unknown"),
        (CHOICES.replace("dataset_path: json", "dataset_path: nobody/nothing-here"), "ConnectionError"),
        (CHOICES.replace('"{{choices}}"', '"{{options}}"'), "'options' is undefined"),
        (CHOICES.replace("multiple_choice", "essay"), "invalid output_type"),
        (
            EXACT.replace("says", "picks").replace("do_sample: false", "do_sample: true").replace("answer", "gold"),
            "found do_sample: true; allowed: greedy answers",
        ),
        (
            COMMON.format(task="picks", kind="loglikelihood_rolling").replace("{{question}}", "")
            + 'doc_to_target: "{{question}}"\nmetric_list: [{metric: bits_per_byte}]\n',
            "no metric that is one number per document",
        ),
    ],
)  # fmt: skip
def test_a_wrong_task_is_one_clear_error(tmp_path: Path, yaml: str, told: str) -> None:
    path, _ = _picks(tmp_path)
    path.write_text(yaml)
    with pytest.raises(RecipeError, match=told) as caught:
        harness.count([path], tokenizer())
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = _picks(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"curate\[lm-eval\]"):
        harness.count([path], tokenizer())


def test_decontamination_looks_for_what_a_task_asks(tmp_path: Path) -> None:
    picks, rows = _picks(tmp_path)
    chosen = {"tasks": [picks.name]}
    options = Decontaminate.Options.model_validate(chosen, context={"folder": tmp_path})
    items = options.evals().items
    assert [item.line for item in items] == list(range(1, 8))
    for item, row in zip(items, rows, strict=True):
        both = "\n\n".join([row["question"], *row["choices"]])
        assert item.questions == (row["question"], both)
        assert item.answers == (row["choices"][row["gold"]],)
    assert [(file["path"], file["items"]) for file in options.reads()] == [("picks.yaml", 7)]
    (tmp_path / "picks.yaml").write_text("task: [")
    with pytest.raises(RecipeError, match="cannot be used as a task of lm-evaluation-harness"):
        options.fingerprint()
