"""``curate takedown``: records erased from a finished release, with their near-duplicates and their traces.

::

    request → matching: which records → erasing: shards, ledger, clusters, index, audit written again in OUT/work
            → account: suppression list, log, impact, manifest → switching: all of it put in place, by a journal

Until the journal is written, the release is as it was. From then on, the same command finishes what it says,
however often it was stopped; a release that is half switched has no manifest, so it passes for none.
"""

from __future__ import annotations
