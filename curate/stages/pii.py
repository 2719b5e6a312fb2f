"""pii: finds personal data by pattern and checksum, and takes it out.

Presidio's recognizers and the rule pack's own patterns, no language model and no network: e-mail addresses,
phone numbers, card and account numbers and the like, but neither names nor postal addresses. rules/pii.yaml
says what each looks for, from which score on, and what looks like it and is not.

Every turn of a conversation is read on its own; the columns beside the content are not read. Editing is
idempotent: the edited text is read again, and what only then shows is edited too, until nothing more is
found. A text that cannot be read to its end goes to quarantine as ``pii/unscanned``; it is never passed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from curate import rules
from curate.errors import RecipeError
from curate.kernels.spans import Edit, Span, replace, resolve, trace_back
from curate.record import Batch, content, kind, turns
from curate.stage import Decision, StageOptions, Verdict
from curate.stages.finders.lookalikes import Exceptions

Operator = Literal["replace", "mask", "hash"]
COUNTS = pa.list_(pa.struct([("type", pa.string()), ("count", pa.int32())]))

_ROUNDS = 8  # times that an edited text is read again; two have always been enough
_LEAST_KEY = 16  # characters
_PSEUDONYM = 16  # hex digits: 64 bits, one chance in two of a collision at five thousand million values
# A pseudonym must not be taken for a number itself: no telephone, card or account number is so broken up.
_LIKE_A_NUMBER = re.compile(r"\d{4}")


class UnsettledError(Exception):
    """Editing kept uncovering more."""


class Pii:
    """Finds personal data in every turn and replaces, masks or pseudonymises it.

    One decision per kind and record, ``pii/<KIND>``, with the places (turn, start, end in characters of the
    turn as it came) and scores as evidence, never the value. Fact: ``pii``, the number of finds by kind, null
    where the text could not be read.
    """

    name: ClassVar[str] = "pii"
    version: ClassVar[str] = "1"
    rules: ClassVar[tuple[str, ...]] = ("pii",)

    class Options(StageOptions):
        """What to look for and what to do about it."""

        engine: Literal["presidio"] = Field(
            "presidio", description="the recognizers: presidio's, with no model"
        )
        entities: tuple[str, ...] | None = Field(
            None,
            min_length=1,
            description="kinds to look for, such as EMAIL_ADDRESS; none given: those on by default in "
            "rules/pii.yaml, country by country",
        )
        countries: tuple[str, ...] = Field(
            ("us",), description="whose identity numbers are looked for where entities are not given"
        )
        action: Literal["edit", "flag", "quarantine", "drop"] = Field(
            "edit", description="what becomes of records with personal data"
        )
        operator: Operator = Field(
            "replace",
            description="edit: replace by <KIND>, mask by as many asterisks, hash to <KIND:…>, the same for "
            "the same value under one key",
        )
        operators: Mapping[str, Operator] = Field(
            default_factory=dict,
            description="another operator for single kinds, such as {EMAIL_ADDRESS: hash}",
        )
        key_env: str | None = Field(
            None, description="environment variable that holds the secret key of operator hash"
        )

        @field_validator("entities")
        @classmethod
        def _known_entities(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
            known = [rule.id for rule in rules.load("pii").rules]
            for name in value or ():
                _must_be_known(name, known, "kind of personal data")
            return value if value is None else tuple(sorted(set(value)))

        @field_validator("countries")
        @classmethod
        def _known_countries(cls, value: tuple[str, ...]) -> tuple[str, ...]:
            known = sorted(
                {rule.data["country"] for rule in rules.load("pii").rules if "country" in rule.data}
            )
            for name in value:
                _must_be_known(name, known, "country with rules")
            return tuple(sorted(set(value)))

        @model_validator(mode="after")
        def _fits_together(self) -> Pii.Options:
            for name in self.operators:
                _must_be_known(name, self.kinds(), "kind that is looked for")
            if self.hashes() and not self.key_env:
                raise ValueError(
                    "operator hash needs a secret key: set key_env to the name of an environment variable "
                    "that holds one of at least 16 characters, such as 'openssl rand -hex 32' prints"
                )
            return self

        def kinds(self) -> tuple[str, ...]:
            """Return the kinds that are looked for, sorted."""
            return self.entities or default_kinds(self.countries)

        def hashes(self) -> bool:
            """Tell whether any kind is hashed."""
            return "hash" in (self.operator, *self.operators.values())

        def notes(self) -> list[str]:
            """Return the kinds looked for, and what is not looked at."""
            return [
                f"Kinds looked for: {', '.join(self.kinds())}; no others, and no names or postal addresses.",
                "Looked at: the text of documents and turns; not a record's id, url, author or own columns.",
            ]

        def fingerprint(self) -> str | None:
            """Return what tells the secret key from another: the HMAC-SHA256 (RFC 2104) of a constant under it.

            Raises RecipeError where the environment holds no key.
            """
            if not self.hashes() or not self.key_env:
                return None
            return hmac.new(_key(self.key_env), b"curate pii key", "sha256").hexdigest()[:16]

    def __init__(self, options: Options) -> None:
        """Raise RecipeError where the operator hash has no key in its environment variable."""
        self.options = options
        self.kinds = options.kinds()
        self._key = _key(options.key_env) if options.hashes() and options.key_env else b""

    def judge(self, batch: Batch) -> Verdict:
        """Answer for every record of the batch."""
        flat, offsets = turns(batch)
        texts = flat.to_pylist()
        decisions: list[Decision] = []
        counts: list[list[dict[str, Any]] | None] = []
        edited: dict[int, list[str]] = {}
        for row in range(batch.num_rows):
            own = texts[offsets[row] : offsets[row + 1]]
            try:
                scrubbed = [self.scrub(text) for text in own]
            except Exception as error:  # noqa: BLE001  whatever it was, the text has not been read to its end
                decisions.append(
                    Decision(row, "quarantine", "pii/unscanned", None, {"error": type(error).__name__})
                )
                counts.append(None)
                continue
            found = [spans for spans, _ in scrubbed]
            decisions += self._decide(row, found)
            tally = Counter(span.type for spans in found for span in spans)
            counts.append([{"type": name, "count": tally[name]} for name in sorted(tally)])
            if tally and self.options.action == "edit":
                edited[row] = [text for _, text in scrubbed]
        facts = pa.record_batch({"pii": pa.array(counts, COUNTS)})
        return Verdict.of(batch.num_rows, decisions, _edited(batch, edited), facts)

    def _decide(self, row: int, found: Sequence[Sequence[Span]]) -> Iterator[Decision]:
        """Yield one decision for each kind that was found in the record's turns."""
        by_kind: dict[str, list[dict[str, Any]]] = {}
        for turn, spans in enumerate(found):
            for span in spans:
                place = {"turn": turn, "start": span.start, "end": span.end, "score": span.score}
                by_kind.setdefault(span.type, []).append({**place, "type": span.type})
        for name, places in sorted(by_kind.items()):
            score = max(place["score"] for place in places)
            yield Decision(row, self.options.action, f"pii/{name}", score, {"spans": places})

    def scrub(self, text: str) -> tuple[list[Span], str]:
        """Return what was found in the text and the text without it.

        Taking something out changes what stands next to what, so the result is read again; what then shows is
        taken out of the original too. Raises UnsettledError after too many rounds of that, and whatever a
        recognizer raises.
        """
        spans = resolve(scan(text, self.kinds))
        for _ in range(_ROUNDS):
            if not spans:
                return spans, text
            edits = [Edit(s.start, s.end, self._instead(s.type, text[s.start : s.end])) for s in spans]
            edited = replace(text, edits)
            more = scan(edited, self.kinds)
            if not more:
                return spans, edited
            spans = resolve([*spans, *trace_back(more, edits)])
        raise UnsettledError

    def _instead(self, name: str, value: str) -> str:
        """Return what stands in a value's place; never anything that looks like one."""
        operator = self.options.operators.get(name, self.options.operator)
        if operator == "mask":
            return "*" * len(value)
        return f"<{name}:{pseudonym(self._key, name, value)}>" if operator == "hash" else f"<{name}>"


