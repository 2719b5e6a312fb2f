"""Personal data: precision, recall and F1 by kind on labelled text, and what is found where there should be nothing.

    python benchmarks/pii.py DATA [--part 4]

DATA is a folder with pii/{presidio_synth_v2,lifebench_en,nannigalaxy}.jsonl.zst, labelled ({id, text, spans}), and
instruct/*.jsonl.zst and corpus/permissive-47mb.jsonl.zst, not labelled. Three engines in one run: plain
presidio-analyzer with its own recognizers for English, at the thresholds 0.4 and 0.5; engine `presidio`, which is to
answer the same; engine `default`, with the thresholds of rules/pii.yaml. Names and addresses are not among the kinds.

A find is right if it and a label each hold more than half of the other; each label counts once. The rules were made
while looking at the records at even places (0, 2, …) of the labelled files, so what counts are those at odd places.
Labels are others' work: presidio_synth_v2 is made from templates, lifebench_en is labelled by a machine, and neither
labels all that is there. Found in gsm8k, which is arithmetic, everything is wrong; in code, web addresses and dates
may be right. MB is of UTF-8, time the process's; of the unlabelled records one in --part is read.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import zstandard

from curate import rules
from curate.kernels.spans import Span, resolve
from curate.stages.finders import Finds
from curate.stages.finders.presidio import Presidio
from curate.stages.finders.secrets import Secrets
from curate.stages.scrubbing.search import Ours

LABELS: Mapping[str, Mapping[str, str]] = {  # file: label of the file → kind
    "presidio_synth_v2": {
        **{name: name for name in ("CREDIT_CARD", "DATE_TIME", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS")},
        **{name: name for name in ("PHONE_NUMBER", "US_DRIVER_LICENSE", "US_SSN")},
        "DOMAIN_NAME": "URL",
    },
    "lifebench_en": {"PHONE": "PHONE_NUMBER", "EMAIL": "EMAIL_ADDRESS"},
    "nannigalaxy": {
        **{"EMAIL": "EMAIL_ADDRESS", "SSN": "US_SSN", "PHONE": "PHONE_NUMBER", "IBAN": "IBAN_CODE"},
        **{"CREDIT_CARD": "CREDIT_CARD", "ROUTING_NUMBER": "ABA_ROUTING_NUMBER", "PAN": "IN_PAN"},
    },
}
ORDINARY: Mapping[str, Sequence[str]] = {
    "gsm8k": ("gsm8k_train", "gsm8k_test"),
    "code": ("gpteacher_codegen", "humaneval"),
    "dolly": ("dolly_3k_alpagasus",),
    "medquad": ("medquad",),
}
ENGINES = ("plain .4", "plain .5", "presidio .4", "presidio .5", "default")


class Score(NamedTuple):
    """How an engine did on one kind."""

    labels: int
    precision: float  # of no finds, 1
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        return [orjson.loads(line) for line in io.BufferedReader(stream) if line.strip()]


def ordinary(data: Path, part: int) -> dict[str, list[str]]:
    return {
        name: [
            f"{row['instruction']}\n{row['input'] or ''}\n{row['output']}"
            for file in files
            for row in rows(data / "instruct" / f"{file}.jsonl.zst")[::part]
        ]
        for name, files in ORDINARY.items()
    }


def spans(found: Sequence[Finds]) -> list[list[Span]]:
    for answer in found:
        if isinstance(answer, Exception):
            raise answer
    return [list(answer) for answer in found if not isinstance(answer, Exception)]


class Engines:
    """The three engines; each answers for many texts."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.presidio = Presidio(threshold=0.4)
        self.default = Ours({kind: rules.load("pii").rule(kind).data["threshold"] for kind in kinds})

    def answers(self, texts: Sequence[str]) -> tuple[dict[str, list[list[Span]]], int]:
        """Return each engine's finds, and in how many texts engine `presidio` differs from plain presidio."""
        array = pa.array(texts, pa.string())
        plain = [self.presidio.plain(text) for text in texts]
        fast = [
            [Span(s.start, s.end, s.type, s.score) for s in found]
            for found in spans(self.presidio.find(array))
        ]
        ours = [resolve(found) for found in spans(self.default.find(array))]
        answers = {"default": ours}
        for name, found in (("plain", plain), ("presidio", fast)):
            answers[f"{name} .4"] = found
            answers[f"{name} .5"] = [[s for s in own if s.score >= 0.5] for own in found]
        return answers, sum(a != b for a, b in zip(plain, fast, strict=True))


def score(
    records: Sequence[dict[str, Any]], found: Sequence[Sequence[Span]], of: set[str], kind: str
) -> Score:
    """Return how the finds of a kind do against the labels."""
    labelled = right = wrong = 0
    for record, own in zip(records, found, strict=True):
        left = sorted({(s.start, s.end) for s in own if s.type == kind})
        for label in (s for s in record["spans"] if s["label"] in of):
            labelled += 1
            a, b = label["start"], label["end"]
            hit = next((f for f in left if 2 * (min(b, f[1]) - max(a, f[0])) > max(b - a, f[1] - f[0])), None)
            if hit:
                right += 1
                left.remove(hit)
        wrong += len(left)
    return Score(
        labelled, right / (right + wrong) if right + wrong else 1.0, right / labelled if labelled else 0.0
    )


