"""How the cost of every step grows with the data, and what a second worker brings.

    python benchmarks/scaling.py [DATA] [--base 12] [--rounds 2] [--markdown FILE]      (default: $CURATE_DATA)

The documents of DATA/corpus/permissive-47mb and the instruction sets of DATA/instruct, thinned out to --base MB, in 1,
2, 4 and 8 copies. In each copy every third word has a mark of that copy, so that no record repeats another and all
of them travel to the end. CPU seconds of every step of a run on one worker, each size in a process of its own, the
least of several rounds; what a process spends once (imports, models, compiled code) is loaded before, and told apart.
A power law is fitted to the four sizes by least squares on the logarithms: cost = c x size ^ exponent; the standard
error is that of the slope with two degrees of freedom. Then the wall seconds of whole runs on one and on two workers at
the largest size, in turn, medians.

--markdown writes the tables into a file between the lines <!-- scaling --> and <!-- /scaling -->, and what
benchmarks/scale.py reckons with beside it, as scaling.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import memory
import numpy as np
import orjson
import watched
import zstandard

COPIES = (1, 2, 4, 8)
MARKS = ("qa", "qe", "qi", "qo", "qu", "qy", "xa", "xe")
SETS = ("dolly_3k_alpagasus", "gsm8k_train", "medquad", "scitldr_a", "gpteacher_codegen", "vigogne_oasst_fr")
RECIPE = """\
curate: 1
name: scaling
version: "1"
sources:
  - {name: corpus, files: ["corpus-*.jsonl"], license: CC0-1.0}
  - {name: instruct, files: ["instruct-*.jsonl"], license: CC0-1.0}
stages:
  - license: {allow: any, unknown: keep}
  - conversation
  - exact
  - minhash: {similarity: 0.8, recall: 0.95}
  - language: {low_confidence: keep}
  - pii
"""


def rows(path: Path) -> list[dict[str, Any]]:
    with zstandard.open(path, "rt", encoding="utf-8") as file:
        return [orjson.loads(line) for line in file]


def build(data: Path, folder: Path, base: int) -> None:
    """Write the eight copies, each as one file of each kind, of about ``base`` bytes together."""
    documents = rows(data / "corpus" / "permissive-47mb.jsonl.zst")
    # Text without spaces would have too few words to mark.
    documents = [row for row in documents if len(row["text"].split()) * 20 > len(row["text"])]
    pairs = [row for name in SETS for row in rows(data / "instruct" / f"{name}.jsonl.zst") if row["output"]]
    rng = random.Random(0)
    for kind, held, fields in (
        ("corpus", documents, ("text",)),
        ("instruct", pairs, ("instruction", "input", "output")),
    ):
        rng.shuffle(held)
        for copy, mark in enumerate(MARKS):
            with (folder / f"{kind}-{copy}.jsonl").open("wb") as out:
                for row in held:
                    edited = {name: memory.edit(row[name], mark) for name in fields if row.get(name)}
                    out.write(
                        orjson.dumps(
                            {"id": f"{copy}-{row['id']}", **edited}, option=orjson.OPT_APPEND_NEWLINE
                        )
                    )
                    if out.tell() >= base / 2:
                        break


def measure(folder: Path, copies: int) -> dict[str, Any]:
    """Run the pipeline over so many copies in this process; return records, bytes and CPU seconds by step."""
    from curate import pipeline, release
    from curate.engine.local import LocalEngine
    from curate.io.scan import scan
    from curate.io.store import Store
    from curate.recipe import load

    steps: dict[str, float] = {}
    begun: list[Any] = []

    def begin(title: str, records: int) -> None:
        begun[:] = [title, time.process_time()]

    def end() -> None:
        steps[begun[0]] = time.process_time() - begun[1]

    recipe = load(folder / "curate.yaml")
    budget = 4 * 10**9
    with LocalEngine(1) as engine, tempfile.TemporaryDirectory(dir=folder) as work:
        begin("scan", 0)
        plans = scan(_first(recipe.sources, copies), folder, engine)
        end()
        outcome = pipeline.execute(
            recipe.stages, plans, engine, Store.at(work), memory=budget, batch_records=1024,
            watch=pipeline.Watch(begin, end),
        )  # fmt: skip
        begin("write", 0)
        release._rehearse(recipe, plans, outcome, Path(work) / "release", engine, budget)
        end()
        parts = _parts(outcome, steps)
        sizes = _sizes(Path(work), outcome)
    read = list(outcome.tallies["read"].values())
    return {
        "records": sum(tally.kept for tally in read),
        "bytes": sum(tally.bytes for tally in read),
        "seconds": parts,
        **sizes,
    }


def _first(sources: Any, copies: int) -> list[Any]:
    return [
        source.model_copy(update={"files": tuple(f"{source.name}-{n}.jsonl" for n in range(copies))})
        for source in sources
    ]


def _parts(outcome: Any, steps: dict[str, float]) -> dict[str, float]:
    """Split the segments' CPU seconds: what stages and sketches took, and the rest, which moves records about."""
    found: dict[str, float] = {"scan": steps["scan"]}
    inside = 0.0
    for chain in outcome.chains:
        for place, done in enumerate(chain.done):
            for name, tally in done.tallies.items():
                sketched = place == _sketched(outcome, name)
                title = (
                    f"{name}: sketch" if sketched else f"{name}: judge" if name in outcome.resolved else name
                )
                found[title] = found.get(title, 0.0) + tally.seconds
                inside += tally.seconds
    for title, seconds in steps.items():
        if title.endswith(": resolve") or title == "write":
            found[title] = seconds
    segments = sum(s for title, s in steps.items() if title not in found and title != "scan")
    found["units"] = segments - inside
    return found


