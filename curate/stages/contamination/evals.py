"""Evaluation items, read from files: what is asked, and what is to be answered.

A file is .jsonl (or .jsonl.gz, .jsonl.zst), .json with a list, .parquet or .csv; an item is one of its rows. Where
the recipe names no fields, questions and answers are looked for where evaluation sets have them:

* ``messages`` or ``conversations``: every user turn is a question, every assistant turn an answer.
* the first of :data:`QUESTIONS` that is there, with ``input`` behind an ``instruction``; the first of
  :data:`ANSWERS`.
* ``choices``, ``options`` or ``endings``: the question is asked alone and with its choices; the answer is the
  choice that is named as the right one by its place from 0, its letter, its label or its text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import RecipeError
from curate.stages.contamination.harness import loaded, quiet, state, wrong

QUESTIONS = ("instruction", "question", "prompt", "problem", "query", "input", "text", "content")
ANSWERS = (
    "output",
    "answer",
    "response",
    "completion",
    "canonical_solution",
    "solution",
    "target",
    "targets",
)
CHOICES = ("choices", "options", "endings")
GOLD = ("gold", "answer", "answerKey", "answer_index", "answer_idx", "label", "correct", "target")
_TURNS = {"messages": ("role", "content"), "conversations": ("from", "value")}
_ASKING = ("user", "human")
_ANSWERING = ("assistant", "gpt")
_ALLOWED = ".jsonl, .jsonl.gz, .jsonl.zst, .json, .parquet or .csv"


class Item(NamedTuple):
    """One evaluation item."""

    file: str  # as the recipe names it
    line: int  # of a text format, else the row, from 1
    questions: tuple[str, ...]
    answers: tuple[str, ...]


class Fields(NamedTuple):
    """The columns that the recipe names; empty: found by their names."""

    question: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    choices: str | None = None


NAMED = Fields()


def read(path: Path, name: str, fields: Fields = NAMED) -> list[Item]:
    """Read a file's items, one per row, with no part where a row has none.

    name: what messages and hits call the file. Raises RecipeError for a file that cannot be read, a row that is no
    object, and a file in which no row has a question or an answer.
    """
    found: list[Item] = []
    columns: set[str] = set()
    for line, row in _rows(path, name):
        columns |= {str(one) for one in row}
        if missing := [one for one in (*fields.question, *fields.answer) if one not in row]:
            raise RecipeError(
                f"{name}: row {line} has no field {missing[0]!r}; fields of decontaminate names it; correct one"
            )
        found.append(Item(name, line, *_parts(row, fields)))
    if not any(item.questions or item.answers for item in found):
        told = ", ".join(sorted(columns)[:20]) or "no rows"
        raise RecipeError(
            f"{name}: holds no evaluation item that can be read; found {told}; allowed: messages, or one of "
            f"{', '.join(QUESTIONS)}; name its columns: 'fields: {{question: …, answer: …}}'"
        )
    return found


def of_task(path: Path, name: str) -> list[Item]:
    """Read the items of a task of lm-evaluation-harness: what its YAML makes of its test (else validation) data.

    Raises MissingExtra without the extra, RecipeError for a file that is no task or whose data is not here.
    """
    found: list[Item] = []
    for task in loaded.__wrapped__(path.resolve()).values():  # anew: the file may have changed
        with quiet(), state():
            try:
                for given in task.test_docs() if task.has_test_docs() else task.validation_docs():
                    found.append(Item(name, len(found) + 1, *_of_task(task, given)))
            except Exception as error:  # whose words may quote an item
                raise wrong(path, type(error).__name__) from error
    return found


def _of_task(task: Any, given: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    asked, told = task.doc_to_text(given), task.doc_to_target(given)
    choices = task.doc_to_choice(given) if task.OUTPUT_TYPE == "multiple_choice" else ()
    if isinstance(asked, int):  # the choices are the questions, as in WinoGrande
        return tuple(map(str, choices)), (str(told),)
    if isinstance(told, int) and 0 <= told < len(choices):
        told = choices[told]
    asked = str(asked)
    questions = [asked, _joined([asked, *map(str, choices)])] if choices else [asked]
    answers = told if isinstance(told, (list, tuple)) else [told]
    return tuple(one for one in questions if one.strip()), tuple(
        str(one) for one in answers if str(one).strip()
    )


def _rows(path: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    kind = next((one for one in path.suffixes[::-1] if one not in (".gz", ".zst")), "")
    reader = _READERS.get(kind)
    if reader is None:
        raise RecipeError(
            f"{name}: found {kind or 'no extension'}; allowed: {_ALLOWED}; convert or rename it"
        )
    try:
        for line, row in reader(path):
            if not isinstance(row, dict):
                raise RecipeError(
                    f"{name}: row {line} is no object with fields; allowed: one per row; correct it"
                )
            yield line, row
    except (OSError, ValueError, pa.ArrowException, csv.Error) as error:  # whose words may quote a row
        raise RecipeError(
            f"{name}: cannot be read as an evaluation file ({type(error).__name__}); allowed: {_ALLOWED}; correct it"
        ) from None


def _bytes(path: Path) -> bytes:
    with pa.input_stream(str(path), compression="detect") as stream:
        content: bytes = stream.read()
    return content


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    for line, text in enumerate(_bytes(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if text.strip():
            yield line, orjson.loads(text)


def _json(path: Path) -> Iterator[tuple[int, Any]]:
    whole = orjson.loads(_bytes(path))
    if isinstance(whole, dict):  # a list under one key, as BIG-bench has it
        whole = next((value for value in whole.values() if isinstance(value, list)), [])
    if not isinstance(whole, list):
        raise ValueError("the file holds no list")
    yield from enumerate(whole, start=1)


def _csv(path: Path) -> Iterator[tuple[int, Any]]:
    yield from enumerate(csv.DictReader(io.StringIO(_bytes(path).decode("utf-8-sig"))), start=1)


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    yield from enumerate(pq.read_table(path, partitioning=None).to_pylist(), start=1)


_READERS: dict[str, Callable[[Path], Iterator[tuple[int, Any]]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}


def _parts(row: Mapping[str, Any], fields: Fields) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the questions and the answers of a row."""
    if not fields.question and (turns := _turns(row)):
        return tuple(_said(turns, _ASKING)), tuple(_said(turns, _ANSWERING))
    choices, labels = _choices(row, fields.choices)
    if fields.question:
        asked = _joined(row[name] for name in fields.question)
    else:
        named = next((name for name in QUESTIONS if _text(row.get(name))), None)
        with_input = (named, "input") if named == "instruction" else (named,)
        asked = _joined(row.get(name) for name in with_input if name is not None)
    questions = [asked, _joined([asked, *choices])] if choices else [asked]
    named_answers = fields.answer or ANSWERS
    answers = [text for name in named_answers for text in _texts(row.get(name)) if text.strip()]
    if not fields.answer:
        answers = answers[:1] if not isinstance(row.get("targets"), list) else answers
    if choices:
        gold = next((row[name] for name in (*fields.answer, *GOLD) if row.get(name) is not None), None)
        right = _right(gold, choices, labels)
        answers = [] if right is None else [choices[right]]
    return tuple(one for one in questions if one.strip()), tuple(answers)


