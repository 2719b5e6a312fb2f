"""Executors train the runs of a bench and ask the trained models; they differ only in where and how many at once.

=========  ======================================================================================================
stacked    as many runs at once as fit, on one frozen base in this process: what a GPU wants
pool       one process per core, each with one thread and one run at a time: what a CPU wants
peft       one run at a time through PEFT itself: for bases that cannot be stacked, and to compare with
ray        tasks of a Ray cluster, one GPU each (or one core); the bench lies on a file system that all see
=========  ======================================================================================================

Every finished run lies in the bench's folder at once, so a killed tune goes on where it was. On CPUs a run has
the same bits whatever was done before it, beside it, or how many workers there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from curate.errors import RecipeError
from curate.tuning.bench import Bench
from curate.tuning.contract import Run

NAMES = ("auto", "stacked", "pool", "peft", "ray")
Tick: TypeAlias = Callable[[Run, float], None]  # a run, and the share of its work that is done


class Executor(Protocol):
    """Where runs are trained."""

    name: str

    def train(self, folder: Path, runs: Sequence[Run], tick: Tick) -> Iterator[Run]:
        """Do the runs that have left no result in the bench's folder yet, and yield each when it has.

        Raises StageError where a run or a process fails; what is finished by then stays.
        """
        ...


def choose(name: str, bench: Bench, base: Any, workers: int | None = None) -> Executor:
    """Return the executor of a name; "auto": stacked on a GPU, pool on a CPU, peft where runs cannot be stacked.

    :param base: curate.tuning.base.Base
    :param workers: processes of the pool, or of a Ray that is started here; by default one for each core
    :raises RecipeError: there is no such executor, or it cannot train this base
    """
    if name not in NAMES:
        raise RecipeError(f"tune: no executor {name!r}; allowed: {', '.join(NAMES)}")
    if name == "auto":
        name = ("stacked" if bench.setup.device == "cuda" else "pool") if _stackable(base) else "peft"
    if name == "stacked":
        from curate.tuning.executors.stacked import Stacked

        return Stacked(base)
    if name == "pool":
        from curate.tuning.executors.pool import Pool

        return Pool(base, workers)
    if name == "peft":
        from curate.tuning.executors.peft import Peft

        return Peft(base)
    from curate.tuning.executors.ray import Ray

    return Ray(base, workers)


def _stackable(base: Any) -> bool:
    """Tell whether a base can be stacked, from its configuration alone."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from curate.tuning.lora import unstackable

    if base.quantized:
        return False
    with torch.device("meta"):  # no weights are made
        config = AutoConfig.from_pretrained(base.path, trust_remote_code=False)
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return unstackable(model) is None
