"""The datasheet as a whole, from the manifest alone: its sections, and its questions with their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curate.govern.datasheet import (
    contamination,
    diversity,
    drift,
    duplicates,
    earlier,
    effects,
    languages,
    method,
    mixture,
    overview,
    personal,
    questions,
    representation,
    sources,
)
from curate.govern.datasheet.blocks import Chart, Section
from curate.govern.datasheet.values import Held, settled

_SECTIONS = (
    overview.summary,
    overview.funnel,
    overview.findings,
    earlier.errata,
    overview.reasons,
    sources.sources,
    duplicates.section,
    mixture.section,
    earlier.section,
    drift.section,
    sources.licenses,
    languages.section,
    diversity.section,
    representation.section,
    personal.edits,
    personal.section,
    contamination.section,
    effects.section,
    method.section,
    method.files,
)


@dataclass(frozen=True)
class Sheet:
    """What every rendering shows."""

    manifest: Held
    sections: tuple[Section, ...]
    questions: tuple[questions.Answered, ...]

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Return the charts of all sections."""
        return tuple(
            block for section in self.sections for block in section.blocks if isinstance(block, Chart)
        )


def sheet(manifest: Mapping[str, Any]) -> Sheet:
    """Return the datasheet of a manifest; sections with nothing to say are left out."""
    m = Held(settled(manifest))
    sections = tuple(section for make in _SECTIONS if (section := make(m)).blocks)
    return Sheet(m, sections, tuple(questions.answered(m.value)))
