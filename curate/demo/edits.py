"""Small edits that people make when they copy a text: a typo, another word, a remark at the end."""

from __future__ import annotations

import re

from curate.demo.grammar import Draw, bank


def edited(draw: Draw, text: str, language: str, remarks: str = "remarks") -> str:
    """Return the text with one to three small edits, none of them in code.

    language is ``en`` or ``no``; remarks is the bank's key for what may be added: ``remarks`` or ``thanks``.
    """
    phrases = bank("edits")[language]
    for _ in range(draw.pick([1, 1, 2, 3])):
        prose, *code = re.split(r"(?=```)", text, maxsplit=1)
        kind = draw.pick(["word", "word", "typo", "remark"])
        if kind == "word":
            text = "".join([_other_word(draw, prose, phrases["words"]), *code])
        elif kind == "typo":
            text = "".join([_typo(draw, prose), *code])
        else:
            remark = draw.pick(phrases[remarks])
            text = text if remark in text or not text else f"{text} {remark}"
    return text


def _other_word(draw: Draw, text: str, words: dict[str, str]) -> str:
    found = [match for match in re.finditer(r"\b[a-zæøå]+\b", text) if match[0] in words]
    if not found:
        return text
    match = draw.pick(found)
    return text[: match.start()] + words[match[0]] + text[match.end() :]


def _typo(draw: Draw, text: str) -> str:
    """Swap two letters inside a longer word, or leave one out."""
    found = list(re.finditer(r"\b[a-zæøå]{5,}\b", text))
    if not found:
        return text
    match = draw.pick(found)
    at = match.start() + 1 + draw.below(len(match[0]) - 3)
    pair = text[at : at + 2]
    return text[:at] + (pair[::-1] if draw.chance(0.5) else pair[0]) + text[at + 2 :]
