"""Many LoRA adapters on one frozen model: what PEFT does for one run, done for K runs at once.

LoRA (Hu et al. 2021, arXiv 2106.09685) adds a product of two small matrices to a linear map:
``y = W x + (alpha / rank) B A x``. A stack holds K such pairs for every ``nn.Linear`` but the output head (PEFT's
``target_modules="all-linear"``), as ``A[K, rank, in]`` and ``B[K, out, rank]``. A batch is arm-major,
``[K * rows, length]``: row block k goes through pair k. Arms never mix, so a stack's runs are those of K separate
trainings up to rounding (tests/test_tune_lora.py asserts it against PEFT).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from curate.errors import RecipeError
from curate.tuning.contract import Setup

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


class StackedLinear(nn.Module):  # type: ignore[misc]
    """A frozen linear map with one pair of LoRA matrices for each arm."""

    def __init__(self, base: nn.Linear, down: torch.Tensor, up: torch.Tensor, scale: float) -> None:
        super().__init__()
        self.base = base
        self.A = nn.Parameter(down)  # [arms, rank, in]
        self.B = nn.Parameter(up)  # [arms, out, rank]
        self.scale = scale
        self.merged = False  # the pair is in the frozen weight for the moment

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [arms * rows, ..., in] to [arms * rows, ..., out]."""
        linear = self.base
        if self.merged:
            return linear(x)
        product: torch.Tensor = _Adapted.apply(
            x, linear.weight, linear.bias, self.A.to(x.dtype), self.B.to(x.dtype), self.scale
        )
        return product


