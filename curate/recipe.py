"""The recipe: what to read, through which stages, into what.

A recipe is a YAML 1.2 file. :func:`load` checks all of it (sources, their manifests, every stage's own
options) and reports every problem together, each with its line. What it returns is frozen; its *resolved*
form has every default written out and is what the manifest stores and hashes.
"""

from __future__ import annotations

import hashlib
import importlib
import operator
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import Field, field_validator

from curate import keys, rules
from curate.errors import IntegrityError, RecipeError
from curate.io import manifest as manifests
from curate.parts import About, Gates, Output, Suppress, Tune
from curate.source import Part, Source, read_sources
from curate.source import parse_size as parse_size  # known by this name to those who run recipes
from curate.stage import StageClass, StageOptions
from curate.yamlfile import NAME, YamlFile, allowed
from curate.yamlread import Loc, shown

STAGES = {  # ours; others come from the entry-point group or as package.module:Class
    "boilerplate": "curate.stages.boilerplate:Boilerplate",
    "conversation": "curate.stages.conversation:Conversation",
    "decontaminate": "curate.stages.decontaminate:Decontaminate",
    "exact": "curate.stages.exact:Exact",
    "injection": "curate.stages.injection:Injection",
    "language": "curate.stages.language:Language",
    "license": "curate.stages.license:License",
    "minhash": "curate.stages.minhash:MinHash",
    "mix": "curate.stages.mix:Mix",
    "pii": "curate.stages.pii:Pii",
    "profile": "curate.stages.profile:Profile",
    "quality": "curate.stages.quality:Quality",
    "score": "curate.stages.score:Score",
    "semantic": "curate.stages.semantic:Semantic",
}
ENTRY_POINTS = "curate.stages"
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_STAGE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_TAKEN = "read"  # what reading itself reports under; counts of a stage by this name would mix with it


class _Head(Part):
    """The recipe's own keys; sources and stages are checked one by one."""

    curate: Literal[1] = Field(description="version of the recipe's language")
    name: str = Field(pattern=NAME)
    version: str = Field(description="version of the release", min_length=1)
    sources: list[Any] = Field(min_length=1)
    stages: list[Any] = Field(min_length=1)
    about: About = About()
    answers: str | None = Field(
        None, description="file with a person's answers for the datasheet, relative to the recipe"
    )
    suppress: Suppress | None = None
    output: Output = Output()
    gates: Gates = Gates()
    tune: Tune = Tune()

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_text(cls, value: object) -> object:
        if isinstance(value, float | int) and not isinstance(value, bool):
            # 1.10 is the number 1.1: what stood in the file is not known here, so no spelling is offered.
            raise ValueError(f"found the number {value}; allowed: text; put it in quotes, like '1.0'")
        return value


@dataclass(frozen=True)
class StageSpec:
    """One stage of the recipe: which class, with which options."""

    name: str  # the class's own, the first part of its reasons
    target: str  # module:Class
    options: StageOptions

    def stage_class(self) -> StageClass:
        """Import the stage's class."""
        return import_stage(self.target)

    def resolved(self) -> dict[str, Any]:
        """Return the stage with every default, its version and the hashes of the rule packs that it reads."""
        cls = self.stage_class()
        fingerprint = self.options.fingerprint()
        return {
            "name": self.name,
            **({} if self.target in STAGES.values() else {"class": self.target}),
            "version": cls.version,
            "options": self.options.model_dump(mode="json"),
            **({"notes": notes} if (notes := self.options.notes()) else {}),
            **({} if (coverage := self.options.coverage()) is None else {"coverage": coverage}),
            **({} if fingerprint is None else {"fingerprint": fingerprint}),
            **({"reads": reads} if (reads := self.options.reads()) else {}),
            "rules": {name: rules.load(name).sha256 for name in sorted(cls.rules)},
        }


