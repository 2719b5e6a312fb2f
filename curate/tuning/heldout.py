"""The held-out items: drawn before any filter, and kept apart from training in both directions.

Passages are compared as PaLM did (Chowdhery et al. 2022, arXiv 2204.02311, section 8): an item is contaminated
where at least 70 % of the word 8-grams of its response stand in training text. Responses of fewer words have no
8-gram and are compared as a whole, prompt included, after normalisation.

Which side goes: a record for training whose response is a near copy of a held-out one's leaves training, and its
group with it. An item that many such groups resemble is made from a template; it leaves the hold-out instead, as do
items whose passages stand scattered over training, or inside longer records.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pydantic import ValidationError

from curate import record
from curate.errors import InputError, RecipeError
from curate.io.cells import is_json_text
from curate.io.read import read
from curate.io.scan import SourcePlan, scan
from curate.kernels import parts
from curate.kernels.parts import Shingling
from curate.kernels.text import Hashes
from curate.record import MESSAGES
from curate.source import Source
from curate.stage import Engine
from curate.tuning.contract import DOCUMENT, Ints, Item, Text, Turn

WORDS = 8  # of a passage
SHARE = 0.7  # of a response's passages, from which it counts as known
CATEGORIES = ("category", "task", "type", "task_type")  # columns that may tell a task's category
LABEL = 80  # characters; a longer value is no label but content, and labels are told in the release
FEW = 10  # groups that may leave training for one held-out item
_OWN = frozenset({"id", "source", "license", "url", "author", "created", "text", "messages", "language"})


def shown(text: Text) -> list[dict[str, str]]:
    """Return a text as turns for the kernels; a document is a response without a prompt."""
    return [
        {"role": "assistant" if role == DOCUMENT else role, "content": content}
        for role, content in text.turns
    ]


def response(text: Text) -> str:
    """Return what is learnt of a text."""
    return "\n\n".join(turn.content for turn in text.turns if turn.role in ("assistant", DOCUMENT))


def words(text: str) -> int:
    """Return how many words a text has."""
    return sum(1 for _ in re.finditer(r"\w+", text))


@dataclass(frozen=True)
class Passages:
    """The 8-grams of the responses of n texts, and a hash of each whole text, normalised."""

    hashes: Hashes
    bounds: Ints  # [n + 1]
    whole: Hashes  # [n]
    long: Any  # [n] bool: the response has at least WORDS words

    @classmethod
    def of(cls, texts: Sequence[Text]) -> Passages:
        """Cut texts into passages."""
        column = pa.array([shown(text) for text in texts], MESSAGES)
        batch = pa.record_batch({"messages": column})
        if not texts:
            nothing = np.empty(0, np.uint64)
            return cls(nothing, np.zeros(1, np.int64), nothing, np.empty(0, bool))
        sets = Shingling(WORDS, "both", symbols=False).sets(batch)
        mine = [np.unique(sets.hashes[start:end]) for start, end in sets.bounds[:, 1:3].tolist()]
        long = [words(response(text)) >= WORDS for text in texts]
        ends = np.cumsum([0, *map(len, mine)])
        return cls(np.concatenate(mine), ends, parts.normal_keys(batch), np.array(long))

    def __len__(self) -> int:
        return len(self.whole)

    @property
    def owner(self) -> Ints:
        """Return the text of each passage."""
        return np.repeat(np.arange(len(self)), np.diff(self.bounds))


def known(items: Passages, training: Passages) -> Any:
    """Return which items [n] are contaminated: known in full, or by passages that stand anywhere in training."""
    of_long = np.repeat(training.long, np.diff(training.bounds))
    found = np.isin(items.hashes, training.hashes[of_long])
    share = np.bincount(items.owner, found, len(items)) / np.maximum(np.diff(items.bounds), 1)
    return np.where(items.long, share >= SHARE, False) | np.isin(items.whole, training.whole)


def near(items: Passages, training: Passages) -> list[tuple[int, int]]:
    """Return the pairs (item, training text) whose responses hold SHARE of each other's passages."""
    order = np.argsort(items.hashes, kind="stable")
    hashes, owners = items.hashes[order], items.owner[order]
    mine = np.repeat(training.long, np.diff(training.bounds))
    theirs, texts = training.hashes[mine], training.owner[mine]
    low, high = np.searchsorted(hashes, theirs, "left"), np.searchsorted(hashes, theirs, "right")
    counts = high - low
    if not counts.sum():
        return []
    at = np.repeat(low - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
    pairs, shared = np.unique(owners[at] * len(training) + np.repeat(texts, counts), return_counts=True)
    item, text = pairs // len(training), pairs % len(training)
    least = np.maximum(np.diff(items.bounds)[item], np.diff(training.bounds)[text]) * SHARE
    hit = (shared >= least) & items.long[item]
    return list(zip(item[hit].tolist(), text[hit].tolist(), strict=True))


def leaving(held: Sequence[Text], training: Sequence[Text], groups: Sequence[int]) -> set[int]:
    """Return the groups that leave training because a record of theirs is a near copy of a held-out one.

    groups: of each training text. An item that more than FEW groups are near to takes none of them with it.
    """
    by_item: dict[int, set[int]] = {}
    for item, text in near(Passages.of(held), Passages.of(training)):
        by_item.setdefault(item, set()).add(groups[text])
    return set().union(*(found for found in by_item.values() if len(found) <= FEW))


def clean(items: Sequence[Item], training: Sequence[Text]) -> tuple[tuple[Item, ...], int]:
    """Return the items that no training text contaminates, and how many were."""
    bad = known(Passages.of([item.text for item in items]), Passages.of(training))
    stay = tuple(item for item, gone in zip(items, bad.tolist(), strict=True) if not gone)
    return stay, len(items) - len(stay)


def digest(items: Iterable[Item]) -> str:
    """Return the SHA-256 over the items' contents and sets, in order."""
    whole = hashlib.sha256()
    for item in items:
        told = [[list(turn) for turn in item.text.turns], sorted(item.sets)]
        whole.update(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
    return whole.hexdigest()


# --- the user's own files ----------------------------------------------------------------------------------


def evals(paths: Sequence[Path], engine: Engine) -> list[Item]:
    """Return the items of the user's evaluation files, in any format that a source may have.

    Columns beside the content (choices, gold or answer, instruction_id_list, kwargs …) are kept in Item.extra. An
    item without a response is answered by the choice that ``gold`` or ``answer`` names. Raises RecipeError for a file
    that is no source, or of which a line cannot be read.
    """
    found: list[Item] = []
    for number, path in enumerate(paths):
        try:
            source = Source(name=f"eval-{number}", files=(path.resolve().name,))
            [plan] = scan([source], path.resolve().parent, engine)
        except (InputError, ValidationError) as error:
            said = str(error) if isinstance(error, InputError) else "its name cannot be used"
            raise RecipeError(
                f"{path}: cannot be used as an evaluation file: {said}; allowed: .jsonl, .jsonl.zst or parquet with "
                "instruction and output, messages, conversations or text"
            ) from None
        found += _items(path, plan)
    return found


def _items(path: Path, plan: SourcePlan) -> list[Item]:
    found: list[Item] = []
    extras = {field.name: field for field in plan.schema if field.name not in _OWN and field.name[:1] != "_"}
    for unit in plan.units:
        for chunk in read(plan, unit):
            bad = [fault for fault in chunk.faults if fault.reason != "read/null-text"]
            if bad:
                raise RecipeError(f"{path}: line {bad[0].row} is no record ({bad[0].reason}); correct it")
            columns = {name: chunk.batch.column(name).to_pylist() for name in extras}
            for row, content in enumerate(record.content(chunk.batch).to_pylist()):
                extra = {
                    name: _decoded(values[row], extras[name])
                    for name, values in columns.items()
                    if values[row] is not None
                }
                key = f"{path.name} {path.name}#{chunk.batch.column('_row')[row].as_py()}"
                text = Text(key, _answered(turns(content), extra), "eval", category(extra), None)
                found.append(Item(text, frozenset({"eval"}), extra))
    return found


def _decoded(value: Any, field: pa.Field) -> Any:
    return orjson.loads(value) if is_json_text(field) else value


def _answered(found: tuple[Turn, ...], extra: Mapping[str, Any]) -> tuple[Turn, ...]:
    """Return the turns with a response, where a choice is named as the right one and no response stands there."""
    from curate.tuning.measure.choices import options

    if found and found[-1].role in ("assistant", DOCUMENT) and found[-1].content.strip():
        return found
    told = options(extra)
    if told is None:
        return found
    asked = found[:-1] if found and found[-1].role == "assistant" else found
    return (*asked, Turn("assistant", told[0][told[1]]))


# --- records as texts --------------------------------------------------------------------------------------


def turns(content: Any) -> tuple[Turn, ...]:
    """Return a record's content as turns. A role that is none of ours is the user's: no template knows it."""
    if content is None or isinstance(content, str):
        return (Turn(DOCUMENT, content or ""),)
    return tuple(
        Turn(turn["role"] if turn["role"] in record.ROLES else "user", turn["content"] or "")
        for turn in content
    )


def category(columns: Mapping[str, Any]) -> str | None:
    """Return a record's task category, where a column tells one: a label of one line, not an instruction or text."""
    for name in CATEGORIES:
        value = columns.get(name)
        if isinstance(value, str) and value.strip() and len(value) <= LABEL and value.isprintable():
            return value
    return None


def merged(items: Sequence[Item]) -> list[Item]:
    """Return items with one for each content: it counts in all sets that its copies count in."""
    by_content: dict[tuple[Turn, ...], Item] = {}
    for item in items:
        held = by_content.get(item.text.turns)
        by_content[item.text.turns] = item if held is None else replace(held, sets=held.sets | item.sets)
    return list(by_content.values())
