"""Records in a tokenizer's tokens, with what is learnt of them, by the quick-tune's own encoding.

Answers are learnt with the ends of their turns, documents whole; a first token never, since nothing stands before it.
Special tokens that a record's text spells out stay text (:mod:`curate.tuning.specials`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from curate.errors import MissingExtra, RecipeError
from curate.exporting import shapes
from curate.exporting.shapes import Record, Skip
from curate.record import ROLES
from curate.tuning.contract import DOCUMENT, Encoded, Text, Turn
from curate.tuning.encoding import encode, encode_rendered
from curate.tuning.templates import FALLBACK, Rendered, template

PLAIN = "plain"  # our own template, which knows users and answers
_WHOLE = 2**30  # tokens: no record has as many
Longer: TypeAlias = Literal["cut", "split", "skip"]
Ids: TypeAlias = npt.NDArray[np.int32]
Mask: TypeAlias = npt.NDArray[np.bool_]


class Piece(NamedTuple):
    """Tokens that stand together in a row."""

    name: str  # id of its record
    ids: Ids  # [t]
    learnt: Mask  # [t]


class Made(NamedTuple):
    """What a record became."""

    made: list[Piece] | Skip
    cut: bool = False  # it lost a part


@dataclass(frozen=True)
class Encoder:
    """Encodes records in one tokenizer's tokens and one chat template."""

    tokenizer: Any
    template: str  # what it is called: the tokenizer's own, plain, or a file's name

    @classmethod
    def of(cls, path: str, wanted: str | None) -> Encoder:
        """Read a tokenizer, and a template: plain, a Jinja file, or None for the tokenizer's own."""
        try:
            from transformers import AutoTokenizer
        except ModuleNotFoundError:
            raise MissingExtra.of("exports of tokens", "tokens") from None
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        except Exception as error:  # noqa: BLE001  whatever a tokenizer's files make libraries raise
            raise RecipeError(
                f"--tokenizer {path}: cannot be loaded ({type(error).__name__}); name a folder with a tokenizer.json"
            ) from None
        if not tokenizer.is_fast:
            raise RecipeError(
                f"--tokenizer {path}: tells no characters of its tokens; name one with a tokenizer.json"
            )
        own = tokenizer.chat_template is not None
        if wanted is None:
            name = "tokenizer" if own else PLAIN
        elif wanted == PLAIN:
            name = PLAIN
        elif Path(wanted).is_file():
            name, tokenizer.chat_template = Path(wanted).name, Path(wanted).read_text()
        else:
            raise RecipeError(f"--template {wanted}: is neither {PLAIN!r} nor a file with a Jinja template")
        if name == PLAIN:
            tokenizer.chat_template = FALLBACK
        return cls(tokenizer, name)

    def told(self) -> dict[str, Any]:
        """Return what tokens depend on, without its path."""
        described = self.tokenizer.backend_tokenizer.to_str().encode()
        written = str(self.tokenizer.chat_template).encode()
        return {
            "sha256": hashlib.sha256(described).hexdigest(),
            "tokens": len(self.tokenizer),
            "template": self.template,
            "template_sha256": hashlib.sha256(written).hexdigest(),
        }

    def encode(self, records: Sequence[Record], length: int | None, longer: Longer) -> list[Made]:
        """Return each record's pieces, or why it has none. length: of a piece at most; None: no limit.

        longer: what becomes of a record of more tokens. cut: a conversation loses what was said first, an answer being
        learnt whole or not at all, and a document its end. split: it goes on in further pieces. skip: it is left out.
        """
        whole = self._encoded(records, _WHOLE)
        over = [
            place
            for place, found in enumerate(whole)
            if isinstance(found, Piece) and length is not None and len(found.ids) > length
        ]
        cut = {}
        if length is not None and longer == "cut" and over:
            shorter = self._encoded([records[place] for place in over], length)
            cut = dict(zip(over, shorter, strict=True))
        made: list[Made] = []
        for place, found in enumerate(whole):
            if isinstance(found, Skip):
                made.append(Made(found))
            elif length is None or len(found.ids) <= length:
                made.append(Made([found]))
            elif longer == "cut":
                short = cut[place]
                told = [short] if isinstance(short, Piece) else Skip("answer longer than a row")
                made.append(Made(told, cut=True))
            else:
                made.append(Made(_split(found, length) if longer == "split" else Skip("longer than a row")))
        return made

    def _encoded(self, records: Sequence[Record], length: int) -> list[Piece | Skip]:
        found: dict[int, Piece | Skip] = {}
        plain: dict[int, Text] = {}
        calling: dict[int, Rendered] = {}
        for place, record in enumerate(records):
            try:
                text = self._read(record)
            except Skip as skip:
                found[place] = skip
                continue
            if isinstance(text, Text):
                plain[place] = text
            else:
                calling[place] = text
        done: tuple[tuple[Any, Encoded], ...] = (
            ((plain, encode(cast(Any, self), list(plain.values()), length)),) if plain else ()
        )
        if calling:
            done = (*done, (calling, encode_rendered(cast(Any, self), list(calling.values()), length)))
        for places, encoded in done:
            found |= dict(
                zip(places, _pieces(encoded, [records[place]["id"] for place in places]), strict=True)
            )
        return [found[place] for place in range(len(records))]

    def _read(self, record: Record) -> Text | Rendered:
        kind = shapes.kind(record)
        if kind == "preferences":
            raise Skip("preference pair")
        if kind == "documents":
            return Text(record["id"], (Turn(DOCUMENT, record["text"]),), "")
        turns, tools = record["messages"], shapes.tools(record)
        if tools is None and not any(turn.keys() - {"role", "content"} for turn in turns):
            said = (
                Turn(turn["role"] if turn["role"] in ROLES else "user", turn["content"] or "")
                for turn in turns
            )
            return Text(record["id"], tuple(said), "")
        return self._calling(shapes.answered(turns), tools)

    def _calling(self, turns: shapes.Turns, tools: list[dict[str, Any]] | None) -> Rendered:
        """Write a conversation with calls. Raises Skip for a template that has no place for what it says."""
        given = [{**shapes.with_objects(turn), "content": turn.get("content") or ""} for turn in turns]
        rendered = template(self.tokenizer).calling(given, tools)
        if rendered is None:
            raise Skip("refused by the chat template")
        called = [call["name"] for turn in turns for call in shapes.calls(turn)]
        defined = [tool.get("function", tool).get("name") for tool in tools or ()]
        said = [turn.get("content") or "" for turn in turns]
        if any(str(part).strip() not in rendered.text for part in (*called, *defined, *said)):
            raise Skip("the chat template leaves out calls or tools")
        return rendered


def _pieces(encoded: Encoded, names: Sequence[str]) -> list[Piece | Skip]:
    found: list[Piece | Skip] = []
    for place, name in enumerate(names):
        ids, learnt = encoded.of(place)
        found.append(Piece(name, ids, learnt) if len(ids) else Skip("nothing to learn"))
    return found


def _split(piece: Piece, length: int) -> list[Piece]:
    found = []
    for start in range(0, len(piece.ids), length):
        learnt = piece.learnt[start : start + length].copy()
        learnt[0] = False
        found.append(Piece(piece.name, piece.ids[start : start + length], learnt))
    return found
