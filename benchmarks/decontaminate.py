"""What the stage decontaminate finds, misses and finds wrongly, and how fast it is.

    python benchmarks/decontaminate.py DATA [--sample N] [--seed S]

DATA: a folder with instruct/ (the evaluation sets bbh, humaneval, ifeval_prompts and gsm8k_test; all other sets are
training data) and corpus/permissive-47mb. Prints every hit of the training sets by id, both texts of a sample of N
(40), what is recalled of evaluation items planted into records of dolly (by class, 8-grams and others, several
overlaps), hits among the records of templated sets when some of the same set are the evaluation items, and speed (CPU
time of one process, MB are millions of bytes of content). The texts go to the terminal alone.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import string
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import zstandard

from curate.record import MESSAGES, texts
from curate.stages.decontaminate import Decontaminate

EVALS = ("bbh", "humaneval", "ifeval_prompts", "gsm8k_test")
TEMPLATED = ("gpteacher_toolformer", "medquad", "self_instruct_seed")
CORPUS = "corpus/permissive-47mb"
PLANTED = 300  # items of each evaluation set, for each class
HELD = 300  # records of a templated set that play evaluation items


class Hit(NamedTuple):
    set: str
    row: int
    id: str
    action: str
    reason: str
    hits: int
    items: list[dict[str, Any]]


def rows(data: Path, name: str) -> list[dict[str, Any]]:
    with (data / f"{name}.jsonl.zst").open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        return [orjson.loads(line) for line in io.BufferedReader(stream)]


def asked(row: dict[str, Any]) -> str:
    return "\n\n".join(part for part in (row["instruction"], row["input"]) if part)


def batch_of(found: list[dict[str, Any]]) -> pa.RecordBatch:
    ids = pa.array([str(row.get("id", at)) for at, row in enumerate(found)])
    if "instruction" not in found[0]:
        return pa.record_batch({"id": ids, "text": pa.array([row["text"] for row in found], pa.string())})
    talks = [
        [{"role": "user", "content": asked(row)}, {"role": "assistant", "content": row["output"]}]
        for row in found
    ]
    return pa.record_batch({"id": ids, "messages": pa.array(talks, MESSAGES)})


def stage(folder: Path, against: list[str], **options: Any) -> Decontaminate:
    chosen = {"against": against, **options}
    return Decontaminate(Decontaminate.Options.model_validate(chosen, context={"folder": folder}))


def judged(name: str, judge: Decontaminate, batch: pa.RecordBatch) -> Iterator[Hit]:
    verdict = judge.judge(batch)
    told = zip(
        verdict.action.to_pylist(), verdict.reason.to_pylist(), verdict.evidence.to_pylist(), strict=True
    )
    for row, (action, reason, evidence) in enumerate(told):
        if action != "keep":
            found = json.loads(evidence)
            yield Hit(
                name, row, batch.column("id")[row].as_py(), action, reason, found["hits"], found["items"]
            )


# --- what is found in the training sets --------------------------------------------------------------------


def hits(judge: Decontaminate, sets: dict[str, pa.RecordBatch], evals: dict[str, Any], sample: int) -> None:
    found = [hit for name, batch in sets.items() for hit in judged(name, judge, batch)]
    print(f"\n## Hits, {len(found)} records of {sum(batch.num_rows for batch in sets.values())}")
    for hit in found:
        best = hit.items[0]
        where = f"{best['file'].split('.')[0]}#{best['item']}"
        told = f"{best['part']} {best['overlap']:.2f} ({best['words']} of {best['of']} words)"
        print(f"{hit.id}  {hit.action} {hit.reason}  {where} {told}, items: {hit.hits}")
    print(f"\n## Both texts of {min(sample, len(found))}")
    for hit in random.Random(0).sample(found, min(sample, len(found))):
        best = hit.items[0]
        row = evals[best["file"].split("/")[-1].split(".")[0]][best["item"] - 1]
        print(f"\n--- {hit.id}: {best}")
        print("EVALUATION:", (row["output"] if best["part"] == "answer" else asked(row))[:700])
        print("TRAINING:", texts(sets[hit.set].slice(hit.row, 1))[0][:900])


# --- what is recalled of what was planted ------------------------------------------------------------------


def _punctuated(text: str, rng: random.Random) -> str:
    """Take out or change half of the punctuation between words; signs inside a word stay."""
    return re.sub(r"(?<=\w)[,.;:!?](?=\s|$)", lambda found: rng.choice((found[0], "", ";", " …")), text)


def _spaced(text: str, rng: random.Random) -> str:
    return re.sub(r"\s+", lambda _: rng.choice((" ", "  ", "\n", "\t")), text)


def _cased(text: str, rng: random.Random) -> str:
    return rng.choice((str.upper, str.lower, str.title))(text)


def _renumbered(text: str, rng: random.Random) -> str:
    return re.sub(
        r"\d+", lambda found: str(int(found[0]) + rng.randint(1, 9)) if len(found[0]) < 9 else found[0], text
    )


def _swapped(share: float) -> Callable[[str, random.Random], str]:
    def change(text: str, rng: random.Random) -> str:
        words = re.split(r"(\s+)", text)
        for at in range(0, len(words), 2):
            if rng.random() < share:
                words[at] = "".join(rng.choice(string.ascii_lowercase) for _ in range(6))
        return "".join(words)

    return change


def _same(text: str, rng: random.Random) -> str:
    return text


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "verbatim": _same,
    "case": _cased,
    "white space": _spaced,
    "punctuation": _punctuated,
    "paragraph of a longer text": _same,
    "inside a paragraph": _same,
    "answer only": _same,
    "question and answer": _same,
    "hard: other numbers": _renumbered,
    "hard: 5 % of words replaced": _swapped(0.05),
    "hard: 10 % of words replaced": _swapped(0.10),
    "hard: 20 % of words replaced": _swapped(0.20),
}


def _planted(
    kind: str, row: dict[str, Any], host: dict[str, Any], rng: random.Random
) -> list[dict[str, str]]:
    prompt, reply = CHANGES[kind](asked(row), rng), host["output"]
    if kind == "paragraph of a longer text":
        prompt = f"{asked(host)}\n\n{prompt}\n\n{host['output']}"
    elif kind == "inside a paragraph":
        prompt = f"{asked(host)} {prompt} And so on."
    elif kind == "answer only":
        prompt, reply = asked(host), row["output"]
    elif kind == "question and answer":
        reply = row["output"]
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]


def recalled(
    judge: Decontaminate, evals: dict[str, Any], hosts: list[dict[str, Any]], seed: int
) -> dict[str, dict[str, tuple[int, int, int]]]:
    """Return by class and set: items planted that can be told, records found, with the item named; and all planted."""
    told = judge.tellable()
    found: dict[str, dict[str, tuple[int, int, int]]] = {}
    for kind in CHANGES:
        for name, items in evals.items():
            rng = random.Random(f"{seed} {kind} {name}")
            able = [
                at
                for at in range(len(items))
                if ("answer" if kind == "answer only" else "question") in told[f"{name}.jsonl.zst", at + 1]
            ]
            chosen = sorted(rng.sample(able, min(PLANTED, len(able))))
            talks = [_planted(kind, items[at], rng.choice(hosts), rng) for at in chosen]
            batch = pa.record_batch(
                {"id": pa.array(list(map(str, chosen))), "messages": pa.array(talks, MESSAGES)}
            )
            caught = list(judged(name, judge, batch)) if chosen else []
            same = sum(
                any(asked(items[one["item"] - 1]) == asked(items[int(hit.id)]) or one["item"] == int(hit.id) + 1
                    for one in hit.items if one["file"].startswith(name))
                for hit in caught
            )  # fmt: skip
            found.setdefault(kind, {})[name] = (len(chosen), len(caught), same)
    return found


def planted(
    data: Path, evals: dict[str, Any], sets: dict[str, pa.RecordBatch], hosts: Any, seed: int
) -> None:
    print("\n## Recall of planted items: records found / planted (share with the item named)")
    found = recalled(of_data(data), evals, hosts, seed)
    for kind, by_set in found.items():
        cells = [f"{name} {got}/{n} ({same / max(n, 1):.3f})" for name, (n, got, same) in by_set.items()]
        n, got, _ = map(sum, zip(*by_set.values(), strict=True))
        print(f"{kind:30} {got / max(n, 1):.4f}   {'  '.join(cells)}")
    print("\n## Other n-grams and overlaps: recall by class; records of the training sets dropped, flagged")
    for ngram in (8, 10, 13):
        for overlap in (0.4, 0.5, 0.6, 0.7, 0.8):
            judge = of_data(data, ngram=ngram, overlap=overlap)
            shares = []
            for by_set in recalled(judge, evals, hosts, seed).values():
                n, got, _ = map(sum, zip(*by_set.values(), strict=True))
                shares.append(f"{got / max(n, 1):.3f}")
            acted = Counter(hit.action for name, batch in sets.items() for hit in judged(name, judge, batch))
            print(f"n {ngram:2} overlap {overlap}: {' '.join(shares)}   {acted['drop']} {acted['flag']}")


# --- templated text ----------------------------------------------------------------------------------------


def templated(data: Path, seed: int, sample: int) -> None:
    print("\n## Templated sets: some records as evaluation items, the others as training data")
    for name in TEMPLATED:
        found = [row for row in rows(data, f"instruct/{name}") if row["output"]]
        rng = random.Random(f"{seed} {name}")
        rng.shuffle(found)
        count = min(HELD, len(found) // 3)
        held, rest = found[:count], found[count:]
        batch = batch_of(rest)
        with tempfile.TemporaryDirectory() as folder:
            for file, part in (("held.jsonl", held), ("rest.jsonl", rest)):
                (Path(folder) / file).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in part))
            for common in ([], ["rest.jsonl"]):
                judge = stage(Path(folder), ["held.jsonl"], common=common)
                caught = list(judged(name, judge, batch))
                reasons = dict(Counter((hit.action, hit.reason) for hit in caught))
                told = "the training data named as common" if common else "as it is"
                print(f"{name}, {told}: {len(held)} items, {len(rest)} records, hits {reasons}")
                for hit in rng.sample(caught, min(sample, len(caught))):
                    best = hit.items[0]
                    row, other = held[best["item"] - 1], rest[hit.row]
                    pair = [one["output"] if best["part"] == "answer" else asked(one) for one in (row, other)]
                    print(f"   {best['part']} {best['overlap']:.2f}, {best['words']} of {best['of']} words")
                    print("     EVALUATION:", " ".join(pair[0].split())[-200:])
                    print("     TRAINING:", " ".join(pair[1].split())[-200:])


# --- speed -------------------------------------------------------------------------------------------------


def speed(judge: Decontaminate, batches: dict[str, pa.RecordBatch]) -> None:
    print("\n## Speed, MB/s of one core, the median of five")
    for name, batch in batches.items():
        size = sum(len(text.encode()) for text in texts(batch)) / 1e6
        judge.judge(batch.slice(0, 8))
        taken = []
        for _ in range(5):
            begin = time.process_time()
            judge.judge(batch)
            taken.append(time.process_time() - begin)
        print(f"{name:30} {size:6.1f} MB  {size / sorted(taken)[2]:6.0f} MB/s")


def of_data(data: Path, **options: Any) -> Decontaminate:
    return stage(data / "instruct", [f"{name}.jsonl.zst" for name in EVALS], **options)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--sample", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    asked_for = parser.parse_args()
    data: Path = asked_for.data
    names = sorted(path.name.partition(".")[0] for path in (data / "instruct").glob("*.jsonl.zst"))
    sets = {name: batch_of(rows(data, f"instruct/{name}")) for name in names if name not in EVALS}
    evals = {name: rows(data, f"instruct/{name}") for name in EVALS}
    begin = time.process_time()
    judge = of_data(data)
    for file in judge.options.reads():
        print(f"{file['path']}: {file['items']} items, {file['told']} can be told")
    print(f"read and indexed in {time.process_time() - begin:.1f} s of CPU time")
    hits(judge, sets, evals, asked_for.sample)
    planted(data, evals, sets, rows(data, "instruct/dolly_3k_alpagasus"), asked_for.seed)
    templated(data, asked_for.seed, asked_for.sample // 4)
    speed(judge, sets | {CORPUS: batch_of(rows(data, CORPUS))})


if __name__ == "__main__":
    main()
