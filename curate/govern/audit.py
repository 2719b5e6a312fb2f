"""The residual audit: how much personal data is left in the records that were kept, as a person tells it.

No finder finds everything, and no finder can say what it missed. So every run with the stage pii draws a random
sample of the kept records into ``audit/pii-sample.jsonl``, a form with one record a line. A person fills in a copy
of it; :func:`judge` turns the answers into shares with intervals. The lines stand in random order, so whoever
stops half-way has answered for a random sample still.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import orjson

from curate import record
from curate.errors import IntegrityError, RecipeError
from curate.io.store import Store
from curate.io.write import Shard, finished, write_text
from curate.outcome import batches
from curate.pipeline import Chain
from curate.record import BESIDE
from curate.shards.trails import bundles
from curate.stage import Engine

FOLDER = "audit"
SAMPLE = "pii-sample.jsonl"
ANSWERS = "pii-answers.jsonl"
SEED = 0
"""One for all releases: a record drawn once is drawn again from the next release, if it is there unchanged."""
CONFIDENCE = 0.95
QUESTIONS = ("personal_data_left", "wrongly_edited")
KINDS = "kinds_left"
_YES_NO = {"yes": True, "no": False, True: True, False: False, None: None}


def draw(chains: Sequence[Chain], folder: Path, size: int, engine: Engine) -> list[Shard]:
    """Write the form into ``folder``/audit and return it; nothing where the size is 0 or no record was kept.

    The sample is the ``size`` records whose SHA-256 over the seed, their id and the hash of their content as read is
    least: the same for any order of files, number of workers or batch size.
    """
    if not size:
        return []
    some = [tuple(chains[n].done[-1].folder for n in numbers) for numbers in bundles(chains)]
    places: list[tuple[_Place, Store]] = []
    for found in engine.map(partial(_least, size), some):
        places = heapq.nsmallest(size, [*places, *found], key=itemgetter(0))
    wanted: dict[Store, list[_Place]] = {}
    for place, unit in places:
        wanted.setdefault(unit, []).append(place)
    lines = dict(pair for pairs in engine.map(_drawn, list(wanted.items())) for pair in pairs)
    if not lines:
        return []
    blank = dict.fromkeys(QUESTIONS) | {KINDS: []}
    texts = [orjson.dumps({"n": n} | lines[place] | blank) for n, (place, _) in enumerate(places, 1)]
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    path = folder / FOLDER / SAMPLE
    write_text(path, b"\n".join(texts).decode() + "\n")
    return [finished(path, len(texts))]


_Place: TypeAlias = tuple[bytes, str, int]  # in the draw; ids need not be unique
_NAMES = ["id", "_sha256", "_path", "_row"]  # of the columns that a place is told by


def _least(size: int, units: Sequence[Store]) -> list[tuple[_Place, Store]]:
    """Return the first places of some units, each with its unit."""
    found: list[tuple[_Place, Store]] = []
    for unit in units:
        for batch in batches(unit, "records.arrow", _NAMES):
            found = heapq.nsmallest(
                size, [*found, *((place, unit) for _, place in _places(batch))], key=itemgetter(0)
            )
    return found


def _drawn(task: tuple[Store, Sequence[_Place]]) -> list[tuple[_Place, dict[str, Any]]]:
    """Return the lines of some records of a unit, by their places."""
    unit, wanted = task
    rows = {place[2]: place for place in wanted}
    found = []
    for batch in batches(unit, "records.arrow"):
        for at in np.flatnonzero(np.isin(batch.column("_row").to_numpy(), list(rows))).tolist():
            found.append((rows[batch.column("_row")[at].as_py()], _line(batch, at)))
    return found


def _places(batch: record.Batch) -> Iterator[tuple[int, _Place]]:
    columns = (batch.column(name).to_pylist() for name in _NAMES)
    for at, (name, digest, path, row) in enumerate(zip(*columns, strict=True)):
        yield at, (hashlib.sha256(f"{SEED}\0{name}\0{digest}".encode()).digest(), path, row)


def _line(batch: record.Batch, at: int) -> dict[str, Any]:
    one = batch.slice(at, 1)
    values = {
        name: one.column(name)[0].as_py() for name in ("id", "_path", "_row", record.kind(batch), _EDITS)
    }
    beside = [name for name in BESIDE if name in batch.schema.names]  # calls of tools, the reply that lost
    return {
        "id": values["id"],
        "read_from": record.locator(values["_path"], values["_row"]),
        "sha256": record.content_sha256(record.content(one))[0].as_py(),
        record.kind(batch): values[record.kind(batch)],
        **{name: one.column(name)[0].as_py() for name in beside},
        "edits": values[_EDITS] or [],
    }


_EDITS = record.FACT + "edits"


def judge(form: Path, out: Path, manifest: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return what a filled-in form says, for the manifest, and the answers alone, as JSON lines without text.

    Raises RecipeError, line by line, for a form that is not that of this release's sample or an answer that is
    none, and IntegrityError where the release's own sample was changed.
    """
    blank = _lines(_own(out, manifest))
    filled = _read(form)
    problems, answers = [], []
    if len(filled) != len(blank):
        problems.append(f"{form}: has {len(filled)} lines, the sample of {out} {len(blank)}; keep every line")
    for number, (line, asked) in enumerate(zip(filled, blank, strict=False), 1):
        if any(line.get(key) != value for key, value in asked.items() if key not in (*QUESTIONS, KINDS)):
            problems.append(
                f"{form}:{number}: is not line {number} of {out / FOLDER / SAMPLE}; fill in a copy of that"
            )
        else:
            problems += [f"{form}:{number}: {problem}" for problem in _wrong(line)]
            answers.append({"id": asked["id"], "sha256": asked["sha256"]} | _answers(line, asked))
    if problems:
        raise RecipeError(problems)
    text = b"".join(orjson.dumps(answer) + b"\n" for answer in answers)
    return _told(answers, manifest["counts"]["kept"]), text


