"""Data-Juicer's document_minhash_deduplicator alone, over a plain Hugging Face dataset in this process.

Its own executor does not run it so, but it is the fastest way to run it that was found.
"""

from __future__ import annotations

from peers.harness import Run
from peers.run_data_juicer import deduplicate


def main() -> None:
    note = "document_minhash_deduplicator, 112 = 14 x 8, words split at spaces, without its executor"
    deduplicate(Run("Data-Juicer, operator alone", "py-data-juicer", note), plain=True)


if __name__ == "__main__":
    main()
