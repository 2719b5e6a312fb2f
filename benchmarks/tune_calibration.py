"""How often the quick-tune's analysis is wrong where nothing is to be found, and what common random numbers save.

    python benchmarks/tune_calibration.py [SEEDS] [FAMILIES]

Null arms (each, for each seed, an independent draw of 90 % of the raw records of the synthetic corpus) are
trained on the self-test's base, with common random numbers and without; then the runs are named anew within their
seeds, and every naming is analysed as a real tune is. Printed: the share of families with a false positive after
Holm's correction, with Clopper & Pearson's interval; the ratio of the residual variances, with that of the F
distribution; and CPU seconds. A few minutes on two cores.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from curate.tuning import calibration, selftest
from curate.tuning.base import open_base
from curate.tuning.contract import Setup
from curate.tuning.options import Asked
from curate.tuning.trial import Watch, prepare


def main() -> None:
    seeds = tuple(range(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
    families = int(sys.argv[2]) if len(sys.argv) > 2 else calibration.FAMILIES
    planned = selftest.plan(seeds)
    started = time.perf_counter()
    base = open_base("tiny", device="cpu", train=planned.base)
    print(f"base: {base.parameters:,} parameters, {time.perf_counter() - started:.0f} s")
    setup = Setup(**{"base": "tiny", "rate": base.rate(), **planned.setup})
    trial = prepare(planned.corpus, base, setup, seeds)
    with tempfile.TemporaryDirectory() as work:
        found = calibration.calibrated(trial, Path(work), Asked(), Watch(), families)
    arms, seconds = 3 + 2 * calibration.FILTERS, time.perf_counter() - started
    print(f"{2 * arms * len(seeds)} runs ({arms} null arms, {len(seeds)} seeds, twice), {seconds:.0f} s")
    print(
        f"families with a false positive: {found['false_positives']} of {found['relabelled']} = {found['rate']:.1%} "
        f"(95 % interval {found['low']:.1%} to {found['high']:.1%}); at most 5 % is wanted"
    )
    print(
        f"residual variance, independent / common random numbers: {found['variance_ratio']:.1f} "
        f"(95 % interval {found['ratio_low']:.1f} to {found['ratio_high']:.1f}); at least 3 is wanted"
    )


if __name__ == "__main__":
    main()
