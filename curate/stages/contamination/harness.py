"""Tasks of lm-evaluation-harness, loaded with their data from this machine alone.

What ``curate tune`` measures (:mod:`curate.tuning.harness`) and what the stage decontaminate looks for.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import random
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import MissingExtra, RecipeError

_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
SEED = 1234  # of the harness's own choice of examples (few-shot)


@lru_cache(maxsize=8)
def loaded(path: Path) -> dict[str, Any]:
    """Return the tasks of a file by name, with their data, which is read once per process."""
    if importlib.util.find_spec("lm_eval") is None:
        raise MissingExtra.of("lm-evaluation-harness tasks", "lm-eval")
    with quiet(), state(), contextlib.chdir(path.parent):  # its data's paths are relative to the file
        from lm_eval.tasks import TaskManager

        try:
            loaded = TaskManager(include_defaults=False).load([str(path)])
        except Exception as error:
            raise wrong(path, f"{type(error).__name__}: {error}") from error
    tasks: dict[str, Any] = loaded["tasks"]
    return tasks


def wrong(path: Path, why: object) -> RecipeError:
    """Return the error of a task that cannot be used."""
    first = (str(why).strip().splitlines() or [""])[0]
    return RecipeError(
        f"{path}: cannot be used as a task of lm-evaluation-harness: {first}; allowed: its "
        "YAML with task, dataset_path, output_type and metric_list, and data on this machine; correct it"
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the harness and the libraries under it off the network and off the terminal, and undo that afterwards.

    They read the environment when they are imported, so what is imported already is told apart.
    """
    before = {name: os.environ.get(name) for name in _OFFLINE}
    os.environ.update(dict.fromkeys(_OFFLINE, "1"))
    modules = [sys.modules.get(name) for name in ("huggingface_hub.constants", "datasets.config")]
    held = [(module, vars(module)["HF_HUB_OFFLINE"]) for module in modules if module is not None]
    for module, _ in held:
        vars(module)["HF_HUB_OFFLINE"] = True
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with _no_bars():
            yield
    finally:
        logging.disable(disabled)
        for module, value in held:
            vars(module)["HF_HUB_OFFLINE"] = value
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """Keep progress bars of tqdm off the terminal, where a bar of our own may run."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


@contextlib.contextmanager
def state() -> Iterator[None]:
    """Leave the global random numbers as they were: tasks draw examples with them."""
    before, numbers = random.getstate(), np.random.get_state()
    random.seed(SEED)
    np.random.seed(SEED)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numbers)
