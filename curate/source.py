"""A source: where records come from, inline in a recipe or as a manifest of its own."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from curate.errors import RecipeError
from curate.provenance import Category, Crawler, Digests, Generator, Language, Signal
from curate.provenance import Part as Part  # known by this name to the other parts of a recipe
from curate.yamlfile import NAME, YamlFile
from curate.yamlread import Loc, shown

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def parse_size(value: object) -> int:
    """Return a size in bytes from ``256MB``, ``1.5GiB`` or a number of bytes. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?i?B)?", str(value).strip(), re.IGNORECASE)
    if not match or isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not a size; write it like 256MB or 2GiB")
    size = float(match[1]) * _UNITS[(match[2] or "B").upper()]
    if not 1 <= size < 2**63:
        bound = "less than one byte" if size < 1 else "more bytes than 64 bits can count"
        raise ValueError(f"{shown(value)} is {bound}; write a size like 256MB or 2GiB")
    return int(size)


_WRITTEN = {"anyOf": [{"type": "integer"}, {"type": "string"}], "examples": ["256MB", "2GiB"]}
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_WRITTEN)]


class Fields(Part):
    """Which column of the input holds what; each defaults to the format's usual name."""

    text: str | None = Field(None, description="format text: the document (default: text)")
    messages: str | None = Field(None, description="format openai: list of {role, content}")
    conversations: str | None = Field(None, description="format sharegpt: list of {from, value}")
    instruction: str | None = Field(None, description="format alpaca: the instruction")
    input: str | None = Field(None, description="formats alpaca and preference: the optional input")
    output: str | None = Field(None, description="format alpaca: the response")
    prompt: str | None = Field(None, description="format preference: what both replies answer, text or turns")
    chosen: str | None = Field(None, description="format preference: the better reply, text or turns")
    rejected: str | None = Field(None, description="format preference: the other reply, text or turns")
    system: str | None = Field(None, description="formats alpaca, sharegpt and preference: a system prompt")
    id: str | None = Field(None, description="unique name within the source (default: id, else file and row)")
    license: str | None = Field(None, description="the record's own license")
    url: str | None = Field(None, description="where the record was published")
    author: str | None = Field(None, description="who wrote it")
    created: str | None = Field(None, description="when it was written")


