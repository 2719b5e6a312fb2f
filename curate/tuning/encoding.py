"""Texts in tokens, and which of them are learnt: answers with the ends of their turns, or all of a document.

A text that is longer than a row loses what was said first: whole exchanges, then the head of what was asked in the last
one. An answer is whole, or it is not learnt; a text whose last answer does not fit in a row has no tokens.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.tuning.contract import DOCUMENT, Encoded, Text, Turn
from curate.tuning.specials import Piece, plain, specials
from curate.tuning.templates import Rendered, answered, template

if TYPE_CHECKING:
    from curate.tuning.base import Base

_BATCH = 1024  # texts in hand at once
_BEGINNING = 16  # characters per token wanted of a document: most tokens have fewer than six
_START, _END = itemgetter(0), itemgetter(1)


class _Tokens(NamedTuple):
    ids: npt.NDArray[np.int32]
    learnt: npt.NDArray[np.bool_]
    nbytes: int


_NOTHING = _Tokens(np.zeros(0, np.int32), np.zeros(0, np.bool_), 0)


def encode(base: Base, texts: Sequence[Text], length: int) -> Encoded:
    """Return texts in a base's tokens, none of them longer than ``length``.

    A text's first token is never learnt: nothing stands before it. Raises ValueError for a length below 2.
    """
    if length < 2:
        raise ValueError(f"rows of {length} tokens: a text needs two, of which the second can be learnt")
    found: list[_Tokens] = []
    for start in range(0, len(texts), _BATCH):
        found += _batch(base.tokenizer, texts[start : start + _BATCH], length)
    sources = {source: number for number, source in enumerate(sorted({text.source for text in texts}))}
    return Encoded(
        ids=np.concatenate([_NOTHING.ids, *(tokens.ids for tokens in found)]),
        learnt=np.concatenate([_NOTHING.learnt, *(tokens.learnt for tokens in found)]),
        offsets=np.cumsum([0, *(len(tokens.ids) for tokens in found)], dtype=np.int64),
        nbytes=np.array([tokens.nbytes for tokens in found], np.int64),
        keys=np.array([_hash(text.key) for text in texts], np.uint64),
        groups=np.array([sources[text.source] for text in texts], np.int64),
    )


def encode_rendered(base: Base, rendered: Sequence[Rendered], length: int) -> Encoded:
    """Return conversations that a template has written, as :func:`encode` does: without keys and sources."""
    pieces = specials(base.tokenizer).encode([told.text for told in rendered])
    found = [_conversation(base.tokenizer, *pair, length) for pair in zip(rendered, pieces, strict=True)]
    return Encoded(
        ids=np.concatenate([_NOTHING.ids, *(tokens.ids for tokens in found)]),
        learnt=np.concatenate([_NOTHING.learnt, *(tokens.learnt for tokens in found)]),
        offsets=np.cumsum([0, *(len(tokens.ids) for tokens in found)], dtype=np.int64),
        nbytes=np.array([tokens.nbytes for tokens in found], np.int64),
        keys=np.zeros(len(found), np.uint64),
        groups=np.zeros(len(found), np.int64),
    )


def prompt(base: Base, turns: Sequence[Turn], length: int | None = None) -> list[int]:
    """Return the tokens of a conversation up to where the next answer begins; of a document, of its beginning.

    Of more than ``length`` tokens the first are cut, a token that begins every text excepted.
    """
    tokenizer = base.tokenizer
    turns = [Turn(turn.role, plain(turn.content)) for turn in turns]
    if len(turns) == 1 and turns[0].role == DOCUMENT:
        [piece] = specials(tokenizer).encode([turns[0].content])
        ids = [*_opening(tokenizer), *piece.ids.tolist()]
    else:
        [piece] = specials(tokenizer).encode([template(tokenizer).prompt(turns)])
        ids = piece.ids.tolist()
    if length is None or len(ids) <= length:
        return ids
    lead = ids[: _lead(tokenizer, ids)]
    return [*lead, *ids[len(ids) - length + len(lead) :]]


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def _batch(tokenizer: Any, texts: Sequence[Text], length: int) -> list[_Tokens]:
    documents = [place for place, text in enumerate(texts) if text.turns and text.turns[0].role == DOCUMENT]
    opening = _opening(tokenizer) if documents else []
    cut = {place: answered(text.turns) for place, text in enumerate(texts)}
    spoken = [place for place, turns in cut.items() if turns]
    rendered = template(tokenizer).render([cut[place] for place in spoken])
    written = [plain(texts[place].turns[0].content) for place in documents]
    pieces = _beginnings(tokenizer, written, length)
    pieces += specials(tokenizer).encode([told.text for told in rendered])
    found = {
        place: _document(opening, tokenizer.eos_token_id, text, piece, length)
        for place, text, piece in zip(documents, written, pieces, strict=False)
    }
    for place, told, piece in zip(spoken, rendered, pieces[len(documents) :], strict=True):
        found[place] = _conversation(tokenizer, told, piece, length)
    return [found.get(place, _NOTHING) for place in range(len(texts))]


def _beginnings(tokenizer: Any, texts: list[str], length: int) -> list[Piece]:
    """Return the first tokens of texts, at least ``length`` where there are so many: of a book few are needed."""
    most = _BEGINNING * length
    pieces = specials(tokenizer).encode([text[:most] for text in texts])
    for place, text in enumerate(texts):
        if len(text) > most and len(pieces[place].ids) < 2 * length:  # the last ones were cut
            [pieces[place]] = specials(tokenizer).encode([text])
    return pieces


def _document(opening: list[int], end: int | None, text: str, piece: Piece, length: int) -> _Tokens:
    """Return the first tokens of: what begins every text, the text, end of text."""
    if not len(piece.ids):
        return _NOTHING
    ids = np.array([*opening, *piece.ids, *([] if end is None else [end])], np.int32)[:length]
    last = min(len(opening) + len(piece.ids), length) - len(opening)  # tokens of the text that are there
    from_place = 0 if opening else piece.places[0][1]
    to_place = piece.places[last - 1][1] if last else 0
    nbytes = len(text[from_place:to_place].encode()) + (len(ids) > len(opening) + len(piece.ids))
    learnt = np.arange(len(ids)) >= max(len(opening), 1)
    return _Tokens(ids, learnt, nbytes) if learnt.any() else _NOTHING


def _opening(tokenizer: Any) -> list[int]:
    """Return the token that the tokenizer puts before every text, if it does."""
    first = tokenizer.bos_token_id
    ids: list[int] = tokenizer("a")["input_ids"]
    return [first] if first is not None and ids[:1] == [first] else []


def _lead(tokenizer: Any, ids: Sequence[int]) -> int:
    return int(len(ids) > 0 and tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id)


def _conversation(tokenizer: Any, told: Rendered, piece: Piece, length: int) -> _Tokens:
    ids = piece.ids
    spans = [_span(piece, start, end) for start, end in told.answers]
    keep = np.ones(len(ids), np.bool_)
    first = 0  # exchange that is kept
    if len(ids) > length:
        first = _shorten(piece, told, spans, keep, _lead(tokenizer, ids.tolist()), length)
        if first < 0:
            return _NOTHING
    learnt, nbytes = np.zeros(len(ids), np.bool_), 0
    for (start, end), size in list(zip(spans, told.nbytes, strict=True))[first:]:
        learnt[start:end] = True
        nbytes += size
    ids, learnt = ids[keep], learnt[keep]
    if len(ids):
        learnt[0] = False
    return _Tokens(ids, learnt, nbytes) if learnt.any() else _NOTHING


def _span(piece: Piece, start: int, end: int) -> tuple[int, int]:
    """Return the tokens of characters start to end; one that stands astride the start is theirs."""
    if start >= end:
        return 0, 0
    first = bisect_right(piece.places, start, key=_END)
    return first, max(first, bisect_left(piece.places, end, key=_START))


def _shorten(
    piece: Piece,
    told: Rendered,
    spans: list[tuple[int, int]],
    keep: npt.NDArray[np.bool_],
    lead: int,
    length: int,
) -> int:
    """Strike tokens out of ``keep`` until ``length`` are left; return the first exchange that is kept, -1 for none."""
    last = len(spans) - 1
    begins = [lead, *(max(lead, end) for _, end in spans[:-1])]
    first = next((i for i, begin in enumerate(begins) if lead + len(keep) - begin <= length), last)
    begin, (start, end) = begins[first], spans[first]
    keep[lead:begin] = False
    excess = lead + len(keep) - begin - length
    if excess <= 0:
        return first
    if (
        first < last or end - start + 1 > length
    ):  # at least one token before the answer, which tells its first
        return -1
    head = min(max(bisect_right(piece.places, told.heads[first], key=_END), begin), start)
    if start - head >= excess:  # what was asked loses its head, the template's words before it stay
        keep[head : head + excess] = False
    elif start - begin >= excess:
        keep[begin : begin + excess] = False
    else:
        keep[: len(keep) - length] = False
    return first
