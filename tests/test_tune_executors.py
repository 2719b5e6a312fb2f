"""Executors differ in where and how many at once, not in what they leave."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import runpy
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from peft import PeftModel  # noqa: E402
from transformers import AutoModelForCausalLM, GPT2Config  # noqa: E402
from tunes import SETUP, bench, corpus, llama, tokenizer  # noqa: E402

from curate.errors import RecipeError, StageError  # noqa: E402
from curate.tuning import bench as benches  # noqa: E402
from curate.tuning import training  # noqa: E402
from curate.tuning.base import Base, open_base  # noqa: E402
from curate.tuning.contract import Run  # noqa: E402
from curate.tuning.executors import choose, group, stacked  # noqa: E402
from curate.tuning.executors.peft import Peft  # noqa: E402
from curate.tuning.executors.pool import Pool  # noqa: E402
from curate.tuning.executors.stacked import Stacked  # noqa: E402

# PEFT's own use of what transformers is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

SMALL = replace(SETUP, length=64, tokens=600, rate=5e-3, samples=3, sample_tokens=6)
RUNS = [Run(arm, seed) for seed in (0, 1) for arm in ("raw", "full")]


def saved(model: Any, folder: Path) -> Base:
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return open_base(str(folder))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return saved(llama(torch.float32), tmp_path_factory.mktemp("base"))


@pytest.fixture
def folder(base: Base, tmp_path: Path) -> Path:
    return laid(tmp_path / "bench", base)


def laid(folder: Path, base: Base, **setup: Any) -> Path:
    chosen = replace(SMALL, **setup)
    benches.save(bench(corpus(), chosen, base), folder)
    return folder


@pytest.fixture(scope="module")
def alone(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs by one worker in this process: what everything is compared with."""
    folder = laid(tmp_path_factory.mktemp("alone"), base)
    assert list(Pool(base, 1).train(folder, RUNS, ignore)) == RUNS
    return folder


def ignore(run: Run, share: float) -> None:
    return


def left(folder: Path, run: Run) -> dict[str, bytes]:
    """All that a run left, but for its seconds."""
    result = benches.result(folder, run)
    adapter = sorted((folder / "runs" / run.name / benches.ADAPTER).iterdir())
    return {
        "curve": result.curve.tobytes(),
        "told": f"{result.tokens} {result.epochs}".encode(),
        **{name: values.tobytes() for name, values in result.values.items()},
        **{path.name: path.read_bytes() for path in adapter},
    }


def near(one: Path, other: Path, run: Run) -> bool:
    first, second = benches.result(one, run), benches.result(other, run)
    return np.allclose(first.curve, second.curve, rtol=1e-4) and np.allclose(
        first.values["bpb"], second.values["bpb"], rtol=1e-3, atol=1e-3
    )


def test_killed_workers_change_no_bit(base: Base, folder: Path, alone: Path) -> None:
    shares: dict[Run, list[float]] = {run: [] for run in RUNS}
    going = Pool(base, 2).train(folder, RUNS, lambda run, share: shares[run].append(share))
    first = next(going)
    for process in multiprocessing.active_children():
        os.kill(process.pid or 0, signal.SIGKILL)
    assert [first, *going] == RUNS
    assert shares[first] == sorted(shares[first])
    assert benches.unfinished(folder, RUNS) == []
    (folder / "runs" / RUNS[-1].name / benches.RESULT).unlink()
    assert list(Pool(base, 1).train(folder, RUNS, ignore)) == RUNS[-1:]
    for run in RUNS:
        assert left(folder, run) == left(alone, run)


def test_a_run_leaves_curve_values_adapter_and_seconds(base: Base, alone: Path) -> None:
    result = benches.result(alone, RUNS[1])
    assert result.curve[-1] < result.curve[0]
    assert set(result.values) >= {"bpb", "exact", "train_bpb", "sampled_pii"}
    assert result.seconds["train"] > 0
    assert result.seconds["measure"] > 0
    model = PeftModel.from_pretrained(base.model(), alone / "runs" / RUNS[1].name / benches.ADAPTER)
    held = benches.load(alone).held
    ids = torch.from_numpy(held.of(0)[0].astype(np.int64))[None]
    learnt = torch.from_numpy(held.of(0)[1])[1:]
    with torch.no_grad():
        nats = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
    assert float(nats[learnt].sum()) / np.log(2) == pytest.approx(float(result.values["bpb"][0]), rel=1e-4)


