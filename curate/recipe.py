"""The recipe: what to read, through which stages, into what.

A recipe is a YAML 1.2 file. :func:`load` checks all of it (sources, their manifests, every stage's own
options) and reports every problem together, each with its line. What it returns is frozen; its *resolved*
form has every default written out and is what the manifest stores and hashes.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from curate import rules
from curate.errors import RecipeError
from curate.stage import StageClass, StageOptions
from curate.yamlfile import Loc, YamlFile, nearest

STAGES = {  # ours; others come from the entry-point group or as package.module:Class
    "conversation": "curate.stages.conversation:Conversation",
    "exact": "curate.stages.exact:Exact",
    "language": "curate.stages.language:Language",
    "license": "curate.stages.license:License",
    "minhash": "curate.stages.minhash:MinHash",
    "pii": "curate.stages.pii:Pii",
}
ENTRY_POINTS = "curate.stages"

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def parse_size(value: object) -> int:
    """Return a size in bytes from ``256MB``, ``1.5GiB`` or a number of bytes. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?i?B)?", str(value).strip(), re.IGNORECASE)
    if not match or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a size; write it like 256MB or 2GiB")
    size = int(float(match[1]) * _UNITS[(match[2] or "B").upper()])
    if size < 1:
        raise ValueError(f"{value!r} is less than one byte")
    return size


