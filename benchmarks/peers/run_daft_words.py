"""Daft over the words that the truth has: other signs are replaced by spaces first, with Daft."""

from __future__ import annotations

from peers.harness import Run
from peers.run_daft import deduplicate


def main() -> None:
    note = "as Daft, but its text is first brought to the truth's words by regexp_replace"
    deduplicate(Run("Daft, same words", "daft", note), same_words=True)


if __name__ == "__main__":
    main()
