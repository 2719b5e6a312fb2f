"""Rule packs: what the stages look for, as data that carries its own examples.

A pack is one YAML 1.2 file in ``rules/`` (in an installed wheel, package data)::

    pack: conversation                # the file's stem
    version: 1
    description: what the pack is for
    tested_by: curate.stages.conversation:matches   # callable (rule, example) -> bool
    rules:
      - id: conversation/empty-turn
        description: what it finds and why it matters
        match: [...]                  # examples that the rule must find, any YAML value
        no_match: [...]               # examples that it must leave alone
        pattern: ...                  # any further keys are the rule's data

YAML 1.2 matters: ``no`` is Norwegian, not false.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

from curate.errors import RecipeError

_PACK_KEYS = ("pack", "version", "description", "tested_by", "rules")
_RULE_KEYS = ("id", "description", "match", "no_match")
ExampleKind: TypeAlias = Literal["match", "no_match"]
EXAMPLES: tuple[ExampleKind, ...] = ("match", "no_match")
_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule with the examples that prove it."""

    id: str  # unique in its pack
    description: str
    match: tuple[Any, ...]
    no_match: tuple[Any, ...]
    data: Mapping[str, Any]  # every further key of the rule, as read


@dataclass(frozen=True, slots=True)
class Pack:
    """One file of rules."""

    name: str
    version: int
    description: str
    path: str  # for display and the manifest: rules/<name>.yaml, wherever the file really lies
    sha256: str  # hex digest of the file's bytes
    rules: tuple[Rule, ...]
    data: Mapping[str, Any]  # every further top-level key, as read
    tested_by: str  # 'package.module:callable', called with (rule, example), answers bool

    def rule(self, rule_id: str) -> Rule:
        """Return the rule of that id; RecipeError, with the nearest id, where there is none."""
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        known = [rule.id for rule in self.rules]
        raise RecipeError(f"{self.path} has no rule {rule_id!r}{did_you_mean(rule_id, known)}")


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that a rule's own examples disprove."""

    pack: str
    rule: str
    kind: Literal["match", "no_match", "error"]  # 'error': the example could not be run at all
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known word, or nothing where none is near."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def data_folder(name: str) -> Path:
    """Return a folder of data files: inside the package in a wheel, beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    packed = package / "_data" / name
    return packed if packed.is_dir() else package.parent / name


def names() -> tuple[str, ...]:
    """Return the names of all rule packs, sorted."""
    return tuple(sorted(path.stem for path in data_folder("rules").glob("*.yaml")))


@cache
def load(name: str) -> Pack:
    """Return the rule pack of that name, read once per process.

    Raises RecipeError for an unknown name (with the nearest known one) and for a file that breaks the form.
    """
    known = names()
    if name not in known:
        near = did_you_mean(name, known) or f"; known: {', '.join(known)}"
        raise RecipeError(f"unknown rule pack {name!r}{near}")
    return read(data_folder("rules") / f"{name}.yaml")


def read(path: Path) -> Pack:
    """Read and check one pack file. Raises RecipeError naming the file, the rule and the key."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    shown = f"rules/{path.name}"
    try:
        raw = path.read_bytes()
        loaded = YAML(typ="safe", pure=True).load(raw.decode())
    except OSError as error:
        raise RecipeError(f"{shown}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{shown}: not UTF-8 at byte {error.start}") from error
    except YAMLError as error:
        raise RecipeError(f"{shown}: not YAML: {' '.join(str(error).split())}") from error
    top = _mapping(loaded, _PACK_KEYS, shown)
    if _text(top, "pack", shown) != path.stem:
        _wrong(shown, "pack", f"must be the file's stem {path.stem!r}, is {top['pack']!r}")
    version = top["version"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        _wrong(shown, "version", f"must be a whole number from 1, is {version!r}")
    tested_by = _text(top, "tested_by", shown)
    if not _CALLABLE.fullmatch(tested_by):
        _wrong(shown, "tested_by", f"must look like 'package.module:callable', is {tested_by!r}")
    return Pack(
        name=path.stem,
        version=version,
        description=_text(top, "description", shown),
        path=shown,
        sha256=hashlib.sha256(raw).hexdigest(),
        rules=_rules(top["rules"], shown),
        data={key: value for key, value in top.items() if key not in _PACK_KEYS},
        tested_by=tested_by,
    )


def check(pack: Pack) -> list[Failure]:
    """Run every rule's own examples; an empty list means that all hold.

    A rule without at least one example of each kind fails too: what cannot fail proves nothing.
    """
    tester = _callable(pack)
    failures: list[Failure] = []
    for rule in pack.rules:
        for kind in EXAMPLES:
            examples = rule.match if kind == "match" else rule.no_match
            if not examples:
                failures.append(Failure(pack.name, rule.id, kind, f"has no {kind} example"))
            for example in examples:
                failures += _run(tester, pack, rule, kind, example)
    return failures


def _run(
    tester: Callable[[Rule, Any], Any],
    pack: Pack,
    rule: Rule,
    kind: Literal["match", "no_match"],
    example: Any,
) -> list[Failure]:
    """Run one example; a rule that raises has failed it, and must not hide the examples after it."""
    try:
        found = tester(rule, example)
    except Exception as error:  # noqa: BLE001  whatever a rule's test raises is the finding
        message = f"{type(error).__name__} on {example!r}: {error}"
        return [Failure(pack.name, rule.id, "error", message)]
    if found is (kind == "match"):
        return []
    if not isinstance(found, bool):
        return [
            Failure(pack.name, rule.id, "error", f"{pack.tested_by} must answer True or False, not {found!r}")
        ]
    verb = "must match" if kind == "match" else "must not match"
    return [Failure(pack.name, rule.id, kind, f"{verb} {example!r}")]


def _callable(pack: Pack) -> Callable[[Rule, Any], Any]:
    module, _, name = pack.tested_by.partition(":")
    try:
        found: Callable[[Rule, Any], Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"{pack.path}: tested_by: {pack.tested_by} cannot be imported: {error}") from error
    return found


def _rules(value: Any, shown: str) -> tuple[Rule, ...]:
    if not isinstance(value, list) or not value:
        _wrong(shown, "rules", "must be a list of at least one rule")
    rules: list[Rule] = []
    for number, entry in enumerate(value, 1):
        rule = _rule(entry, f"{shown}: rule {number}")
        if any(rule.id == other.id for other in rules):
            _wrong(f"{shown}: rule {number}", "id", f"{rule.id!r} is taken by an earlier rule")
        rules.append(rule)
    return tuple(rules)


def _rule(entry: Any, where: str) -> Rule:
    found = _mapping(entry, ("id", "description"), where)
    rule_id = _text(found, "id", where)
    where = f"{where} ({rule_id})"
    if re.search(r"\s", rule_id):
        _wrong(where, "id", "must hold no space")
    examples = {key: found.get(key, []) for key in ("match", "no_match")}
    for key, listed in examples.items():
        if not isinstance(listed, list):
            _wrong(where, key, f"must be a list of examples, is {type(listed).__name__}")
    return Rule(
        id=rule_id,
        description=_text(found, "description", where),
        match=tuple(examples["match"]),
        no_match=tuple(examples["no_match"]),
        data={key: value for key, value in found.items() if key not in _RULE_KEYS},
    )


def _mapping(value: Any, required: tuple[str, ...], where: str) -> dict[str, Any]:
    """Return the value as a mapping with string keys that has the required ones."""
    if not isinstance(value, dict):
        raise RecipeError(f"{where}: must be a mapping with the keys {', '.join(required)}")
    for key in value:
        if not isinstance(key, str):
            _wrong(where, repr(key), "keys must be text")
    for key in required:
        if key not in value:
            near = difflib.get_close_matches(key, [k for k in value if k not in required], n=1)
            hint = f" (is {near[0]!r} a misspelling of it?)" if near else ""
            _wrong(where, key, f"is missing{hint}")
    return value


def _text(found: Mapping[str, Any], key: str, where: str) -> str:
    value = found[key]
    if not isinstance(value, str) or not value.strip():
        _wrong(where, key, f"must be text, is {value!r}")
    return str(value).strip()


def _wrong(where: str, key: str, problem: str) -> NoReturn:
    raise RecipeError(f"{where}: {key}: {problem}")
