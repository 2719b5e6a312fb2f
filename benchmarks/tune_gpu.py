"""Speed of stacked LoRA training beside sequential PEFT, on one GPU (or, at toy size, on a CPU).

    python benchmarks/tune_gpu.py [--minutes 9] [--models 135m 0.5b] [--toy]

Models have the shapes of SmolLM2-135M and Qwen2.5-0.5B (as a Llama) and random weights, so nothing is downloaded.
Each line is one way (``peft``: get_peft_model, torch.optim.AdamW, one run after the other; ``stacked``: K runs in
curate.tuning's stack), eager or compiled, at K arms and a number of tokens per arm and step in rows of 512 (half of the
tokens are learnt). Then 12 arms x 5 seeds x 1M tokens: as long as time allows, and from there by proportion.

FLOP per token: 4 N + 6 L + 6 T h l + 2 V h, with N frozen weights of the linear maps (forward 2, gradient of the
input 2), L of an adapter (forward 2, gradients 4), attention within rows of T tokens that looks back (forward
2 T h, backward twice that, for h wide and l layers), and the head of V tokens (forward 2, backward 2, for the half
of the places that is learnt). MFU is of the GPU's dense bf16 peak, which --peak states (989 TFLOP/s: H100, H200).

Lines of JSON go to $OUT/tune_gpu.jsonl where OUT is set.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, LlamaConfig

sys.path.insert(0, str(Path(__file__).parents[1]))

from curate.tuning import lora, routes, training
from curate.tuning.contract import Setup, Stream
from curate.tuning.executors import peft

SHAPES = {  # hidden, intermediate, layers, heads, key-value heads, vocabulary
    "135m": (576, 1536, 30, 9, 3, 49_152),
    "0.5b": (896, 4864, 24, 14, 2, 151_936),
    "toy": (64, 128, 2, 4, 2, 512),
}
LENGTH, TOY_LENGTH = 512, 64
ARMS, TOKENS = (1, 4, 8, 12), (1024, 4096, 16_384)
STEPS, WARM = 10, 3
WHOLE = (12, 5, 1_000_000)  # arms, seeds, tokens of each run
CUDA = torch.cuda.is_available()


def base(name: str) -> Any:
    hidden, intermediate, layers, heads, kv, vocabulary = SHAPES[name]
    shape = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        vocab_size=vocabulary,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    torch.manual_seed(0)
    with torch.device("cuda" if CUDA else "cpu"):
        model = AutoModelForCausalLM.from_config(shape, dtype=torch.bfloat16 if CUDA else torch.float32)
    return model.eval().requires_grad_(False)


def stream(setup: Setup, vocabulary: int, steps: int, seed: int) -> Stream:
    """Texts of an eighth to a half of a row, packed; the second half of each is learnt."""
    rng = np.random.default_rng(seed)
    shape = (steps, setup.rows, setup.length)
    ids = rng.integers(3, vocabulary, shape, dtype=np.int32)
    labels, positions = np.full(shape, -100, np.int32), np.zeros(shape, np.int32)
    for row in np.ndindex(shape[:2]):
        begin = 0
        while begin < setup.length:
            size = min(int(rng.integers(setup.length // 8, setup.length // 2)), setup.length - begin)
            positions[row][begin : begin + size] = np.arange(size)
            labels[row][begin + size // 2 : begin + size] = ids[row][begin + size // 2 : begin + size]
            begin += size
    return Stream(ids, labels, positions, ids.size, 1.0)


def flops(name: str, setup: Setup) -> float:
    """Return floating-point operations per token of a step (see above)."""
    hidden, intermediate, layers, heads, kv, vocabulary = SHAPES[name]
    narrow = hidden * kv // heads
    maps = [(hidden, hidden)] * 2 + [(hidden, narrow)] * 2 + [(hidden, intermediate)] * 3
    frozen = layers * sum(into * out for into, out in maps)
    adapter = layers * setup.rank * sum(into + out for into, out in maps)
    return 4 * frozen + 6 * adapter + 6 * setup.length * hidden * layers + 2 * vocabulary * hidden


def now() -> float:
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def stacked(model: Any, setup: Setup, arms: int, vocabulary: int, steps: int) -> tuple[float, float]:
    """Return the seconds of the first steps, which compile and warm up, and of those after them."""
    streams = {
        count: [stream(setup, vocabulary, count, arm) for arm in range(arms)] for count in (WARM, steps)
    }
    begun = now()
    with lora.attach(model, arms, setup, list(range(arms))) as stack:
        path = routes.route(model, setup.compiled)
        training.train(stack, streams[WARM], setup, None, path)
        warmed = now()
        training.train(stack, streams[steps], setup, None, path)
        return warmed - begun, now() - warmed


def sequential(model: Any, setup: Setup, vocabulary: int, steps: int) -> tuple[float, float]:
    """Return the same of one run through PEFT: K runs take K times as long."""
    streams = {count: stream(setup, vocabulary, count, 0) for count in (WARM, steps)}
    begun = now()
    wrapped = peft.wrap(model, setup, 0)
    try:
        peft.fit(wrapped, streams[WARM], setup, lambda share: None)
        warmed = now()
        peft.fit(wrapped, streams[steps], setup, lambda share: None)
        return warmed - begun, now() - warmed
    finally:
        wrapped.unload()


def cell(name: str, model: Any, setup: Setup, way: str, arms: int, steps: int, peak: float) -> dict[str, Any]:
    """Measure one line of the table."""
    told: dict[str, Any] = {
        "model": name,
        "way": way + (" compiled" if setup.compiled else ""),
        "arms": arms,
        "tokens": setup.rows * setup.length,
    }
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.compiler.reset()
    vocabulary = SHAPES[name][5]
    try:
        if way == "peft":
            warm, taken = sequential(model, setup, vocabulary, steps)
        else:
            warm, taken = stacked(model, setup, arms, vocabulary, steps)
    except torch.OutOfMemoryError:
        return {**told, "left_out": "out of memory"}
    rate = (1 if way == "peft" else arms) * setup.rows * setup.length * steps / taken
    return {
        **told,
        "ms": round(1e3 * taken / steps, 1),
        "tokens_per_second": round(rate),
        "mfu": round(rate * flops(name, setup) / peak, 3) if CUDA else None,
        "warm_seconds": round(warm, 1),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1) if CUDA else None,
    }


def cells(toy: bool) -> Iterator[tuple[str, bool, int, int]]:
    """Yield way, compiled, arms and tokens: what matters most first, since compiling takes its time."""
    arms, tokens = ((1, 2), (128,)) if toy else (ARMS, TOKENS)
    yield from (("peft", False, 1, count) for count in tokens)
    yield from (("stacked", False, *pair) for pair in itertools.product(arms, tokens))
    if not toy:
        first = [(8, 1024), (12, 4096), (1, 4096)]
        rest = [pair for pair in itertools.product(arms, tokens) if pair not in first]
        yield from (("stacked", True, *pair) for pair in first + rest)


def whole(name: str, model: Any, setup: Setup, until: float, compiled: bool) -> dict[str, Any]:
    """Train 12 arms of one seed for as long as there is time; say what 5 seeds of a million tokens take."""
    arms, seeds, tokens = WHOLE
    setup = replace(setup, compiled=compiled)
    each = setup.rows * setup.length
    told: dict[str, Any] = {
        "model": name,
        "way": "whole tune" + (" compiled" if compiled else ""),
        "arms": arms,
    }
    torch.compiler.reset()
    with lora.attach(model, arms, setup, [0] * arms) as stack:
        path = routes.route(model, setup.compiled)
        begun = now()
        short = [stream(setup, SHAPES[name][5], WARM, arm) for arm in range(arms)]
        training.train(stack, short, setup, None, path)
        warmed = now()
        training.train(stack, short, setup, None, path)
        step = (now() - warmed) / WARM
        steps = max(WARM, min(tokens // each, int((until - now()) / (1.2 * step))))
        longer = [stream(setup, SHAPES[name][5], steps, arm) for arm in range(arms)]
        start = now()
        training.train(stack, longer, setup, None, path)
        taken = (now() - start) / steps
    return {
        **told,
        "tokens": each,
        "ms": round(1e3 * taken, 1),
        "tokens_per_second": round(arms * each / taken),
        "steps_run": steps,
        "warm_seconds": round(warmed - begun, 1),
        "whole_seconds": round(warmed - begun + seeds * (tokens / each) * taken, 1),
    }


def table(lines: list[dict[str, Any]]) -> Table:
    shown = Table(title="tokens/s of all arms together")
    columns = (
        *("model", "way", "arms", "tokens", "ms", "tokens_per_second", "against_peft", "mfu", "peak_gb"),
        *("warm_seconds", "whole_seconds", "left_out"),
    )
    for column in columns:
        shown.add_column(column.replace("_", " "), justify="left" if column in ("model", "way") else "right")
    for line in lines:
        shown.add_row(*("" if line.get(column) is None else str(line[column]) for column in columns))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["135m", "0.5b"], choices=sorted(SHAPES))
    parser.add_argument("--minutes", type=float, default=9.0, help="after which nothing more is begun")
    parser.add_argument("--peak", type=float, default=989e12, help="FLOP/s of the GPU in bf16, dense")
    parser.add_argument("--toy", action="store_true", help="a toy on any machine, in seconds")
    given = parser.parse_args()
    if not CUDA and not given.toy:
        sys.exit("no GPU here: --toy runs the same code at toy size on the CPU")
    if CUDA:
        torch.set_float32_matmul_precision("high")
    torch.set_num_threads(1)
    names, lines = (["toy"] if given.toy else given.models), []
    end, share = time.perf_counter() + 60 * given.minutes, 60 * given.minutes / len(names)
    for number, name in enumerate(names):
        until = end - (len(names) - 1 - number) * share
        model, of_peft = base(name), {}
        setup = Setup(
            base=name,
            length=TOY_LENGTH if given.toy else LENGTH,
            rows=2,
            tokens=0,
            rate=1e-3,
            device="cuda" if CUDA else "cpu",
            dtype="bfloat16" if CUDA else "float32",
        )
        for way, compiled, arms, tokens in cells(given.toy):
            if time.perf_counter() > until - 0.15 * share:  # the rest is for the whole tune
                lines.append({"model": name, "way": way, "arms": arms, "tokens": tokens, "left_out": "time"})
                continue
            chosen = replace(setup, rows=tokens // setup.length, compiled=compiled)
            line = cell(name, model, chosen, way, arms, 2 if given.toy else STEPS, given.peak)
            if way == "peft":
                of_peft[tokens] = line.get("tokens_per_second")
            elif of_peft.get(tokens) and "tokens_per_second" in line:
                line["against_peft"] = round(line["tokens_per_second"] / of_peft[tokens], 2)
            lines.append(line)
            print(json.dumps(line), flush=True)
        rows = replace(setup, rows=2 if given.toy else 4096 // LENGTH)
        lines.append(whole(name, model, rows, time.perf_counter() if given.toy else until, CUDA))
        print(json.dumps(lines[-1]), flush=True)
        del model
    Console(width=160).print(table(lines))
    if out := os.environ.get("OUT"):
        Path(out, "tune_gpu.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
