"""Special tokens that a template writes, kept apart from the same characters in data.

A tokenizer takes ``<|assistant|>`` or ``</s>`` for a special token wherever it stands, so that a record could end its
own turn. Here data's occurrences are hidden while the template is rendered, the template's own are then renamed
to what no data can hold, and a copy of the tokenizer knows the special tokens by those names alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# Noncharacters (The Unicode Standard, 23.7), never part of text; data that holds them has U+FFFD there.
NAME, HIDDEN = "\U0010fffe", "\U0010ffff"
_FOREIGN = str.maketrans({NAME: "\ufffd", HIDDEN: "\ufffd"})
_BYTE = re.compile("<0x[0-9A-F]{2}>")  # what a model spells unknown characters with, by this very name
_PLACE = re.compile(f"{HIDDEN}(\\d+){HIDDEN}")


class Piece(NamedTuple):
    """A text in tokens."""

    ids: npt.NDArray[np.int32]  # [t]
    places: Sequence[tuple[int, int]]  # [t] characters that each stands for: start, end


class Specials:
    """Hides, names and encodes, for one tokenizer of transformers that is a fast one."""

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers import Tokenizer

        described = json.loads(tokenizer.backend_tokenizer.to_str())
        added = described["added_tokens"]
        listed = sorted((token["content"] for token in added if token["special"]), key=len, reverse=True)
        self._listed = [content for content in listed if content and not _BYTE.fullmatch(content)]
        self._place = {content: place for place, content in enumerate(self._listed)}
        self._pattern = re.compile("|".join(map(re.escape, self._listed)) or r"(?!)")
        known = {}
        for token in added:
            if token["content"] in self._place:
                token.update(content=self._name(token["content"]), normalized=False)
            known[token["content"]] = token["id"]
        self._rename(described["model"])
        described.update(post_processor=None, truncation=None, padding=None)
        self._tokenizer = Tokenizer.from_str(json.dumps(described))
        self._real = np.arange(self._tokenizer.get_vocab_size() + len(added), dtype=np.int32)
        for content, number in known.items():  # renamed, a token has another number in the copy
            self._real[self._tokenizer.token_to_id(content)] = number

    def _name(self, content: str) -> str:
        return f"{NAME}{self._place[content]}{NAME}" if content in self._place else content

    def _rename(self, model: dict[str, Any]) -> None:
        """Rename the special tokens that the model itself knows, and would find in text (Unigram; whole words)."""
        vocabulary = model["vocab"]
        if isinstance(vocabulary, dict):
            model["vocab"] = {self._name(content): number for content, number in vocabulary.items()}
        else:
            model["vocab"] = [[self._name(content), score] for content, score in vocabulary]
        if model.get("unk_token"):
            model["unk_token"] = self._name(model["unk_token"])

    def hide(self, data: str) -> str:
        """Return data in which no special token can be read."""
        return self._pattern.sub(lambda m: f"{HIDDEN}{self._place[m[0]]}{HIDDEN}", plain(data))

    def shown(self, rendered: str) -> str:
        """Return a template's output over hidden data: its special tokens named, the data as it was."""
        named = self._pattern.sub(lambda m: self._name(m[0]), rendered)
        return _PLACE.sub(lambda m: self._listed[int(m[1])], named)

    def encode(self, texts: Sequence[str]) -> list[Piece]:
        """Return the tokens of texts that :meth:`shown` returned, or of data with :func:`plain`."""
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [Piece(self._real[encoding.ids], encoding.offsets) for encoding in found]


def plain(data: str) -> str:
    """Return data without the characters that name special tokens."""
    return data.translate(_FOREIGN) if HIDDEN in data or NAME in data else data


@lru_cache(maxsize=4)
def specials(tokenizer: Any) -> Specials:
    """Return a tokenizer's special tokens, read once."""
    return Specials(tokenizer)
