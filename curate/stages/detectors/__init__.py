"""Language detectors: one module per engine, all with one method."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias

import pyarrow as pa

from curate.errors import MissingExtra

Engine: TypeAlias = Literal["cascade", "langdetect", "lid176", "lingua", "fasttext"]

UNDETERMINED = "und"
"""ISO 639-2 code of a text whose language cannot be told."""
NOT_LINGUISTIC = "zxx"
"""ISO 639-2 code of a text without linguistic content: tables, identifiers, code."""


class Guess(NamedTuple):
    """What a detector says of one text."""

    language: str
    """Id of a language in rules/languages.yaml (ISO 639-1, else 639-3), UNDETERMINED or NOT_LINGUISTIC."""
    confidence: float | None
    """0 to 1, rounded to six places; null where no language is told."""
    shares: tuple[tuple[str, float], ...] = ()
    """Languages seen in the text and their shares of it, largest first; empty where the detector cannot tell
    more than one."""


class Detector(Protocol):
    """Tells languages."""

    def detect(self, texts: pa.Array) -> list[Guess]:
        """Return a guess for each of the texts: string [n], natural language alone, without nulls → [n]."""
        ...


def load(engine: Engine, model: Path | None = None) -> Detector:
    """Return an engine's detector, loaded once per process; ``model`` is the file of engine fasttext.

    Raises MissingExtra where the engine's library is not installed, RecipeError for a file that is no model.
    """
    try:
        stat = model.stat() if model is not None else None
    except (OSError, ValueError):  # told as it is loaded
        stat = None
    return _load(engine, model, (stat.st_size, stat.st_mtime_ns) if stat else None)


@lru_cache(maxsize=4)
def _load(engine: Engine, model: Path | None, stamp: tuple[int, int] | None) -> Detector:
    """Load a detector; another size or time of a model's file (``stamp``) tells a changed one."""
    try:
        match engine:
            case "cascade":
                from curate.stages.detectors.cascade import Cascade

                return Cascade()
            case "langdetect":
                from curate.stages.detectors.langdetect import Langdetect

                return Langdetect()
            case "lingua":
                from curate.stages.detectors.lingua import Lingua

                return Lingua()
            case "lid176" | "fasttext":
                from curate.stages.detectors import fasttext

                return fasttext.Lid176() if model is None else fasttext.FastText(model)
    except ModuleNotFoundError as error:
        raise missing(engine) from error


def missing(engine: Engine) -> MissingExtra:
    """Return the error that names the extra which an engine needs; the extras have the engines' names."""
    return MissingExtra(
        f"language engine {engine} needs an extra that is not installed: pip install 'curate[{engine}]'"
    )
