"""What `minhash` finds and drops, against truth: planted pairs, the S-curve, scripts, extremes.

    python benchmarks/dedup_quality.py [DATA]        (default: $CURATE_DATA)

* *S-curve*: for pairs of every similarity, how many share a band key, beside 1 - (1 - s^r)^b.
* *planted*: records with near duplicates at J = 0.5 … 1.0; how many pairs at J >= 0.8 lose a record, for each
  recall asked for; and of the dropped, how many have no kept twin at J >= 0.8 (Python sets, by the slow twin).
* *scripts*: the same with edits in real Chinese, Japanese, Thai, Korean and other text of DATA/language.
* *toolformer*: how many records of a templated set stay at 0.6 … 0.9, beside what its authors kept.
* *extremes*: a million copies of one record, one record of 100 MB, empty and short records, with time and memory.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import direct
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the slow twin lives there

SIMILARITY = 0.8
RECALLS = (0.95, 0.99, 0.999)
SHINGLES = 120  # of a planted text: about what an instruction record has


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a .jsonl.zst file."""
    with path.open("rb") as file:
        whole = zstandard.ZstdDecompressor().stream_reader(file).read()
    return [orjson.loads(line) for line in whole.splitlines()]


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return the word 5-grams as curate.kernels.text defines them, the slow way."""
    from reference import dedup

    normal = dedup.normalise(text)
    words = dedup.words(normal)
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)} or ({(normal,)} if normal else set())


def jaccard(one: set[Any], other: set[Any]) -> float:
    return len(one & other) / len(one | other) if one or other else 1.0


def pair(similarity: float, number: int, rng: random.Random) -> tuple[str, str]:
    """Return two texts of their own words, whose 5-grams have about this similarity.

    A run of new words of length k takes k + 4 shingles away and brings as many: (n - x) / (n + x) = J.
    """
    words = [f"w{number}x{i}" for i in range(SHINGLES + 4)]
    changed = round(SHINGLES * (1 - similarity) / (1 + similarity))
    other = list(words)
    while changed >= 5:
        run = changed if changed < 25 else rng.randint(5, 15)
        start = rng.randrange(0, SHINGLES - run)
        for i in range(start + 4, start + run):
            other[i] = f"y{number}x{i}"
        changed -= run
    if changed:  # near the end, a word takes fewer than five shingles
        for i in range(changed):
            other[SHINGLES + 3 - i] = f"z{number}x{i}"
    return " ".join(words), " ".join(other)


def s_curve(pairs: int = 3000) -> None:
    """Print how many pairs of each similarity share a band key, beside what was solved for."""
    from curate.kernels.minhash import solve
    from curate.kernels.parts import Shingling

    print(f"S-curve, {pairs} pairs per similarity: measured / solved")
    cuts = [(recall, solve(SIMILARITY, recall)) for recall in RECALLS]
    titles = "  ".join(f"{recall} ({cut.bands} x {cut.rows})".rjust(18) for recall, cut in cuts)
    print(f"  J (mean)  {titles}")
    rng = random.Random(1)
    for step in range(8, 21):
        both = [pair(step / 20, number, rng) for number in range(pairs)]
        exact = [jaccard(shingles(a), shingles(b)) for a, b in both[:200]]
        row = []
        for _, cut in cuts:
            keys = [
                Shingling(5, "both").band_keys(
                    pa.record_batch({"text": [two[side] for two in both]}), SIMILARITY, cut, 128, 1
                )[0]
                for side in (0, 1)
            ]
            measured = float((keys[0] == keys[1]).any(axis=0).mean())
            wanted = float(np.mean([cut.probability(j) for j in exact]))
            row.append(f"{measured:8.4f} / {wanted:.4f}")
        print(f"  {np.mean(exact):8.3f}  " + "  ".join(cell.rjust(18) for cell in row))


def judged(name: str, texts: list[str], recall: float, twins: list[tuple[int, int]], **more: Any) -> None:
    """Run the stage over texts of which some pairs are near duplicates; print what became of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all.parquet"
        pq.write_table(pa.table({"id": [str(i) for i in range(len(texts))], "text": texts}), path)
        found = direct.minhash(path, similarity=SIMILARITY, recall=recall, **more)
    sets = {i: shingles(texts[i]) for i in {int(k) for two in found.dropped.items() for k in two}}
    false = [i for i, kept in found.dropped.items() if jaccard(sets[int(i)], sets[int(kept)]) < SIMILARITY]
    chained = [kept for kept in found.dropped.values() if kept in found.dropped]
    close = [two for two in twins if jaccard(shingles(texts[two[0]]), shingles(texts[two[1]])) >= SIMILARITY]
    resolved = sum(str(a) in found.dropped or str(b) in found.dropped for a, b in close)
    share = f"{resolved / len(close):.4f}" if close else "-"
    print(
        f"  {name:<24} asked {recall:<6} records {len(texts):>7,}  dropped {len(found.dropped):>6,}  "
        f"without a kept twin {len(false)}  against a dropped one {len(chained)}  "
        f"pairs at J >= {SIMILARITY} {len(close):>6,}  resolved {share}"
    )


