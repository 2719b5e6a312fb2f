"""One trial: a corpus in tokens, on a bench, trained by an executor; what comes back are values per metric.

The bench lies in a folder whose name is a hash of all that the runs depend on, so a stopped trial goes on where it was
and another one starts anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from curate.errors import RecipeError
from curate.software import software
from curate.tuning import bench as benches
from curate.tuning.bench import Bench
from curate.tuning.contract import Arm, Corpus, Encoded, Floats, Item, Run, Setup
from curate.tuning.options import Asked

if TYPE_CHECKING:
    from curate.tuning.base import Base
    from curate.tuning.measure.probes import Probes

LEAST_ITEMS = 20  # below it a mean over items says nothing


@dataclass(frozen=True)
class Watch:
    """Callbacks for progress displays; every one may be left out."""

    begin: Callable[[str, int], None] = lambda title, total: None
    advance: Callable[[str], None] = lambda name: None
    end: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Trial:
    """What is trained and asked, ready to be put on a bench."""

    corpus: Corpus  # its items are those that fit a row
    base: Base
    bench: Bench
    key: str  # hash of all that its runs depend on

    def at_rate(self, rate: float, arms: Collection[str]) -> Trial:
        """Return the same trial at another learning rate: of the arms named, and those that all are compared with.

        Only losses are asked for, since only they are compared.
        """
        setup = replace(self.bench.setup, rate=rate, adapters=False)
        named = [arm for arm in self.bench.arms if arm.name in arms or arm.kind in ("raw", "random", "full")]
        again = self.under(setup, named)
        return replace(again, bench=replace(again.bench, probes=_losses_alone(self.bench.probes)))

    def under(self, setup: Setup, arms: Sequence[Arm] | None = None) -> Trial:
        """Return the same trial with another setup, and only some of its arms."""
        bench = replace(self.bench, setup=setup, arms=tuple(arms or self.bench.arms))
        return replace(self, bench=bench, key=_key(self.corpus, self.base, bench))


@dataclass(frozen=True)
class Values:
    """What the runs of a trial left."""

    metrics: Mapping[str, Floats]  # metric → [arms, seeds, units]
    curves: Mapping[str, list[Floats]]  # arm → per seed, [steps]
    tokens: Mapping[str, int]  # arm → of the first seed
    epochs: Mapping[str, float]
    seconds: Mapping[str, dict[str, float]]  # arm → CPU seconds, all seeds
    folder: Path  # of the bench


def prepare(corpus: Corpus, base: Base, setup: Setup, seeds: Sequence[int], **probing: Any) -> Trial:
    """Put a corpus into tokens. Raises RecipeError where too little is left to measure with.

    Items whose response does not fit a row leave the hold-out, training texts stay without tokens; both are counted in
    ``counts["too_long"]``. probing: what :func:`curate.tuning.measure.probes.build` is told besides.
    """
    from curate.tuning.encoding import encode
    from curate.tuning.measure.probes import build

    train = encode(base, corpus.texts, setup.length)
    held = encode(base, [item.text for item in corpus.items], setup.length)
    if (known := getattr(base, "vocabulary", 0)) and max(
        train.ids.max(initial=0), held.ids.max(initial=0)
    ) >= known:
        raise RecipeError(
            f"base {base.name!r}: its tokenizer writes tokens beyond the {known:,} that the model has embeddings "
            "of; name a base whose tokenizer is its own"
        )
    fits = held.lengths > 0
    items = tuple(item for item, fit in zip(corpus.items, fits, strict=True) if fit)
    if len(items) < LEAST_ITEMS:
        raise RecipeError(
            f"tune: {len(items)} held-out records of {len(corpus.items)} fit {setup.length} tokens; at least "
            f"{LEAST_ITEMS} are needed: raise --heldout (at most a fifth of the different records is held out), take a "
            "base that reads longer texts, or a larger release"
        )
    raw = next(arm for arm in corpus.arms if arm.kind == "raw").of(seeds[0])
    if not (train.lengths[raw] > 0).any():
        raise RecipeError(
            f"tune: no record's response fits {setup.length} tokens; take a base that reads longer texts"
        )
    too_long = int((train.lengths[raw] == 0).sum() + (~fits).sum())
    corpus = replace(
        corpus, items=items, counts={**corpus.counts, "too_long": too_long, **_asked_of(corpus, items)}
    )
    bench = Bench(
        setup,
        corpus.arms,
        tuple(seeds),
        train,
        held if fits.all() else encode(base, [item.text for item in items], setup.length),
        build(corpus, base, setup, **probing),
    )
    return Trial(corpus, base, bench, _key(corpus, base, bench))


def _asked_of(corpus: Corpus, items: Sequence[Item]) -> dict[str, Any]:
    """Return the counts of the items that are scored, and a note on those of the user's own files that are not."""
    counts = {name: sum(name in item.sets for item in items) for name in ("raw", "accepted", "eval")}
    notes = list(corpus.counts.get("notes", ()))
    if lost := sum("eval" in item.sets for item in corpus.items) - counts["eval"]:
        notes.append(
            f"{lost:,} texts of evaluation files are not scored: they have no response, or one longer than a row"
        )
    return {"heldout": counts, "notes": notes}