class Source(Part):
    """Where records come from: the inline form in a recipe, or a file under manifests/sources/."""

    name: str = Field(pattern=NAME, description="prefix of every record's id")
    files: tuple[str, ...] = Field(min_length=1, description="paths, globs or URLs, relative to the recipe")
    format: Literal["text", "alpaca", "openai", "sharegpt", "preference", "auto"] = Field(
        "auto", description="what a record looks like; auto tells it by the columns"
    )
    fields: Fields = Field(Fields(), description="which column of the input holds what")
    license: str | None = Field(None, description="SPDX expression; a record's own license wins")
    collected: datetime.date | None = Field(
        None, description="when the files were obtained, or the last were"
    )
    max_record: Size = Field(64 * 10**6, description="a record of more bytes than this is quarantined")
    title: str | None = Field(None, description="the source's name for people")
    description: str | None = Field(None, description="what is in it, in a few sentences")
    homepage: str | None = Field(None, description="URL where the source is found")
    creator: str | None = Field(None, description="who made the records, or put them together")
    collection: str | None = Field(None, description="how it was collected")
    terms: str | None = Field(None, description="terms of access, apart from the license")
    contact: str | None = Field(None, description="where to write to about this source")
    version: str | None = Field(None, description="the source's own version, in quotes", min_length=1)
    publisher: str | None = Field(None, description="who offers the files, if not the creator")
    selection: str | None = Field(None, description="which part of the source was taken, and by what rule")
    category: Category | None = Field(
        None,
        description="public: a dataset offered to all; licensed: used under a commercial license; private: from "
        "others, not public; crawled: collected from the web by or for whoever makes the release; user: from users "
        "of a service; synthetic: written by a program or model; other",
    )
    collected_from: datetime.date | None = Field(None, description="when collecting began")
    ongoing: bool | None = Field(None, description="whether records are still being collected")
    terms_url: str | None = Field(None, description="URL of the terms of access")
    consent: str | None = Field(None, description="how the people concerned agreed, and to what")
    notice: str | None = Field(None, description="how the people concerned were told")
    crawler: Crawler | None = Field(None, description="the program that collected it from the web")
    signals: tuple[Signal, ...] | None = Field(None, description="wishes of rights holders that were seen")
    generated_by: tuple[Generator, ...] | None = Field(
        None, description="models that wrote records, or parts of them"
    )
    personal_data: Literal["yes", "no", "unknown"] | None = Field(
        None, description="whether the source holds personal data, as whoever describes it knows"
    )
    languages: tuple[Language, ...] | None = Field(
        None, description="languages that it is said to be in, like en or nb"
    )
    jurisdiction: str | None = Field(None, description="country or region whose law it was collected under")
    sha256: Digests | None = Field(
        None,
        description="SHA-256 of every file, by its path relative to the recipe's folder, or by its name alone; a run "
        "refuses a file with another hash, and one that is not listed",
    )

    @field_validator("files", mode="before")
    @classmethod
    def _sorted(cls, value: object) -> object:
        # The order in which files are listed never matters, so the resolved form has only one.
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return tuple(sorted(set(value)))
        return value

    @field_validator("license")
    @classmethod
    def _license_is_known(cls, value: str | None) -> str | None:
        from curate import licenses  # brings the SPDX index, which only a recipe needs

        if value is not None and (problem := licenses.problem(value)):
            advice = " allowed: an SPDX expression; correct it, or leave it out"
            raise ValueError(problem + (advice if problem.endswith("?") else ""))
        return value

    @model_validator(mode="after")
    def _period_runs_forward(self) -> Source:
        if self.collected and self.collected_from and self.collected_from > self.collected:
            raise ValueError(
                f"collected_from is {self.collected_from}, after collected, {self.collected}; "
                "allowed: the day on which collecting began, then the day on which it ended; correct one"
            )
        return self


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a source manifest, for editors."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    about = {"title": "curate source", "description": "A source manifest: a file that a recipe names."}
    return head | Source.model_json_schema() | about


def read_sources(file: YamlFile, folder: Path, problems: list[str]) -> list[Source]:
    """Return a recipe's sources, in the order of the file; append what is wrong with them to problems.

    folder: what the paths of their manifests are relative to.
    """
    entries = file.data.get("sources")
    found: list[Source] = []
    named: dict[str, Loc] = {}
    for i, entry in enumerate(entries if isinstance(entries, list) else ()):
        loc: Loc = ("sources", i)
        if not isinstance(entry, dict):
            advice = "allowed: {manifest: FILE}, or keys with at least 'name' and 'files'; write one of these"
            problems.append(file.at(loc, f"found {shown(entry)}; {advice}"))
            continue
        if "manifest" in entry:
            source = _from_manifest(file, loc, entry, folder, problems)
        else:
            source = file.validate(Source, entry, loc, problems)
        if source is None:
            continue
        if source.name in named:
            first = f"the first is on line {file.line(named[source.name])}"
            problems.append(
                file.at(
                    loc, f"a second source named {source.name!r} ({first}); names must be unique; rename one"
                )
            )
        named.setdefault(source.name, loc)
        found.append(source)
    return found


def _from_manifest(
    file: YamlFile, loc: Loc, entry: dict[str, Any], folder: Path, problems: list[str]
) -> Source | None:
    where = (*loc, "manifest")
    named = entry["manifest"]
    if len(entry) > 1 or not isinstance(named, str):
        others = ", ".join(key for key in entry if key != "manifest")
        found = f"found {others} beside it" if others else f"found {shown(named)}"
        advice = "allowed: either 'manifest: FILE' alone or a source written inline; take one of them out"
        problems.append(file.at(where, f"{found}; {advice}"))
        return None
    try:
        manifest = YamlFile.read(folder / named, named)
        keys = manifest.mapping("a source manifest has the keys 'name' and 'files'")
    except RecipeError as error:
        problems += [file.at(where, problem) for problem in error.problems]
        return None
    return manifest.validate(Source, keys, (), problems)
