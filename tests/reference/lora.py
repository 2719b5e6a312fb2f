"""The slow twin of curate.tuning.lora and curate.tuning.training: one run, PEFT, torch's AdamW, whole logits."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional

from curate.tuning.contract import Setup, Stream


def first(seed: int, layer: str, rank: int, width: int) -> torch.Tensor:
    """The A that a run begins with: uniform in (-1, 1) / sqrt(width), from a hash of seed and layer."""
    number = int(hashlib.sha256(f"{seed}/{layer}".encode()).hexdigest(), 16)
    drawn = np.random.Generator(np.random.PCG64(number)).random((rank, width), dtype=np.float32)
    return torch.tensor((2 * drawn - 1) / np.float32(np.sqrt(width)))


def train(model: Any, stream: Stream, setup: Setup, seed: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Train one run; return its matrices by "<layer>.A" and "<layer>.B", and the loss of each step."""
    told = LoraConfig(
        r=setup.rank,
        lora_alpha=setup.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    wrapped = get_peft_model(model, told)
    layers = {
        name.removeprefix("base_model.model."): module
        for name, module in wrapped.named_modules()
        if "default" in getattr(module, "lora_A", {})
    }
    for name, module in layers.items():
        module.lora_A["default"].weight.data.copy_(first(seed, name, setup.rank, module.in_features))
    learning = [parameter for parameter in wrapped.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW(learning, lr=setup.rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    steps, curve = len(stream.ids), []
    warm = max(1, round(setup.warmup * steps))  # steps of warm-up
    for step in range(steps):
        ids, labels, positions = (
            torch.from_numpy(array[step].astype(np.int64))
            for array in (stream.ids, stream.labels, stream.positions)
        )
        logits = wrapped(input_ids=ids, position_ids=positions, use_cache=False).logits
        loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, setup.clip)
        share = (step + 1) / warm if step < warm else (steps - step) / (steps - warm)
        adam.param_groups[0]["lr"] = setup.rate * share
        adam.step()
        adam.zero_grad()
        curve.append(float(loss.detach()))
    found = {}
    for name, module in layers.items():
        found[f"{name}.A"] = module.lora_A["default"].weight.detach()
        found[f"{name}.B"] = module.lora_B["default"].weight.detach()
    return found, curve
