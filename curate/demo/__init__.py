"""A demo corpus with a known truth, the starter recipe around it, and the score of a release against it.

* :func:`curate.demo.corpus.write` makes the corpus and says what it planted;
* :func:`curate.demo.starter.init` puts the recipe, the source manifests and the corpus into a folder;
* :func:`curate.demo.score.score` compares a release's ledger with the truth;
* ``python -m curate.demo`` does all three.
"""

from __future__ import annotations
