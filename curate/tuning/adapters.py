"""A run's adapter in PEFT's file format, so that ``PeftModel.from_pretrained(model, folder)`` loads it.

The same adapter gives the same bytes: keys are sorted, and nothing tells of time or place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from curate.tuning.contract import Setup
from curate.tuning.lora import Stack

WEIGHTS, TOLD = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."  # what PEFT's wrapper puts before the model's own names


def save(stack: Stack, place: int, folder: Path, setup: Setup, base: Any) -> None:
    """Write the adapter of one arm of a stack into a new folder.

    :param place: number of the arm
    :param base: curate.tuning.base.Base that it sits on
    """
    tensors = {}
    for name, layer in stack.layers.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = layer.A[place]
        tensors[f"{PREFIX}{name}.lora_B.weight"] = layer.B[place]
    write(folder, tensors, told(setup, base, targets(stack.model, set(stack.layers))))


def told(setup: Setup, base: Any, adapted: list[str]) -> dict[str, Any]:
    """Return adapter_config.json (peft.LoraConfig; what is left out has PEFT's default)."""
    return {
        "base_model_name_or_path": Path(base.name).name if base.kind == "path" else base.name,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": setup.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": setup.rank,
        "revision": getattr(base, "commit", None),
        "target_modules": adapted,
        "task_type": "CAUSAL_LM",
    }


def targets(model: Any, adapted: set[str]) -> list[str]:
    """Return names that mean these modules and no others to PEFT: last parts, or where these are ambiguous, all."""
    last = {name.rpartition(".")[2] for name in adapted}
    meant = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in last}
    return sorted(last if meant == adapted else adapted)


def write(folder: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write an adapter's two files."""
    from safetensors.torch import save

    folder.mkdir(parents=True)
    held = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    (folder / WEIGHTS).write_bytes(save(held, metadata={"format": "pt"}))
    (folder / TOLD).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