def is_blank(out: Path, manifest: Mapping[str, Any]) -> bool:
    """Tell whether the release's own form is as the run wrote it."""
    try:
        _own(out, manifest)
    except (IntegrityError, RecipeError):
        return False
    return True


def _own(out: Path, manifest: Mapping[str, Any]) -> bytes:
    """Return the release's own blank form, held to its hash."""
    path = f"{FOLDER}/{SAMPLE}"
    entry = next((entry for entry in manifest["outputs"] if entry["path"] == path), None)
    if entry is None:
        raise RecipeError(f"{out}: has no {path}; a recipe with the stage pii and its option audit draws one")
    found = (out / path).read_bytes() if (out / path).is_file() else b""
    if hashlib.sha256(found).hexdigest() != entry["sha256"]:
        raise IntegrityError(
            f"{out / path}: is not as the run wrote it; put your filled-in form elsewhere and run the recipe again"
        )
    return found


def _lines(text: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in text.splitlines() if line.strip()]


def _read(form: Path) -> list[dict[str, Any]]:
    try:
        text = form.read_bytes()
    except OSError as error:
        raise RecipeError(f"{form}: {error.strerror}; name a filled-in copy of the form") from None
    lines = []
    text = text.removeprefix(BOM_UTF8)  # as Excel and Notepad put before it
    for number, line in enumerate(filter(bytes.strip, text.splitlines()), 1):
        try:
            lines.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            raise RecipeError(f'{form}:{number}: not JSON; answer with "yes" or "no", in quotes') from None
        if not isinstance(lines[-1], dict):
            raise RecipeError(f"{form}:{number}: not a JSON object; fill in a copy of the form")
    return lines


def _wrong(line: Mapping[str, Any]) -> Iterator[str]:
    for question in QUESTIONS:
        if _plain(line.get(question)) not in _YES_NO:
            yield f"{question}: the answer is not yes or no; leave it null where there is none"
    kinds = line.get(KINDS)
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        yield f'{KINDS}: must be a list of names, such as ["PERSON"]'
    elif kinds and _YES_NO.get(_plain(line.get(QUESTIONS[0]))) is not True:
        yield f"{KINDS}: names kinds, but {QUESTIONS[0]} is not yes"


def _plain(answer: object) -> Any:
    return (
        answer.strip().lower()
        if isinstance(answer, str)
        else answer
        if answer in (None, True, False)
        else 0.5
    )


def _answers(line: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    told = {question: _YES_NO.get(_plain(line.get(question))) for question in QUESTIONS}
    return told | {KINDS: sorted(set(line.get(KINDS) or ())), "edited": bool(asked["edits"])}


def _told(answers: Sequence[Mapping[str, Any]], kept: int) -> dict[str, Any]:
    left = [answer[QUESTIONS[0]] for answer in answers if answer[QUESTIONS[0]] is not None]
    wrong = [a[QUESTIONS[1]] for a in answers if a["edited"] and a[QUESTIONS[1]] is not None]
    kinds = Counter(kind for answer in answers for kind in answer[KINDS])
    found = _share(left)
    if left:
        low, high = interval(sum(left), len(left))
        clean = len(left) - sum(left)  # what was answered for is certain, whatever the interval
        found["records_in_release"] = [
            max(sum(left), math.floor(low * kept)),
            min(kept - clean, math.ceil(high * kept)),
        ]
    return {
        "confidence": CONFIDENCE,
        QUESTIONS[0]: found,
        KINDS: dict(sorted(kinds.items())),
        QUESTIONS[1]: _share(wrong),
    }


def _share(answers: Sequence[bool]) -> dict[str, Any]:
    """Return how many said yes of how many, and the interval of the share; no interval without answers."""
    yes, asked = sum(answers), len(answers)
    found: dict[str, Any] = {"yes": yes, "answered": asked}
    if asked:
        low, high = interval(yes, asked)
        found |= {"share": round(yes / asked, 6), "low": round(low, 6), "high": round(high, 6)}
    return found


def interval(yes: int, asked: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact confidence interval of a binomial share (Clopper and Pearson, Biometrika 26, 1934).

    It is never too narrow: whatever the true share, intervals so made hold it at least ``confidence`` of the time.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if yes == 0 else _root(lambda share: 1 - _at_most(yes - 1, asked, share), tail)
    high = 1.0 if yes == asked else 1 - _root(lambda share: _at_most(yes, asked, 1 - share), tail)
    return low, high


def _root(rising: Callable[[float], float], level: float) -> float:
    """Return where a rising function of a share reaches a level, by bisection to the last bit that matters."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return low


def _at_most(yes: int, asked: int, share: float) -> float:
    """Return the chance of at most so many successes in so many independent trials."""
    if share in (0.0, 1.0):
        return float(share == 0.0 or yes >= asked)
    log_yes, log_no = math.log(share), math.log1p(-share)
    ways = (math.lgamma(asked + 1) - math.lgamma(k + 1) - math.lgamma(asked - k + 1) for k in range(yes + 1))
    return math.fsum(math.exp(way + k * log_yes + (asked - k) * log_no) for k, way in enumerate(ways))
