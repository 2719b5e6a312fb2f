"""What the quick-tune's parts hand to one another.

Words: an *arm* is one variant of the training data; a *run* is one arm trained with one seed; an *item* is one
held-out text; a *metric* gives one value per unit (item, probe, sample) and run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Kind: TypeAlias = Literal["raw", "random", "alone", "without", "full", "planted", "canary", "scrubbed"]

DOCUMENT = "text"  # role of the only turn of a document: all of it is learnt, without a chat template


class Turn(NamedTuple):
    """One turn of a conversation."""

    role: str  # system | user | assistant | tool, or DOCUMENT
    content: str


@dataclass(frozen=True, slots=True)
class Text:
    """What a model is trained on or asked about: one version of a record's content."""

    key: str  # of the record, the same in every version and arm: "<source> <locator>"; orders training
    turns: tuple[Turn, ...]
    source: str
    category: str | None = None  # task category, where a column of the record tells one
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A held-out text and the sets it counts in."""

    text: Text
    sets: frozenset[
        str
    ]  # "raw": drawn from all input; "accepted": a version that `full` keeps; "eval": user's file
    extra: Mapping[str, Any] = field(
        default_factory=dict
    )  # of an eval file: choices, gold, instruction_id_list …
    group: int | None = (
        None  # items of one group are near copies of one another: together one piece of evidence
    )


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret value that training records held, with values that it might as well have been."""

    turns: tuple[Turn, ...]  # up to the response that holds the secret
    prefix: str  # of that response, up to the secret
    secret: str
    alternatives: tuple[str, ...]  # of the same shape, drawn at random
    kind: str  # of personal data, such as PHONE_NUMBER
    planted: bool  # a canary of ours (random itself); else a find of the stage pii in the data


@dataclass(frozen=True)
class Arm:
    """One variant of the training data."""

    name: (
        str  # raw | random_drop | only_<stage> | without_<stage> | full | planted | canary | canary_scrubbed
    )
    kind: Kind
    stage: str | None  # the filter that the arm is about
    stages: tuple[str, ...]  # the filters applied, in the recipe's order
    members: Mapping[
        int, Ints
    ]  # seed → places in Corpus.texts, ascending; one array object where seeds agree
    rate: float | None = None  # of a control: the share of records corrupted or dropped

    def of(self, seed: int) -> Ints:
        """Return the arm's texts for a seed: places in Corpus.texts."""
        return self.members[seed]


@dataclass(frozen=True)
class Corpus:
    """All that is trained on and asked about, as text."""

    texts: tuple[Text, ...]  # each version that some arm has, once; records in canonical order
    arms: tuple[Arm, ...]
    items: tuple[Item, ...]
    heldout_sha256: str  # over the items' contents and sets: the same hold-out has the same hash
    noops: Mapping[str, str]  # filter → why it has no arm of its own
    secrets: tuple[Secret, ...] = ()
    duplicated: tuple[str, ...] = ()  # responses that stand in several records of raw, commonest first
    counts: Mapping[str, Any] = field(
        default_factory=dict
    )  # for the report; see curate.govern.effects.schema.Data


@dataclass(frozen=True)
class Setup:
    """How every run is trained: the same for all arms. Lengths and budgets are in tokens."""

    base: str
    length: int  # of a row that texts are packed into
    rows: int  # per step and arm
    tokens: int  # budget per run where budget is "tokens"; also what one pass of raw holds at most
    rate: float  # learning rate (AdamW)
    rank: int = 16
    alpha: int = 32
    warmup: float = 0.1  # share of steps; then linear to 0
    clip: float = 1.0  # norm of a run's gradient
    budget: Literal["tokens", "passes"] = (
        "tokens"  # equal tokens (as many as raw has), or one pass for each arm
    )
    mixture: Literal["free", "fixed"] = "free"  # fixed: each source's share of tokens stays as in raw
    paired: bool = (
        True  # common random numbers: per seed one initialisation and one order of records for all arms
    )
    device: str = "cpu"  # cpu | cuda
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    compiled: bool = False
    samples: int = 64  # prompts that a trained model answers freely
    sample_tokens: int = 40  # of each answer
    adapters: bool = True  # save every run's adapter


@dataclass(frozen=True)
class Encoded:
    """Texts in tokens, one after the other: text i owns ``ids[offsets[i]:offsets[i + 1]]``."""

    ids: npt.NDArray[np.int32]  # [t]
    learnt: npt.NDArray[np.bool_]  # [t] tokens whose loss counts: responses and the ends of their turns
    offsets: Ints  # [n + 1]; a text that cannot be used (its response is longer than a row) has no tokens
    nbytes: Ints  # [n] UTF-8 bytes of the responses, one more for each end of a turn that is learnt
    keys: npt.NDArray[np.uint64]  # [n] hash of Text.key
    groups: Ints  # [n] number of the text's source

    def __len__(self) -> int:
        return len(self.nbytes)

    def of(self, place: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Return one text's ids and which of them are learnt."""
        part = slice(self.offsets[place], self.offsets[place + 1])
        return self.ids[part], self.learnt[part]

    @property
    def lengths(self) -> Ints:
        """Return the number of tokens of each text [n]."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Stream:
    """What one run trains on, step by step."""

    ids: npt.NDArray[np.int32]  # [steps, rows, length]
    labels: npt.NDArray[np.int32]  # [steps, rows, length]; -100 where nothing is learnt
    positions: npt.NDArray[np.int32]  # [steps, rows, length]; each text begins at 0
    tokens: int  # that are not padding
    epochs: float  # passes over the arm's texts


@dataclass(frozen=True)
class Run:
    """One arm and one seed."""

    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Return the name of the run's files."""
        return f"{self.arm}--{self.seed}"


@dataclass(frozen=True)
class Result:
    """What one run left."""

    run: Run
    values: Mapping[str, Floats]  # metric → [n] one value per unit, as curate.tuning.measure names them
    curve: Floats  # [steps] mean loss per learnt token, nats
    tokens: int
    epochs: float
    seconds: Mapping[str, float]  # train, measure: CPU seconds (of a stack: its share)


@dataclass(frozen=True)
class Metric:
    """What a number says of a trained model. Its value for a run is sum(values) / sum(weights)."""

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher", "neither"]
    family: Literal["loss", "task", "privacy", "behaviour"]
    chance: float | None = None  # its value where nothing was learnt, if that is known
    about: str = ""  # one sentence for the reader