def test_stacked_runs_are_the_runs_alone_and_memory_halves_stacks(
    base: Base, folder: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, whole = [], training.train

    def narrow(stack: Any, *rest: Any) -> Any:
        sizes.append(stack.arms)
        if stack.arms > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(stack, *rest)

    monkeypatch.setitem(stacked._TOKENS, "cpu", 1 << 20)
    monkeypatch.setattr(training, "train", narrow)
    assert list(Stacked(base).train(folder, RUNS, ignore)) == RUNS
    assert sizes == [4, 2, 2]
    assert all(near(folder, alone, run) for run in RUNS)
    before = {run: left(folder, run) for run in RUNS}
    (folder / "runs" / RUNS[2].name / benches.RESULT).unlink()
    assert list(Stacked(base, most=2).train(folder, RUNS[2:3], ignore)) == [RUNS[2]]
    assert {run: left(folder, run) for run in RUNS} == before


def test_a_run_that_fits_no_memory_is_an_error(
    base: Base, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def narrow(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "train", narrow)
    with pytest.raises(StageError, match="one run of 2 rows of 64 tokens does not fit"):
        list(Stacked(base).train(folder, RUNS, ignore))


def test_errors_that_are_not_of_memory_are_not_swallowed(
    base: Base, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("something else")

    monkeypatch.setattr(training, "train", broken)
    with pytest.raises(RuntimeError, match="something else"):
        list(Stacked(base).train(folder, RUNS, ignore))


def test_peft_leaves_what_stacks_leave(base: Base, folder: Path, alone: Path) -> None:
    assert list(Peft(base).train(folder, RUNS[:2], ignore)) == RUNS[:2]
    assert all(near(folder, alone, run) for run in RUNS[:2])
    names = [
        [path.name for path in sorted((each / "runs" / RUNS[0].name / benches.ADAPTER).iterdir())]
        for each in (alone, folder)
    ]
    assert names[0] == names[1] == ["adapter_config.json", "adapter_model.safetensors"]


def test_what_cannot_be_stacked_goes_through_peft(tmp_path: Path) -> None:
    shape = GPT2Config(
        n_embd=32,
        n_layer=1,
        n_head=2,
        vocab_size=len(tokenizer()),
        n_positions=256,
        bos_token_id=1,
        eos_token_id=2,
    )
    odd = saved(AutoModelForCausalLM.from_config(shape), tmp_path / "base")
    folder = laid(tmp_path / "bench", odd)
    chosen = choose("auto", benches.load(folder), odd)
    assert chosen.name == "peft"
    assert list(chosen.train(folder, RUNS[:1], ignore)) == RUNS[:1]
    result = benches.result(folder, RUNS[0])
    model = PeftModel.from_pretrained(odd.model(), folder / "runs" / RUNS[0].name / benches.ADAPTER)
    held = benches.load(folder).held
    ids = torch.from_numpy(held.of(0)[0].astype(np.int64))[None]
    with torch.no_grad():
        nats = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
    total = float(nats[torch.from_numpy(held.of(0)[1])[1:]].sum()) / np.log(2)
    assert total == pytest.approx(float(result.values["bpb"][0]), rel=1e-4)


def test_without_common_random_numbers_arms_begin_apart(base: Base, tmp_path: Path) -> None:
    place = group.Place(laid(tmp_path / "bench", base, paired=False, adapters=False), base)
    assert not np.array_equal(place.stream(RUNS[0]).ids, place.stream(RUNS[1]).ids)
    assert len({group.drawn(run) for run in RUNS}) == len(RUNS)
    place.do(RUNS[:2], set(RUNS[:2]), ignore)
    first, second = (benches.result(place.folder, run).curve for run in RUNS[:2])
    assert first[0] != second[0]


def test_ray_leaves_what_the_pool_leaves(base: Base, folder: Path, alone: Path) -> None:
    pytest.importorskip("ray")
    code = (
        "import pickle, sys; from pathlib import Path; from curate.tuning.executors.ray import Ray;"
        "base, folder, runs = pickle.loads(sys.stdin.buffer.read());"
        "print(sorted(run.name for run in Ray(base, 2).train(folder, runs, lambda run, share: None)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps((base, folder, RUNS[:1])),
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "120"},
        capture_output=True,
        timeout=120,
    )
    assert told.stdout.decode().strip() == str(sorted(run.name for run in RUNS[:1])), told.stderr.decode()[
        -2000:
    ]
    assert all(left(folder, run) == left(alone, run) for run in RUNS[:1])


def test_choosing(base: Base, alone: Path) -> None:
    held = benches.load(alone)
    assert choose("auto", held, base).name == "pool"
    on_gpu = replace(held, setup=replace(held.setup, device="cuda"))
    assert choose("auto", on_gpu, base).name == "stacked"
    assert [choose(name, held, base).name for name in ("stacked", "pool", "peft", "ray")] == [
        "stacked",
        "pool",
        "peft",
        "ray",
    ]
    with pytest.raises(RecipeError, match="no executor 'gpu'; allowed: auto, stacked, pool, peft, ray"):
        choose("gpu", held, base)


def test_the_benchmark_runs_at_toy_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "tune_gpu.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--toy"])
    monkeypatch.setenv("OUT", str(tmp_path))
    runpy.run_path(str(script), run_name="__main__")
    lines = [json.loads(line) for line in (tmp_path / "tune_gpu.jsonl").read_text().splitlines()]
    assert [line["way"] for line in lines] == ["peft", "stacked", "stacked", "whole tune"]
    assert all(line["tokens_per_second"] > 0 for line in lines)
