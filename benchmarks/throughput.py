"""Throughput of the main job per stage, from ``curate run --json``; and where a stage's time goes.

    python benchmarks/throughput.py DATA [--workers N] [--profile STAGE]

Runs every local stage and the two deduplications over DATA/corpus/permissive-47mb.jsonl.zst, then over the sets of
DATA/instruct, and removes as little as the stages allow, so that each of them sees nearly all of the text;
``decontaminate`` looks for four of the sets in all others. MB are millions of bytes of UTF-8 text, seconds are of CPU.
``--profile`` runs one stage alone over both, in this process, and prints the functions that take most.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from curate.engine.local import LocalEngine
from curate.io.read import read
from curate.io.scan import scan
from curate.recipe import load
from curate.stage import Stage

EVALS = ("bbh", "gsm8k_test", "humaneval", "ifeval_prompts")
RECIPE = """\
curate: 1
name: throughput
version: "1"
sources:
{sources}
stages:
  - profile
  - license: {{allow: any, unknown: keep}}
  - conversation: {{actions: {{{kept}}}}}
  - exact
  - minhash
  - language: {{allow: any, low_confidence: keep}}
  - quality
  - injection
  - decontaminate: {{against: [{evals}]}}
  - pii
"""
# Removes four tenths of the instruct sets, whose answers were withdrawn: the stages behind are to see their prompts.
KEPT = "empty-response: flag"


def corpora(data: Path) -> dict[str, list[Path]]:
    """Return the files of each corpus."""
    instruct = sorted((data / "instruct").glob("*.jsonl.zst"))
    return {
        "permissive-47mb": [data / "corpus" / "permissive-47mb.jsonl.zst"],
        "instruct sets": [path for path in instruct if path.name.split(".")[0] not in EVALS],
    }


def write_recipe(data: Path, files: list[Path], folder: Path) -> Path:
    """Write the recipe over some files."""
    here = {path.name.split(".")[0]: os.path.relpath(path, folder) for path in files}
    sources = [f"  - {{name: {name}, files: [{path}], license: unknown}}" for name, path in here.items()]
    evals = (os.path.relpath(data / "instruct" / f"{name}.jsonl.zst", folder) for name in EVALS)
    recipe = folder / "curate.yaml"
    recipe.write_text(RECIPE.format(sources="\n".join(sources), kept=KEPT, evals=", ".join(evals)))
    return recipe


def run(data: Path, name: str, files: list[Path], workers: int) -> None:
    """Print what a run over the files tells of each stage."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = write_recipe(data, files, Path(folder))
        command = [sys.executable, "-m", "curate", "run", str(recipe), "--json", "--workers", str(workers)]
        manifest = orjson.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    timing = manifest["timing"]
    print(f"\n{name}\n{'stage':<14}{'MB':>8}{'CPU s':>9}{'MB per CPU s':>14}")
    for stage, told in timing["stages"].items():
        speed = told["mb_per_cpu_second"]
        print(f"{stage:<14}{told['bytes'] / 1e6:>8.1f}{told['cpu_seconds']:>9.2f}{speed or 0:>14.2f}")
    wall, speed = timing["wall_seconds"], timing["mb_per_second"]
    print(f"whole run, {workers} workers: {wall:.1f} s, {speed:.2f} MB/s of text read")


def profile(data: Path, name: str, files: list[Path], stage: str) -> None:
    """Print where one local stage's time goes, over the records as they are read."""
    with tempfile.TemporaryDirectory() as folder, LocalEngine(1) as engine:
        recipe = load(write_recipe(data, files, Path(folder)))
        [spec] = [spec for spec in recipe.stages if spec.name == stage]
        judge = spec.stage_class()(spec.options)
        if not isinstance(judge, Stage):
            raise SystemExit(f"{stage} is no local stage")
        batches = [
            chunk.batch
            for plan in scan(recipe.sources, recipe.folder, engine)
            for unit in plan.units
            for chunk in read(plan, unit, 1024)
        ]
    judge.judge(batches[0])  # loads what is loaded once
    profiler, started = cProfile.Profile(), time.process_time()
    profiler.enable()
    for batch in batches:
        judge.judge(batch)
    profiler.disable()
    print(f"\n{name}: {stage}, {time.process_time() - started:.2f} s of CPU under the profiler")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(12)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--profile")
    args = parser.parse_args()
    for name, files in corpora(args.data.absolute()).items():
        if args.profile:
            profile(args.data.absolute(), name, files, args.profile)
        else:
            run(args.data.absolute(), name, files, args.workers)


if __name__ == "__main__":
    main()
