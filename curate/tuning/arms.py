"""From a release to what is trained on and asked about: the hold-out, the pool, and every arm, exactly.

An arm with the filters S is what the pipeline would give on the pool with S alone. ``suppress`` is never left out.
Nothing depends on the number of workers: what is random is a hash of records' keys.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import IntegrityError, RecipeError
from curate.release import Release
from curate.stage import Engine
from curate.tuning import controls, filters, pool, records, tables
from curate.tuning import secrets as secrets_of
from curate.tuning.contract import Arm, Corpus, Ints, Item, Text
from curate.tuning.filters import Filter
from curate.tuning.heldout import CATEGORIES, category, clean, digest, leaving, merged, turns
from curate.tuning.heldout import evals as read_evals
from curate.tuning.judging import Judge, States, Unjudged, trainable
from curate.tuning.records import Records, Register
from curate.tuning.tables import Shard
from curate.tuning.texts import Slot, Texts, duplicated
from curate.tuning.wanted import Asked, asked


def build(
    release: Release,
    *,
    wanted: str | Sequence[str],
    seeds: Sequence[int],
    nbytes: int,
    heldout: int,
    evals: Sequence[Path],
    engine: Engine,
    work: Path,
    removed_key: bytes | None,
    longest: int | None = None,
) -> Corpus:
    """Return the corpus of a release.

    wanted: leave-one-out, each, all, or names of arms. nbytes: UTF-8 bytes of content that one pass of ``raw`` may
    hold. longest: bytes of a response that a base can take; records with longer ones count for nothing. heldout: items.
    evals: the user's own evaluation files. work: folder for what barriers write. removed_key: of an encrypted removed/.
    Raises RecipeError for what cannot be done as asked, IntegrityError for a release that does not hold what its
    manifest says.
    """
    tables.check(release, removed_key)
    found = filters.filters(release)
    scrubber = controls.scrubs(found)
    arms = asked(wanted, found, scrubber.name if scrubber else None)
    files = tables.shards(release.path, removed_key)
    register = records.survey(release, files, engine)
    drawn = _Drawn.of(release, register, files, engine, heldout, nbytes, longest)
    room = work / "arms"
    try:
        complete = len(drawn.pool.histories) == len(register)
        judge = Judge(drawn.pool, found, engine, room, whole=not drawn.sampled, complete=complete)
        full = _full(release, register, judge, found, drawn.notes)
        formed = _Formed(judge, full, drawn.notes)
        formed.form(arms, found)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    texts = Texts(register, drawn.pool, judge)
    told = _arms(arms, formed, texts, seeds, scrubber)
    if scrubber is not None and texts.canaries.missed:
        drawn.notes.append(
            f"{texts.canaries.missed} of {len(texts.canaries.plain)} canary records still hold their secret after "
            f"the stage {scrubber.name}"
        )
    items, contaminated = _items(register, drawn, texts, read_evals(evals, engine))
    secrets = texts.canaries.secrets
    if scrubber is not None and texts.canaries.plain:
        secrets += secrets_of.found(release, register, drawn.pool, scrubber)
    return Corpus(
        texts=texts.ordered,
        arms=told,
        items=items,
        heldout_sha256=digest(items),
        noops=formed.noops,
        secrets=secrets,
        duplicated=duplicated(texts.of(state.version) for state in formed.raw.values()),
        counts=_counts(register, formed, drawn, items, contaminated, told)
        | {"canaries": len(texts.canaries.secrets), "notes": [*filters.notes(found), *drawn.notes]},
    )


@dataclass
class _Drawn:
    """The records that were drawn, with their contents."""

    held: Records
    pool: Records
    sampled: bool
    kept_out: int
    notes: list[str]
    groups: Ints  # of every record of the register: near copies of one another share one

    @classmethod
    def of(
        cls, release: Release, register: Register, files: Sequence[Shard], engine: Engine, wanted: int,
        nbytes: int, longest: int | None,
    ) -> _Drawn:  # fmt: skip
        groups = pool.group(release.path, register)
        choice = pool.choose(register, groups, heldout=wanted, nbytes=nbytes, longest=longest)
        wanted_of = np.unique(np.concatenate([choice.held, choice.pool, choice.apart]))
        both = records.read(release, files, register, wanted_of, engine)
        held, rest = both.only(set(choice.held.tolist())), both.only(set(choice.pool.tolist()))
        numbers = [at for at, history in rest.histories.items() if trainable(history.raw)]
        training = [Text("", turns(rest.histories[at].raw), "") for at in numbers]
        others = both.only({*choice.held.tolist(), *choice.apart.tolist()}).histories.values()
        asked_of = [Text("", turns(h.raw), "") for h in others if trainable(h.raw)]
        gone = leaving(asked_of, training, groups.of[numbers].tolist() if numbers else [])
        left = {at for at in rest.histories if int(groups.of[at]) not in gone}
        if not any(at in left for at in numbers):
            raise RecipeError(
                f"{release.path}: no record is left to train on beside the hold-out; hold out fewer items, or use a "
                "larger release"
            )
        kept_out = sum(at not in left for at in numbers)
        return cls(held, rest.only(left), choice.sampled, kept_out, list(choice.notes), groups.of)


def _full(
    release: Release, register: Register, judge: Judge, found: Sequence[Filter], notes: list[str]
) -> States:
    """Return what all filters leave of the pool: what the release has of it, or IntegrityError says what differs."""
    released = judge.released()
    try:
        states = judge.run(one.name for one in found)
    except Unjudged as error:
        notes.append(f"full is taken from the release as it is: {error}")
        return released
    differs = [at for at in judge.raw if _version(states, at) != _version(released, at)]
    if not differs:
        return states
    name = register.frame["id"][min(differs)]
    said = (
        f"{len(differs):,} records of the pool, {name} the first, come out of the filters other than they did"
    )
    if not judge.trusts and not judge.exact:
        notes.append(f"{said}: full is taken from the release as it is")
        return released
    raise IntegrityError(f"{release.path}: {said}; curate verify says whether the release was changed")


def _version(states: States, at: int) -> int | None:
    return states[at].version if at in states else None


@dataclass
class _Formed:
    """The arms that differ from what they are compared with, as records and versions that can be trained on."""

    judge: Judge
    full: States
    notes: list[str]
    states: dict[tuple[str, ...], States] = field(default_factory=dict)  # filters → what they leave
    skipped: set[str] = field(default_factory=set)  # names of arms
    noops: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.raw = self._able(self.judge.raw)
        self.full = self._able(self.full)

    def _able(self, states: States) -> States:
        contents = self.judge.versions.contents
        return {at: state for at, state in states.items() if trainable(contents[state.version])}

    def form(self, arms: Sequence[Asked], found: Sequence[Filter]) -> None:
        """Form every arm that is asked for."""
        if _same(self.raw, self.full):
            self.notes.append(
                "full is the same as raw: no filter changes anything in the pool that can be trained on"
            )
        for one in found:
            mine = [arm for arm in arms if arm.stage == one.name and arm.kind in ("alone", "without")]
            whys = {arm.name: why for arm in mine if (why := self._why_not(arm))}
            self.skipped |= set(whys)
            if mine and len(whys) == len(mine):
                self.noops[one.name] = " ".join(dict.fromkeys(whys.values()))
            else:
                self.notes += whys.values()
        for arm in arms:
            if arm.kind == "scrubbed" and (why := self._why_not(arm)):
                self.skipped |= {"canary", arm.name}
                self.notes.append(why)
        if not self.full:
            raise RecipeError(
                "arms: the filters leave nothing of the pool to train on; a larger --tokens draws more"
            )
        if len(self.full) == len(self.raw) and any(arm.kind == "random" for arm in arms):
            self.skipped.add("random_drop")
            self.notes.append("random_drop would be the same as raw: full has as many records")

    def of(self, arm: Asked) -> States:
        """Return an arm's records."""
        if arm.kind in ("full", "planted"):
            return self.full
        return self.states[arm.stages] if arm.stages else self.raw

    def _why_not(self, arm: Asked) -> str | None:
        """Form an arm; return why it is none."""
        try:
            states = self.states[arm.stages] = self._able(self.judge.run(arm.stages))
        except Unjudged as error:
            return f"{arm.name} cannot be formed: {error}."
        if arm.kind == "alone" and _same(states, self.raw):
            return f"{arm.stage} alone changes nothing in the pool: {arm.name} would be the same as raw."
        if arm.kind == "without" and _same(states, self.full):
            return f"{arm.name} would be the same as full: all that {arm.stage} does here, the other filters do too."
        return None


