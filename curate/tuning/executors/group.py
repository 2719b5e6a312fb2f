"""What every executor does with some runs: stream, train, measure, commit."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.tuning import bench as benches
from curate.tuning.contract import Floats, Result, Run, Stream

if TYPE_CHECKING:
    from curate.tuning.executors import Tick
    from curate.tuning.lora import Stack
    from curate.tuning.routes import Route

TRAINING = 0.8  # share of a run's work, about; measuring is the rest


class Place:
    """A bench and its base, loaded once and used for many runs."""

    def __init__(self, folder: Path, base: Any) -> None:
        import torch

        torch.set_num_threads(1)  # more wait for one another in vain; and the order of sums must not vary
        self.folder, self.base = folder, base
        self.bench = benches.load(folder)
        self.device = self.bench.setup.device
        self.model = base.model(self.bench.setup.dtype, self.device)
        self._held: tuple[Stack, Route] | None = None

    def stream(self, run: Run) -> Stream:
        """Return what a run trains on."""
        from curate.tuning import streams

        bench = self.bench
        members, raw = bench.arm(run.arm).of(run.seed), bench.arm("raw").of(run.seed)
        return streams.stream(bench.train, members, raw, bench.setup, run.seed, run.arm)

    def do(self, runs: Sequence[Run], wanted: Collection[Run], tick: Tick) -> list[Run]:
        """Do a stack of runs; commit those that are wanted, and return them in order."""
        from curate.tuning import adapters, training
        from curate.tuning.measure import measure

        setup, begun = self.bench.setup, self.clock()
        streams = [self.stream(run) for run in runs]
        seeds = [run.seed if setup.paired else drawn(run) for run in runs]

        def told(share: float) -> None:
            for run in wanted:
                tick(run, TRAINING * share)

        try:
            stack, path = self._stack(len(runs), seeds)
            curve = training.train(stack, streams, setup, told, path)
            trained = self.clock()
            with stack.merged():
                values = measure(self.model, len(runs), self.bench, [run.seed for run in runs])
        except BaseException:
            self.free()  # whatever happened, the next to come finds the model as it was
            raise
        seconds = {"train": trained - begun, "measure": self.clock() - trained}
        for place, run in enumerate(runs):
            if run in wanted:
                room = benches.room(self.folder, run)
                if setup.adapters:
                    adapters.save(stack, place, room / benches.ADAPTER, setup, self.base)
                self.commit(run, streams[place], curve[place], values[place], seconds, len(runs), room)
                tick(run, 1.0)
        return [run for run in runs if run in wanted]

    def _stack(self, arms: int, seeds: Sequence[int]) -> tuple[Stack, Route]:
        """Return a stack at its start: the last one again where it is as large, since compiling it took its time."""
        from curate.tuning import lora, routes

        setup = self.bench.setup
        if self._held is not None and self._held[0].arms == arms:
            self._held[0].reset(setup, seeds)
            return self._held
        self.free()
        stack = lora.attach(self.model, arms, setup, seeds)
        try:
            self._held = stack, routes.route(self.model, setup.compiled)
        except BaseException:
            stack.detach()
            raise
        return self._held

    def free(self) -> None:
        """Give the model its own linear maps back."""
        if self._held is not None:
            self._held[0].detach()
            self._held = None

    def commit(
        self,
        run: Run,
        stream: Stream,
        curve: Floats,
        values: dict[str, Floats],
        seconds: dict[str, float],
        arms: int,
        room: Path,
    ) -> None:
        """Enter what a run left; of a stack's seconds it has its share."""
        share = {name: value / arms for name, value in seconds.items()}
        own = curve[: len(stream.ids)]
        benches.commit(self.folder, Result(run, values, own, stream.tokens, stream.epochs, share), room)

    def clock(self) -> float:
        """Return CPU seconds; on a GPU seconds, since the CPU only waits."""
        if self.device == "cpu":
            return time.process_time()
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()


def drawn(run: Run) -> int:
    """Return a seed of the run's own, for setups whose arms share no random numbers."""
    import hashlib

    return int.from_bytes(hashlib.sha256(run.name.encode()).digest()[:7])


_held: tuple[Path, str, Place] | None = None


def place(folder: Path, base: Any) -> Place:
    """Return the place of a bench, the one of the last call where it is the same: workers do many runs."""
    global _held
    if _held is None or _held[:2] != (folder, base.sha256):
        _held = None  # lets the memory go first
        _held = folder, base.sha256, Place(folder, base)
    return _held[2]