class _Adapted(torch.autograd.Function):  # type: ignore[misc]
    """``x W' + bias + scale (x A') B'`` in as few passes over memory as its gradients allow.

    It is what autograd would derive by itself, with the sums done in place.
    """

    @staticmethod
    def forward(
        held: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        arms = len(down)
        rows = x.reshape(arms, -1, x.shape[-1])
        if arms == 1:  # plain products are faster than batches of one
            flat, low = rows[0], torch.mm(rows[0], down[0].t())
            y = functional.linear(flat, weight, bias).addmm_(low, up[0].t(), alpha=scale)
        else:
            low = torch.bmm(rows, down.transpose(1, 2))
            y = functional.linear(rows, weight, bias).baddbmm_(low, up.transpose(1, 2), alpha=scale)
        held.save_for_backward(rows, low, weight, down, up)
        held.scale = scale
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(held: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, low, weight, down, up = held.saved_tensors
        shape, arms, of_x = gradient.shape, len(down), None
        if arms == 1:
            flat = gradient.reshape(-1, shape[-1])
            of_low = torch.mm(flat, up[0]).mul_(held.scale)
            of_up = torch.mm(flat.t(), low).mul_(held.scale)[None]
            of_down = torch.mm(of_low.t(), rows[0])[None]
            if held.needs_input_grad[0]:
                of_x = torch.mm(flat, weight).addmm_(of_low, down[0])
        else:
            flat = gradient.reshape(arms, -1, shape[-1])
            of_low = torch.bmm(flat, up).mul_(held.scale)
            of_up = torch.bmm(flat.transpose(1, 2), low).mul_(held.scale)
            of_down = torch.bmm(of_low.transpose(1, 2), rows)
            if held.needs_input_grad[0]:
                of_x = torch.matmul(flat, weight).baddbmm_(of_low, down)
        if of_x is not None:
            of_x = of_x.view(*shape[:-1], -1)
        return of_x, None, None, of_down, of_up, None


@dataclass
class Stack:
    """A model whose linear maps hold the adapters of several arms.

    All matrices live in one tensor, so that an optimiser's step is a handful of operations whatever the number of
    layers.
    """

    model: Any  # transformers.PreTrainedModel
    arms: int
    layers: dict[str, StackedLinear]
    weights: torch.Tensor  # [arms, n] float32, or float64

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.detach()

    def reset(self, setup: Setup, seeds: Sequence[int]) -> None:
        """Set every arm to the start of a training: A drawn, B zero. One seed for each arm."""
        if len(seeds) != self.arms:
            raise ValueError(f"{len(seeds)} seeds for {self.arms} arms")
        with torch.no_grad():
            self.weights.zero_()
            for name, layer in self.layers.items():
                drawn = {seed: initial(seed, name, setup.rank, layer.base.in_features) for seed in seeds}
                layer.A.copy_(torch.stack([drawn[seed] for seed in seeds]))

    def gradients(self) -> torch.Tensor:
        """Return the gradients as the weights lie [arms, n], and forget them; zero where nothing was learnt."""
        matrices = [matrix for layer in self.layers.values() for matrix in (layer.A, layer.B)]
        parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in matrices]
        for each in matrices:
            each.grad = None
        return torch.cat([part.flatten(1) for part in parts], 1)

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Add the only arm's product to the frozen weights for a while: asking such a model costs what the base costs.

        A stack of several arms stays as it is, and so does a base of 16 bits, whose weights are too coarse for it.
        Afterwards the weights are those from before, bit by bit.
        """
        before = {}
        try:
            for name, layer in self.layers.items() if self.arms == 1 else ():
                weight = layer.base.weight.data
                if weight.dtype == layer.A.dtype:
                    before[name] = weight
                    layer.base.weight.data = torch.addmm(
                        weight, layer.B[0].detach(), layer.A[0].detach(), alpha=layer.scale
                    )
                    layer.merged = True
            yield
        finally:
            for name, weight in before.items():
                self.layers[name].base.weight.data, self.layers[name].merged = weight, False

    def detach(self) -> None:
        """Give the model its own linear maps back, untouched."""
        for name, layer in self.layers.items():
            _replace(self.model, name, layer.base)


def attach(model: Any, arms: int, setup: Setup, seeds: Sequence[int]) -> Stack:
    """Put the adapters of several arms on a frozen model, at the start of a training.

    :param seeds: [arms] an arm's A is drawn from its seed and the layer's name alone: arms of one seed begin alike
    :raises RecipeError: the model has parts that cannot be stacked; the executor ``peft`` trains it
    """
    if reason := unstackable(model):
        raise RecipeError(
            f"tune: base {setup.base}: {reason}, so runs cannot be stacked: use --executor peft"
        )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    targets = dict(linears(model))
    first = next(iter(targets.values())).weight
    dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
    total = sum(setup.rank * (base.in_features + base.out_features) for base in targets.values())
    weights = torch.zeros(arms, total, dtype=dtype, device=first.device)
    layers, end = {}, 0
    for name, base in targets.items():
        views = []
        for shape in ((arms, setup.rank, base.in_features), (arms, base.out_features, setup.rank)):
            begin, end = end, end + shape[1] * shape[2]
            views.append(weights[:, begin:end].view(shape))
        layers[name] = StackedLinear(base, views[0], views[1], scale=setup.alpha / setup.rank)
        _replace(model, name, layers[name])
    stack = Stack(model, arms, layers, weights)
    stack.reset(setup, seeds)
    return stack


def initial(seed: int, layer: str, rank: int, width: int) -> torch.Tensor:
    """Return a first A [rank, width], float32: PEFT's Kaiming-uniform with a = sqrt(5), which is U(-b, b) with
    b = 1 / sqrt(width).

    Drawn by numpy from a hash of seed and layer, so that it is the same on every device and in every executor.
    """
    digest = hashlib.sha256(f"{seed}/{layer}".encode()).digest()
    drawn = np.random.Generator(np.random.PCG64(int.from_bytes(digest))).random(
        (rank, width), dtype=np.float32
    )
    return torch.from_numpy((drawn * 2 - 1) / np.float32(math.sqrt(width)))


def linears(model: Any) -> Iterable[tuple[str, nn.Linear]]:
    """Return the linear maps that get an adapter, by name: all but the output head."""
    head = model.get_output_embeddings()
    return (
        (name, module)
        for name, module in model.named_modules()
        if type(module) is nn.Linear and module is not head
    )


def unstackable(model: Any) -> str | None:
    """Return why a model's runs cannot be stacked, or None where they can."""
    if getattr(model.config, "quantization_config", None):
        return "its weights are quantised"
    if any((getattr(model.config, name, None) or 0) > 1 for name in _EXPERTS):
        return "it is a mixture of experts"
    if getattr(model.config, "is_encoder_decoder", False) or model.get_output_embeddings() is None:
        return "it is no decoder with an output head"
    others = {type(m).__name__ for m in model.modules() if type(m).__name__ == "Conv1D"}
    others |= {
        type(m).__name__ for m in model.modules() if isinstance(m, nn.Linear) and type(m) is not nn.Linear
    }
    if others:
        return f"its linear maps are of the kind {', '.join(sorted(others))}"
    return None if any(True for _ in linears(model)) else "it has no linear maps"


def _replace(model: Any, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