def _same(one: States, other: States) -> bool:
    return one.keys() == other.keys() and all(one[at].version == other[at].version for at in one)


def _arms(
    arms: Sequence[Asked], formed: _Formed, texts: Texts, seeds: Sequence[int], scrubber: Filter | None
) -> tuple[Arm, ...]:
    """Return the arms that are not skipped, with their places in the texts."""
    going = [arm for arm in arms if arm.name not in formed.skipped]
    slots: dict[str, Any] = {}
    for arm in going:
        slots[arm.name] = texts.plant(formed.full) if arm.kind == "planted" else texts.add(formed.of(arm))
        if arm.kind in ("canary", "scrubbed") and scrubber is not None:
            slots[arm.name] += texts.sing(scrubber, scrubbed=arm.kind == "scrubbed")
    texts.settle()
    found = []
    for arm in going:
        members: Mapping[int, Ints] = dict.fromkeys(seeds, texts.places(slots[arm.name]))
        rate = {"planted": controls.RATE, "random": 1 - len(formed.full) / len(formed.raw)}.get(arm.kind)
        if arm.kind == "random":
            members = {seed: _drop(slots[arm.name], len(formed.full), seed, texts) for seed in seeds}
        found.append(Arm(arm.name, arm.kind, arm.stage, arm.stages, members, rate))
    return tuple(found)


