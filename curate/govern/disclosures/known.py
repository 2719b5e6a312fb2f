"""What the disclosures need to know of a release, read from its manifest."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curate.govern.disclosures.tongues import EU_OFFICIAL, NAMES
from curate.govern.facts import UNKNOWN, licenses

PUBLIC_DOMAIN = frozenset({"CC-PDDC", "CC-PDM-1.0", "CC0-1.0", "PDDL-1.0", "Unlicense"})
"""SPDX ids of dedications to the public domain."""

STEWARD = "data steward"
PROVIDER = "provider"
COUNSEL = "legal counsel"
PRIVACY = "privacy officer"
OWNERS = {
    STEWARD: "whoever writes the source manifests",
    PROVIDER: "whoever offers the model that is trained on this",
    COUNSEL: "whoever answers for rights in the data",
    PRIVACY: "whoever answers for personal data",
}


@dataclass(frozen=True)
class Used:
    """A source of which records were kept."""

    place: int  # in the recipe
    about: Mapping[str, Any]
    records: int  # kept
    bytes: int  # of their text in UTF-8

    @property
    def name(self) -> str:
        """Return the source's name."""
        return str(self.about["name"])

    @property
    def label(self) -> str:
        """Return name and title."""
        title = self.about.get("title")
        return f"{title} ({self.name})" if title else self.name

    def pointer(self, key: str = "") -> str:
        """Return where the source, or one of its keys, stands in the manifest."""
        return f"/recipe/sources/{self.place}" + (f"/{key}" if key else "")


def used(manifest: Mapping[str, Any]) -> list[Used]:
    """Return the sources that are in the release, in the recipe's order."""
    found = {row["source"]: row for row in manifest["volume"]["sources"]}
    return [
        Used(place, about, found[about["name"]]["records"], found[about["name"]]["bytes"])
        for place, about in enumerate(manifest["recipe"]["sources"])
        if about["name"] in found
    ]


def of_category(sources: Iterable[Used], category: str) -> list[Used]:
    """Return the sources that declare a category."""
    return [source for source in sources if source.about.get("category") == category]


def uncategorised(sources: Iterable[Used]) -> list[Used]:
    """Return the sources that declare no category."""
    return [source for source in sources if not source.about.get("category")]


def generated(sources: Iterable[Used]) -> list[Used]:
    """Return the sources that are declared synthetic, or name a model that wrote them."""
    return [s for s in sources if s.about.get("category") == "synthetic" or s.about.get("generated_by")]


def pointers(sources: Iterable[Used], *keys: str) -> list[str]:
    """Return where the keys of the sources stand, of those that are declared."""
    return [source.pointer(key) for source in sources for key in keys if source.about.get(key) is not None]


def names(sources: Iterable[Used]) -> str:
    """Return the names of sources as a list in a sentence."""
    named = [source.name for source in sources]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return ", ".join(named[:_MOST_NAMED]) + more


_MOST_NAMED = 12


def month(day: str) -> str:
    """Return a date as MM/YYYY."""
    return datetime.date.fromisoformat(day).strftime("%m/%Y")


def period(sources: Sequence[Used]) -> str | None:
    """Return when the sources were collected, as MM/YYYY to MM/YYYY; None if none says so."""
    days = sorted(s.about[key] for s in sources for key in ("collected_from", "collected") if key in s.about)
    if not days:
        return None
    first, last = month(days[0]), month(days[-1])
    return first if first == last else f"{first} to {last}"


def size(n: int) -> str:
    """Return a number of bytes as a reader wants it."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= factor:
            return f"{n / factor:.1f} {unit}"
    return f"{n} bytes"


def share(part: int, whole: int) -> str:
    """Return a share as a percentage; a dash of nothing."""
    if 0 < part < whole / 2000:
        return "<0.1%"
    return f"{part / whole:.1%}" if whole else "–"


def plural(n: int, word: str) -> str:
    """Return a count with its noun."""
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def row(source: Used, whole: int) -> dict[str, Any]:
    """Return a source as a row of a table. whole: bytes of text that its share is of."""
    about = source.about
    return {
        "dataset": source.label,
        "version": about.get("version", "not declared"),
        "link": about.get("homepage", "not declared"),
        "publisher": about.get("publisher") or about.get("creator") or "not declared",
        "selection": about.get("selection", "not declared"),
        "license": about.get("license", "not declared for all of it"),
        "collected": period([source]) or "not declared",
        "records": source.records,
        "text": size(source.bytes),
        "share": share(source.bytes, whole),
    }


def lacking(sources: Iterable[Used], **keys: str) -> str:
    """Return a sentence that names what the sources do not declare. keys: key → what it is called."""
    sources = list(sources)
    gaps = []
    for key, called in keys.items():
        if missing := [source for source in sources if not source.about.get(key)]:
            gaps.append(f"{called} of {names(missing)}")
    return f"Not declared in the source manifests: {'; '.join(gaps)}." if gaps else ""


def languages(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return how many kept records are in each language, the most frequent first; not those without language."""
    found: dict[str, int] = {}
    for line in manifest["statistics"]["languages"]:
        if line["after"] and line["language"] not in ("und", "zxx"):
            found[line["language"]] = found.get(line["language"], 0) + line["after"]
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def named(code: str) -> str:
    """Return a language's name and code."""
    name = EU_OFFICIAL.get(code) or NAMES.get(code)
    return f"{name} ({code})" if name else code


def personal(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return, by kind, how many finds of personal data were edited in the kept records."""
    found: dict[str, int] = {}
    for line in manifest["statistics"]["edits"]:
        if line["reason"].startswith("pii/"):
            kind = line["reason"].removeprefix("pii/")
            found[kind] = found.get(kind, 0) + line["edits"]
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def stage(manifest: Mapping[str, Any], name: str) -> int | None:
    """Return a stage's place in the recipe, None if it is not there."""
    places = [i for i, s in enumerate(manifest["recipe"]["stages"]) if s["name"] == name]
    return places[0] if places else None


def license_pointer(manifest: Mapping[str, Any]) -> str:
    """Return where the licenses of the kept records stand in the manifest."""
    return (
        "/licenses/records"
        if manifest.get("licenses", {}).get("records") is not None
        else "/statistics/licenses"
    )


def unknown_licenses(manifest: Mapping[str, Any]) -> int:
    """Return how many kept records have no license that can be told."""
    return licenses(manifest).get(UNKNOWN, 0)


def all_public_domain(manifest: Mapping[str, Any]) -> bool:
    """Tell whether every license that is known of a kept record is a dedication to the public domain."""
    found = licenses(manifest).keys() - {UNKNOWN}
    return bool(found) and found <= PUBLIC_DOMAIN


RESERVED = re.compile(
    r"disallow:\s*/(\s|$)|reserve[sd]?\b|\bno-?ai\b|train-ai\s*[=:]\s*n|tdm-reservation\W+1|opt(ed)?[ -]?out\b|"
    r"not? (allow|permit|train)",
    re.IGNORECASE,
)
"""What a rights holder's signal says where it keeps text and data mining to itself."""
