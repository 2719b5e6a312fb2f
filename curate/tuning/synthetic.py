"""A small world of instructions with known truth: what the self-test and the calibration tune on.

Seven families of tasks; of the raw records a fifth copies a few viral ones, 25 % have a corrupt response, 15 % answer
in another language and 8 % tell a phone number. Filters are simulated from that truth, with a recall of 0.95 and a rate
of false positives of 0.01; one filter more, ``null``, drops 5 % whatever they are. All follows from one number.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from curate.tuning.contract import DOCUMENT, Arm, Corpus, Ints, Item, Kind, Text, Turn
from curate.tuning.world import FAMILIES, FEW, GERMAN, NAMES, Task

SHARES = {"dup": 0.20, "corrupt": 0.25, "language": 0.15, "pii": 0.08}  # of raw records
RECALL, FALSE_POSITIVES = 0.95, 0.01  # of each simulated filter
NULL_SHARE = 0.05  # dropped by the filter that knows nothing
VIRAL = 12  # records that are copied
FOREIGN = (4, 10)  # words of an answer in another language, from and below
SOURCE = "synthetic"


@dataclass(frozen=True)
class Record:
    """One raw record and what is wrong with it: a key of SHARES, or None."""

    task: Task
    answer: str
    defect: str | None
    scrubbed: str | None = None  # the answer without the phone number


def records(count: int, seed: int) -> list[Record]:
    """Return raw records, defects and all."""
    chance = random.Random(seed)
    viral = [chance.choice(FAMILIES)(chance) for _ in range(VIRAL)]
    phones = [_phone(chance) for _ in range(15)]
    made = []
    for _ in range(count):
        task = chance.choice(FAMILIES)(chance)
        defect = _drawn(chance)
        if defect == "dup":
            task = chance.choice(viral)
            made.append(Record(task, task.answer, defect))
        elif defect == "corrupt":
            made.append(Record(task, _corrupt(task, chance), defect))
        elif defect == "language":
            answer = " ".join(chance.choice(GERMAN) for _ in range(chance.randrange(*FOREIGN)))
            made.append(Record(task, answer, defect))
        elif defect == "pii":
            told = f"{task.answer} Contact {chance.choice(phones)}."
            made.append(Record(task, told, defect, f"{task.answer} Contact [NAME] at [PHONE]."))
        else:
            made.append(Record(task, task.answer, None))
    return made


def pretraining(count: int, seed: int = 1) -> list[Text]:
    """Return texts of the same world in other forms than the records', a few in the other language: for the base.

    Half are conversations, so that the base knows how one goes and runs differ by what they are taught.
    """
    chance = random.Random(f"pretraining {seed}")
    made = []
    for place in range(count):
        task = chance.choice(FAMILIES)(chance)
        asked = f"{task.context} {task.question}".strip()
        form = chance.random()
        if form < 0.04:
            turns: tuple[Turn, ...] = (Turn(DOCUMENT, " ".join(chance.choice(GERMAN) for _ in range(8))),)
        elif form < 0.5:
            turns = (Turn("user", asked), Turn("assistant", task.answer))
        elif form < 0.75:
            turns = (Turn(DOCUMENT, f"Q: {task.question} {task.context}".strip() + f"\nA: {task.answer}"),)
        else:
            turns = (Turn(DOCUMENT, f"{asked} Answer: {task.answer}"),)
        made.append(Text(f"{SOURCE} text {place}", turns, SOURCE))
    return made


def corpus(count: int, items: int, seeds: Sequence[int], seed: int = 7) -> Corpus:
    """Return raw records, their arms and a clean hold-out (set ``eval``) of questions that they do not ask."""
    raw = records(count, seed)
    caught = _caught(raw, seed)
    texts = [_text(place, record.task, record.answer) for place, record in enumerate(raw)]
    scrubbed = {}
    for place in sorted(caught["pii"]):
        record = raw[place]
        if record.scrubbed:
            scrubbed[place] = len(texts)
            texts.append(_text(place, record.task, record.scrubbed))
    held = _items(raw, items, seed)
    told = orjson.dumps([[*map(list, item.text.turns), sorted(item.sets)] for item in held])
    return Corpus(
        texts=tuple(texts),
        arms=_arms(count, caught, scrubbed, seeds),
        items=held,
        heldout_sha256=hashlib.sha256(told).hexdigest(),
        noops={},
        counts={"raw": count, "pool": count, "heldout": {"eval": len(held)}},
    )


def _arms(
    count: int, caught: Mapping[str, set[int]], scrubbed: Mapping[int, int], seeds: Sequence[int]
) -> tuple[Arm, ...]:
    def kept(stages: Sequence[str]) -> Ints:
        dropped: set[int] = set().union(*(caught[stage] for stage in stages if stage != "pii"))
        edited = scrubbed if "pii" in stages else {}
        return np.array(sorted(edited.get(p, p) for p in range(count) if p not in dropped), np.int64)

    def arm(name: str, kind: Kind, stages: tuple[str, ...], members: Ints) -> Arm:
        stage = stages[0] if kind == "alone" else None
        return Arm(name, kind, stage, stages, dict.fromkeys(seeds, members))

    every = ("dup", "language", "corrupt", "pii")
    full = kept(every)
    drawn = {
        seed: np.sort(np.random.default_rng(seed).choice(count, len(full), replace=False)).astype(np.int64)
        for seed in seeds
    }
    return (
        arm("raw", "raw", (), kept(())),
        Arm("random_drop", "random", None, (), drawn, rate=1 - len(full) / count),
        *(arm(f"only_{stage}", "alone", (stage,), kept((stage,))) for stage in (*every, "null")),
        arm("full", "full", every, full),
    )


def _caught(raw: Sequence[Record], seed: int) -> dict[str, set[int]]:
    """Return the places that each simulated filter acts on."""
    chance = random.Random(f"filters {seed}")
    caught = {
        stage: {
            place
            for place, record in enumerate(raw)
            if chance.random() < (RECALL if record.defect == stage else FALSE_POSITIVES)
        }
        for stage in SHARES
    }
    caught["null"] = {place for place in range(len(raw)) if chance.random() < NULL_SHARE}
    return caught


def _items(raw: Sequence[Record], count: int, seed: int) -> tuple[Item, ...]:
    chance = random.Random(f"held out {seed}")
    asked = {(record.task.question, record.task.context) for record in raw}
    made: list[Item] = []
    while len(made) < count:
        task = FAMILIES[len(made) % len(FAMILIES)](chance)
        known = (task.question, task.context) in asked
        if (
            known and task.family not in FEW and chance.random() > 0.001
        ):  # a family that is used up still ends
            continue
        made.append(Item(_text(len(raw) + len(made), task, task.answer), frozenset({"eval"})))
    return tuple(made)


def _text(place: int, task: Task, answer: str) -> Text:
    question = f"{task.question}\n{task.context}" if task.context else task.question
    turns = (Turn("user", question), Turn("assistant", answer))
    return Text(f"{SOURCE} {place:06d}", turns, SOURCE, task.family, "en")


def _drawn(chance: random.Random) -> str | None:
    place = chance.random()
    for defect, share in SHARES.items():
        if place < share:
            return defect
        place -= share
    return None


def _corrupt(task: Task, chance: random.Random) -> str:
    """Return the answer to another question, a cut one, or one whose characters are shuffled."""
    how = chance.randrange(3)
    if how == 0:
        return chance.choice(FAMILIES)(chance).answer
    if how == 1:
        return task.answer[: max(1, len(task.answer) // 3)]
    return "".join(chance.sample(task.answer, len(task.answer)))


def _phone(chance: random.Random) -> str:
    surname = "".join(chance.choice(string.ascii_lowercase) for _ in range(4)).title()
    number = "".join(chance.choice(string.digits) for _ in range(7))
    return f"{chance.choice(NAMES)} {surname} at {number}"
