"""Instructions that a program can check, as IFEval has them: whether an answer keeps to them.

Ids and arguments are those of google-research/instruction_following_eval, after Zhou et al. 2023 (arXiv 2311.07911,
table 4); the checks are written anew from the descriptions there. Differences: sentences are cut at . ! ? by a
pattern in place of NLTK's model, and a language is told by curate's cascade.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Arguments: TypeAlias = Mapping[str, Any]
Check: TypeAlias = Callable[[str, Arguments], bool]

_RELATIONS = {"at least": lambda found, n: found >= n, "less than": lambda found, n: found < n}
_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_HIGHLIGHT = re.compile(r"\*\*([^\n*]*)\*\*|\*([^\n*]+)\*")


def known(name: str) -> bool:
    """Tell whether an instruction can be checked."""
    return name in CHECKS


def kept(name: str, answer: str, arguments: Arguments) -> bool:
    """Tell whether an answer keeps to an instruction; an empty answer keeps to none.

    Raises KeyError for an unknown instruction, and KeyError, TypeError or ValueError for arguments that it cannot do
    with: see :func:`faulty`.
    """
    return bool(answer.strip()) and CHECKS[name](
        answer, {k: v for k, v in arguments.items() if v is not None}
    )


def faulty(name: str, arguments: Arguments) -> bool:
    """Tell whether an instruction's arguments are missing or of the wrong kind."""
    try:
        kept(name, "An answer.", arguments)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, re.error):
        return True
    return False


def _enough(found: int, arguments: Arguments, number: str, relation: str) -> bool:
    return bool(_RELATIONS[arguments.get(relation, "at least")](found, int(arguments[number])))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def _times(word: str, text: str) -> int:
    return len(re.findall(re.escape(word), text, re.IGNORECASE))  # as there: "running" holds "run"