def scan(text: str, kinds: tuple[str, ...]) -> list[Span]:
    """Return every find of these kinds from their thresholds up, sorted; finds may overlap.

    Raises whatever a recognizer raises: a text that raises has not been scanned.
    """
    scanner, exceptions = _scanner(kinds)
    spans = {
        Span(result.start, result.end, result.entity_type, round(result.score, 4))
        for result in scanner.scan(text)
        if not exceptions[result.entity_type].covers(text, result.start, result.end)
    }
    return sorted(spans)


def pseudonym(key: bytes, name: str, value: str) -> str:
    """Return 16 hex digits that stand for a value: HMAC-SHA256 (RFC 2104) under the key, cut to 64 bits.

    Equal values of one kind get equal pseudonyms however they are written: case does not count and, but in
    addresses, nor do spaces and signs.
    """
    same = value.casefold()
    if not name.endswith("_ADDRESS"):
        same = "".join(filter(str.isalnum, same))
    for attempt in range(256):
        message = f"{name}\0{same}\0{attempt}".encode()
        digits = hmac.new(key, message, hashlib.sha256).hexdigest()[:_PSEUDONYM]
        if not _LIKE_A_NUMBER.search(digits):
            return digits
    raise UnsettledError


def matches(rule: rules.Rule, example: str) -> bool:
    """Tell whether a text holds what the rule looks for: how rules/pii.yaml is tested."""
    return any(span.type == rule.id for span in scan(example, (rule.id,)))


