"""language: what language a record is in, and whether the recipe wants it.

The text that is judged is the first thousand characters of natural language: code blocks, web and e-mail
addresses and tokens with digits or code signs are left out first, since no detector knows code from Danish,
and every word counts once, since the one word that a sum repeats line by line would drown the others. Of a
conversation the response decides, because it is what the model learns to say. A response too short to tell
(fewer than :data:`ENOUGH` letters) or not told for :data:`SURE` is judged together with its prompt, so that
``42`` to an English question is English. Where even that is too little, the language is undetermined: ``und``.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple

import pyarrow as pa
from pydantic import Field, field_validator

from curate import rules
from curate.record import Batch, prompts_and_responses
from curate.stage import Action, Decision, StageOptions, Verdict

Engine = Literal["langdetect"]
Unsure = Literal["keep", "quarantine", "drop"]

SIZE = 1000
"""Characters that are judged. Measured on 71 languages and English documents, langdetect loses at most 0.1
point of accuracy from 600 characters on, and its time grows with the text."""
READ = 8 * SIZE  # characters searched for those SIZE characters of natural language

ENOUGH = 80
"""Letters from which a response decides alone. Below, langdetect takes short English lists of names for other
languages: on 8,300 English instruction records 1.0 % of responses at 40 letters, 0.5 % at 80."""
SURE = 0.9
"""Confidence from which a response decides alone. langdetect is either sure (over 0.999) or torn between its
seven trials (0.43, 0.57, 0.71, 0.86); of 8,792 English sums with their working, 20 were torn or wrong by their
response as it stood, 3 by its words taken once, and none with the prompt."""
LEAST = 20
"""Letters below which no language is told: accuracy falls from 0.95 at 28 letters over 0.87 at 20 to 0.77 at
12 (word pairs and sentences in 50 languages)."""
NATURAL = 0.6
"""Least share of the letters that must remain when code-like tokens are left out. Half of all responses that
are code lie below 0.5, 95 % of prose lies above 0.93."""

_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
# Runs of ASCII characters: web addresses, and such with a sign of code, of an e-mail address or a number in them.
# The match starts where the run does, or the search would be quadratic.
_ADDRESS = re.compile(r"(?:https?://|www\.)[!-~]+")
_CODE_LIKE = re.compile(r"(?<![!-~])[!-~]*[=<>{}\[\]()_\\/|*+#$^~@&%`;0-9][!-~]*")
_PUNCTUATION = ".,;:!?\"'\u2019\u201c\u201d-\u2013\u2014"
_LETTERS = re.compile(r"[^\W\d_]+")
# Scripts that say more per letter than Latin, and how much more: those written without vowels or with vowel
# signs (Hebrew to Sinhala), and those of syllables and words (Thai to Myanmar, Khmer, kana, Han, Hangul).
_DENSE = (
    (2, re.compile("[\u0590-\u0dff]")),
    (4, re.compile("[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")),
)


class Guess(NamedTuple):
    """What was found out about one record."""

    language: str  # ISO 639-1, or und
    confidence: float | None  # 0 to 1, null for und
    letters: int  # natural letters found, dense scripts weighted


@dataclass(frozen=True, slots=True)
class _Table:
    """rules/languages.yaml, as one engine needs it."""

    names: Mapping[str, str]  # ISO code → English name
    aliases: Mapping[str, str]  # every accepted spelling, lower-case → ISO code
    codes: Mapping[str, str]  # the engine's code → ISO code
    needs: tuple[tuple[frozenset[str], re.Pattern[str]], ...]  # engine codes, a letter that they cannot lack
    undetermined: str


@lru_cache(maxsize=4)
def _table(engine: Engine) -> _Table:
    pack = rules.load("languages")
    known = [rule for rule in pack.rules if engine in rule.data["engines"]]
    return _Table(
        names={rule.id: rule.data["name"] for rule in known},
        aliases={a.lower(): rule.id for rule in known for a in (rule.id, *rule.data.get("aliases", ()))},
        codes={code: rule.id for rule in known for code in rule.data["engines"][engine]},
        needs=tuple(
            (frozenset(rule.data["engines"][engine]), re.compile(rule.data["needs"]))
            for rule in known
            if "needs" in rule.data
        ),
        undetermined=pack.data["undetermined"],
    )


class Language:
    """Names each record's language; removes what the recipe does not allow.

    Facts: ``language`` (ISO 639-1 code or und), ``language_score`` (the detector's confidence, null for und).
    """

    name: ClassVar[str] = "language"
    version: ClassVar[str] = "2"
    rules: ClassVar[tuple[str, ...]] = ("languages",)

    class Options(StageOptions):
        """Which languages stay."""

        engine: Engine = Field("langdetect", description="the detector")
        allow: tuple[str, ...] | None = Field(
            None,
            min_length=1,
            description='ISO 639-1 codes that stay, e.g. [en, "no"]; none given: every language stays',
        )
        min_confidence: float = Field(
            0.5,
            ge=0.0,
            le=1.0,
            description="below it a record is language/low-confidence, whatever its language",
        )
        unsure: Unsure = Field(
            "keep",
            description="what becomes of records too short, numeric or code-like to tell: keep (flagged), "
            "quarantine or drop",
        )
        low_confidence: Unsure = Field(
            "quarantine",
            description="what becomes of records below min_confidence: keep (flagged), quarantine, drop",
        )

        @field_validator("allow", mode="before")
        @classmethod
        def _known(cls, value: object, info: Any) -> object:
            if not isinstance(value, (list, tuple)):
                if value is None:
                    return None
                raise ValueError(f"must be a list of language codes, such as [en, fr]; is {value!r}")
            engine = info.data.get("engine", "langdetect")
            return tuple(dict.fromkeys(language_code(code, engine) for code in value))

    def __init__(self, options: Options) -> None:
        self.options = options

    def judge(self, batch: Batch) -> Verdict:
        """Answer for every record of the batch."""
        prompts, responses = prompts_and_responses(batch)
        guesses = [identify(*pair, self.options.engine) for pair in zip(prompts, responses, strict=True)]
        facts = pa.record_batch(
            {
                "language": pa.array([guess.language for guess in guesses], pa.string()),
                "language_score": pa.array([guess.confidence for guess in guesses], pa.float64()),
            }
        )
        found = (self._decide(row, guess) for row, guess in enumerate(guesses))
        return Verdict.of(batch.num_rows, [decision for decision in found if decision], facts=facts)

    def _decide(self, row: int, guess: Guess) -> Decision | None:
        options = self.options
        if guess.confidence is None:
            return Decision(
                row, _action(options.unsure), "language/undetermined", None, {"letters": guess.letters}
            )
        evidence: dict[str, Any] = {"language": guess.language, "confidence": guess.confidence}
        if guess.confidence < options.min_confidence:
            evidence["min_confidence"] = options.min_confidence
            action = _action(options.low_confidence)
            return Decision(row, action, "language/low-confidence", guess.confidence, evidence)
        if options.allow is not None and guess.language not in options.allow:
            evidence["allow"] = list(options.allow)
            return Decision(row, "drop", "language/not-allowed", guess.confidence, evidence)
        return None


def identify(prompt: str, response: str, engine: Engine = "langdetect") -> Guess:
    """Return the language of a record: of its response if that is long enough, else of prompt and response.

    Where a long response is code, the prompt alone may tell. A document is all response and has no prompt.
    The confidence is rounded to six places: further ones depend on the machine's rounding.
    """
    most = 0
    torn: Guess | None = None
    for text, least, sure in _candidates(prompt, response):
        prose, letters, natural = _prose(text)
        most = max(most, letters)
        if letters >= least and natural >= NATURAL and (found := _detect(prose, engine)):
            guess = Guess(found[0], found[1], letters)
            if found[1] >= sure:
                return guess
            torn = torn or guess
    return torn or Guess(_table(engine).undetermined, None, most)


def language_code(code: object, engine: Engine = "langdetect") -> str:
    """Return the ISO 639-1 code that is meant. Raises ValueError, with the nearest, for an unknown one."""
    table = _table(engine)
    if isinstance(code, bool):
        raise ValueError(
            f'{str(code).lower()} is not a language code; for Norwegian write "no", in quotes: recipes are '
            "YAML 1.2, where a bare no is text, but YAML 1.1 tools turn it into false"
        )
    wanted = str(code).strip().lower()
    if wanted in table.aliases:
        return table.aliases[wanted]
    by_name = {name.lower(): iso for iso, name in table.names.items()}
    near = table.aliases.get(re.split(r"[-_]", wanted)[0])  # en for en-US
    for name in difflib.get_close_matches(wanted, by_name, n=1):  # en for English
        near = near or by_name[name]
    hint = f"did you mean {near!r}? " if near else ""
    raise ValueError(f"{engine} cannot detect {code!r}; {hint}it knows {', '.join(table.names)}")


def matches(rule: rules.Rule, example: str) -> bool:
    """Tell whether a document is in the rule's language: how rules/languages.yaml is tested."""
    return identify("", example).language == rule.id


def _candidates(prompt: str, response: str) -> Iterator[tuple[str, int, float]]:
    """Yield what may tell the language, best first, each with the letters and the confidence that it takes."""
    if prompt:
        yield response, ENOUGH, SURE
        yield f"{prompt}\n\n{response}", LEAST, 0.0
        yield prompt, LEAST, 0.0
    else:
        yield response, LEAST, 0.0


def _prose(text: str) -> tuple[str, int, float]:
    """Return the text's natural language, cut to SIZE; its letters, weighted; their share of all letters."""
    text = _ADDRESS.sub(" ", _FENCED.sub(" ", _cut(text, READ)))
    prose = _CODE_LIKE.sub(" ", text)
    letters, all_letters = _weight(prose), _weight(text)
    prose = _once(_cut(prose, SIZE))
    if sum(map(str.isupper, prose)) > sum(map(str.islower, prose)):
        prose = prose.lower()  # detectors skip words in capitals as if they were abbreviations
    return prose, letters, letters / max(all_letters, 1)


def _once(text: str) -> str:
    """Return the text's words in order, each at its first place alone; scripts without spaces stay as they are."""
    words: dict[str, str] = {}
    for word in text.split():
        words.setdefault(word.strip(_PUNCTUATION).lower(), word)
    return " ".join(words.values())


def _weight(text: str) -> int:
    letters = "".join(_LETTERS.findall(text))
    if letters.isascii():
        return len(letters)
    return len(letters) + sum((worth - 1) * len(script.findall(letters)) for worth, script in _DENSE)


def _cut(text: str, size: int) -> str:
    """Return at most the first size characters; a letter is not parted from the marks that follow it."""
    if len(text) <= size:
        return text
    while size and unicodedata.category(text[size]).startswith("M"):
        size -= 1
    return text[:size]


def _detect(prose: str, engine: Engine) -> tuple[str, float] | None:
    """Return the likeliest language and its probability; ties go to the first code."""
    from curate.stages.detectors import langdetect

    table = _table(engine)
    lacking = [codes for codes, letter in table.needs if not letter.search(prose)]
    found: dict[str, float] = {}
    for code, share in langdetect.probabilities(prose, frozenset().union(*lacking)).items():
        if share > 0.001:  # the likeliest of 55 has more
            iso = table.codes[code]
            found[iso] = found.get(iso, 0.0) + share
    if not found:
        return None
    best = min(found, key=lambda iso: (-found[iso], iso))
    return best, round(min(found[best], 1.0), 6)


def _action(unsure: Unsure) -> Action:
    return "flag" if unsure == "keep" else unsure