def _as_word(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _sentences(text: str) -> int:
    return len([part for part in re.split(r"(?<=[.!?])[\"')\]]*\s+", text.strip()) if re.search(r"\w", part)])


def _existence(answer: str, arguments: Arguments) -> bool:
    return all(_times(word, answer) for word in arguments["keywords"])


def _forbidden(answer: str, arguments: Arguments) -> bool:
    return not any(_as_word(word, answer) for word in arguments["forbidden_words"])


def _frequency(answer: str, arguments: Arguments) -> bool:
    return _enough(_times(arguments["keyword"].strip(), answer), arguments, "frequency", "relation")


def _letters(answer: str, arguments: Arguments) -> bool:
    found = Counter(answer.lower())[arguments["letter"].strip().lower()]
    return _enough(found, arguments, "let_frequency", "let_relation")


def _language(answer: str, arguments: Arguments) -> bool:
    from curate.tuning.measure.heard import languages

    return languages([answer])[0] in (None, arguments["language"])  # too short to tell: not held against it


def _number_sentences(answer: str, arguments: Arguments) -> bool:
    return _enough(_sentences(answer), arguments, "num_sentences", "relation")


def _number_words(answer: str, arguments: Arguments) -> bool:
    return _enough(len(_words(answer)), arguments, "num_words", "relation")


def _paragraphs(answer: str, arguments: Arguments) -> bool:
    """Paragraphs are divided by ***; one may be missing before the first divider or after the last."""
    parts = re.split(r"\s?\*\*\*\s?", answer)
    inner = [part for at, part in enumerate(parts) if part.strip() or 0 < at < len(parts) - 1]
    return all(part.strip() for part in inner) and len(inner) == int(arguments["num_paragraphs"])


def _first_word(answer: str, arguments: Arguments) -> bool:
    """Paragraphs are divided by an empty line; the nth begins with a word."""
    parts = [part for part in re.split(r"\n\n", answer) if part.strip()]
    wanted, nth = int(arguments["num_paragraphs"]), int(arguments["nth_paragraph"])
    if len(parts) != wanted or not 0 < nth <= len(parts):
        return False
    first = re.findall(r"\w[\w'-]*", parts[nth - 1])
    return bool(first) and first[0].lower() == arguments["first_word"].lower()


def _placeholders(answer: str, arguments: Arguments) -> bool:
    return len(re.findall(r"\[.*?\]", answer)) >= int(arguments["num_placeholders"])


def _postscript(answer: str, arguments: Arguments) -> bool:
    marker = arguments["postscript_marker"].strip()
    letters = r"\s?".join(re.escape(part) for part in marker if not part.isspace())
    return bool(re.search(rf"^\s*{letters}.*$", answer, re.IGNORECASE | re.MULTILINE))


def _bullets(answer: str, arguments: Arguments) -> bool:
    found = re.findall(r"^\s*\*[^*].*$|^\s*-.*$", answer, re.MULTILINE)
    return len(found) == int(arguments["num_bullets"])


def _constrained(answer: str, _: Arguments) -> bool:
    return any(each in answer for each in _CONSTRAINED)


def _highlights(answer: str, arguments: Arguments) -> bool:
    found = [a or b for a, b in _HIGHLIGHT.findall(answer)]
    return sum(bool(text.strip()) for text in found) >= int(arguments["num_highlights"])


def _sections(answer: str, arguments: Arguments) -> bool:
    splitter = re.escape(arguments["section_spliter"].strip())  # sic
    return len(re.findall(rf"{splitter}\s?\d+", answer)) >= int(arguments["num_sections"])


def _json(answer: str, _: Arguments) -> bool:
    inner = re.sub(r"^```(?:json)?|```$", "", answer.strip(), flags=re.IGNORECASE).strip()
    try:
        json.loads(inner)
    except ValueError:
        return False
    return True


def _title(answer: str, _: Arguments) -> bool:
    return any(found.strip("<> ") for found in re.findall(r"<<[^\n]+>>", answer))


def _two(answer: str, _: Arguments) -> bool:
    """Two different responses, divided by ******; a divider may stand before the first and after the last."""
    parts = answer.split("******")
    inner = [part.strip() for at, part in enumerate(parts) if part.strip() or 0 < at < len(parts) - 1]
    return len(inner) == 2 and all(inner) and inner[0] != inner[1]


def _repeat(answer: str, arguments: Arguments) -> bool:
    return answer.strip().lower().startswith(arguments["prompt_to_repeat"].strip().lower())


def _end(answer: str, arguments: Arguments) -> bool:
    return answer.strip().strip('"').lower().endswith(arguments["end_phrase"].strip().lower())


def _capitals(answer: str, arguments: Arguments) -> bool:
    found = sum(word.isupper() for word in re.findall(r"\w[\w'-]*", answer))
    return _enough(found, arguments, "capital_frequency", "capital_relation")


def _quotation(answer: str, _: Arguments) -> bool:
    text = answer.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


CHECKS: Mapping[str, Check] = {
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": lambda answer, _: (
        answer.isupper() and _language(answer.lower(), {"language": "en"})
    ),
    "change_case:english_lowercase": lambda answer, _: (
        answer.islower() and _language(answer, {"language": "en"})
    ),
    "combination:repeat_prompt": _repeat,
    "combination:two_responses": _two,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:json_format": _json,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:title": _title,
    "keywords:existence": _existence,
    "keywords:forbidden_words": _forbidden,
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letters,
    "language:response_language": _language,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_words": _number_words,
    "punctuation:no_comma": lambda answer, _: "," not in answer,
    "startend:end_checker": _end,
    "startend:quotation": _quotation,
}
"""All 25 kinds."""


def instructions(extra: Mapping[str, Any]) -> tuple[list[tuple[str, Arguments]], int]:
    """Return an item's instructions that can be checked, and how many cannot: unknown, or with faulty arguments."""
    names = extra.get("instruction_id_list") or ()
    given = extra.get("kwargs") or [{}] * len(names)
    if isinstance(names, str) or not isinstance(given, list) or len(names) != len(given):
        return [], 1
    pairs = [(str(name), arguments or {}) for name, arguments in zip(names, given, strict=True)]
    able = [pair for pair in pairs if known(pair[0]) and not faulty(*pair)]
    return able, len(pairs) - len(able)
