"""Training on streams of packed rows: what a step reads, the loss of each arm, AdamW for all arms at once.

A row holds several texts; a token sees its own text alone (:mod:`curate.tuning.routes`). Only the places whose
next token is learnt reach the output head, some thousands at a time, so that the logits of a whole batch never
exist. Dropout is off: the model stays in evaluation mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from curate.errors import StageError
from curate.tuning import routes
from curate.tuning.contract import Floats, Setup, Stream
from curate.tuning.lora import Stack
from curate.tuning.routes import Route
from curate.tuning.streams import alone

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # AdamW's defaults (Loshchilov & Hutter 2019); no weight decay
_HEAD_NUMBERS = 1 << 18  # logits per product on a CPU: 1 MB in float32, which stays in a core's cache
_HEAD_NUMBERS_GPU = (
    1 << 29
)  # 2 GB there, so that a large vocabulary does not fill it: 16k places of one of 32k
_LOOK = 16  # steps between looks at a GPU's losses: each look waits for the GPU


@dataclass(frozen=True)
class Batch:
    """One step of several arms, arm-major, on the device."""

    ids: torch.Tensor  # [arms * rows, length]
    positions: torch.Tensor  # [arms * rows, length]
    places: torch.Tensor  # [n] of the flattened rows: where the next token is learnt
    targets: torch.Tensor  # [n] that token
    arm: torch.Tensor  # [n] number of the place's arm
    shares: torch.Tensor  # [n] one by the number of learnt tokens of the place's arm


def batches(streams: Sequence[Stream], device: str, apart: bool = False) -> Iterator[Batch]:
    """Return the steps of several streams side by side; a stream that has ended learns nothing any more.

    :param apart: lay every text into a row of its own, for bases that cannot keep texts of one row apart
    """
    for step in range(max(len(stream.ids) for stream in streams)):
        ids, labels, positions = (
            np.concatenate([getattr(s, name)[min(step, len(s.ids) - 1)] for s in streams])
            for name in ("ids", "labels", "positions")
        )
        if apart:
            ids, labels, positions = alone(ids, labels, positions, len(streams))
        # A text's first token follows another text's last one: nothing can be learnt of it.
        learnt = (labels[:, 1:] >= 0) & (positions[:, 1:] > 0)
        going = np.repeat([step < len(stream.ids) for stream in streams], len(ids) // len(streams))
        row, column = np.nonzero(learnt & going[:, None])
        arm = row // (len(ids) // len(streams))
        counts = np.bincount(arm, minlength=len(streams))
        yield Batch(
            _moved(ids, device),
            _moved(positions, device),
            _moved(row * ids.shape[1] + column, device),
            _moved(labels[row, column + 1], device),
            _moved(arm, device),
            _moved(1.0 / counts[arm], device, torch.float64),
        )


def _moved(array: Any, device: str, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    held = torch.from_numpy(np.ascontiguousarray(array)).to(dtype)
    return held if device == "cpu" else held.pin_memory().to(device, non_blocking=True)


def losses(path: Route, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum over arms of each arm's mean loss, to be differentiated, and the nats of each place [n]."""
    asked = routes.asked(path, batch.ids, batch.positions)
    head = path.model.get_output_embeddings()
    if path.decoder is not None:
        hidden = path.decoder(**asked).last_hidden_state
        learnt = hidden.reshape(-1, hidden.shape[-1]).index_select(0, batch.places)
        total, nats = _Head.apply(learnt, head.weight, head.bias, batch.targets, batch.shares)
        return total, nats
    hook = head.register_forward_pre_hook(
        lambda _, given: (given[0].reshape(-1, given[0].shape[-1]).index_select(0, batch.places),)
    )
    try:
        logits = path.model(**asked).logits
    finally:
        hook.remove()
    logits = logits.reshape(-1, logits.shape[-1])
    nats = functional.cross_entropy(logits.to(_wide(logits)), batch.targets, reduction="none")
    return (nats * batch.shares.to(nats.dtype)).sum(), nats.detach()


