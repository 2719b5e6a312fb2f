"""Licenses: which one a declaration names, and what it allows.

``resolve`` turns what a source declares into a canonical SPDX expression, or into *unknown* and the reason
why; a declaration that names a family (``bsd``, ``cc``) or nothing is never taken as permissive. ``terms``,
``permits`` and ``rank`` answer for expressions: AND asks for everything its operands ask, OR leaves the
choice, WITH (an exception) only adds permissions to its license.

Licenses, spellings and terms are data: ``rules/licenses.yaml``. SPDX ids without a rule there take the terms
of their category in the ScanCode index, which license-expression carries. A working aid, no legal advice.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, Literal, TypeAlias

from curate import rules
from curate.errors import RecipeError
from curate.licensenames import expression, fold, index, links_and_rest, one_id, operands, phrase, tidy, tree

Tri: TypeAlias = bool | None  # yes, no, unknown
Use: TypeAlias = Literal["commercial", "derivatives"]
Evidence: TypeAlias = Literal["spdx", "alias", "url", "none"]

UNKNOWN_RANK = 100  # no license concluded
_NO_TERMS_RANK = 85  # a license is identified, its terms are not known

_LONGEST = 400  # characters; a longer declaration is a text, not a license's name
_TRI: Mapping[str, Tri] = {"yes": True, "no": False, "unknown": None}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a license or an expression allows and asks; None is unknown."""

    commercial: Tri
    derivatives: Tri
    attribution: Tri
    share_alike: Tri


@dataclass(frozen=True, slots=True)
class License:
    """One license."""

    id: str  # SPDX id or LicenseRef
    name: str
    category: str
    terms: Terms
    rank: int  # 0 asks nothing … 100 unknown
    obligations: tuple[str, ...] = ()  # keys of obligations()
    notes: str = ""
    url: str | None = None
    results_free: bool = False  # says itself that models and other results carry none of its obligations
    redistribution: bool = True  # allows copies to be passed on at all


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a declaration was found to say."""

    concluded: str | None  # canonical SPDX expression; None: unknown
    evidence: Evidence
    problem: str | None = None  # why nothing was concluded, one line


_NO_TERMS = Terms(None, None, None, None)


@lru_cache(maxsize=65536)
def resolve(declared: str | None) -> Resolution:
    """Return the canonical SPDX expression that a declaration names, however it is spelled."""
    text = tidy(declared)
    if len(text) > _LONGEST:
        return Resolution(None, "none", f"is {len(text)} characters long: a text, not the name of a license")
    words = index().words
    folded = fold(text)
    if not folded or folded in words:
        return Resolution(None, "none", words.get(folded, words["unknown"]))
    if concluded := expression(text):
        return Resolution(concluded, "spdx")
    linked, rest = links_and_rest(text)
    if linked and not fold(rest):
        if len(linked) == 1 and (concluded := linked.pop()):
            return Resolution(concluded, "url")
    elif (concluded := expression(rest) or phrase(rest)) and linked <= {concluded, None}:
        return Resolution(concluded, "alias")
    return Resolution(None, "none", "is not a known license")


def problem(text: str | None) -> str | None:
    """Return what is wrong with a license written in a recipe, in one line with the nearest id, or None.

    A word that says on purpose that the license is not known (``unknown``, ``other``) is right.
    """
    found = resolve(text)
    if found.concluded or fold(text or "") in ("unknown", "other"):
        return None
    shown, parts = tidy(text)[:80], operands(tidy(text)[:_LONGEST])
    if wrong := [part for part in parts if len(parts) > 1 and not resolve(part).concluded]:
        return f"in {shown!r}: {problem(wrong[0]) or f'{wrong[0]!r} cannot be part of an expression'}"
    if near := nearest(shown):
        hint = f"did you mean {near!r}?"
    else:
        hint = "write an SPDX id such as 'CC-BY-4.0', join several with AND or OR, or say 'unknown'"
    return f"license {shown!r} {found.problem}; {hint}"


def nearest(text: str) -> str | None:
    """Return the license id that looks most like the text: one with a rule before any other, else None."""
    for known in (_licenses(), index().spdx.values()):
        by_lower = {key.lower(): key for key in known}
        for near in difflib.get_close_matches(text.strip().lower(), by_lower, n=1, cutoff=0.7):
            return by_lower[near]
    return None


def says_nothing(declared: str | None) -> bool:
    """Tell whether a declaration leaves the license open: empty, or a word such as ``unknown`` or ``other``."""
    found = index().words
    return found.get(fold(tidy(declared)[:_LONGEST]) or "unknown") == found["unknown"]


def page(license_id: str) -> str | None:
    """Return the URL of a license's page: its own, else the one at the SPDX list; None for a LicenseRef."""
    found = get(license_id)
    if found.url or found.id.startswith("LicenseRef-"):
        return found.url
    return f"https://spdx.org/licenses/{found.id}.html"


def matches(rule: rules.Rule, example: Any) -> bool:
    """Tell whether the example resolves to the rule's license, or to the rule's reason for unknown."""
    found = resolve(example)
    if "spdx" in rule.data:
        return found.concluded == rule.data["spdx"] or found.concluded in rule.data.get("variants", ())
    return found.concluded is None and found.problem == rule.data["problem"]


def get(license_id: str) -> License:
    """Return one license by its id, in any case. RecipeError, with the nearest id, for an unknown one."""
    key = one_id(license_id)
    if key is None:
        raise RecipeError(problem(license_id) or f"{license_id!r} is not one license")
    if found := _licenses().get(key):
        return found
    category = index().categories.get(key, "")
    form = rules.load("licenses").data["scancode_categories"].get(category)
    if form is None or key.startswith("LicenseRef-"):
        return License(key, key, "unknown-terms", _NO_TERMS, _NO_TERMS_RANK)
    notes = f"Terms by its ScanCode category, {category}."
    return License(key, key, category.lower().replace(" ", "-"), _terms(form), form["rank"], (), notes)