def planted(pairs: int = 20_000) -> None:
    """Print recall and precision on pairs at J = 0.5 … 1.0, about as many at each similarity."""
    rng = random.Random(2)
    both = [pair(rng.uniform(0.5, 1.0), number, rng) for number in range(pairs)]
    texts = [text for two in both for text in two]
    twins = [(2 * i, 2 * i + 1) for i in range(pairs)]
    print("planted pairs, J uniform over 0.5 to 1:")
    for recall in RECALLS:
        judged("words", texts, recall, twins)


def scripts(data: Path) -> None:
    """Print the same for real text in several scripts, ten sentences a record, some characters changed."""
    by_language: dict[str, list[str]] = defaultdict(list)
    for line in lines(data / "language" / "lingua_sentences.jsonl.zst"):
        by_language[line["lang"]].append(line["text"])
    rng = random.Random(3)
    print("scripts, edits of characters in texts of eight sentences:")
    for language in ("zh", "ja", "th", "ko", "hi", "ar", "ru", "el"):
        texts: list[str] = []
        twins = []
        sentences = by_language.get(language, [])
        for start in range(0, len(sentences) - 8, 4):
            text = " ".join(sentences[start : start + 8])
            chars = list(text)
            for _ in range(rng.randint(0, max(1, len(chars) // 60))):
                chars[rng.randrange(len(chars))] = rng.choice(chars)
            twins.append((len(texts), len(texts) + 1))
            texts += [text, "".join(chars)]
        judged(language, texts, 0.99, twins)


def toolformer(data: Path) -> None:
    """Print how many records stay at several similarities, beside what the set's authors kept."""
    from reference import sketches

    from curate import record
    from curate.stages.minhash import MinHash

    folder = data / "instruct"
    records = lines(folder / "gpteacher_toolformer.jsonl.zst")
    reference = orjson.loads((folder / "gpteacher_toolformer.dedup_reference.json").read_bytes())
    chats = [
        {"id": line["id"], **sketches.chat(f"{line['instruction']}\n{line['input']}", line["output"])}
        for line in records
    ]
    batch = sketches.batch(chats)
    kept = {key: value["kept"] for key, value in reference.items()}
    print(f"toolformer, {len(records)} records; its authors kept {kept}")
    for similarity in (0.6, 0.7, 0.8, 0.9):
        left = []
        for on in ("both", "whole"):
            barrier = MinHash(MinHash.Options(similarity=similarity, recall=0.99, on=on))
            with tempfile.TemporaryDirectory() as scratch:
                stage = sketches.resolve(barrier, [[batch]], Path(scratch))
                said = sketches.judge(stage, [batch])
            left.append(sum(line["action"] == "keep" for line in said.values()))
        print(f"  similarity {similarity}: prompt and response both {left[0]}, as one text {left[1]}")
    assert record.kind(batch) == "messages"


def extremes() -> None:
    """Print what a million copies, a record of 100 MB and records of nothing become."""
    rng = random.Random(4)
    sentence = " ".join(rng.choices(["ash", "birch", "cedar", "fir", "oak", "pine", "yew"], k=60))
    long = " ".join(f"w{rng.randrange(10**6)}" for _ in range(13_000_000))
    cases = {
        "a million copies of one record": [sentence] * 1_000_000,
        f"one record of {len(long) / 1e6:.0f} MB, its copy with one word more, 1,000 short ones": [
            long,
            f"{long} more",
            *(f"{sentence} {i}" for i in range(1000)),
        ],
        "100,000 empty, 100,000 of one word, 100,000 of two": [""] * 100_000
        + [f"w{i}" for i in range(100_000)]
        + [f"w{i} x" for i in range(100_000)],
    }
    print("extremes:")
    for name, texts in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "all.parquet"
            ids = pa.array([str(i) for i in range(len(texts))])
            pq.write_table(pa.table({"id": ids, "text": texts}), path, row_group_size=65_536)
            started = time.perf_counter()
            found = direct.minhash(path, similarity=SIMILARITY, recall=0.95)
            seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"  {name}: dropped {len(found.dropped):,} of {len(texts):,} in {seconds:.1f} s, peak {peak:.0f} MiB"
        )


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CURATE_DATA")
    if not folder:
        sys.exit(__doc__)
    s_curve()
    planted()
    scripts(Path(folder))
    toolformer(Path(folder))
    extremes()


if __name__ == "__main__":
    main()