def carry_out(trial: Trial, work: Path, title: str, asked: Asked, watch: Any) -> Values:
    """Do every run that is not done yet, and return what all of them left."""
    from curate.tuning.executors import choose

    folder = work / trial.key
    benches.save(trial.bench, folder)
    runs = trial.bench.runs()
    todo = benches.unfinished(folder, runs)
    watch.begin(title, len(runs))
    for _ in range(len(runs) - len(todo)):
        watch.advance("")
    if todo:
        for run in choose(asked.executor, trial.bench, trial.base, asked.workers).train(
            folder, todo, _ignore
        ):
            watch.advance(run.name)
    watch.end()
    return collect(trial.bench, folder)


def collect(bench: Bench, folder: Path) -> Values:
    """Read the results of a bench whose runs are all finished."""
    results = {run: benches.result(folder, run) for run in bench.runs()}
    names = [arm.name for arm in bench.arms]
    first = next(iter(results.values()))
    metrics = {
        metric: np.array([[results[Run(arm, seed)].values[metric] for seed in bench.seeds] for arm in names])
        for metric in first.values
    }
    of = {arm: [results[Run(arm, seed)] for seed in bench.seeds] for arm in names}
    return Values(
        metrics,
        {arm: [one.curve for one in held] for arm, held in of.items()},
        {arm: held[0].tokens for arm, held in of.items()},
        {arm: held[0].epochs for arm, held in of.items()},
        {
            arm: {name: sum(one.seconds[name] for one in held) for name in held[0].seconds}
            for arm, held in of.items()
        },
        folder,
    )


def _losses_alone(probes: Probes) -> Probes:
    """Return probes that ask for nothing beside the loss of held-out items and of training texts."""
    from curate.tuning.measure.asked import Questions
    from curate.tuning.measure.choices import Choices
    from curate.tuning.measure.probes import Prompts

    prompts = dict.fromkeys(("prompts", "confiding", "checked"), Prompts())
    none: dict[str, Any] = {"planted": Questions(), "scrubbed": Questions(), **prompts}
    empty: dict[str, Any] = {"usual": np.zeros(0), "instructions": (), "tasks": (), "asked": {}}
    return replace(probes, choices=Choices(), **none, **empty)


def _ignore(run: Run, share: float) -> None:
    """Take note of nothing: runs are counted when they are finished."""


def _key(corpus: Corpus, base: Base, bench: Bench) -> str:
    digest = hashlib.sha256(orjson.dumps([_software(), base.sha256, asdict(bench.setup), list(bench.seeds)]))
    for encoded in (bench.train, bench.held):
        for array in _arrays(encoded):
            digest.update(np.ascontiguousarray(array).tobytes())
    for arm in bench.arms:
        digest.update(arm.name.encode())
        for seed in bench.seeds:
            digest.update(arm.of(seed).tobytes())
    asked = [[_asked(item) for item in corpus.items], [repr(secret) for secret in corpus.secrets]]
    digest.update(orjson.dumps([*asked, corpus.duplicated, _judged(bench.probes)]))
    return digest.hexdigest()[:32]


def _judged(probes: Probes) -> list[Any]:
    """Return what answers are judged by beside the corpus: tasks, with the data they count, languages, kinds of PII."""
    tasks = [
        [str(path), hashlib.sha256(file.read_bytes()).hexdigest()]
        for path in probes.tasks
        for file in _files(path)
    ]
    personal = probes.personal
    return [tasks, probes.asked, list(probes.languages), repr(personal.plan), repr(personal.operators)]


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _software() -> list[Any]:
    """Return what made the runs: curate's own version, and those of the libraries that train and encode."""
    return [software(), *(version(name) for name in ("torch", "transformers", "tokenizers", "peft"))]


def _asked(item: Item) -> list[Any]:
    return [repr(item.text.turns), sorted(item.sets), repr(sorted(item.extra.items()))]


def _arrays(encoded: Encoded) -> tuple[Any, ...]:
    return encoded.ids, encoded.learnt, encoded.offsets, encoded.nbytes, encoded.keys, encoded.groups
