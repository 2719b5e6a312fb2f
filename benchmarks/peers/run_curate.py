"""curate's minhash over parquet files, its verification included; recall from CURATE_BENCH_RECALL or 0.95.

Pairs are judged by words alone (`symbols: false`), as the other tools do.
"""

from __future__ import annotations

import os

from peers.harness import NGRAM, START_UP, Run


def main() -> None:
    recall = float(os.environ.get("CURATE_BENCH_RECALL", "0.95"))
    run = Run("curate", "curate", f"recall {recall:g}, verified, its own reading")
    with run.step(START_UP):
        import direct

        import curate.stages.minhash  # noqa: F401
    with run.step("minhash"):
        found = direct.minhash(
            run.files[0], similarity=run.similarity, recall=recall, ngram=NGRAM, symbols=False
        )
    # Loading the compiled kernels (compiling them, the first time ever) is part of starting up.
    for name, way in ((START_UP, 1), ("minhash", -1)):
        cpu, wall = run.steps[name]
        run.steps[name] = cpu + way * found.cpu["start up"], wall + way * found.seconds["start up"]
    run.detail = found.cpu
    run.finish(found.dropped)


if __name__ == "__main__":
    main()
