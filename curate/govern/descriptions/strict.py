"""Our own check of croissant.json and README.md against the release they describe.

mlcroissant 1.1.1 accepts a description without license or name, with any text as a license, with empty RAI
answers, and with a hash that is wrong as long as nobody loads the file; the Hub checks a card only online. What
is checked here is what they let pass.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from curate.errors import RecipeError
from curate.govern import facts
from curate.govern import manifest as manifests
from curate.govern.descriptions import card, croissant
from curate.licensenames import expression
from curate.yamlread import read

_SCHEMA_ORG = "https://schema.org/"
_REQUIRED = (
    "name",
    "description",
    "license",
    "url",
    "creator",
    "datePublished",
    "version",
    "distribution",
    "recordSet",
)
# Only a person can say these: the recipe's part `about` holds them.
_DECLARED = {"url": "homepage", "creator": "creator"}
_PAGE = re.compile(r"https://spdx\.org/licenses/(.+)\.html")


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with a document: the file, where in it, what is wrong.

    gap: the document is right, but lacks what only a person can supply: what the recipe's part ``about`` says, or
    the license of records that nobody knows.
    """

    path: str
    where: str
    what: str
    gap: bool = False


def check(out: Path, hashes: Mapping[str, str] | None = None) -> list[Problem]:
    """Return what is wrong with a release's croissant.json and README.md, sorted.

    hashes: the sha256 of files by their path in the release, where somebody has just recomputed them; those of all
    others are recomputed here. Raises RecipeError if the folder holds no release.
    """
    manifest = manifests.load(out)
    return sorted({*_croissant(out, manifest, hashes or {}), *_card(out, manifest)})


def _croissant(out: Path, manifest: Mapping[str, Any], hashes: Mapping[str, str]) -> Iterator[Problem]:
    try:
        told = orjson.loads(_read(out / croissant.NAME))
    except (OSError, orjson.JSONDecodeError):
        yield Problem(croissant.NAME, "", "is missing, or no JSON")
        return
    found = [
        *_context(told),
        *_properties(told, manifest),
        *_licenses(told, manifest),
        *_answers(told),
        *_files(told, out, hashes),
        *_counts(told, manifest),
    ]
    yield from (Problem(croissant.NAME, where, what, gap) for where, what, gap in found)


_Found = tuple[str, str, bool]


def _context(told: Mapping[str, Any]) -> Iterator[_Found]:
    context = told.get("@context")
    for key in ("@vocab", "sc"):
        value = context.get(key) if isinstance(context, dict) else None
        if value != _SCHEMA_ORG:
            yield f"/@context/{key}", f"is {value!r}; readers insist on {_SCHEMA_ORG!r}", False
    declared = told.get("conformsTo")
    for version in croissant.CONFORMS_TO:
        if not isinstance(declared, list) or version not in declared:
            yield "/conformsTo", f"does not name {version}", False


def _properties(told: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[_Found]:
    for key in _REQUIRED:
        value = told.get(key)
        if key == "license" and not facts.terms(manifest):
            continue  # no record, no license
        if value in (None, "", [], {}):
            about = _DECLARED.get(key)
            advice = f": say it as about.{about} in the recipe" if about else ""
            yield f"/{key}", f"is missing{advice}", about is not None and key not in told
    creators = told.get("creator") or []
    for creator in creators if isinstance(creators, list) else [creators]:
        if not isinstance(creator, dict) or not creator.get("name"):
            yield "/creator", "has no name", False


def _licenses(told: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[_Found]:
    said = told.get("license") or []
    names = []
    for place, one in enumerate(said if isinstance(said, list) else [said]):
        name = one.get("name") if isinstance(one, dict) else one
        if page := _PAGE.fullmatch(str(name)):
            name = page[1]
        names.append(name)
        if name == facts.UNKNOWN:
            yield f"/license/{place}", "the license of some records is not known", True
        elif not isinstance(name, str) or expression(name) is None:
            yield f"/license/{place}", f"{one!r} is neither an SPDX license nor a page of one", False
    wanted = facts.terms(manifest)
    if names and sorted(map(str, names)) != wanted:
        yield "/license", f"the records are under {', '.join(wanted) or 'none'}, by the manifest", False


def _answers(told: Mapping[str, Any]) -> Iterator[_Found]:
    for key, value in told.items():
        if key.startswith("rai:"):
            values = value if isinstance(value, list) else [value]
            if not values or any(not isinstance(one, str) or not one.strip() for one in values):
                yield f"/{key}", "is empty; leave it out, or say something", False


def _files(told: Mapping[str, Any], out: Path, hashes: Mapping[str, str]) -> Iterator[_Found]:
    entries = [e for e in told.get("distribution") or [] if isinstance(e, dict)]
    listed = set()
    for entry in entries:
        if entry.get("@type") != "cr:FileObject":
            continue
        url = str(entry.get("contentUrl"))
        where = f"/distribution/{entry.get('@id')}"
        listed.add(url)
        path = out / url
        if not path.is_file() or not path.resolve().is_relative_to(out.resolve()):
            yield where, f"{url} is not in the release", False
            continue
        if entry.get("contentSize") != f"{path.stat().st_size} B":
            yield where, f"contentSize is not {path.stat().st_size} B, the size of {url}", False
        if entry.get("sha256") != (hashes.get(url) or _sha256(path)):
            yield where, f"sha256 is missing, or not that of {url}", False
    for part in ("data", "records"):
        for path in sorted((out / part).glob("part-*")):
            if (name := path.relative_to(out).as_posix()) not in listed:
                yield "/distribution", f"{name} is not listed", False


def _read(path: Path) -> bytes:
    if not path.is_file():  # a pipe or a device would be read forever
        raise FileNotFoundError(path)
    return path.read_bytes()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _counts(told: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[_Found]:
    entries = [entry for entry in told.get("recordSet") or [] if isinstance(entry, dict)]
    schema = manifest.get("schema") or {}
    parts = {
        part for part in ("data", "records") if schema.get(part) != []
    }  # JSON lines without a line: no columns
    for part in sorted(parts - {str(entry.get("@id")) for entry in entries}):
        yield "/recordSet", f"{part} is not described", False
    for entry in entries:
        part = str(entry.get("@id"))
        wanted = sum(shard["records"] for shard in facts.shards(manifest, part))
        if part == "splits":
            wanted = len(facts.splits(manifest, "data")) if facts.has_splits(manifest) else 0
        if not str(entry.get("description")).startswith(f"{wanted:,} rows"):
            yield f"/recordSet/{part}", f"does not say that it has {wanted:,} rows", False


def _card(out: Path, manifest: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        text = _read(out / card.NAME).decode()
        front, _ = read(text.removeprefix("---\n").split("\n---\n")[0], card.NAME)
    except (OSError, UnicodeDecodeError, RecipeError):
        yield Problem(card.NAME, "", "is missing, or has no front matter")
        return
    if not isinstance(front, dict):
        front = {}
    wanted = card.front_matter(manifest)
    for key in sorted({*wanted, *front}):
        if front.get(key) != wanted.get(key):
            yield Problem(card.NAME, f"/{key}", "is not what the manifest says")
    if "[More Information Needed]" in text:
        yield Problem(card.NAME, "", "holds a placeholder")
