"""A release's filters, built again from its manifest: the recipe's own file need not be there any more."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from curate.errors import CurateError
from curate.recipe import STAGES, StageSpec, import_stage
from curate.release import Release
from curate.stage import Barrier, Stage
from curate.stages.mix import Mix
from curate.stages.suppress import Suppress


@dataclass(frozen=True)
class Filter:
    """One stage of the recipe, to judge with again."""

    name: str
    place: int  # in the recipe, from 0
    target: str
    spec: StageSpec | None  # null: it cannot be built here
    problem: str | None = None  # why not
    notes: tuple[str, ...] = ()  # how it differs from what the run judged with
    blind: bool = True  # it reads no fact that another stage states but of those named here
    reads: frozenset[str] = frozenset()  # facts, of tables.FACTS
    against: bool = False  # it deduplicated against earlier releases, which are not looked at again

    @cached_property
    def stage(self) -> Stage | Barrier:
        """Build the stage."""
        assert self.spec is not None
        return self.spec.stage_class()(self.spec.options)

    @property
    def barrier(self) -> bool:
        """Tell whether it must see every record first. One that cannot be built counts as one: the safe side."""
        return self.spec is None or hasattr(self.spec.stage_class(), "resolve")

    @property
    def deduplicates(self) -> bool:
        """Tell whether its answers on a record depend on that record's group alone."""
        return self.target in STAGES.values() and self.name in ("exact", "minhash", "semantic")


def filters(release: Release) -> list[Filter]:
    """Return the filters of a release in the recipe's order, without the stage suppress, which no arm leaves out."""
    told = release.manifest["recipe"]["stages"]
    found = []
    for place, entry in enumerate(told):
        if entry["name"] == Suppress.name:
            continue  # what it drops is in no table, and what is there has passed it
        built = _built(entry, place, release.path.absolute().parent)
        blind = built.target in STAGES.values()
        found.append(replace(built, blind=blind, reads=_reads(built) if blind else frozenset()))
    return found


def _reads(one: Filter) -> frozenset[str]:
    """Return what a stage of ours reads of what earlier ones have stated, as far as its decisions depend on it.

    Deduplication reads a quality that is one number, which none of ours states; splits, which mix makes of clusters,
    take no record out.
    """
    options = None if one.spec is None else one.spec.options
    if one.name == Mix.name and isinstance(options, Mix.Options):
        of = {"language": "language", "license": "license_concluded", "task": "task"}
        return frozenset(of[by] for by in {*options.caps, *options.weights} if by in of)
    return frozenset({"language"}) if one.name == "quality" else frozenset()


def _built(entry: Mapping[str, Any], place: int, beside: Path) -> Filter:
    """Return a filter; beside: the folder that the release lies in, where the recipe is unless --out said otherwise."""
    name = entry["name"]
    target = entry.get("class") or STAGES.get(name, "")
    options = dict(entry["options"])
    notes: list[str] = []
    # To a deduplicating stage these are releases, which are not looked at again; to decontaminate its own files.
    against = name != "decontaminate" and bool(options.pop("against", None))
    if str(beside) not in sys.path and "class" in entry:
        sys.path.append(str(beside))  # where a recipe's own stage module lies, as curate.recipe does
    try:
        cls = import_stage(target)
        chosen = cls.Options.model_validate(_own(cls, options), context={"folder": beside})
        spec = StageSpec(name, target, chosen)
        spec.stage_class()(chosen)  # a key, a model or a library may be missing
        notes += _differences(entry, spec.resolved(), against)
    except (CurateError, ValidationError) as error:
        fallback = _without_key(entry, target, options, beside)
        if fallback is None:
            return Filter(name, place, target, None, _first(error), against=against)
        spec = fallback
        notes.append(
            f"{name}: its operator needs a secret key that is not here; in records that the run had not given to it, "
            "it replaces values by their kind"
        )
    if against:
        notes.append(
            f"{name}: the earlier releases that it deduplicated against are not looked at again; what the run dropped "
            "because of them is dropped in every arm that has it"
        )
    return Filter(name, place, target, spec, None, tuple(notes), against=against)


def _own(cls: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not the defaults: some may not be given beside others."""
    chosen = {}
    for name, value in options.items():
        told = cls.Options.model_fields.get(name)
        default = None if told is None else told.get_default(call_default_factory=True)
        if told is None or told.is_required() or to_jsonable_python(default) != value:
            chosen[name] = value
    return chosen


def _without_key(
    entry: Mapping[str, Any], target: str, options: Mapping[str, Any], beside: Path
) -> StageSpec | None:
    """Return the stage pii with operators that need no key, where a missing key is all that is wrong; else None."""
    from curate.stages.operators import KEYED

    keyed = {options.get("operator"), *(options.get("operators") or {}).values()} & KEYED
    if target != STAGES["pii"] or not keyed:
        return None
    plain = {name: value for name, value in options.items() if name not in ("key_env", "key_file")}
    plain["operator"] = "replace" if plain["operator"] in KEYED else plain["operator"]
    plain["operators"] = {
        kind: "replace" if operator in KEYED else operator
        for kind, operator in (plain.get("operators") or {}).items()
    }
    cls = import_stage(target)
    try:
        chosen = cls.Options.model_validate(_own(cls, plain), context={"folder": beside})
    except ValidationError:
        return None
    return StageSpec(entry["name"], target, chosen)


def _differences(entry: Mapping[str, Any], now: Mapping[str, Any], against: bool) -> list[str]:
    """Return sentences on how a stage built now differs from the run's."""
    name = entry["name"]
    changed = [
        f"{part} {entry.get(part)} then, {now.get(part)} now"
        for part in ("version", "fingerprint")
        if entry.get(part) != now.get(part) and not (against and part == "fingerprint")
    ]
    changed += [
        f"rule pack {pack} is another"
        for pack in sorted({*entry["rules"], *now["rules"]})
        if entry["rules"].get(pack) != now["rules"].get(pack)
    ]
    if not changed:
        return []
    return [
        f"{name}: has changed since the run ({'; '.join(changed)}); records that the run had not given to it are "
        "judged by what it is now"
    ]


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)
        )
    return " ".join(str(error).split())


def notes(found: Sequence[Filter]) -> list[str]:
    """Return what a reader must know of how the filters were built."""
    return [note for one in found for note in one.notes]
