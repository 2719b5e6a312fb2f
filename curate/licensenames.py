"""Names of licenses: from a declaration, however it is spelled, to a canonical SPDX expression.

Spellings are data (``rules/licenses.yaml``); ids and exceptions are those of the ScanCode index, a superset
of the SPDX license list that license-expression carries. A spelling counts only as a whole: where any word
is left over (``modified MIT``, ``not CC BY 4.0``), nothing is concluded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from curate import rules

_TOKEN = re.compile(r"[^\W_]+(?:\.[^\W_]+)*\+?")  # words and numbers: 4.0; gpl-2.0+ is gpl and 2.0+
_HEDGED = re.compile(r"[?*|=!&;]")  # punctuation that changes what a name says
_OPERATOR = re.compile(r"(\(|\)|(?<![^\s()])(?:and|or|with)(?![^\s()]))", re.IGNORECASE)
_LINK = re.compile(r"(?:(?:https?:)?//|\bwww\.)[^\s<>\"']+|^[\w.-]+\.[a-z]{2,}/\S*$", re.IGNORECASE)
_CC_LINK = re.compile(r"creativecommons\.org/licenses/([a-z-]+)(?:/(\d\.\d))?(?:/([a-z]{2,3}))?(?:/[\w.-]*)?")
_CC_ZERO = re.compile(r"creativecommons\.org/publicdomain/(zero|mark)/1\.0(?:/[\w./-]*)?")
_PAREN = re.compile(r"([^()]+)\(([^()]+)\)[\s.]*(?:licen[cs]e)?[\s.]*", re.IGNORECASE)
# The LicenseRefs of a user's own contracts; those of ours and ScanCode's must exist.
_OWN_REF = re.compile(r"LicenseRef-(?!curate-|scancode-|provider-)[A-Za-z0-9.-]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _CreativeCommons:
    elements: frozenset[str]  # of by, nc, sa, nd
    version: str | None
    port: str | None  # code of the country whose law it was ported to


@dataclass(frozen=True, slots=True)
class Index:
    """Everything that spellings are looked up in."""

    words: dict[str, str]  # folded word → why it concludes nothing
    aliases: dict[str, str]  # folded spelling → id
    urls: dict[str, str]  # bare URL → id
    id_urls: frozenset[str]
    lead_in: re.Pattern[str]
    but: frozenset[str]
    spdx: dict[str, str]  # lower-case id → id
    exceptions: dict[str, str]  # the same for what may follow WITH
    categories: dict[str, str]  # id → category in the ScanCode index
    licensing: Any


@cache
def index() -> Index:
    """Read the rule pack and license-expression's index, once per process (0.4 s)."""
    from license_expression import LicenseSymbol, Licensing, get_license_index

    pack = rules.load("licenses")
    words: dict[str, str] = {}
    aliases: dict[str, str] = {}
    urls: dict[str, str] = {}
    spdx: dict[str, str] = {}
    exceptions: dict[str, str] = {}
    for rule in pack.rules:
        data = rule.data
        words |= dict.fromkeys(map(fold, data.get("words", ())), data.get("problem", ""))
        if "spdx" in data:
            aliases |= dict.fromkeys(map(fold, data.get("aliases", ())), data["spdx"])
            urls |= dict.fromkeys(data.get("urls", ()), data["spdx"])
            spdx |= {key.lower(): key for key in (data["spdx"], *data.get("variants", ()))}
    listed = [entry for entry in get_license_index() if entry["spdx_license_key"]]
    for entry in listed:
        if entry["is_exception"] and entry["category"] not in pack.data["scancode_categories"]:
            continue  # Commons Clause and its like restrict the license they are added to
        known = exceptions if entry["is_exception"] else spdx
        for key in (*entry["other_spdx_license_keys"], entry["spdx_license_key"]):
            known[key.lower()] = entry["spdx_license_key"]
    for stem, name in pack.data["names"].items():
        for lower, key in spdx.items():
            if found := re.fullmatch(rf"{stem.lower()}-(\d[\d.]*[a-z]?)", lower):
                for version in {found[1], found[1].removesuffix(".0")}:
                    aliases.setdefault(fold(f"{name} {version}"), key)
    for lower, key in spdx.items():
        if not lower.startswith("licenseref-"):
            aliases.setdefault(fold(lower), key)  # "Artistic License 2.0", "PDDL 1.0"
    symbols = [LicenseSymbol(key) for key in dict.fromkeys(spdx.values())]
    symbols += [LicenseSymbol(key, is_exception=True) for key in dict.fromkeys(exceptions.values())]
    lead_in = pack.data["lead_in"]
    return Index(
        words=words,
        aliases=aliases,
        urls=urls,
        id_urls=frozenset(pack.data["id_urls"]),
        lead_in=re.compile(rf"(?P<before>(?:\S+ ){{0,5}}){lead_in['verbs']}(?P<name>.+)"),
        but=frozenset(lead_in["but"]),
        spdx=spdx,
        exceptions=exceptions,
        categories={entry["spdx_license_key"]: entry["category"] for entry in listed},
        licensing=Licensing(symbols),
    )