@dataclass(frozen=True)
class Recipe:
    """A checked recipe. Sources are ordered by name, whatever their order in the file."""

    path: Path
    name: str
    version: str
    sources: tuple[Source, ...]
    stages: tuple[StageSpec, ...]
    output: Output
    gates: Gates
    tune: Tune
    about: About
    answers: str | None  # the file's content is no part of the recipe: answering changes no record
    suppress: Suppress | None

    @property
    def folder(self) -> Path:
        """Return the folder that the recipe's paths are relative to."""
        return self.path.parent

    def resolved(self) -> dict[str, Any]:
        """Return the recipe with every default written out, as the manifest stores it."""
        return {
            "curate": 1,
            "name": self.name,
            "version": self.version,
            "about": self.about.model_dump(mode="json", exclude_none=True),
            "sources": [source.model_dump(mode="json", exclude_none=True) for source in self.sources],
            "stages": [stage.resolved() for stage in self.stages],
            "output": {**self.output.model_dump(mode="json"), **self._removed()},
            "gates": {**self.gates.model_dump(mode="json", exclude_none=True), **self._drift()},
            "tune": self.tune.model_dump(mode="json"),
        }

    def _removed(self) -> dict[str, Any]:
        key = self.removed_key()
        return {} if key is None else {"encrypt_removed": {"fingerprint": keys.fingerprint(key)}}

    def removed_key(self) -> bytes | None:
        """Return the key that the contents of removed/ are encrypted under. Raises RecipeError if it is not there."""
        place = self.output.encrypt_removed
        return None if place is None else place.read(self.folder, "output.encrypt_removed")

    def _drift(self) -> dict[str, Any]:
        """Return the gate on drift with what it needs of the release that it names, to be judged again."""
        gate = self.gates.drift
        if gate is None:
            return {}
        earlier = manifests.of_release(gate.against, self.folder)
        release = {key: earlier[key] for key in ("name", "version", "root")}
        before = {"against": release, "distributions": earlier.get("distributions") or []}
        return {"drift": {**gate.model_dump(mode="json"), **before}}

    def sha256(self) -> str:
        """Return the SHA-256 of the resolved form as canonical JSON."""
        return hashlib.sha256(orjson.dumps(self.resolved(), option=orjson.OPT_SORT_KEYS)).hexdigest()


def load(path: str | Path) -> Recipe:
    """Read and check a recipe. Raises RecipeError with every problem found, each with file and line."""
    path = Path(path)
    file = YamlFile.read(path)
    problems: list[str] = []
    keys = file.mapping("a recipe is a mapping that begins with 'curate: 1'")
    head = file.validate(_Head, keys, (), problems)
    if (beside := str(path.parent.resolve())) not in sys.path:
        sys.path.append(beside)  # where a recipe's own stage module lies; last, so that it hides nothing
    sources = read_sources(file, path.parent, problems)
    stages = _stages(file, path.parent, problems)
    if head and head.output.encrypt_removed:
        try:
            head.output.encrypt_removed.read(path.parent, "encrypt_removed")
        except RecipeError as error:
            problems += [file.at(("output", "encrypt_removed"), problem) for problem in error.problems]
    if head and head.gates.drift:
        try:
            manifests.of_release(head.gates.drift.against, path.parent)
        except (RecipeError, IntegrityError) as error:
            problems.append(file.at(("gates", "drift", "against"), str(error)))
    if head and head.output.index and not any(hasattr(spec.stage_class(), "signatures") for spec in stages):
        advice = (
            "allowed: true with a stage exact or minhash, whose signatures it keeps; add one, or take it out"
        )
        problems.append(file.at(("output", "index"), f"found true; {advice}"))
    if problems or head is None:
        raise RecipeError(sorted(set(problems), key=_line))
    ordered = tuple(sorted(sources, key=lambda source: source.name))
    return Recipe(
        path,
        head.name,
        head.version,
        ordered,
        tuple(stages),
        head.output,
        head.gates,
        head.tune,
        head.about,
        head.answers,
        head.suppress,
    )


def _stages(file: YamlFile, folder: Path, problems: list[str]) -> list[StageSpec]:
    entries = file.data.get("stages")
    specs: list[StageSpec] = []
    named: dict[str, Loc] = {}
    for i, entry in enumerate(entries if isinstance(entries, list) else ()):
        loc: Loc = ("stages", i)
        if isinstance(entry, str):
            name, options = entry, None
        elif isinstance(entry, dict) and len(entry) == 1:
            name, options = next(iter(entry.items()))
            loc = (*loc, name)
        else:
            advice = "allowed: a name, or one name with its options; write {minhash: {similarity: 0.8}}"
            problems.append(file.at(loc, f"found {shown(entry)}; {advice}"))
            continue
        try:
            target = find_stage(name)
            cls = import_stage(target)
        except RecipeError as error:
            problems += [file.at(loc, problem) for problem in error.problems]
            continue
        if cls.name in named:
            first = f"the first is on line {file.line(named[cls.name])}"
            problems.append(
                file.at(
                    loc, f"stage {cls.name!r} appears twice ({first}); each stage runs once; take one out"
                )
            )
        named.setdefault(cls.name, loc)
        checked = file.validate(cls.Options, {} if options is None else options, loc, problems, folder)
        if checked is None:
            continue
        try:
            checked.fingerprint()  # what an option names outside the recipe must be there
        except RecipeError as error:
            problems += [file.at(loc, problem) for problem in error.problems]
        specs.append(StageSpec(cls.name, target, checked))
    return specs


