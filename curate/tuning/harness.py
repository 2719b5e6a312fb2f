"""lm-evaluation-harness: the user's own tasks as a measure, offline.

A task is a YAML file of the harness (0.4.9 and later; extra ``lm-eval``) with data on this machine::

    task: my_choices
    dataset_path: json
    dataset_kwargs: {data_files: {test: choices.jsonl}}     # relative to the YAML file
    test_split: test
    output_type: multiple_choice
    doc_to_text: "{{question}}"
    doc_to_choice: "{{choices}}"
    doc_to_target: gold
    metric_list: [{metric: acc}, {metric: acc_norm}]

Every metric that is one number per document becomes ``task/<task>/<metric>``, paired over documents like all others.
Contexts are put into the base's chat template, as training was. Answers are greedy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import TemplateError

from curate.errors import CurateError, RecipeError
from curate.stages.contamination.harness import SEED as _SEED
from curate.stages.contamination.harness import loaded as _loaded
from curate.stages.contamination.harness import quiet as _quiet
from curate.stages.contamination.harness import state as _state
from curate.stages.contamination.harness import wrong as _wrong
from curate.tuning.contract import Floats, Metric


def count(paths: Sequence[Path], tokenizer: Any) -> dict[str, int]:
    """Return the metrics of some tasks and how many documents each has; no model is needed.

    Raises MissingExtra without the extra, and RecipeError for a file that is no task, whose data is not here, or
    without any metric that is one number per document.
    """
    found = {name: values.shape[1] for name, values in evaluate(None, 1, tokenizer, 1024, paths).items()}
    for path in paths:
        for task in _loaded(path.resolve()):
            if not any(name.startswith(f"task/{task}/") for name in found):
                raise RecipeError(
                    f"{path}: task {task} has no metric that is one number per document; allowed: such as acc, "
                    "acc_norm, exact_match; add one to its metric_list"
                )
    return found


def metrics(paths: Sequence[Path], names: Collection[str]) -> list[Metric]:
    """Return what tasks say of their metrics, of those named ``task/<task>/<metric>``: which side is better."""
    found = []
    for path in paths:
        for task, held in _loaded(path.resolve()).items():
            higher = held.higher_is_better()
            for name in sorted(one for one in names if one.startswith(f"task/{task}/")):
                metric = name.removeprefix(f"task/{task}/").partition(",")[0]
                # Of one document perplexity is told as its log-likelihood, of which more is better.
                rises = higher.get(metric, True) or metric == "perplexity"
                found.append(
                    Metric(name, name.removeprefix("task/"), "", "higher" if rises else "lower", "task")
                )
    return found


def evaluate(
    model: Any,
    arms: int,
    tokenizer: Any,
    length: int,
    paths: Sequence[Path],
    stops: frozenset[int] = frozenset(),
) -> dict[str, Floats]:
    """Return the value of every task's metrics for every document: name → [arms, documents].

    stops: tokens that end an answer, beside the one that ends a text.
    Raises as :func:`count`.
    """
    found: dict[str, list[Any]] = {}
    for path in paths:
        tasks = _loaded(path.resolve())
        with _quiet(), _state():
            from curate.tuning.measure.lm import Asked

            asked = Asked(model, arms, tokenizer, length, stops)
            for arm in range(arms):
                asked.arm = arm
                for name, values in _run(path, asked, tasks).items():
                    found.setdefault(name, []).append(values)
    return {name: np.array(values, np.float64) for name, values in found.items()}


def _run(path: Path, asked: Any, tasks: dict[str, Any]) -> dict[str, list[float]]:
    """Return one arm's values."""
    from lm_eval import evaluator

    for task in tasks.values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=_SEED)
    told = {"tasks": tasks, "groups": {}, "group_map": {}}
    try:
        result = evaluator.evaluate(
            asked, told, bootstrap_iters=0, apply_chat_template=True, fewshot_as_multiturn=True
        )
    except CurateError as error:
        raise RecipeError(f"{path}: {error}") from None
    except Exception as error:
        # Of others the name alone: their words may quote a document.
        why = error if isinstance(error, TemplateError) else type(error).__name__
        raise _wrong(path, why) from error
    values: dict[str, list[float]] = {}
    for task, samples in result["samples"].items():
        filters = list(dict.fromkeys(sample["filter"] for sample in samples))
        for sample in sorted(samples, key=lambda sample: (filters.index(sample["filter"]), sample["doc_id"])):
            beside = "" if sample["filter"] == filters[0] else f",{sample['filter']}"
            for metric in sample["metrics"]:
                if isinstance(sample[metric], (bool, int, float, np.number, np.bool_)):
                    values.setdefault(f"task/{task}/{metric}{beside}", []).append(float(sample[metric]))
    return values
