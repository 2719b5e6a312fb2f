"""Licenses that a text says it is under: tags, declarative phrases, license texts and their headers.

A text that only talks about a license must not count. So a phrase counts where it speaks of the text itself
(``This work is licensed under …``, or a sentence that begins ``Licensed under …``), and only with nothing behind
the name that could change it; a tag or a field where it stands alone on its line; a license's text where its
telling sentences are all there (``texts`` in ``rules/licenses.yaml``). A conversation whose prompt speaks of
licenses is about them, and so is a text that names more than three: nothing is detected there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow.compute as pc

from curate import licenses, record
from curate.licensenames import expression, one_id, phrase
from curate.stages.licensing.licensetexts import plain, texts

How: TypeAlias = Literal["tag", "phrase", "link", "field", "text"]

MOST = 3  # licenses; a text that names more is about licenses
_LOOKED_AT = 400  # characters behind the words that lead to a name
_PLACES = 10  # that the evidence names
_HEAD = 3000  # characters at the start of a document where a field may stand
_WORDS = 14  # of a name, at most
_BEFORE = 80  # characters of a sentence that are read before its phrase
_AROUND = 320  # characters; no phrase is longer
_ANCHORS = (re.compile(r"licen[cs]e[ds]\s"), re.compile(r"under[^a-z]"), re.compile(r"subject\s"))
# What a line of source code or markup may begin with.
_MARGIN = r"[ \t/*#;%!<>|\"'\-.]*(?:dnl|rem|REM)?[ \t]*"
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n\r]{1,400})")
_TAG_END = re.compile(r"\*/|-->|#\}|\"\"\"|'''|%>|\*\)")  # of a comment that holds a tag
_ONLY_MARGIN = re.compile(_MARGIN)
_FIELD = re.compile(
    rf"^{_MARGIN}@?licen[cs]e[\"']?[ \t]*[:=][ \t]*([^\n\r]{{2,120}})", re.MULTILINE | re.IGNORECASE
)
_GAP = r"[\s/*#;%>|\"'\-]+"  # between words that a margin may part
_UNDER = (
    rf"under{_GAP}(?:(?:the{_GAP})?terms(?:{_GAP}and{_GAP}conditions)?{_GAP}of{_GAP})?(?:(?:the|an?){_GAP})?"
)
_GIVEN = r"(?:licen[cs]ed|released|distributed|available|published|provided)"
# A sentence that begins with it, or whose subject is the text itself.
_OPENING = re.compile(
    rf"(?:^|[.!?:;)\]>}}*#/\"'|–—-]|\n)\s*(?:dual[- ])?licen[cs]ed{_GAP}{_UNDER}", re.IGNORECASE
)
_SUBJECT = re.compile(
    rf"\b(?:this|these|our|all)\b(?P<between>[^.;:!?\n]{{1,120}}?(?:\n[^.;:!?\n]{{0,80}}?)?)\b(?:is|are)\s+"
    rf"(?:an\s+open[- ]access\s+article\s+)?(?:hereby\s+|also\s+|dual[- ])?(?:made\s+)?(?:freely\s+)?"
    rf"{_GIVEN}(?:\s+to\s+\w+)?{_GAP}{_UNDER}",
    re.IGNORECASE,
)
# What stands at the foot of a wiki's pages.
_FOOTER = re.compile(
    rf"(?:^|[.!?|]|\n)\s*(?:text|content)\s+is\s+(?:made\s+)?available{_GAP}{_UNDER}", re.IGNORECASE
)
_LICENSES_THIS = re.compile(rf"licen[cs]es{_GAP}this{_GAP}file{_GAP}to{_GAP}you{_GAP}{_UNDER}", re.IGNORECASE)
_SUBJECT_TO = re.compile(
    rf"\b(?:contents{_GAP}of{_GAP}this{_GAP}file|this{_GAP}source{_GAP}code{_GAP}form|this{_GAP}(?:file|program|"
    rf"software|work)){_GAP}(?:are|is){_GAP}subject{_GAP}to{_GAP}(?:the{_GAP})?(?:terms{_GAP}of{_GAP}the{_GAP})?",
    re.IGNORECASE,
)
_GNU = re.compile(
    r"(?:redistribute it and or modify it|modify it|distributed|licensed) under the terms of "
    r"(?:version (?P<first>\d(?: \d)?) of )?the gnu (?P<kind>affero |lesser |library )?general public license"
    r"(?: version (?P<plain>\d(?: \d)?))?(?: as published by the free software foundation)?"
    r"(?: (?:either )?(?:in )?(?:version )?(?P<then>\d(?: \d)?)(?: of the license)?)?"
    r"(?P<later>(?: of the license)? or (?:at your option )?(?:any )?later)?"
)
_REL = re.compile(r"<(?:a|link)\b[^<>]{0,400}\brel=[\"']license[\"'][^<>]{0,400}>", re.IGNORECASE)
_HREF = re.compile(r"\bhref=[\"']([^\"'\s]+)", re.IGNORECASE)
# Words between a subject and its verb that make the sentence say something else.
_BUT = re.compile(
    r"\b(?:not|never|no|nor|some|parts?|portions?|most|if|when|whether|would|could|should|can|cannot|may|might|either|"
    r"example|question|answer|means|licen[cs]es?|who|which|that|none|nothing|unlike|how|says?|said|thinks?|believes?|"
    r"claims?|he|she|they|his|her|their)\b",
    re.IGNORECASE,
)
# A picture or a font is not the text that it stands in.
_THING = r"\b(?:photo(?:graph)?s?|images?|pictures?|illustrations?|icons?|logos?|fonts?|videos?)\b"
_PICTURE = re.compile(_THING, re.IGNORECASE)
_CREDIT = re.compile(rf"{_THING}[^\n]*$", re.IGNORECASE)
_TEXT = re.compile(
    r"\b(?:texts?|contents?|works?|pages?|site|articles?|documents?|materials?|everything)\b", re.IGNORECASE
)
# Words that may follow a license's name; any other may change what it says.
_GOES_ON = re.compile(
    r"(?:see|for|as|by|in|at|on|to|you|the|which|copyright|©|https?:|www\.|[-–—|\[(<\"'{*\\/])", re.IGNORECASE
)
_CHANGED = re.compile(r"(?:and|or|with|but|except|excluding|unless|plus|and/or|if|only)\b", re.IGNORECASE)

# One pass of RE2 tells which texts to look at: some form of every expression above.
_TRIGGER = (
    r"spdx-license-identifier|(?:licen[cs]ed|released|distributed|available|published|provided|"
    r"licen[cs]es\W+this\W+file)\W+(?:to\W+\w+\W+)?under\W|subject\W+to\W+the\W|under\W+the\W+terms\W+of\W|"
    r"rel=.license|licen[cs]e.?[ \t]*[:=]|permission\W+is\W+hereby|permission\W+to\W+use|"
    r"redistribution\W+and\W+use\W+in|unencumbered\W+software|without\W+any\W+express\W+or\W+implied|"
    r"(?:public|apache|software|free|artistic|community|php|engine|font|attribution|database)\W+licen[cs]e|"
    r"laws\W+of\W+most\W+jurisdictions|creative\W+commons|license\W+agreement|rights\W+waived\W+via|"
    r"public\W+domain\W+dedication|placed\W+in\W+the\W+public\W+domain"
)


class Spot(NamedTuple):
    """Where a license was found: characters of a turn's content (a document is turn 0), end exclusive."""

    start: int
    end: int
    how: How
    license: str  # canonical SPDX expression


