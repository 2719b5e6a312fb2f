"""Engines map a function over tasks: in processes of this machine, or on the nodes of a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from curate.engine.local import LocalEngine, Tick
from curate.engine.ray import RayEngine as RayEngine
from curate.errors import RecipeError

ENGINES = ("local", "ray")
AnyEngine: TypeAlias = LocalEngine | RayEngine


def check_engine(name: str, address: str | None) -> list[str]:
    """Return what is wrong with an engine's name and address."""
    if name not in ENGINES:
        return [f"--engine {name}: allowed: {', '.join(ENGINES)}"]
    if name == "local" and address is not None:
        return ["--address: only a cluster has one; take it out, or add --engine ray"]
    return []


def open_engine(
    name: str = "local",
    address: str | None = None,
    workers: int | None = None,
    memory: int | None = None,
    tick: Tick | None = None,
    beside: Path | None = None,
) -> AnyEngine:
    """Return the engine of that name, to be entered. beside: the recipe's folder, whose modules workers need.

    Raises RecipeError for an unknown name, or an address where there is none.
    """
    if problems := check_engine(name, address):
        raise RecipeError(problems)
    if name == "ray":
        return RayEngine(address, workers, tick, memory, beside)
    return LocalEngine(workers, tick, memory)
