"""What a tune is asked for: the recipe's part ``tune``, and over it what the caller gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from curate.errors import RecipeError
from curate.parts import Tune

EXECUTORS = ("auto", "stacked", "pool", "peft", "ray")
TINY_TOKENS, MODEL_TOKENS = 60_000, 1_000_000
"""Tokens of a run: a difference's standard error is below 0.3 % with 60,000 on the
tiny base; a million for a model of 100 million parameters and more is five minutes for 60 runs on one large GPU."""


@dataclass(frozen=True)
class Options:
    """A tune's options, checked."""

    base: str
    seeds: tuple[int, ...]
    arms: str | tuple[str, ...]
    tokens: int
    budgets: tuple[Literal["tokens", "passes"], ...]  # the first is the one that verdicts rest on
    mixture: Literal["free", "fixed"]
    heldout: int
    evals: tuple[Path, ...]
    tasks: tuple[Path, ...]
    rate: float | None

    @classmethod
    def of(cls, out: Path, held: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
        """Return the options of a release: ``held`` from its recipe, ``given`` (None: not given) over them.

        A recipe's files are found beside the release, where the recipe is unless --out said otherwise. Raises
        RecipeError with everything that is wrong.
        """
        known = {name: held[name] for name in Tune.model_fields if name in held}
        beside = {
            name: [out.resolve().parent / path for path in known.get(name, ())] for name in ("eval", "tasks")
        }
        asked = {name: value for name, value in given.items() if value is not None}
        named = {name: [Path(path) for path in asked.get(name) or beside[name]] for name in beside}
        problems = [
            f"{path}: no such file, named by tune's {name}; give its place with --{name}"
            for name, paths in named.items()
            for path in paths
            if not path.is_file()
        ]
        texts = {name: [str(path) for path in paths] for name, paths in named.items()}
        part, wrong = _checked({**known, **asked, **texts})
        if part is None or problems or wrong:
            raise RecipeError([*problems, *wrong])
        budgets = ("tokens", "passes") if part.budget == "both" else (part.budget,)
        return cls(
            part.base,
            tuple(range(part.seeds)),
            part.arms,
            part.tokens or (TINY_TOKENS if part.base == "tiny" else MODEL_TOKENS),
            cast(tuple[Literal["tokens", "passes"], ...], budgets),
            part.mixture,
            part.heldout,
            tuple(named["eval"]),
            tuple(named["tasks"]),
            part.rate,
        )


def _checked(values: Mapping[str, Any]) -> tuple[Tune | None, list[str]]:
    from pydantic import ValidationError

    try:
        return Tune.model_validate(values), []
    except ValidationError as error:
        return None, [
            f"tune: {'.'.join(map(str, one['loc']))}: found {one['input']!r}; {one['msg']}"
            for one in error.errors()
        ]


@dataclass(frozen=True)
class Asked:
    """How a tune is carried out, beside what is measured."""

    executor: str = "auto"
    workers: int | None = None
    second: bool = True  # confirm effects under 1 % at a second learning rate
    calibrate: bool = False
    passes: bool = False  # also train in equal passes

    @classmethod
    def of(cls, executor: str, workers: int | None, second: bool, calibrate: bool) -> Asked:
        """Return it checked. Raises RecipeError for an executor that there is not, or fewer than one worker."""
        problems = []
        if executor not in EXECUTORS:
            problems.append(f"--executor {executor}: allowed: {', '.join(EXECUTORS)}")
        if workers is not None and workers < 1:
            problems.append(f"--workers {workers}: at least 1")
        if problems:
            raise RecipeError(problems)
        return cls(executor, workers, second, calibrate)