class Detection(NamedTuple):
    """What a record says it is under."""

    expression: str
    where: tuple[dict[str, Any], ...]  # {turn, start, end, how, license}, never text


def detect(batch: record.Batch) -> dict[int, Detection]:
    """Return what was detected, by row of the batch; rows that say nothing are left out."""
    flat, offsets = record.turns(batch)
    # fill_null: an empty batch has no answer; the pattern is matched without case, in ASCII
    hits = pc.indices_nonzero(pc.match_substring_regex(flat, _TRIGGER, ignore_case=True))
    turns = hits.to_numpy(zero_copy_only=False).astype(np.int64)
    if not len(turns):
        return {}
    rows = np.searchsorted(offsets, turns, "right") - 1
    breaks = [0, *(np.flatnonzero(np.diff(rows)) + 1).tolist(), len(rows)]
    conversation = record.kind(batch) == "messages"
    found = {}
    for first, last in pairwise(breaks):
        row = int(rows[first])
        if conversation and _about_licenses(batch, row):
            continue
        spots = [
            (int(turn) - int(offsets[row]), spot)
            for turn in turns[first:last]
            for spot in spots_in(flat[int(turn)].as_py(), document=not conversation)
        ]
        if detection := _joined(spots):
            found[row] = detection
    return found


def _about_licenses(batch: record.Batch, row: int) -> bool:
    """Tell whether a conversation is about licenses: whoever asks says the word."""
    for turn in record.content(batch)[row].as_py() or ():
        if turn["role"] != "assistant" and re.search("licen[cs]", turn["content"] or "", re.IGNORECASE):
            return True
    return False