def _drop(slots: Sequence[Slot], left: int, seed: int, texts: Texts) -> Ints:
    order = sorted(slots, key=lambda slot: pool.draw("random drop", seed, texts.of(slot.version).key))
    return texts.places(order[:left])


def _items(
    register: Register, drawn: _Drawn, texts: Texts, given: Sequence[Item]
) -> tuple[tuple[Item, ...], int]:
    """Return the held-out items and the user's own, without those that stand in training, and how many did."""
    keys, normal = register.keys, register.column("normal")
    by_content: dict[int, list[int]] = {}
    for at, history in drawn.held.histories.items():
        if trainable(history.raw):
            by_content.setdefault(int(normal[at]), []).append(at)
    found: list[Item] = []
    for same in by_content.values():
        histories = [drawn.held.histories[at] for at in same]
        one = next((history for history in histories if history.stage is None), histories[0])
        columns = drawn.held.columns(one.number, CATEGORIES)
        source = register.frame["source"][one.number]
        versions = [(one.raw, "raw")]
        if one.stage is None and trainable(one.final):
            versions.append((one.final, "accepted"))
        for content, name in versions:
            text = Text(keys[one.number], turns(content), source, category(columns), one.language)
            found.append(Item(text, frozenset({name}), group=int(drawn.groups[one.number])))
    order = {key: at for at, key in enumerate(keys)}
    found.sort(key=lambda item: (order[item.text.key], "accepted" in item.sets))
    return clean([*merged(found), *given], texts.real)


def _counts(
    register: Register, formed: _Formed, drawn: _Drawn, items: Sequence[Item], contaminated: int, arms: Sequence[Arm]
) -> dict[str, Any]:  # fmt: skip
    """Return what curate.govern.effects.schema.Data holds, as far as it is known here."""
    trainables = int(register.column("trainable").sum())
    return {
        "raw": trainables,
        "pool": len(formed.raw),
        "untrainable": len(register) - trainables,
        "too_long": 0,
        "heldout": {name: sum(name in item.sets for item in items) for name in ("raw", "accepted", "eval")},
        "heldout_sha256": digest(items),
        "kept_out": drawn.kept_out,
        "contaminated": contaminated,
        "planted_rate": controls.RATE if any(arm.kind == "planted" for arm in arms) else None,
    }