def _sketched(outcome: Any, name: str) -> int | None:
    """Return the segment that sketches for a barrier: the one before the segment that it begins."""
    names = list(outcome.resolved)
    return names.index(name) if name in names else None


def _sizes(work: Path, outcome: Any) -> dict[str, Any]:
    """Return bytes on disk: units by segment and kind of file, resolutions, and the release by part."""
    units: dict[str, int] = {}
    for chain in outcome.chains:
        for place, done in enumerate(chain.done):
            for name, size in done.folder.sizes().items():
                kind = f"{place} {name.partition('.')[0]}"
                units[kind] = units.get(kind, 0) + size
    parts = {path.name: watched.size(path) for path in sorted((work / "release").iterdir()) if path.is_dir()}
    files = sum(len(done.files) + 1 for chain in outcome.chains for done in chain.done)
    known = sum(held([chain.done, chain.unit.start], set()) for chain in outcome.chains)
    counts = {"units": len(outcome.chains), "files": files, "driver_bytes": known}
    shares = {
        name: {
            key: value
            for key, value in summary.items()
            if key in ("records", "met", "candidates", "verified_pairs", "accepted_pairs", "clusters")
        }
        for name, summary in outcome.summaries.items()
    }
    return {"work": units, "release": parts, "counts": counts, "resolution": shares}