def _joined(spots: list[tuple[int, Spot]]) -> Detection | None:
    ids = {key for _, spot in spots for key in licenses.ids(spot.license)}
    if not spots or len(ids) > MOST:
        return None
    distinct = sorted({spot.license for _, spot in spots})
    both = expression(" AND ".join(f"({one})" for one in distinct)) if len(distinct) > 1 else distinct[0]
    where = tuple(  # of many, the first places are enough
        {"turn": turn, "start": spot.start, "end": spot.end, "how": spot.how, "license": spot.license}
        for turn, spot in spots[:_PLACES]
    )
    return None if both is None else Detection(both, where)


def spots_in(text: str, document: bool = True) -> list[Spot]:
    """Return what one text says it is under, by place; what a license's own text repeats is left out."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters have a longer lower case
        lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    whole = sorted(Spot(start, end, "text", found) for start, end, found in texts(text, lowered))
    told = [*_phrases(text, lowered), *_gnu(text)]
    told += _tags(text) if "spdx-license-identifier" in lowered else ()
    told += _links(text) if "rel=" in lowered else ()
    told += _fields(text) if document else ()
    first = min((spot.start for spot in whole), default=len(text))
    spots = {(spot.start, spot.license): spot for spot in told if spot.start < first}
    return sorted([*spots.values(), *whole])


def _tags(text: str) -> Iterator[Spot]:
    for match in _TAG.finditer(text):
        at = match.start()
        line = max(text.rfind("\n", max(0, at - _BEFORE), at) + 1, at - _BEFORE, 0)
        alone = line == 0 or text[line - 1] == "\n"  # else what stands before it is longer than any margin
        if not alone or not _ONLY_MARGIN.fullmatch(text, line, at):
            continue
        said, *ended = _TAG_END.split(match[1], 1)
        if not ended and match.end() < len(text) and text[match.end()] not in "\r\n":
            continue  # no expression is that long, and half of one may say something else
        if found := expression(said.strip().rstrip(".,;")):
            yield Spot(match.start(1), match.end(1), "tag", found)


def _fields(text: str) -> Iterator[Spot]:
    for match in _FIELD.finditer(text, 0, _HEAD):
        said = match[1].strip().strip("\"',;()[]{}").strip()
        if found := licenses.resolve(said).concluded:
            yield Spot(match.start(1), match.end(1), "field", found)


def _phrases(text: str, lowered: str) -> Iterator[Spot]:
    for start, end in _windows(lowered):
        for pattern in (_OPENING, _SUBJECT, _FOOTER, _LICENSES_THIS, _SUBJECT_TO):
            for match in pattern.finditer(text, start, end):
                if pattern is _SUBJECT and _says_otherwise(text, match):
                    continue
                if pattern is _OPENING and _CREDIT.search(
                    text, max(0, match.start() - _BEFORE), match.start()
                ):
                    continue
                if named := _name(text[match.end() : match.end() + _LOOKED_AT]):
                    yield Spot(match.start(), match.end(), "phrase", named)


def _says_otherwise(text: str, match: re.Match[str]) -> bool:
    """Tell whether a word in a phrase, or before it in its sentence, makes it say something else."""
    before = re.split(r"[.!?\n]", text[max(0, match.start() - _BEFORE) : match.start()])[-1]
    between = match["between"]
    picture = _PICTURE.search(between) and not _TEXT.search(between)
    return bool(picture or _BUT.search(before) or _BUT.search(between))


def _windows(lowered: str) -> list[tuple[int, int]]:
    """Return the parts of a text, given in lower case, where a phrase may stand: around the words it must hold."""
    found: list[tuple[int, int]] = []
    for at in sorted(match.start() for word in _ANCHORS for match in word.finditer(lowered)):
        start, end = max(0, at - _AROUND), min(len(lowered), at + _AROUND)
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _name(tail: str) -> str | None:
    """Return the license whose name a text begins with, if nothing follows that may change it."""
    links = [*_HREF.findall(tail[:_LOOKED_AT]), *re.findall(r"\]\((https?://[^)\s]+)\)", tail)]
    plain = re.sub(r"<[^>]*>", " ", re.sub(r"\]\([^)\s]*\)", " ", tail)).replace("[", " ").replace("`", " ")
    plain = re.sub(rf"\s*\n{_MARGIN}", " ", plain.split("\n\n")[0])
    words = plain.split()
    for count in range(min(_WORDS, len(words)), 0, -1):
        said = " ".join(words[:count]).rstrip(".,;:!\"'")
        if not (found := _resolved(said)):
            continue
        return found if _ends(words[count - 1], words[count] if count < len(words) else "") else None
    linked = {licenses.resolve(link).concluded for link in links[:1]} - {None}
    return linked.pop() if linked else None


@lru_cache(maxsize=1 << 14)
def _resolved(said: str) -> str | None:
    return one_id(said) or phrase(said)


def _ends(last: str, following: str) -> bool:
    """Tell whether a name ends with a word, given the next one."""
    if not following or last.endswith((".", ";", ":", "!")):
        return not following or not _CHANGED.match(following) or last.endswith(".")
    if _CHANGED.match(following):
        return False
    return last.endswith((",", ")")) or bool(_GOES_ON.match(following))


def _gnu(text: str) -> Iterator[Spot]:
    """Read the notices that the GNU licenses ask for, with or without 'any later version'."""
    for match in re.finditer(r"GNU", text):
        start = max(0, match.start() - 160)
        if "terms" not in text[start : match.start()]:  # of most mentions nothing more need be read
            continue
        said = plain(text[start : match.start() + 400])
        if found := _GNU.search(said):
            version = found["first"] or found["plain"] or found["then"]
            letter = {"affero ": "A", "lesser ": "L", "library ": "L", None: ""}[found["kind"]]
            if version and (named := _gnu_id(letter, version, bool(found["later"]))):
                yield Spot(match.start(), match.end(), "phrase", named)


def _gnu_id(letter: str, version: str, later: bool) -> str | None:
    number = version.replace(" ", ".") if " " in version else f"{version}.0"
    return one_id(f"{letter}GPL-{number}-{'or-later' if later else 'only'}")


def _links(text: str) -> Iterator[Spot]:
    for match in _REL.finditer(text):
        if (link := _HREF.search(match[0])) and (found := licenses.resolve(link[1]).concluded):
            yield Spot(match.start(), match.end(), "link", found)
