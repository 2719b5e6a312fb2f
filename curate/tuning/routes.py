"""How packed rows go through a model: found out by trial, since transformers' models differ.

A row holds several texts, each of which must be answered as it is alone. By a mask of ours, or one that transformers
makes from the positions, most models do so. Those that read no positions (ALiBi, convolutions, states that are
carried along) do not: they are given one text per row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from curate.errors import RecipeError

_WANTS_OTHER_THINGS = (TypeError, ValueError, RuntimeError, AttributeError, IndexError)  # a forward that does


@dataclass(frozen=True)
class Route:
    """How a model is asked for the losses of learnt tokens, found by trial (see :func:`route`)."""

    model: Any
    decoder: Any | None  # tokens → hidden states; None where the head is more than one linear map
    masked: bool  # takes a mask of ours: without, transformers makes one from the positions in every step
    apart: bool = False  # one text per row: in a row of several, a text would see those before it


def route(model: Any, compiled: bool = False) -> Route:
    """Find out how much of a model can be gone around without a change of its answers.

    :raises RecipeError: the base cannot be trained so, or its answers cannot be continued
    """
    decoder = model.base_model if model.base_model is not model else None
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    full = set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    ways = [False]
    if full and not window and getattr(config, "_attn_implementation", "") in ("sdpa", "eager"):
        ways = [True, False]
    device = next(model.parameters()).device
    ids = torch.arange(12, device=device).reshape(1, -1).repeat(_arms(model), 1) % config.vocab_size
    positions = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6], device=device).expand_as(ids)
    with torch.no_grad():
        truth = _asked_alone(model, (ids[:, :5], ids[:, 5:]))
        masked = next(
            (way for way in ways if _separate(Route(model, None, way), ids, positions, truth)), None
        )
        if apart := masked is None:
            positions = torch.arange(12, device=device).expand_as(ids)
        plain = Route(model, None, bool(masked), apart)
        truth = _logits(plain, ids, positions)
        whole = replace(plain, decoder=decoder)
        if decoder is not None and not _agrees(truth, lambda: _logits(whole, ids, positions)):
            decoder = None
    if compiled and decoder is not None and not apart:  # rows of one text have another shape in every step
        decoder = torch.compile(decoder, dynamic=False)
    return replace(plain, decoder=decoder)


def _asked_alone(model: Any, texts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the logits of texts that are asked about one by one, side by side."""
    try:
        found = [model(input_ids=ids, use_cache=True) for ids in texts]
    except (
        AttributeError
    ) as error:  # reads the weights of a linear map that it does not call, as Mamba's kernels
        raise RecipeError(
            "tune: the base goes around its own linear maps, so adapters on them would not be heard; take a base "
            f"whose layers are attention ({type(error).__name__}: {error})"
        ) from error
    if any(getattr(each, "past_key_values", None) is None for each in found):
        raise RecipeError(
            f"tune: a base of the kind {model.config.model_type} keeps no keys and values, so that its answers cannot "
            "be continued; take one whose layers are attention"
        )
    return torch.cat([each.logits for each in found], 1)


def _separate(path: Route, ids: torch.Tensor, positions: torch.Tensor, truth: torch.Tensor) -> bool:
    """Tell whether a row's second text is answered as it is alone, and alike whatever the first one says.

    The same shapes are asked twice, so the second is seen sharply in 16 bits too, where the first is not.
    """
    try:
        found = _logits(path, ids, positions)
        other = _logits(path, torch.cat([ids.flip(1)[:, :5], ids[:, 5:]], 1), positions)
    except _WANTS_OTHER_THINGS:
        return False
    narrow = truth.dtype in (torch.bfloat16, torch.float16)
    same = _apart_by(found[:, 5:], other[:, 5:]) < (0.01 if narrow else 1e-4)
    return same and _apart_by(found, truth) < (0.1 if narrow else 1e-3)


def _apart_by(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return how far apart logits are, as a share of how much they vary over the vocabulary."""
    one, other = one.double(), other.double()
    varies = torch.linalg.vector_norm(other - other.mean(-1, keepdim=True))
    return float(torch.linalg.vector_norm(one - other) / varies.clamp(min=1e-30))


def _arms(model: Any) -> int:
    return max((len(module.A) for module in model.modules() if hasattr(module, "A")), default=1)


def _agrees(truth: torch.Tensor, answer: Callable[[], torch.Tensor]) -> bool:
    try:
        found = answer()
    except _WANTS_OTHER_THINGS:
        return False
    near = 0.02 if truth.dtype == torch.bfloat16 else 1e-4
    return found.shape == truth.shape and bool(torch.allclose(found, truth, rtol=near, atol=near))


def asked(path: Route, ids: torch.Tensor, positions: torch.Tensor) -> dict[str, Any]:
    """Return what a model is given for packed rows [rows, length]."""
    told: dict[str, Any] = {"input_ids": ids, "position_ids": positions, "use_cache": False}
    if path.masked:
        told["attention_mask"] = mask(positions, path.model.dtype)
    return told


def _logits(path: Route, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    told = asked(path, ids, positions)
    if path.decoder is None:
        return path.model(**told).logits
    return path.model.get_output_embeddings()(path.decoder(**told).last_hidden_state)


def mask(positions: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what attention adds [rows, 1, length, length]: 0 within a text and backwards, else minus infinity."""
    text = (positions == 0).cumsum(1)
    length = positions.shape[1]
    backwards = torch.ones(length, length, dtype=torch.bool, device=positions.device).tril_()
    hidden = ~((text[:, :, None] == text[:, None, :]) & backwards)
    return torch.zeros(hidden.shape, dtype=dtype, device=positions.device).masked_fill_(hidden, -math.inf)[
        :, None
    ]