def _turns(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    for column, (role, content) in _TURNS.items():
        value = row.get(column)
        if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
            both = (role, content) if role in value[0] else ("role", "content")
            return [(str(turn.get(both[0])), _text(turn.get(both[1]))) for turn in value]
    return []


def _said(turns: Sequence[tuple[str, str]], roles: Sequence[str]) -> Iterator[str]:
    return (text for role, text in turns if role in roles and text.strip())


def _text(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return ""
    return value if isinstance(value, str) else str(value) if isinstance(value, (int, float)) else ""


def _texts(value: object) -> list[str]:
    """Return a field's texts; numbers and single words are answers too."""
    return [_text(one) for one in value] if isinstance(value, list) else [_text(value)]


def _joined(values: Any) -> str:
    return "\n\n".join(text for value in values if (text := _text(value)).strip())


def _choices(row: Mapping[str, Any], named: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a row's choices and their labels; none where they are not texts."""
    given = next((row[name] for name in ((named,) if named else CHOICES) if row.get(name)), None)
    labels: Sequence[Any] = ()
    if isinstance(given, Mapping):
        inside = isinstance(given.get("text"), list)
        labels = given.get("label") or () if inside else tuple(given)
        given = given["text"] if inside else tuple(given.values())
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, str) for one in given):
        return (), ()
    return tuple(given), tuple(map(str, labels))


def _right(gold: object, choices: tuple[str, ...], labels: tuple[str, ...]) -> int | None:
    """Return the place of the right choice, null where it cannot be told."""
    if isinstance(gold, str):
        told = gold.strip()
        letters = [chr(ord("A") + place) for place in range(min(len(choices), 26))]
        for names in (labels, choices, letters):
            if told in names:
                return list(names).index(told)
        gold = int(told) if told.isascii() and told.isdigit() else None
    if isinstance(gold, bool) or not isinstance(gold, int):
        return None
    return gold if 0 <= gold < len(choices) else None