def held(value: Any, seen: set[int]) -> int:
    """Return the bytes that an object and all it refers to take in memory, each counted once."""
    if id(value) in seen or isinstance(value, type):
        return 0
    seen.add(id(value))
    inside = [getattr(value, "__dict__", None), *(getattr(value, name, None) for name in _slots(value))]
    if isinstance(value, dict):
        inside += [*value, *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inside += list(value)
    return sys.getsizeof(value) + sum(held(one, seen) for one in inside if one is not None)


def _slots(value: Any) -> Iterator[str]:
    for cls in type(value).__mro__:
        yield from (name for name in getattr(cls, "__slots__", ()) if isinstance(name, str))


def fitted(sizes: list[float], costs: list[float]) -> tuple[float, float]:
    """Return the exponent of a power law and its standard error, by least squares on the logarithms."""
    x, y = np.log(sizes), np.log(np.maximum(costs, 1e-9))
    x = x - x.mean()
    slope = float(x @ (y - y.mean()) / (x @ x))
    left = y - y.mean() - slope * x
    return slope, math.sqrt(float(left @ left) / (len(x) - 2) / float(x @ x))


def sweep(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Measure every size in a process of its own, in turn; return of each the least seconds of all rounds."""
    found: dict[int, dict[str, Any]] = {}
    for number in range(rounds):
        for copies in COPIES:
            command = [sys.executable, __file__, "--one", str(copies), "--folder", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            now = json.loads(done.stdout.splitlines()[-1])
            before = found.setdefault(copies, now)
            least = {
                name: min(seconds, before["seconds"].get(name, seconds))
                for name, seconds in now["seconds"].items()
            }
            before["seconds"] = least
            print(
                f"round {number + 1}, {copies} x: {sum(now['seconds'].values()):.1f} CPU s", file=sys.stderr
            )
    return [found[copies] for copies in COPIES]


def walls(folder: Path, rounds: int) -> dict[int, list[float]]:
    """Return wall seconds of whole runs at the largest size, by workers, in turn."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers in (1, 2):
            out = folder / "release"
            command = [
                sys.executable,
                "-m",
                "curate",
                "run",
                str(folder / "curate.yaml"),
                "--fresh",
                "--json",
            ]
            command += ["--workers", str(workers), "--out", str(out), "--memory", "6GB"]
            started = time.monotonic()
            subprocess.run(command, capture_output=True, check=True)
            found[workers].append(time.monotonic() - started)
            print(f"{workers} workers: {found[workers][-1]:.1f} s", file=sys.stderr)
    return found


def tables(results: list[dict[str, Any]], wall: dict[int, list[float]]) -> Iterator[str]:
    """Yield the report, line by line, as Markdown."""
    sizes = [result["bytes"] / 1e6 for result in results]
    columns = [f"{n} x ({size:,.0f} MB)" for n, size in zip(COPIES, sizes, strict=True)]
    yield f"| step | {' | '.join(columns)} | CPU s per GB at {COPIES[-1]} x | exponent |"
    yield "|---|" + "---:|" * (len(COPIES) + 2)
    names = list(results[-1]["seconds"])
    whole = [sum(result["seconds"].values()) for result in results]
    for name in [*names, "all"]:
        costs = whole if name == "all" else [result["seconds"].get(name, 0.0) for result in results]
        exponent, error = fitted(sizes, costs)
        cells = [f"{cost:.2f}" for cost in costs] + [f"{costs[-1] / sizes[-1] * 1000:,.0f}"]
        yield f"| {name} | {' | '.join(cells)} | {exponent:.3f} ± {error:.3f} |"
    if wall:
        one, two = (statistics.median(wall[workers]) for workers in (1, 2))
        yield ""
        yield (
            f"Whole runs at {COPIES[-1]} x, wall: one worker {one:.1f} s, two workers {two:.1f} s, {one / two:.2f} x "
            f"(medians of {len(wall[1])}, in turn)."
        )


def write(path: Path, lines: list[str], results: list[dict[str, Any]], wall: dict[int, list[float]]) -> None:
    begin, end = "<!-- scaling -->", "<!-- /scaling -->"
    text = path.read_text() if path.exists() else f"{begin}\n{end}\n"
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    path.write_text("\n".join([head + begin, *lines, end + tail]))
    stored = {"copies": COPIES, "results": results, "walls": wall}
    path.with_name("scaling.json").write_text(json.dumps(stored, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default=os.environ.get("CURATE_DATA", ""))
    parser.add_argument("--base", type=float, default=12, help="MB of one copy")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--walls", type=int, default=3, help="rounds of whole runs; 0: none")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.folder, 1)  # loads what is loaded once
        print(json.dumps(measure(arguments.folder, arguments.one)))
        return
    data = Path(arguments.data)
    if not (data / "instruct").is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "curate.yaml").write_text(RECIPE)
        build(data, folder, int(arguments.base * 1e6))
        results = sweep(folder, arguments.rounds)
        wall = walls(folder, arguments.walls) if arguments.walls else {}
        lines = list(tables(results, wall))
        print("\n".join(lines))
        if arguments.markdown:
            write(arguments.markdown, lines, results, wall)


if __name__ == "__main__":
    main()