def catalog() -> tuple[License, ...]:
    """Return every license that has a rule, by id."""
    return tuple(license for _, license in sorted(_licenses().items()))


def obligations() -> Mapping[str, str]:
    """Return what licenses may ask, as NOTICE words it, by key."""
    found: Mapping[str, str] = rules.load("licenses").data["obligations"]
    return found


def ids(expression: str | None) -> tuple[str, ...]:
    """Return the ids of all licenses in an expression, sorted; none for unknown."""
    concluded = resolve(expression).concluded
    return tuple(sorted(set(_leaves(tree(concluded))))) if concluded else ()


def terms(expression: str | None) -> Terms:
    """Return an expression's terms: the strictest of AND's operands, those of OR's least demanding one."""
    found = fold_expression(
        expression, lambda key: (get(key).rank, get(key).terms), _all_terms, _least_demanding
    )
    return _NO_TERMS if found is None else found[1]


def least(expression: str | None) -> tuple[str, ...]:
    """Return the licenses that hold where the least demanding of OR's operands is taken, sorted; none if unknown."""
    found = fold_expression(expression, lambda key: (get(key).rank, (key,)), _together, _least_demanding)
    return () if found is None else tuple(sorted(set(found[1])))


def permits(expression: str | None, uses: Iterable[Use]) -> Tri:
    """Tell whether all the uses are allowed together, under one choice of OR's operands; None is unknown."""
    wanted = tuple(uses)
    found: Tri = fold_expression(
        expression,
        lambda key: strictest(getattr(get(key).terms, use) for use in wanted),
        strictest,
        freest,
    )
    return found


def satisfied(expression: str | None, allowed: frozenset[str]) -> bool:
    """Tell whether licenses from a list of canonical ids are enough to satisfy the expression."""
    return bool(fold_expression(expression, lambda key: key in allowed, all, any))


def rank(expression: str | None) -> int:
    """Return how much is asked, 0 nothing … 100 unknown: the most of AND's operands, the least of OR's."""
    if expression is None:
        return UNKNOWN_RANK
    found: int | None = fold_expression(expression, lambda key: get(key).rank, max, min)
    return UNKNOWN_RANK if found is None else found


def _all_terms(answers: list[tuple[int, Terms]]) -> tuple[int, Terms]:
    found = [terms for _, terms in answers]
    both = Terms(
        commercial=strictest(t.commercial for t in found),
        derivatives=strictest(t.derivatives for t in found),
        attribution=freest(t.attribution for t in found),  # what one asks, all ask
        share_alike=freest(t.share_alike for t in found),
    )
    return max(rank for rank, _ in answers), both


def _least_demanding(answers: list[tuple[int, Any]]) -> tuple[int, Any]:
    return min(answers, key=lambda answer: answer[0])  # operands are sorted, so ties are settled


def _together(answers: list[tuple[int, tuple[str, ...]]]) -> tuple[int, tuple[str, ...]]:
    return max(rank for rank, _ in answers), tuple(key for _, keys in answers for key in keys)


def _leaves(node: Any) -> list[str]:
    return [_key(node)] if node.isliteral else [key for branch in node.args for key in _leaves(branch)]


def _key(node: Any) -> str:
    # 'GPL-2.0-only WITH Classpath-exception-2.0' is one leaf; its terms are at worst the license's own.
    return str(getattr(node, "license_symbol", node).key)


def _walk(
    node: Any, leaf: Callable[[str], Any], both: Callable[[list[Any]], Any], either: Callable[..., Any]
) -> Any:
    if node.isliteral:
        return leaf(_key(node))
    answers = [_walk(branch, leaf, both, either) for branch in node.args]
    return both(answers) if node.operator.strip() == "AND" else either(answers)


def fold_expression(expression: str | None, leaf: Callable[[str], Any], both: Any, either: Any) -> Any:
    """Fold an expression, in any spelling that resolves; None where it does not."""
    concluded = resolve(expression).concluded
    return None if concluded is None else _walk(tree(concluded), leaf, both, either)


def strictest(answers: Iterable[Tri]) -> Tri:
    """No if any answer is no, else unknown if any is unknown, else yes."""
    seen = set(answers)
    return False if False in seen else None if None in seen else True


def freest(answers: Iterable[Tri]) -> Tri:
    """Yes if any answer is yes, else unknown if any is unknown, else no."""
    seen = set(answers)
    return True if True in seen else None if None in seen else False


@cache
def _licenses() -> dict[str, License]:
    """Every license with a rule, and the variants that share its terms, by id."""
    found: dict[str, License] = {}
    for rule in rules.load("licenses").rules:
        if "spdx" not in rule.data:
            continue
        one = License(
            id=rule.data["spdx"],
            name=rule.description,
            category=rule.data["category"],
            terms=_terms(rule.data["terms"]),
            rank=rule.data["rank"],
            obligations=tuple(rule.data["obligations"]),
            notes=rule.data.get("notes", ""),
            url=rule.data.get("url"),
            results_free=rule.data.get("results_free") == "yes",
            redistribution=rule.data.get("redistribution") != "no",
        )
        for key in rule.data.get("variants", ()):
            found[key] = replace(one, id=key, name=f"{key} (as {one.id})", url=None)
        found[one.id] = one
    return found


def _terms(form: Mapping[str, Any]) -> Terms:
    return Terms(**{name: _TRI[form[name]] for name in Terms.__slots__})