def tidy(text: str | None) -> str:
    """Return a declaration in NFKC with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text or "").split())


def fold(text: str) -> str:
    """Return a spelling as it is compared: lower case, words only, without fillers, ``v2.0`` as ``2.0``."""
    tokens = _TOKEN.findall(tidy(text).casefold())
    bare = (re.sub(r"^v(?=\d)", "", token) for token in tokens)
    return " ".join(token for token in bare if token not in _fillers() and token != "v")


def one_id(text: str) -> str | None:
    """Return the canonical form of one SPDX id or LicenseRef, in any case."""
    text = text.strip()
    if found := index().spdx.get(text.lower()):
        return found
    return "LicenseRef-" + text[11:] if _OWN_REF.fullmatch(text) else None


def expression(text: str, operand: Callable[[str], str | None] = one_id) -> str | None:
    """Return the canonical form of an id or expression whose operands the function resolves, else None."""
    if not _OPERATOR.search(text):
        return operand(text)
    written: list[str] = []
    for part in filter(None, (part.strip() for part in _OPERATOR.split(text))):
        after_with = bool(written) and written[-1] == "WITH"
        if _OPERATOR.fullmatch(part):
            written.append(part.upper())
        elif found := index().exceptions.get(part.lower()) if after_with else operand(part):
            # A phrase may itself resolve to an expression, which must stay one operand.
            written.append(f"({found})" if " " in found else found)
        else:
            return None
    parsed = tree(" ".join(written))
    return None if parsed is None else str(parsed.render())


def operands(text: str) -> list[str]:
    """Return what stands between the operators and parentheses of an expression, unresolved."""
    parts = (part.strip() for part in _OPERATOR.split(text))
    return [part for part in parts if part and not _OPERATOR.fullmatch(part)]


@lru_cache(maxsize=4096)
def tree(canonical: str) -> Any:
    """Return the simplified boolean tree of an expression of canonical ids, its operands sorted.

    None where the expression is malformed. Leaves have ``isliteral``; branches have ``args`` and an
    ``operator`` with spaces around it.
    """
    from license_expression import ExpressionError, ExpressionParseError

    try:
        parsed = index().licensing.parse(canonical, validate=False, strict=True)
    except (ExpressionError, ExpressionParseError):
        return None
    return None if parsed is None else parsed.simplify()


def links_and_rest(text: str) -> tuple[set[str | None], str]:
    """Return the licenses whose pages the text links to, None for any other page, and the other text."""
    return {_link(found) for found in _LINK.findall(text)}, _LINK.sub(" ", text)


def phrase(text: str) -> str | None:
    """Resolve a name in words, alone or at the end of a sentence that leads to it."""
    if _HEDGED.search(text):
        return None
    if found := index().aliases.get(fold(text)) or _cc_id(_cc_name(text)):
        return found
    if pair := _PAREN.fullmatch(text):
        return _said_twice(*pair.groups())
    if _OPERATOR.search(text):
        return expression(text, lambda operand: one_id(operand) or phrase(operand))
    lead = index().lead_in.fullmatch(tidy(text).lower().strip("[](){}#\"'.,: "))
    if not lead or set(_TOKEN.findall(lead["before"])) & index().but:
        return None
    return one_id(lead["name"]) or phrase(lead["name"])


def _said_twice(outer: str, inner: str) -> str | None:
    """Resolve ``Attribution 4.0 (CC BY 4.0)``: both must say the same; one may omit the version."""
    names = [name for name in (_cc_name(outer, partial=True), _cc_name(inner, partial=True)) if name]
    if len(names) == 2:
        same = names[0].elements == names[1].elements
        versions = {name.version for name in names} - {None}
        return _cc_id(max(names, key=lambda name: name.version or "")) if same and len(versions) < 2 else None
    first, second = (one_id(part) or phrase(part) for part in (outer, inner))
    return first if first == second else None


def _cc_name(text: str, partial: bool = False) -> _CreativeCommons | None:
    """Read the name of a Creative Commons license word by word; None if any word means something else.

    A partial name may lack what tells it from other words: a version, or ``CC`` in front.
    """
    words = rules.load("licenses").data["creative_commons"]
    tokens = re.sub(r"\b(non|share|no) (?=commercial|alike|deriv)", r"\1", fold(text)).split()
    elements: list[str] = []
    versions: list[str] = []
    ports: list[str] = []
    for token in tokens:
        if token in words["elements"]:
            elements.append(words["elements"][token])
        elif re.fullmatch(r"[1-4](\.\d)?", token):
            versions.append(token if "." in token else f"{token}.0")
        elif token in words["ports"]:
            ports.append(token)
        elif token not in words["fillers"]:
            return None
    once = len(set(elements)) == len(elements) and max(len(versions), len(ports), tokens.count("cc")) < 2
    named = partial or versions or tokens[:1] in (["cc"], ["creative"])
    if not (once and elements and named):
        return None
    return _CreativeCommons(frozenset(elements), next(iter(versions), None), next(iter(ports), None))


def _cc_id(name: _CreativeCommons | None) -> str | None:
    """Return the SPDX id of a Creative Commons license, or the LicenseRef of its family without a version."""
    if name is None or "by" not in name.elements or {"sa", "nd"} <= name.elements:
        return None
    family = "-".join(["CC", *(code.upper() for code in ("by", "nc", "sa", "nd") if code in name.elements)])
    if name.version is None:
        return one_id(f"LicenseRef-curate-{family}")
    return one_id(f"{family}-{name.version}-{name.port}") or one_id(f"{family}-{name.version}")


def _link(link: str) -> str | None:
    """Return the license whose page a URL is."""
    bare = re.sub(r"^(?:https?:)?(?://)?(?:www\.)?", "", link.lower().rstrip(").,;]"))
    bare = re.sub(r"[?#].*$", "", bare).rstrip("/")
    if cc := _CC_LINK.fullmatch(bare):
        elements = frozenset(cc[1].split("-"))
        return (
            _cc_id(_CreativeCommons(elements, cc[2], cc[3])) if elements <= {"by", "nc", "sa", "nd"} else None
        )
    if zero := _CC_ZERO.fullmatch(bare):
        return "CC0-1.0" if zero[1] == "zero" else "CC-PDM-1.0"
    bare = re.sub(r"(\.[a-z]{2})?\.(html?|txt|md|php|json)$", "", bare)
    folder, _, last = bare.rpartition("/")
    return index().urls.get(bare) or (one_id(last) if folder in index().id_urls else None)


@cache
def _fillers() -> frozenset[str]:
    return frozenset(rules.load("licenses").data["fillers"])
