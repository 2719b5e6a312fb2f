"""The quick-tune on natural instructions with planted defects: precision, verdicts and time.

    python benchmarks/tune_natural.py DATA [OUT] [--seeds N] [--workers N]

DATA is a folder that holds instruct/{dolly_3k_alpagasus,gsm8k_train,gsm8k_test,self_instruct_seed,vigogne_*}.jsonl.zst;
default: the environment's CURATE_DATA. Mixes 3,000 records of the first two and the third with planted defects: copies
of 40 viral records (half of them slightly reworded), responses in French, responses that were swapped, cut or
scrambled, and e-mail addresses and phone numbers. The recipe finds them with exact, minhash, language and pii; for the
corrupt ones no stage of ours is asked: ``planted.Marked``, a stage of this benchmark's own, drops those that a
generator's mark names, with a recall of 0.95 and false alarms of 0.01. Clean records of dolly and gsm8k_test are the
eval file. Prints the table of ``curate tune``, the standard error of a difference (target: 0.3 % at 3 seeds) and the
time of the whole (target: 10 minutes on 2 cores). Fails if either is missed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

import curate

RECIPE = """\
curate: 1
name: natural
version: "1"
sources:
  - {name: mixed, files: [mixed.jsonl], format: alpaca, license: CC-BY-SA-3.0}
stages:
  - conversation
  - exact
  - minhash: {similarity: 0.7, recall: 0.95}
  - language: {allow: [en], min_confidence: 0.5}
  - planted:Marked
  - pii: {operator: replace}
tune: {eval: [eval.jsonl], arms: all}
"""

STAGE = '''\
"""A stage that knows what was planted, and errs at a stated rate."""

import hashlib

from curate.stage import Decision, StageOptions, Verdict


class Marked:
    name, version, rules, Options = "corrupt", "1", (), StageOptions

    def __init__(self, options):
        self.options = options

    def judge(self, batch):
        drops = []
        for row, (id, mark) in enumerate(zip(batch.column("id").to_pylist(), batch.column("mark").to_pylist())):
            luck = hashlib.blake2b(id.encode(), digest_size=2).digest()[0] / 256
            if luck < (0.95 if mark == "corrupt" else 0.01):
                drops.append(Decision(row, "drop", "corrupt/marked"))
        return Verdict.of(batch.num_rows, drops)
'''


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", nargs="?", default=os.environ.get("CURATE_DATA"))
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int)
    given = parser.parse_args()
    if given.data is None:
        parser.error("name the folder of the data")
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        write(Path(given.data) / "instruct", folder)
        return measure(folder, given.seeds, given.workers)


def measure(folder: Path, seeds: int, workers: int | None) -> int:
    """Run the recipe, tune its release, print what came of it; return the exit code."""
    from curate import show
    from curate.show import tune as view

    started = time.perf_counter()
    release = curate.run(folder / "recipe.yaml", folder / "release", workers=workers)
    show.out().print(show.funnel(release.manifest))
    ran = time.perf_counter() - started
    with view.TuneDisplay() as display:
        tuned = curate.tune(release.path, seeds=seeds, workers=workers, watch=display)
    show.out().print(view.tuned(tuned))
    wall = time.perf_counter() - started
    noise = tuned.told["noise"]
    print(
        f"standard error of a difference: {100 * noise['se']:.2f} % of {tuned.told['primary']}, {seeds} seeds"
    )
    print(f"wall: {wall:.0f} s, of it {ran:.0f} s the run; {os.cpu_count()} cores")
    return int(noise["se"] > 0.003 or wall > 600)


def write(data: Path, folder: Path) -> None:
    """Write the mixed records, the eval file, the stage and the recipe."""
    dice = random.Random(5)
    dolly, gsm8k = rows(data / "dolly_3k_alpagasus.jsonl.zst"), rows(data / "gsm8k_train.jsonl.zst")[:1500]
    clean = [*dolly[:1500], *gsm8k, *rows(data / "self_instruct_seed.jsonl.zst")]
    french = [*rows(data / "vigogne_oasst_fr.jsonl.zst"), *rows(data / "vigogne_seed_fr.jsonl.zst")]
    mixed = [*clean, *planted(clean, french, dice)]
    dice.shuffle(mixed)
    dump(folder / "mixed.jsonl", ({**row, "id": f"m{place:05d}"} for place, row in enumerate(mixed)))
    asked = [*dolly[1500:1700], *rows(data / "gsm8k_test.jsonl.zst")[:200]]
    dump(folder / "eval.jsonl", iter(asked))
    (folder / "planted.py").write_text(STAGE)
    (folder / "recipe.yaml").write_text(RECIPE)


def planted(
    clean: list[dict[str, Any]], french: list[dict[str, Any]], dice: random.Random
) -> Iterator[dict[str, Any]]:
    """Yield the defects: 900 viral copies, the French records, 600 corrupt ones, 300 with personal data."""
    viral = dice.sample(clean, 40)
    for _ in range(900):
        row = dice.choice(viral)
        words = row["output"].split(" ")
        if dice.random() < 0.5 and len(words) > 20:
            words[dice.randrange(len(words))] = "really"
        yield {**row, "output": " ".join(words), "mark": "viral"}
    for row in french:
        yield {**row, "mark": "french"}
    for row in dice.sample(clean, 600):
        yield {
            **row,
            "instruction": row["instruction"] + " Please.",
            "output": ruined(row, clean, dice),
            "mark": "corrupt",
        }
    for row in dice.sample(clean, 300):
        number = "".join(dice.choice("0123456789") for _ in range(7))
        name = "".join(dice.choice("abcdefghijklmnoprstuvw") for _ in range(8))
        said = f" For more, write to {name}@{name[:4]}mail.com or call (212) 5{number[:2]}-{number[2:6]}."
        yield {
            **row,
            "instruction": "Tell me: " + row["instruction"],
            "output": row["output"] + said,
            "mark": "personal",
        }


def ruined(row: dict[str, Any], clean: list[dict[str, Any]], dice: random.Random) -> str:
    """Return another record's response, or this one's cut to a quarter, or its characters in disorder."""
    text = str(row["output"])
    kind = dice.randrange(3)
    if kind == 0:
        return str(dice.choice(clean)["output"])
    return text[: max(4, len(text) // 4)] if kind == 1 else "".join(dice.sample(text, len(text)))


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file: instruction, input, output and mark alone."""
    with zstandard.open(path, "rt", encoding="utf-8") as file:
        held = [orjson.loads(line) for line in file]
    return [{name: row[name] for name in ("instruction", "input", "output")} | {"mark": ""} for row in held]


def dump(path: Path, records: Iterator[dict[str, Any]]) -> None:
    """Write records as JSON lines."""
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))


if __name__ == "__main__":
    sys.exit(main())
