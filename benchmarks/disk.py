"""What a run writes for each byte and each record that it reads, set by set: the factors of curate.forecast.disk.

    python benchmarks/disk.py [DATA]          (default: $CURATE_DATA)

Every instruction set and the documents of DATA, each forecast by itself with exact and minhash; work/ is stated by
segment (records as Arrow, sketches, resolutions), the release beside it. Printed are shares of the input's bytes,
decompressed, and what is left when the factors of curate.forecast.disk are taken off: it must not be negative.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import curate
from curate.engine.local import LocalEngine
from curate.forecast.disk import least
from curate.io.scan import scan
from curate.recipe import load

RECIPE = """\
curate: 1
name: disk
version: "1"
sources: [{{name: one, files: [{file}], license: CC0-1.0}}]
stages:
  - exact
  - minhash: {{similarity: 0.8, recall: 0.95}}
"""


def main() -> None:
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CURATE_DATA", "")).absolute()
    if not (data / "instruct").is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    paths = [*sorted((data / "instruct").glob("*.jsonl.zst")), data / "corpus" / "permissive-47mb.jsonl.zst"]
    print(
        f"{'set':<32}{'MB':>7}{'bytes/record':>13}{'segments':>24}{'release':>9}{'least':>8}{'forecast':>10}"
    )
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            recipe = Path(folder) / "curate.yaml"
            recipe.write_text(RECIPE.format(file=path))
            plan = curate.plan(recipe, workers=1)
            with LocalEngine(1) as engine:
                plans = scan(load(recipe).sources, recipe.parent, engine)
            work, release = least(load(recipe), plans)
        nbytes = sum(unit.stop - unit.start for one in plans for unit in one.units)
        records = plan.sample["of"]
        shares = [step["disk"] / nbytes for step in plan.steps if step["disk"] > 0.01 * nbytes][:-1]
        print(
            f"{path.name.split('.')[0]:<32}{nbytes / 1e6:>7.1f}{nbytes / records:>13.0f}"
            f"{' '.join(f'{share:.2f}' for share in shares):>24}{plan.disk['release'] / nbytes:>9.2f}"
            f"{(work + release) / nbytes:>8.2f}{plan.disk['needed'] / nbytes:>10.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
