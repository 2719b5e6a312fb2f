"""One run at a time through PEFT and torch's own AdamW.

The reference that stacks are compared with, and the way for bases that cannot be stacked: mixtures of experts, Conv1D
as in GPT-2, quantised weights. A run begins with the same matrices as in every other executor.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.errors import MissingExtra
from curate.tuning import bench as benches
from curate.tuning.contract import Floats, Run, Setup, Stream
from curate.tuning.executors import group

if TYPE_CHECKING:
    from curate.tuning.executors import Tick


class Peft:
    """The executor ``peft``."""

    name = "peft"

    def __init__(self, base: Any) -> None:
        self._base = base

    def train(self, folder: Path, runs: Sequence[Run], tick: Tick) -> Iterator[Run]:
        """Do the runs that are not done, one after the other."""
        for run in benches.unfinished(folder, runs):
            _do(group.place(folder, self._base), run, tick)
            yield run


def _do(here: group.Place, run: Run, tick: Tick) -> None:
    from curate.tuning import adapters
    from curate.tuning.measure import measure

    setup, begun = here.bench.setup, here.clock()
    here.free()
    stream = here.stream(run)
    wrapped = wrap(here.model, setup, run.seed if setup.paired else group.drawn(run))
    try:
        curve = fit(wrapped, stream, setup, lambda share: tick(run, group.TRAINING * share))
        trained = here.clock()
        (values,) = measure(wrapped.get_base_model(), 1, here.bench, [run.seed])
        seconds = {"train": trained - begun, "measure": here.clock() - trained}
        room = benches.room(here.folder, run)
        if setup.adapters:
            about = adapters.told(setup, here.base, sorted(wrapped.targeted_module_names))
            about["fan_in_fan_out"] = wrapped.peft_config["default"].fan_in_fan_out
            adapters.write(room / benches.ADAPTER, _state(wrapped), about)
        here.commit(run, stream, curve, values, seconds, 1, room)
    finally:
        here.model = wrapped.unload()
    tick(run, 1.0)


def wrap(model: Any, setup: Setup, seed: int) -> Any:
    """Return PEFT's wrapper of a frozen model, at the start of a training."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingExtra.of("fine-tunes", "tune") from None
    import torch

    from curate.tuning.lora import initial

    conv = any(type(module).__name__ == "Conv1D" for module in model.modules())
    told = LoraConfig(
        r=setup.rank,
        lora_alpha=setup.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        fan_in_fan_out=conv,  # such modules hold their weights transposed
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # between PEFT and transformers, none of the user's business
        wrapped = get_peft_model(model, told).eval()
    with torch.no_grad():
        for name, module in wrapped.get_base_model().named_modules():
            if "default" in getattr(module, "lora_A", {}):
                first = module.lora_A["default"].weight
                first.copy_(initial(seed, name, setup.rank, first.shape[1]))
    return wrapped


def fit(wrapped: Any, stream: Stream, setup: Setup, tick: Callable[[float], None]) -> Floats:
    """Train a wrapped model on a stream; return the loss of each step [steps].

    :raises StageError: a loss is no number any more
    """
    import torch

    from curate.tuning import routes, training

    learning = [parameter for parameter in wrapped.parameters() if parameter.requires_grad]
    device = learning[0].device.type
    adam = torch.optim.AdamW(learning, lr=setup.rate, weight_decay=0.0)
    path = routes.route(wrapped.get_base_model())
    factors, curve = training.factors(len(stream.ids), setup.warmup), []
    for step, batch in enumerate(training.batches([stream], device, path.apart)):
        adam.param_groups[0]["lr"] = setup.rate * factors[step]
        total, _ = training.losses(path, batch)
        total.backward()
        torch.nn.utils.clip_grad_norm_(learning, setup.clip)
        adam.step()
        adam.zero_grad()
        curve.append(total.detach() if len(batch.places) else total.new_full((), np.nan))
        if training.looked_at(step, len(factors), device):
            if len(batch.places):
                training.check(curve[-1], step)
            tick((step + 1) / len(factors))
    return np.asarray(torch.stack(curve).double().cpu().numpy())


def _state(wrapped: Any) -> dict[str, Any]:
    from peft import get_peft_model_state_dict

    return dict(get_peft_model_state_dict(wrapped))