def _wide(tensor: torch.Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


class _Head(torch.autograd.Function):  # type: ignore[misc]
    """Cross-entropy after the frozen output head, some places at a time, with the gradient taken on the way.

    The head learns nothing, so the gradient of the hidden states is known as soon as the logits are: these are
    dropped at once, as in Liger's fused loss (Hsu et al. 2024, arXiv 2410.10989).
    """

    @staticmethod
    def forward(
        held: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        shares: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wide = _wide(hidden)
        shares = shares.to(wide)
        rows = max(1, (_HEAD_NUMBERS_GPU if hidden.is_cuda else _HEAD_NUMBERS) // len(weight))
        nats, gradient = hidden.new_empty(len(hidden), dtype=wide), torch.empty_like(hidden)
        for begin in range(0, len(hidden), rows):
            part = slice(begin, begin + rows)
            logits = functional.linear(hidden[part], weight, bias).to(wide)
            target = targets[part, None]
            told = functional.log_softmax(logits, -1)
            nats[part] = told.gather(1, target)[:, 0].neg_()
            told.exp_().scatter_add_(1, target, told.new_full(target.shape, -1.0))
            told.mul_(shares[part, None])
            torch.mm(told.to(hidden.dtype), weight, out=gradient[part])
        held.save_for_backward(gradient)
        held.mark_non_differentiable(nats)
        return (nats * shares).sum(), nats

    @staticmethod
    def backward(held: Any, of_total: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = held.saved_tensors
        return gradient * of_total.to(gradient.dtype), None, None, None, None


class Adam:
    """AdamW without decay for every arm of a stack, each clipped by the norm of its own gradient."""

    def __init__(self, stack: Stack, setup: Setup) -> None:
        self._stack, self._clip, self._step = stack, setup.clip, 0
        self._mean, self._square = torch.zeros_like(stack.weights), torch.zeros_like(stack.weights)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, rates: torch.Tensor) -> None:
        """Go one step with each arm's learning rate [arms, 1], and forget the gradients."""
        self._step += 1
        gradients = self._stack.gradients()
        norm = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        gradients.mul_((self._clip / (norm + 1e-6)).clamp_(max=1.0))  # as torch.nn.utils.clip_grad_norm_
        self._mean.lerp_(gradients, 1 - _BETAS[0])
        self._square.mul_(_BETAS[1]).addcmul_(gradients, gradients, value=1 - _BETAS[1])
        spread = self._square.sqrt().div_(math.sqrt(1 - _BETAS[1] ** self._step)).add_(_EPSILON)
        torch.div(self._mean, spread, out=gradients)
        self._stack.weights.addcmul_(gradients, rates / (1 - _BETAS[0] ** self._step), value=-1)


def factors(steps: int, warmup: float) -> Floats:
    """Return the share of the learning rate in each step: up in a line over the first ``warmup``, then down to 0."""
    warm = max(1, round(warmup * steps))
    step = np.arange(steps, dtype=np.float64)
    return np.minimum((step + 1) / warm, (steps - step) / max(1, steps - warm))


def train(
    stack: Stack,
    streams: Sequence[Stream],
    setup: Setup,
    tick: Callable[[float], None] | None = None,
    path: Route | None = None,
) -> Floats:
    """Train every arm of a stack on its stream; streams may differ in length.

    :param tick: is told the share of the steps that is done
    :param path: of an earlier training of the same model, compiled perhaps
    :return: [arms, steps] mean loss per learnt token in nats; nan where an arm has ended or learns nothing
    :raises StageError: a loss is no number any more
    """
    path = path or routes.route(stack.model, setup.compiled)
    device = stack.weights.device.type
    steps = [len(stream.ids) for stream in streams]
    rates = np.zeros((max(steps), stack.arms, 1))
    for arm, own in enumerate(steps):
        rates[:own, arm, 0] = setup.rate * factors(own, setup.warmup)
    on_device = _moved(rates, device, stack.weights.dtype)
    adam = Adam(stack, setup)
    curve = torch.zeros(max(steps), stack.arms, dtype=torch.float64, device=device)
    counted = torch.zeros_like(curve)
    for step, batch in enumerate(batches(streams, device, path.apart)):
        total, nats = losses(path, batch)
        total.backward()
        adam.step(on_device[step])
        curve[step].index_add_(0, batch.arm, nats.double() * batch.shares)
        counted[step].index_add_(0, batch.arm, batch.shares)
        if looked_at(step, max(steps), device):
            check(curve[step], step)
            if tick is not None:
                tick((step + 1) / max(steps))
    told = torch.where(counted > 0, curve, math.nan).T
    return np.ascontiguousarray(told.cpu().numpy())


def looked_at(step: int, steps: int, device: str) -> bool:
    """Tell whether a step's loss is read: on a GPU seldom, since the CPU must wait for it."""
    return device == "cpu" or step % _LOOK == 0 or step + 1 == steps


def check(loss: torch.Tensor, step: int) -> None:
    """Raise StageError where a loss is no number any more: later ones are none either."""
    if not bool(torch.isfinite(loss).all()):
        raise StageError(
            f"a run's loss is no number at step {step + 1}: it diverged, try a smaller learning rate"
        )
