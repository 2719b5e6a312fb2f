"""The parts of a recipe that are neither sources nor stages."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from curate import keys
from curate.source import Part, Size

Dimension: TypeAlias = Literal[
    "source", "language", "license", "task", "topic", "personal data", "duplicates", "prompt length", "length"
]
"""What drift is told of (curate.govern.distributions)."""


class KeyPlace(Part):
    """Where a secret key stands: in a file, or in an environment variable; never in the recipe."""

    key_file: str | None = Field(None, description="file that holds the key, relative to the recipe")
    key_env: str | None = Field(None, description="environment variable that holds it")

    @model_validator(mode="after")
    def _one(self) -> KeyPlace:
        if (self.key_file is None) == (self.key_env is None):
            raise ValueError("needs either key_file or key_env, not both")
        return self

    def read(self, folder: Path, what: str) -> bytes:
        """Return the key. Raises RecipeError, beginning with ``what``, where there is none or one too short."""
        return keys.read(self.key_env, None if self.key_file is None else folder / self.key_file, what)


class About(Part):
    """Who publishes the release and what for: what no pipeline can know, for card, Croissant and disclosures."""

    title: str | None = None
    description: str | None = Field(None, description="what the release is, in a few sentences")
    creator: str | None = Field(None, description="person or organisation that makes the release")
    contact: str | None = Field(None, description="where to write to: take-downs, corrections, questions")
    homepage: str | None = Field(None, description="URL where the release is or will be found")
    published: datetime.date | None = None
    license: str | None = Field(
        None, description="SPDX expression under which the release as a whole is offered"
    )
    citation: str | None = None
    representative: str | None = Field(None, description="authorised representative in the European Union")
    small_enterprise: bool | None = Field(
        None, description="micro, small or medium enterprise (Recommendation 2003/361/EC)"
    )


class Suppress(KeyPlace):
    """Lists of what was taken down earlier and must not come back."""

    lists: tuple[str, ...] = Field(min_length=1, description="suppression lists, relative to the recipe")


class Output(Part):
    """How the release is written."""

    format: Literal["parquet", "jsonl.zst"] = "parquet"
    shard_size: Size = Field(
        256 * 10**6, description="bytes on disk of a shard, about; below 5 MB not met closely"
    )
    keep_removed: bool = Field(True, description="keep dropped and quarantined records in removed/")
    encrypt_removed: KeyPlace | None = Field(
        None, description="keep the contents of removed/ encrypted, under this key"
    )
    bom: bool = Field(False, description="write bom.cdx.json, a CycloneDX bill of materials")
    spdx: bool = Field(False, description="write spdx.json, an SPDX 3 Dataset")
    index: bool = Field(
        False,
        description="keep the signatures of kept records in index/, to deduplicate later releases against",
    )


class DriftGate(Part):
    """How far the kept records may be from those of an earlier release."""

    against: str = Field(
        min_length=1, description="folder of the earlier release, relative to the recipe, or its URL"
    )
    max_distance: float = Field(
        0.1,
        ge=0,
        le=1,
        description="total variation distance (of lengths Kolmogorov-Smirnov) that no dimension may exceed unless by "
        "chance",
    )
    dimensions: tuple[Dimension, ...] = Field((), description="those that count (default: all)")


class Gates(Part):
    """Limits that a release must meet; one that is missed makes the exit code 1."""

    max_source_loss: float | None = Field(
        None, ge=0, le=1, description="share of a source that may be removed"
    )
    max_unanswered: int | None = Field(None, ge=0, description="unanswered questions in the datasheet")
    max_mixture_shift: float | None = Field(
        None,
        gt=0,
        le=1,
        description="how far a stage may move the shares of sources, license classes, languages or tasks (total "
        "variation distance), where chance alone does not; also what a finding is raised from (default: 0.1)",
    )
    drift: DriftGate | None = None


class Tune(Part):
    """How ``curate tune`` measures the filters' effects; its options on the command line win."""

    base: str = Field("tiny", description="tiny, a Hugging Face id, or a folder with a model", min_length=1)
    seeds: int = Field(3, ge=1, le=1000, description="runs of each arm")
    arms: str | tuple[str, ...] = Field(
        "leave-one-out", description="leave-one-out, each, all (both), or a list of arms"
    )
    tokens: int | None = Field(
        None,
        ge=1000,
        description="tokens that one pass over the unfiltered records may hold (default: by the base)",
    )
    budget: Literal["tokens", "passes", "both"] = Field(
        "tokens",
        description="what all arms have the same of: tokens, passes over their records, or each in turn",
    )
    mixture: Literal["free", "fixed"] = Field(
        "free", description="fixed: every arm keeps the sources' shares of the unfiltered records"
    )
    heldout: int = Field(300, ge=20, description="records held out before any filter")
    eval: tuple[str, ...] = Field(
        (), description="files with your own texts to score, relative to the recipe"
    )
    tasks: tuple[str, ...] = Field(
        (), description="lm-evaluation-harness tasks, YAML files relative to the recipe"
    )
    rate: float | None = Field(None, gt=0, description="learning rate (default: by the base's width)")
