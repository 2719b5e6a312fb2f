"""Which languages an engine can tell, and under which codes: rules/languages.yaml as one engine needs it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from curate import rules
from curate.stages.detectors import NOT_LINGUISTIC, UNDETERMINED, Engine

LISTED: tuple[Engine, ...] = ("cascade", "langdetect", "lid176", "lingua")
"""Engines whose languages the rule pack lists; those of engine fasttext are its model's."""

_NONE = {"und": UNDETERMINED, "mis": UNDETERMINED, "mul": UNDETERMINED, "zxx": NOT_LINGUISTIC}
_UNTOLD = "option unsure says what becomes of records in which none is told; take it out"
_NOT_LANGUAGES = {**dict.fromkeys(_NONE, _UNTOLD), "any": "for every language write any, without brackets"}
_SHOWN = 80  # languages that fit an error message
_LABEL = "__label__"  # what fastText's labels begin with
_BOOLEAN = (
    '{} is not a language code; for Norwegian write "no", in quotes: recipes are YAML 1.2, where a bare no is '
    "text, but YAML 1.1 tools turn it into false"
)


@dataclass(frozen=True, slots=True)
class Language:
    """One language of the rule pack."""

    name: str  # English
    engines: Mapping[str, list[str]]  # engine → its codes for the language
    aliases: Sequence[str] = ()  # further codes of it
    macro: Mapping[str, list[str]] | None = None  # codes of a macrolanguage, and its other members


@dataclass(frozen=True, slots=True)
class Known:
    """The languages of one engine."""

    engine: Engine
    codes: Mapping[str, str]  # the engine's own code → id of the language in the rule pack
    names: Mapping[str, str]  # id → English name, sorted by id
    needs: tuple[tuple[frozenset[str], re.Pattern[str]], ...]  # engine codes, a letter that they cannot lack

    def meant(self, wanted: object) -> tuple[str, ...]:
        """Return the ids of the languages that a recipe means: one, or what a macrolanguage has of them.

        Raises ValueError for one that the engine cannot tell; it names an engine that can, or what is near.
        """
        if isinstance(wanted, bool):
            raise ValueError(_BOOLEAN.format(str(wanted).lower()))
        spelled = str(wanted).strip().lower()
        found = aliases().get(spelled, spelled)
        if spelled in _NOT_LANGUAGES:
            raise ValueError(f"{wanted!r} is no language; {_NOT_LANGUAGES[spelled]}")
        if found in self.names:
            macro = languages()[found].macro if found in languages() else None
            members = macro["members"] if macro and spelled in macro["codes"] else ()
            return (found, *(code for code in members if code in self.names))
        if found in languages():
            raise ValueError(self._elsewhere(str(wanted), languages()[found]))
        raise ValueError(f"engine {self.engine} cannot detect {wanted!r}; {self._near(spelled)}")

    def _elsewhere(self, wanted: str, language: Language) -> str:
        able = [engine for engine in LISTED if engine in language.engines and engine != self.engine]
        who = " and ".join(filter(None, [", ".join(able[:-1]), able[-1]])) if able else "no other engine"
        return f"engine {self.engine} cannot detect {wanted!r} ({language.name}); {who} can: name that engine"

    def _near(self, spelled: str) -> str:
        by_name = {name.lower(): code for code, name in self.names.items()}
        first = sorted(self.names, key=lambda code: code in languages() and languages()[code].macro is None)
        for code in first:  # "norwegian" is the macrolanguage
            for word in self.names[code].lower().split():
                by_name.setdefault(word, code)
        near = aliases().get(re.split(r"[-_]", spelled)[0])  # en for en-US
        for name in difflib.get_close_matches(spelled, by_name, n=1):  # en for English
            near = near or by_name[name]
        if near in self.names:
            return f"did you mean {near!r}?"
        if len(self.names) > _SHOWN:
            return f"it knows {len(self.names)} languages, by their ISO 639 codes, such as en"
        return f"it knows {', '.join(self.names)}"


@lru_cache(maxsize=1)
def languages() -> Mapping[str, Language]:
    """Return every language of the rule pack, by its id, sorted."""
    pack = rules.load("languages")
    entries = [(rule.id, rule.description, rule.data) for rule in pack.rules]
    further: Mapping[str, Mapping[str, Any]] = pack.data["further"]
    entries += [(code, entry["description"], entry) for code, entry in further.items()]
    return {
        code: Language(name, data["engines"], data.get("aliases", ()), data.get("macro"))
        for code, name, data in sorted(entries, key=lambda entry: entry[0])
    }


@lru_cache(maxsize=1)
def aliases() -> Mapping[str, str]:
    """Return every spelling of a language that is accepted, in lower case → its id."""
    found = {other.lower(): code for code, language in languages().items() for other in language.aliases}
    return found | {code: code for code in languages()}


@lru_cache(maxsize=len(LISTED))
def known(engine: Engine) -> Known:
    """Return the languages of an engine that the rule pack lists."""
    able = {code: found for code, found in languages().items() if engine in found.engines}
    return Known(
        engine,
        {own: code for code, found in able.items() for own in found.engines[engine]},
        {code: found.name for code, found in able.items()},
        tuple(
            (frozenset(rule.data["engines"][engine]), re.compile(rule.data["needs"]))
            for rule in rules.load("languages").rules
            if "needs" in rule.data and engine in rule.data["engines"]
        ),
    )


def labelled(labels: Iterable[str]) -> Known:
    """Return the languages of a fastText model: ``__label__eng_Latn`` and ``__label__en`` are ``en``.

    A code that the rule pack does not know stands for itself. lid.176 gives some codes a meaning of its own
    (``als`` is Alemannic, elsewhere Tosk Albanian): a model with just its labels is read as it is.
    """
    own = {label: label.removeprefix(_LABEL) for label in labels}
    if set(own.values()) == known("lid176").codes.keys():
        codes = {label: known("lid176").codes[code] for label, code in own.items()}
    else:
        parts = {label: re.split(r"[-_]", code.lower())[0] for label, code in own.items()}
        codes = {label: aliases().get(part, _NONE.get(part, part)) for label, part in parts.items()}
    told = sorted(set(codes.values()) - {UNDETERMINED, NOT_LINGUISTIC})
    names = {code: languages()[code].name if code in languages() else code for code in told}
    return Known("fasttext", codes, names, ())
