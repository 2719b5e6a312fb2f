"""What looks for personal data in texts: one module per way of looking, all with one method.

A finder looks at each text by itself; it answers from its thresholds up, and what it finds may overlap. What
becomes of the finds is the stage's business (:mod:`curate.stages.pii`).
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import pyarrow as pa

from curate.kernels.spans import Span

Finds: TypeAlias = list[Span] | Exception
"""The finds in one text, sorted; or why the text was not scanned to its end, which must never pass for clean."""


class Finder(Protocol):
    """Looks for personal data."""

    def find(self, texts: pa.Array) -> list[Finds]:
        """Return what is in each of the texts: string [n], null as empty → [n]."""
        ...
