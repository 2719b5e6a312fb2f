"""Names of persons and places: precision, recall, what is found in ordinary text, and the time it takes.

    python benchmarks/pii_names.py DATA [--model KIND=NAME ...] [--half even|odd]

DATA is a folder with pii/{presidio_synth_v2,lifebench_en}.jsonl.zst, labelled ({id, text, spans}), and
instruct/*.jsonl.zst, not labelled. The gazetteer was made while looking at the records at even places of the
labelled files; what counts are those at odd places, which are printed unless --half says otherwise. KIND=NAME,
such as spacy=en_core_web_lg, adds a model.

A find is right if it covers more than half of a label and the label more than half of it, titles taken off
both, since the two sets differ in whether "Mr." is part of a name; each label counts once. A place is right if
more than half of it lies in a label of any kind of place: an address holds its city. Recall of places is over
GPE (synth_v2) and LOCATION (lifebench_en), streets and buildings among them. MB is of UTF-8, the time is the
process's.
"""

from __future__ import annotations

import argparse
import io
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import orjson
import pyarrow as pa
import zstandard

from curate.kernels.spans import Span
from curate.stages.finders import Finds
from curate.stages.finders.lexicon import lexicon
from curate.stages.finders.models import Model
from curate.stages.finders.names import Gazetteer
from curate.stages.finders.pinned import Kind

LABELLED = ("presidio_synth_v2", "lifebench_en")
PLACES = {"GPE", "LOCATION", "STREET_ADDRESS"}
ORDINARY = {
    "gsm8k": ("gsm8k_train",),
    "medquad": ("medquad",),
    "code": ("gpteacher_codegen", "gorilla_apibench", "humaneval"),
    "dolly": ("dolly_3k_alpagasus",),
    "banking77": ("banking77",),
}
PART = 3  # of the ordinary records one in so many is read


class Finder(Protocol):
    kinds: tuple[str, ...]

    def find(self, texts: pa.Array) -> list[Finds]: ...


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        return [orjson.loads(line) for line in io.BufferedReader(stream) if line.strip()]


def found(finder: Finder, texts: Sequence[str]) -> tuple[list[list[Span]], float]:
    start = time.process_time()
    answers = finder.find(pa.array(texts, pa.string()))
    seconds = time.process_time() - start
    return [cast(list[Span], [] if isinstance(answer, Exception) else answer) for answer in answers], seconds


def without_title(text: str, start: int, end: int) -> tuple[int, int]:
    titles = "|".join(sorted(map(re.escape, lexicon().forerunners), key=lambda title: -len(title)))
    title = re.match(rf"(?:(?:{titles})\s+)+", text[start:end])
    return start + (title.end() if title else 0), end


def persons(record: dict[str, Any], spans: Sequence[Span]) -> tuple[int, int, int]:
    """Return the number of labels, of finds and of right finds."""
    labels = [
        without_title(record["text"], s["start"], s["end"]) for s in record["spans"] if s["label"] == "PERSON"
    ]
    finds = [without_title(record["text"], s.start, s.end) for s in spans if s.type == "PERSON"]
    left = list(labels)
    right = 0
    for start, end in finds:
        for label in left:
            both = min(end, label[1]) - max(start, label[0])
            if 2 * both > max(end - start, label[1] - label[0]):
                left.remove(label)
                right += 1
                break
    return len(labels), len(finds), right


def places(record: dict[str, Any], spans: Sequence[Span]) -> tuple[int, int, int, int]:
    """Return the number of labels, of finds, of right finds and of labels found."""
    labels = [(s["start"], s["end"], s["label"]) for s in record["spans"] if s["label"] in PLACES]
    finds = [(s.start, s.end) for s in spans if s.type == "LOCATION"]
    right = sum(any(2 * (min(e, b) - max(s, a)) > e - s for a, b, _ in labels) for s, e in finds)
    wanted = [(a, b) for a, b, label in labels if label != "STREET_ADDRESS"]
    told = sum(any(2 * (min(e, b) - max(s, a)) > max(e - s, b - a) for s, e in finds) for a, b in wanted)
    return len(wanted), len(finds), right, told


def share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "–"


def labelled(data: Path, finders: dict[str, Finder], half: str) -> None:
    print(f"\n## Labelled text, records at {half} places\n")
    print(
        "| set | finder | kind | labels | finds | precision | recall | F1 |\n|---|---|---|---:|---:|---:|---:|---:|"
    )
    for name in LABELLED:
        records = rows(data / "pii" / f"{name}.jsonl.zst")[half == "odd" :: 2]
        for title, finder in finders.items():
            spans, _ = found(finder, [record["text"] for record in records])
            if "PERSON" in finder.kinds:
                sums = [sum(c) for c in zip(*map(persons, records, spans), strict=True)]
                show(name, title, "PERSON", sums[0], sums[1], sums[2], sums[2])
            if "LOCATION" in finder.kinds:
                sums = [sum(c) for c in zip(*map(places, records, spans), strict=True)]
                show(name, title, "LOCATION", *sums)
            if isinstance(finder, Gazetteer):
                told = Counter(span.recognizer for answer in spans for span in answer)
                print(f"  <!-- {', '.join(f'{how} {n}' for how, n in sorted(told.items()))} -->")


def show(name: str, title: str, kind: str, labels: int, finds: int, right: int, told: int) -> None:
    precision, recall = right / max(1, finds), told / max(1, labels)
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    print(
        f"| {name} | {title} | {kind} | {labels:,} | {finds:,} | {share(right, finds)} | {share(told, labels)} "
        f"| {f1:.3f} |"
    )


def ordinary(data: Path, finders: dict[str, Finder]) -> None:
    print("\n## Ordinary text\n")
    print("| set | MB | finder | finds per MB | records with finds | MB/s |\n|---|---:|---|---:|---:|---:|")
    for name, files in ORDINARY.items():
        records = [row for file in files for row in rows(data / "instruct" / f"{file}.jsonl.zst")[::PART]]
        texts = ["\n".join(filter(None, map(row.get, ("instruction", "input", "output")))) for row in records]
        size = sum(len(text.encode()) for text in texts) / 1e6
        for title, finder in finders.items():
            spans, seconds = found(finder, texts)
            kinds = Counter(span.type for answer in spans for span in answer)
            told = ", ".join(f"{kind} {count / size:.0f}" for kind, count in sorted(kinds.items())) or "0"
            hit = sum(map(bool, spans)) / len(texts)
            print(f"| {name} | {size:.2f} | {title} | {told} | {hit:.1%} | {size / seconds:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", action="append", default=[], metavar="KIND=NAME")
    parser.add_argument("--half", choices=("even", "odd"), default="odd")
    given = parser.parse_args()
    finders: dict[str, Finder] = {
        "gazetteer": Gazetteer(),
        "gazetteer, given names alone too": Gazetteer(threshold=0.4),
        "gazetteer, places": Gazetteer(("LOCATION",)),
    }
    for model in given.model:
        kind, _, name = model.partition("=")
        finders[model] = Model(cast(Kind, kind), name)
    labelled(given.data, finders, given.half)
    ordinary(given.data, finders)


if __name__ == "__main__":
    main()