def find_stage(name: str) -> str:
    """Return ``module:Class`` for a stage's name. Raises RecipeError if none or more than one has it."""
    if ":" in name:
        return name
    from importlib.metadata import entry_points

    known: dict[str, list[str]] = {own: [target] for own, target in STAGES.items()}
    for point in entry_points(group=ENTRY_POINTS):
        targets = known.setdefault(point.name, [])
        target = f"{point.module}:{point.attr}"
        targets += [] if target in targets else [target]
    if name not in known:
        raise RecipeError(f"unknown stage {name!r}{allowed(name, sorted(known))}, or package.module:Class")
    if len(known[name]) > 1:  # which one a bare name means may not depend on what happens to be installed
        owners = " and ".join(sorted(known[name]))
        raise RecipeError(f"the name {name!r} belongs to {owners}; allowed: one of these; write it in full")
    return known[name][0]


def import_stage(target: str) -> StageClass:
    """Import ``module:Class`` and check that it is a stage. Raises RecipeError with all that it lacks."""
    if not _TARGET.fullmatch(target):
        raise RecipeError(f"found {target!r}; allowed: a stage's name, or package.module:Class; correct it")
    module, _, name = target.partition(":")
    try:
        found: StageClass = operator.attrgetter(name)(importlib.import_module(module))
    except Exception as error:  # noqa: BLE001 - a module runs code of its own, which may raise anything
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        advice = "correct the name, or mend the module"
        if isinstance(error, ModuleNotFoundError):
            advice = "correct the name, install what is missing, or lay its module beside the recipe"
        raise RecipeError(f"stage {target!r} cannot be imported ({said}); {advice}") from None
    if problems := _unlike_a_stage(found):
        advice = "the docstring of curate.stage says what a stage has; name or write such a class"
        raise RecipeError([f"stage {target!r}: {problem}; {advice}" for problem in problems])
    return found


def _unlike_a_stage(found: Any) -> list[str]:
    if not isinstance(found, type):
        return [f"found a {type(found).__name__}; allowed: a class"]
    parts = ("name", "version", "rules", "Options")
    if missing := [part for part in parts if not hasattr(found, part)]:
        return [f"lacks {', '.join(missing)}; allowed: a class with {', '.join(parts)}"]
    name, version, packs, options = (getattr(found, part) for part in parts)
    problems = []
    if not isinstance(name, str) or not _STAGE_NAME.fullmatch(name) or name == _TAKEN:
        rule = f"a-z, 0-9, '_' and '-', the first a letter or digit, and not {_TAKEN!r}"
        problems.append(f"name is {shown(name)}; allowed: {rule}")
    if not isinstance(version, str) or not version:
        problems.append(f"version is {shown(version)}; allowed: text, such as '1'")
    if not isinstance(packs, tuple) or not all(isinstance(pack, str) for pack in packs):
        problems.append(f"rules is {shown(packs)}; allowed: a tuple of names of rule packs, such as ()")
    else:
        unknown = [pack for pack in packs if pack not in rules.names()]
        problems += [f"rules names the unknown pack {p!r}{allowed(p, rules.names())}" for p in unknown]
    if not isinstance(options, type) or not issubclass(options, StageOptions):
        problems.append(f"Options is {shown(options)}; allowed: a subclass of curate.stage.StageOptions")
    methods = {part for part in ("judge", "sketch", "resolve") if callable(getattr(found, part, None))}
    if "judge" not in methods and not {"sketch", "resolve"} <= methods:
        has = ", ".join(sorted(methods)) or "none of them"
        problems.append(f"of its methods it has {has}; allowed: judge, or sketch and resolve")
    return problems


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a recipe, for editors; built-in stages with their own options."""
    whole = _Head.model_json_schema()
    options = {name: import_stage(target).Options.model_json_schema() for name, target in STAGES.items()}
    source = Source.model_json_schema()
    definitions = whole.setdefault("$defs", {})
    for part in (source, *options.values()):
        definitions.update(part.pop("$defs", {}))

    def one(name: str, part: Any) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {name: part},
            "required": [name],
            "additionalProperties": False,
        }

    foreign = {"type": "object", "patternProperties": {":": {"type": ["object", "null"]}}, "maxProperties": 1}
    stages = [
        {"enum": sorted(STAGES)},
        {"type": "string", "pattern": ":"},  # package.module:Class
        *(one(name, {"anyOf": [part, {"type": "null"}]}) for name, part in options.items()),
        foreign | {"minProperties": 1, "additionalProperties": False},
    ]
    whole["properties"]["sources"]["items"] = {"anyOf": [one("manifest", {"type": "string"}), source]}
    whole["properties"]["stages"]["items"] = {"anyOf": stages}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return head | whole | {"title": "curate recipe", "description": "A recipe for curate run."}


def _line(problem: str) -> tuple[str, int, str]:
    match = re.match(r"(.*?):(\d+): ", problem)
    return (match[1], int(match[2]), problem) if match else ("", 0, problem)