def labelled(data: Path, engines: Engines) -> None:
    for file, labels in LABELS.items():
        records = rows(data / "pii" / f"{file}.jsonl.zst")
        answers, differing = engines.answers([record["text"] for record in records])
        tally = Counter(span["label"] for record in records for span in record["spans"])
        print(f"\n{file}: {len(records)} records; engine presidio differs from plain presidio in {differing}")
        print(f"{'kind':20}{'records':>8}{'n':>5}  " + "".join(f"{name:>17}" for name in ENGINES))
        print(" " * 35 + "    P    R   F1  " * len(ENGINES))
        for kind in sorted(set(labels.values())):
            of = {label for label, its in labels.items() if its == kind}
            for half, step in (("all", slice(None)), ("even", slice(0, None, 2)), ("odd", slice(1, None, 2))):
                scores = {name: score(records[step], answers[name][step], of, kind) for name in ENGINES}
                line = "".join(f"{s.precision:5.2f}{s.recall:5.2f}{s.f1:5.2f}  " for s in scores.values())
                best = max(s.f1 for name, s in scores.items() if name != "default")
                worse = "  LOWER" if scores["default"].f1 < best else ""
                print(f"{kind:20}{half:>8}{scores['default'].labels:>5}  {line}{worse}")
        rest = ", ".join(f"{label} {count}" for label, count in tally.most_common() if label not in labels)
        print(f"nothing was looked for under the labels {rest}")


def unlabelled(texts: Mapping[str, Sequence[str]], engines: Engines, on: set[str]) -> None:
    print("\nfinds per MB of ordinary text; default: of the kinds that are on unless a recipe says otherwise")
    for name, some in texts.items():
        size = sum(len(text.encode()) for text in some) / 1e6
        answers, differing = engines.answers(some)
        print(f"{name}: {size:.1f} MB, engine presidio differs in {differing} of {len(some)}")
        for engine in ENGINES:
            counts = Counter(span.type for found in answers[engine] for span in found)
            every = sum(counts.values())
            shown = ", ".join(f"{kind} {count / size:.1f}" for kind, count in counts.most_common())
            kept = sum(count for kind, count in counts.items() if kind in on)
            total = f"{every / size:8.1f}" + (f" ({kept / size:.1f} on)" if engine == "default" else "")
            print(f"  {engine:12}{total}  {shown}")


def countries(texts: Mapping[str, Sequence[str]]) -> None:
    chosen = [rule for rule in rules.load("pii").rules if "country" in rule.data]
    finder = Ours({rule.id: rule.data["threshold"] for rule in chosen})
    print(f"\nall {len(chosen)} kinds of single countries, finds per MB of ordinary text")
    for name, some in texts.items():
        size = sum(len(text.encode()) for text in some) / 1e6
        counts = Counter(s.type for found in spans(finder.find(pa.array(some, pa.string()))) for s in found)
        print(f"  {name:10}" + (", ".join(f"{k} {n / size:.1f}" for k, n in counts.most_common()) or "none"))


def secrets(texts: Mapping[str, Sequence[str]]) -> None:
    kinds = [{"id": rule.id, **rule.data} for rule in rules.load("secrets").rules]
    print(f"\nsecrets, {len(kinds)} kinds")
    for name, some in texts.items():
        array, size = pa.array(some, pa.string()), sum(len(text.encode()) for text in some) / 1e6
        line, answers = "", []
        for label, hyperscan in (("hyperscan", True), ("RE2", False)):
            finder = Secrets(kinds, hyperscan)
            seconds = []
            for _ in range(3):
                start = time.process_time()
                found = finder.find(array)
                seconds.append(time.process_time() - start)
            answers.append(spans(found))
            line += f", {label} {size / min(seconds):.0f} MB/s"
        counts = Counter(span.type for found in answers[0] for span in found)
        shown = ", ".join(f"{kind} {count}" for kind, count in counts.most_common()) or "nothing found"
        print(f"  {name:10}{size:5.1f} MB{line}, the same: {answers[0] == answers[1]}; {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", type=int, default=4)
    given = parser.parse_args()
    looked = sorted({kind for labels in LABELS.values() for kind in labels.values()})
    pack = rules.load("pii").rules
    on = {rule.id for rule in pack if rule.data["default"] and rule.data.get("country") in (None, "us")}
    labelled(given.data, Engines(looked))
    texts = ordinary(given.data, given.part)
    unlabelled(texts, Engines(sorted({*on, *looked})), on)
    countries(texts)
    corpus = [row["text"] for row in rows(given.data / "corpus" / "permissive-47mb.jsonl.zst")]
    secrets(ordinary(given.data, 1) | {"corpus": corpus})


if __name__ == "__main__":
    main()