Size = Annotated[int, BeforeValidator(parse_size)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fields(_Part):
    """Which column of the input holds what; each defaults to the format's usual name."""

    text: str | None = Field(None, description="format text: the document (default: text)")
    messages: str | None = Field(None, description="format openai: list of {role, content}")
    conversations: str | None = Field(None, description="format sharegpt: list of {from, value}")
    instruction: str | None = Field(None, description="format alpaca: the instruction")
    input: str | None = Field(None, description="format alpaca: the optional input")
    output: str | None = Field(None, description="format alpaca: the response")
    system: str | None = Field(None, description="formats alpaca and sharegpt: a system prompt")
    id: str | None = Field(None, description="unique name within the source (default: id, else file and row)")
    license: str | None = Field(None, description="the record's own license")
    url: str | None = Field(None, description="where the record was published")
    author: str | None = Field(None, description="who wrote it")
    created: str | None = Field(None, description="when it was written")


class Source(_Part):
    """Where records come from: the inline form in a recipe, or a file under manifests/sources/."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="prefix of every record's id")
    files: tuple[str, ...] = Field(min_length=1, description="paths, globs or URLs, relative to the recipe")
    format: Literal["text", "alpaca", "openai", "sharegpt", "auto"] = "auto"
    fields: Fields = Fields()
    license: str | None = Field(None, description="SPDX expression; a record's own license wins")
    collected: datetime.date | None = Field(None, description="when the files were obtained")
    max_record: Size = Field(64 * 10**6, description="a record of more bytes than this is quarantined")
    title: str | None = None
    description: str | None = None
    homepage: str | None = None
    creator: str | None = None
    collection: str | None = Field(None, description="how it was collected")
    terms: str | None = Field(None, description="terms of access, apart from the license")
    contact: str | None = None

    @field_validator("files", mode="before")
    @classmethod
    def _sorted(cls, value: object) -> object:
        # The order in which files are listed never matters, so the resolved form has only one.
        return tuple(sorted(set(value))) if isinstance(value, list) and _all_strings(value) else value

    @field_validator("license")
    @classmethod
    def _license_is_known(cls, value: str | None) -> str | None:
        from curate import licenses  # brings the SPDX index, which only a recipe needs

        if value is not None and (problem := licenses.problem(value)):
            raise ValueError(problem)
        return value


class Output(_Part):
    """How the release is written."""

    format: Literal["parquet", "jsonl.zst"] = "parquet"
    shard_size: Size = Field(256 * 10**6, description="bytes on disk after which a new shard begins")
    keep_removed: bool = Field(True, description="keep dropped and quarantined records in removed/")


class Gates(_Part):
    """Limits that a release must meet; one that is missed makes the exit code 1."""

    max_source_loss: float | None = Field(
        None, ge=0, le=1, description="share of a source that may be removed"
    )
    max_unanswered: int | None = Field(None, ge=0, description="unanswered questions in the datasheet")


class Tune(_Part):
    """The quick-tune's part of the recipe."""

    base: str = "tiny"
    seeds: int = Field(3, ge=1)
    arms: str | tuple[str, ...] = "leave-one-out"


class _Head(_Part):
    """The recipe's own keys; sources and stages are checked one by one."""

    curate: Literal[1] = Field(description="version of the recipe's language")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(description="version of the release", min_length=1)
    sources: list[Any] = Field(min_length=1)
    stages: list[Any] = Field(min_length=1)
    output: Output = Output()
    gates: Gates = Gates()
    tune: Tune = Tune()

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_text(cls, value: object) -> object:
        if isinstance(value, float | int) and not isinstance(value, bool):
            raise ValueError(f"quote it: version: '{value}' (YAML reads a bare {value} as a number)")
        return value


@dataclass(frozen=True)
class StageSpec:
    """One stage of the recipe: which class, with which options."""

    name: str  # the class's own, the first part of its reasons
    target: str  # module:Class
    options: StageOptions

    def stage_class(self) -> StageClass:
        """Import the stage's class."""
        return _import(self.target)

    def resolved(self) -> dict[str, Any]:
        """Return the stage with every default, its version and the hashes of the rule packs that it reads."""
        cls = self.stage_class()
        fingerprint = self.options.fingerprint()
        return {
            "name": self.name,
            **({} if self.target in STAGES.values() else {"class": self.target}),
            "version": cls.version,
            "options": self.options.model_dump(mode="json"),
            **({} if fingerprint is None else {"fingerprint": fingerprint}),
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
            "sources": [source.model_dump(mode="json", exclude_none=True) for source in self.sources],
            "stages": [stage.resolved() for stage in self.stages],
            "output": self.output.model_dump(mode="json"),
            "gates": self.gates.model_dump(mode="json", exclude_none=True),
            "tune": self.tune.model_dump(mode="json"),
        }

    def sha256(self) -> str:
        """Return the SHA-256 of the resolved form as canonical JSON."""
        return hashlib.sha256(orjson.dumps(self.resolved(), option=orjson.OPT_SORT_KEYS)).hexdigest()


def load(path: str | Path) -> Recipe:
    """Read and check a recipe. Raises RecipeError with every problem found, each with file and line."""
    path = Path(path)
    file = YamlFile.read(path)
    problems: list[str] = []
    if not isinstance(file.data, dict):
        raise RecipeError(f"{file.name}: a recipe is a mapping that begins with 'curate: 1'; found no keys")
    head = file.validate(_Head, file.data, (), problems)
    sources = _sources(file, path.parent, problems)
    stages = _stages(file, problems)
    if problems or head is None:
        raise RecipeError(sorted(set(problems), key=_line))
    ordered = tuple(sorted(sources, key=lambda source: source.name))
    return Recipe(path, head.name, head.version, ordered, tuple(stages), head.output, head.gates, head.tune)


def _sources(file: YamlFile, folder: Path, problems: list[str]) -> list[Source]:
    entries = file.data.get("sources")
    found: list[Source] = []
    named: dict[str, Loc] = {}
    for i, entry in enumerate(entries if isinstance(entries, list) else ()):
        loc: Loc = ("sources", i)
        if not isinstance(entry, dict):
            problems.append(file.at(loc, "a source is {manifest: FILE} or has at least 'name' and 'files'"))
            continue
        if "manifest" in entry:
            source = _from_manifest(file, loc, entry, folder, problems)
        else:
            source = file.validate(Source, entry, loc, problems)
        if source is None:
            continue
        if source.name in named:
            problems.append(file.at(loc, f"a second source named {source.name!r}; names must be unique"))
        named[source.name] = loc
        found.append(source)
    return found


def _from_manifest(
    file: YamlFile, loc: Loc, entry: dict[str, Any], folder: Path, problems: list[str]
) -> Source | None:
    where = (*loc, "manifest")
    if len(entry) > 1 or not isinstance(entry["manifest"], str):
        problems.append(file.at(where, "a source is either 'manifest: FILE' alone or written inline"))
        return None
    try:
        manifest = YamlFile.read(folder / entry["manifest"], entry["manifest"])
    except RecipeError as error:
        problems += [file.at(where, problem) for problem in error.problems]
        return None
    if not isinstance(manifest.data, dict):
        problems.append(
            file.at(where, f"{manifest.name} has no keys; a source manifest needs name and files")
        )
        return None
    return manifest.validate(Source, manifest.data, (), problems)


def _stages(file: YamlFile, problems: list[str]) -> list[StageSpec]:
    entries = file.data.get("stages")
    specs: list[StageSpec] = []
    for i, entry in enumerate(entries if isinstance(entries, list) else ()):
        loc: Loc = ("stages", i)
        if isinstance(entry, str):
            name, options = entry, None
        elif isinstance(entry, dict) and len(entry) == 1:
            name, options = next(iter(entry.items()))
            loc = (*loc, name)
        else:
            problems.append(
                file.at(loc, "a stage is a name, or a name with its options: {minhash: {similarity: 0.8}}")
            )
            continue
        try:
            target = find_stage(name)
            cls = _import(target)
        except RecipeError as error:
            problems.append(file.at(loc, str(error)))
            continue
        if cls.name in {spec.name for spec in specs}:
            problems.append(file.at(loc, f"stage {cls.name!r} appears twice; each stage runs once"))
        checked = file.validate(cls.Options, {} if options is None else options, loc, problems)
        if checked is None:
            continue
        try:
            checked.fingerprint()  # what an option names outside the recipe must be there
        except RecipeError as error:
            problems.append(file.at(loc, str(error)))
        specs.append(StageSpec(cls.name, target, checked))
    return specs


def find_stage(name: object) -> str:
    """Return ``module:Class`` for a stage's name. Raises RecipeError with the nearest name."""
    text = str(name)
    if ":" in text:
        return text
    from importlib.metadata import entry_points

    known = STAGES | {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    if text not in known:
        raise RecipeError(f"unknown stage {text!r}{nearest(text, known)}")
    return known[text]


def _import(target: str) -> StageClass:
    module, _, name = target.partition(":")
    try:
        found: StageClass = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"stage {target!r} cannot be imported: {error}") from None
    missing = [part for part in ("name", "version", "rules", "Options") if not hasattr(found, part)]
    if missing:
        raise RecipeError(
            f"stage {target!r} lacks {', '.join(missing)}; curate/stage.py says what a stage has"
        )
    return found


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a recipe, for editors; built-in stages with their own options."""
    whole = _Head.model_json_schema()
    options = {name: _import(target).Options.model_json_schema() for name, target in STAGES.items()}
    source = Source.model_json_schema()
    definitions = whole.setdefault("$defs", {})
    for part in (source, *options.values()):
        definitions.update(part.pop("$defs", {}))
    manifest = {
        "type": "object",
        "properties": {"manifest": {"type": "string"}},
        "required": ["manifest"],
        "additionalProperties": False,
    }
    stages = [
        {"type": "object", "properties": {name: part}, "required": [name], "additionalProperties": False}
        for name, part in options.items()
    ]
    whole["properties"]["sources"]["items"] = {"anyOf": [manifest, source]}
    whole["properties"]["stages"]["items"] = {"anyOf": [{"type": "string"}, *stages, {"type": "object"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "curate recipe", **whole}


def _all_strings(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _line(problem: str) -> tuple[str, int, str]:
    match = re.match(r"([^:]*):(\d+):", problem)
    return (match[1], int(match[2]), problem) if match else ("", 0, problem)