def default_kinds(countries: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds that are on by default: those of no country and those of the given ones, sorted."""
    chosen = (rule for rule in rules.load("pii").rules if rule.data["default"])
    return tuple(sorted(rule.id for rule in chosen if rule.data.get("country") in (None, *countries)))


@lru_cache(maxsize=32)
def _scanner(kinds: tuple[str, ...]) -> tuple[Any, Mapping[str, Exceptions]]:
    """Return the scanner for these kinds and what each kind leaves out, made once per process."""
    from curate.stages.finders import patterns

    patterns.go_offline()
    patterns.heed_timeouts()
    chosen = [rules.load("pii").rule(name) for name in kinds]
    scanner = patterns.Scanner([{"id": rule.id, **rule.data} for rule in chosen])
    return scanner, {rule.id: Exceptions.of(rule.data.get("except", {})) for rule in chosen}


def _edited(batch: Batch, edited: Mapping[int, Sequence[str]]) -> pa.Array | None:
    """Return the content column with the edited records' turns in place, or None where nothing was edited."""
    if not edited:
        return None
    column = content(batch)
    records = column.to_pylist()
    for row, new in edited.items():
        if kind(batch) == "text":
            records[row] = new[0]
        else:
            records[row] = [
                {**turn, "content": text if turn["content"] else turn["content"]}  # null stays null
                for turn, text in zip(records[row], new, strict=True)
            ]
    return pa.array(records, column.type)


def _key(variable: str) -> bytes:
    """Return the secret key. Raises RecipeError where the environment has none or one too short."""
    key = os.environ.get(variable, "")
    if len(key) < _LEAST_KEY:
        state = "is not set" if not key else f"holds fewer than {_LEAST_KEY} characters"
        raise RecipeError(
            f"pii: operator hash needs a secret key, and the environment variable {variable} {state}"
        )
    return key.encode()


def _must_be_known(name: str, known: Sequence[str], what: str) -> None:
    if name not in known:
        near = rules.did_you_mean(name, known) or f"; known: {', '.join(known)}"
        raise ValueError(f"{name!r} is no {what}{near}")
