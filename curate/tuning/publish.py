"""What a tune leaves in the release, beside the manifest's key ``tune``: OUT/tune.

::

    losses.parquet        arm seed item sets source category language bits bytes: every held-out response's loss;
                          a category of fewer than FEWEST items is left out
    adapters/<arm>/       the first seed's LoRA adapter, in PEFT's format
    base/                 the tiny base, which the adapters sit on; a base from the hub or of a path is only named

Items are numbered, and no file holds a record's text or id, so a take-down has nothing to erase here: adapters trained
on what it erases are named in its impact report.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.tuning import bench as benches
from curate.tuning.contract import Run
from curate.tuning.trial import Trial, Values

LOSSES, ADAPTERS, BASE = "losses.parquet", "adapters", "base"
FEWEST = 5  # items of a category that is told


def stage(trial: Trial, values: Values, folder: Path) -> list[dict[str, Any]]:
    """Write a tune's files into an empty folder, and return its adapters as the manifest lists them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pq.write_table(losses(trial, values), folder / LOSSES, compression="zstd")
    told = []
    seed = trial.bench.seeds[0]
    for arm in trial.bench.arms:
        trained = values.folder / "runs" / Run(arm.name, seed).name / benches.ADAPTER
        if trained.is_dir():
            shutil.copytree(trained, folder / ADAPTERS / arm.name)
            told.append({"path": f"tune/{ADAPTERS}/{arm.name}", "arm": arm.name, "seed": seed})
    if told and trial.base.kind == "tiny" and trial.base.path is not None:
        shutil.copytree(trial.base.path, folder / BASE)
    return told


def _labels(given: Sequence[str | None]) -> list[str | None]:
    """Return categories without those of fewer than FEWEST items: those may be a record's own text."""
    counts = Counter(given)
    return [name if counts[name] >= FEWEST else None for name in given]


def losses(trial: Trial, values: Values) -> pa.Table:
    """Return the loss of every item in every run: [arms x seeds x items] rows, bits and bytes of its responses."""
    arms, seeds = [arm.name for arm in trial.bench.arms], trial.bench.seeds
    items, bits = trial.corpus.items, values.metrics["bpb"]
    n = len(items)
    runs = [(arm, seed) for arm in arms for seed in seeds]
    about = {
        "item": pa.array(np.arange(n), pa.int32()),
        "sets": pa.array([sorted(item.sets) for item in items], pa.list_(pa.string())),
        "source": pa.array([item.text.source for item in items], pa.string()),
        "category": pa.array(_labels([item.text.category for item in items]), pa.string()),
        "language": pa.array([item.text.language for item in items], pa.string()),
    }
    places = pa.array(np.tile(np.arange(n), len(runs)))
    return pa.table(
        {
            "arm": pa.array(np.repeat([arm for arm, _ in runs], n)).dictionary_encode(),
            "seed": pa.array(np.repeat([seed for _, seed in runs], n), pa.int32()),
            **{name: column.take(places) for name, column in about.items()},
            "bits": pa.array(bits.reshape(-1), pa.float64()),
            "bytes": pa.array(np.tile(trial.bench.held.nbytes, len(runs)), pa.int64()),
        }
    )
