"""Language detectors: one module per engine, all with one method."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import pyarrow as pa

UNDETERMINED = "und"
"""ISO 639-2 code of a text whose language cannot be told."""
NOT_LINGUISTIC = "zxx"
"""ISO 639-2 code of a text without linguistic content: tables, identifiers, code."""


class Guess(NamedTuple):
    """What a detector says of one text."""

    language: (
        str  # id of a rule in rules/languages.yaml (ISO 639-1, else 639-3), UNDETERMINED or NOT_LINGUISTIC
    )
    confidence: float | None  # 0 to 1, rounded to six places; null where no language is told
    shares: tuple[tuple[str, float], ...] = ()
    """Languages seen in the text and their shares of it, largest first; empty where the detector cannot tell
    more than one."""


class Detector(Protocol):
    """Tells languages."""

    def detect(self, texts: pa.Array) -> list[Guess]:
        """Return a guess for each of the texts: string [n], natural language alone, without nulls → [n]."""
        ...
