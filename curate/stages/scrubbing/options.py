"""What a recipe may ask of the stage pii, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field, PrivateAttr, ValidationInfo, field_serializer, field_validator, model_validator

from curate import keys, rules
from curate.errors import RecipeError
from curate.stage import StageOptions
from curate.stages.finders import models
from curate.stages.operators import KEYED, Operator
from curate.stages.scrubbing.coverage import coverage
from curate.stages.scrubbing.search import NAMED, NAMES, PACK, SECRETS, Plan, kinds, presidio_kinds

Model: TypeAlias = Literal["spacy", "transformers", "gliner"]
_NAMES_THRESHOLD = 0.5
_GAZETTEER = ("PERSON",)  # its places are countries and large cities, which name nobody: only if asked for
_ORIGINALS = (
    "removed/edited-*.parquet holds edited records as they were before, unless output: {keep_removed: false}; do "
    "not hand it out with the release."
)
_ONLY_PRESIDIO = ("threshold", "whole_word")


class PiiOptions(StageOptions):
    """What to look for, with what, and what to do about it."""

    engine: Literal["default", "presidio"] = Field(
        "default",
        description="the recognizers: default, by the rules in rules/pii.yaml; presidio, presidio-analyzer's own "
        "results",
    )
    entities: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="kinds to look for, such as EMAIL_ADDRESS, and no others; none given: those on by default, "
        "country by country",
    )
    countries: tuple[str, ...] | None = Field(
        None,
        description="whose identity numbers are looked for where entities are not given; none given: us, or those "
        "that presidio has on by default",
    )
    secrets: bool = Field(
        True,
        description="look for keys and tokens too, by the rules in rules/secrets.yaml, where entities are not given",
    )
    threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        description="engine presidio: the score from which a find counts; its own default, 0, takes every number "
        "for something",
    )
    thresholds: Mapping[str, float] = Field(
        default_factory=dict,
        description="another threshold for single kinds, such as {PHONE_NUMBER: 0.4}",
    )
    whole_word: bool = Field(
        True,
        description="engine presidio: a context word counts as a whole word only, not the lic in public",
    )
    names: Literal["off", "gazetteer"] | Mapping[Model, str] = Field(
        "off",
        description="names of persons: off; gazetteer, by lists and titles; or a model by name or path, such as "
        "{spacy: en_core_web_lg}, {transformers: …}, {gliner: …}",
    )
    action: Literal["edit", "flag", "quarantine", "drop"] = Field(
        "edit", description="what becomes of records with personal data"
    )
    operator: Literal["replace", "number", "mask", "hash", "surrogate", "encrypt"] = Field(
        "replace",
        description="edit: replace by <KIND>, number to <KIND_1> within a record, mask by as many asterisks, hash "
        "to <KIND:…>, surrogate by a stand-in from a reserved range, encrypt for curate reveal",
    )
    operators: Mapping[str, Operator] = Field(
        default_factory=dict,
        description="another operator for single kinds, such as {EMAIL_ADDRESS: hash}; drop: drop the record; "
        "keep: flag the find only",
    )
    key_env: str | None = Field(
        None,
        min_length=1,
        description="environment variable that holds the secret key of hash, surrogate, encrypt",
    )
    key_file: str | None = Field(
        None, min_length=1, description="file that holds it, relative to the recipe's folder"
    )
    consistent: bool = Field(
        True, description="take a value out wherever else it stands in the record, found there or not"
    )
    audit: int = Field(
        100, ge=0, description="kept records drawn for a person to check for what was missed (curate audit)"
    )

    _beside: Path = PrivateAttr(default=Path())
    _model: models.Model | None = PrivateAttr(default=None)

    @field_validator("countries", "entities")
    @classmethod
    def _once_each(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return value if value is None else tuple(sorted(set(value)))

    @field_validator("names")
    @classmethod
    def _one_model(cls, value: str | Mapping[Model, str]) -> str | Mapping[Model, str]:
        if isinstance(value, Mapping) and (len(value) != 1 or not all(value.values())):
            raise ValueError(
                f"found {len(value)} models; allowed: off, gazetteer, or one model, like {{spacy: en_core_web_lg}}"
            )
        return value

    @field_validator("thresholds")
    @classmethod
    def _between_0_and_1(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for name, score in value.items():
            if not 0 <= score <= 1:
                raise ValueError(f"found {score} for {name}; allowed: 0 to 1; correct it")
        return value

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> PiiOptions:
        self._beside = Path((info.context or {}).get("folder", "."))
        if self.engine == "default":
            countries = sorted({r.data["country"] for r in rules.load(PACK).rules if "country" in r.data})
            for name in self.countries or ():
                _must_be_known(name, countries, "country with rules")
            for name in _ONLY_PRESIDIO:
                if name in self.model_fields_set:
                    raise ValueError(
                        f"{name} is for engine presidio; set that engine, or thresholds: {{KIND: 0.5}} for single kinds"
                    )
        known = self._known()
        for name in self.entities or ():
            _must_be_known(name, known, "kind of personal data")
        try:
            self._model = self._found()
        except RecipeError as error:
            raise ValueError(f"names: {error}") from None
        for name in (*self.operators, *self.thresholds):
            _must_be_known(name, self.kinds(), "kind that is looked for")
        if missing := sorted(set(self.entities or ()) & set(NAMED) - set(self._names())):
            raise ValueError(
                f"{missing[0]} is a name, and names: {self.names!r} finds none; set names to what does"
            )
        if self.entities and self.names != "off" and not set(self.entities) & set(NAMED):
            raise ValueError(
                f"names: {self.names!r} is asked for, and entities lists no kind of name; add one, such as PERSON, "
                "or take out names"
            )
        self._has_one_key()
        return self

    def _found(self) -> models.Model | None:
        """Find the model that names are asked for by. Raises RecipeError where there is none."""
        if not isinstance(self.names, Mapping):
            return None
        [(kind, name)] = self.names.items()
        wanted = [entity for entity in self.entities or () if entity in NAMED] or None
        lowest = min([_NAMES_THRESHOLD, *self.thresholds.values()])
        return models.Model(kind, name, entities=wanted, threshold=lowest, beside=self._beside)

    def _known(self) -> tuple[str, ...]:
        """Return every kind that can be asked for."""
        engine = presidio_kinds(self.countries or ()) if self.engine == "presidio" else kinds(PACK)
        return (*engine, *kinds(SECRETS), *NAMED)

    def _names(self) -> tuple[str, ...]:
        """Return the kinds of names that are looked for where entities are not given, or may be given there."""
        if self._model is not None:
            return self._model.kinds
        return () if self.names == "off" else kinds(NAMES)

    def _has_one_key(self) -> None:
        if self.key_env and self.key_file:
            raise ValueError("found key_env and key_file; allowed: one of them; take one out")
        if (keyed := self.keyed()) and not (self.key_env or self.key_file):
            raise ValueError(
                f"operator {keyed} needs a secret key: set key_env to the name of an environment variable, or "
                f"key_file to that of a file, that holds {keys.HOW}"
            )

    @field_serializer("key_file", when_used="json")
    def _by_name(self, path: str | None) -> str | None:
        return path and Path(path).name  # where it lies on this machine is nobody's business

    def kinds(self) -> tuple[str, ...]:
        """Return the kinds that are looked for, sorted."""
        if self.entities:
            return self.entities
        default = default_kinds(("us",) if self.countries is None else self.countries)
        return tuple(
            sorted(
                {
                    *(presidio_kinds(self.countries or ()) if self.engine == "presidio" else default),
                    *(_on(SECRETS) if self.secrets else ()),
                    *(_GAZETTEER if self.names == "gazetteer" else self._names()),
                }
            )
        )

    def operator_of(self, kind: str) -> Operator:
        """Return what becomes of values of a kind."""
        return self.operators.get(kind, self.operator)

    def keyed(self) -> str | None:
        """Return an operator in use that needs a key, null if none does."""
        return next((name for name in (self.operator, *self.operators.values()) if name in KEYED), None)

    def key(self) -> bytes:
        """Return the secret key, none where no operator needs one. Raises RecipeError where there is none."""
        if (keyed := self.keyed()) is None:
            return b""
        path = self._beside / self.key_file if self.key_file else None
        return keys.read(self.key_env, path, f"operator {keyed}")

    def plan(self) -> Plan:
        """Return what to search with, the model apart."""
        presidio = self.engine == "presidio"
        return Plan(
            tuple((kind, self._threshold(kind)) for kind in self.kinds()),
            presidio,
            (self.countries or ()) if presidio else (),
            self.whole_word and presidio,
            self.names == "gazetteer",
        )

    def model(self) -> models.Model | None:
        """Return the model for names, null where the recipe has none."""
        return self._model

    def _threshold(self, kind: str) -> float:
        if kind in self.thresholds:
            return self.thresholds[kind]
        if kind in NAMED:
            return _NAMES_THRESHOLD
        if kind in kinds(SECRETS):
            return float(rules.load(SECRETS).rule(kind).data["threshold"])
        return (
            self.threshold
            if self.engine == "presidio"
            else float(rules.load(PACK).rule(kind).data["threshold"])
        )

    def notes(self) -> list[str]:
        """Return the kinds looked for, and what is not looked at."""
        names = "" if set(self.kinds()) & set(NAMED) else "names or "
        return [
            f"Kinds looked for: {', '.join(self.kinds())}; no others, and no {names}postal addresses.",
            "Looked at: the text of documents and turns, the calls of tools and other keys beside a turn "
            "(messages_extra), and the reply that lost (rejected); not a record's id, url, author or own columns, nor "
            "the names of functions, the ids of calls and numbers with a point. A number that is edited becomes text.",
            *([_ORIGINALS] if self.action == "edit" else []),
        ]

    def coverage(self) -> dict[str, Any]:
        """Return what is searched for, by what and how well that was measured to work, and what is not."""
        return coverage(self)

    def fingerprint(self) -> str | None:
        """Return what tells the key from another, without giving it away, and what pins the model; null without both.

        Raises RecipeError where there should be a key and is none.
        """
        parts = [keys.fingerprint(self.key())] if self.keyed() else []
        parts += [self._model.fingerprint()] if self._model is not None else []
        return "; ".join(parts) or None


def default_kinds(countries: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of rules/pii.yaml that are on: those of no country and those of the given ones, sorted."""
    chosen = (rule for rule in rules.load(PACK).rules if rule.data["default"])
    return tuple(sorted(rule.id for rule in chosen if rule.data.get("country") in (None, *countries)))


def _on(pack: str) -> tuple[str, ...]:
    """Return the kinds that a pack has on by default."""
    return tuple(rule.id for rule in rules.load(pack).rules if rule.data.get("default", True))


def _must_be_known(name: str, known: Sequence[str], what: str) -> None:
    if name not in known:
        near = rules.did_you_mean(name, known) or f"; known: {', '.join(known)}"
        raise ValueError(f"{name!r} is no {what}{near}")
