"""Records of a release as a trainer takes them: in an order that a seed gives, shared out, and resumable.

Nothing here imports torch, but :mod:`curate.handoff.torchdata`, which is imported when a dataset of torch is asked for.
"""

from __future__ import annotations

from curate.handoff.records import WINDOW, Records, opened
from curate.handoff.shards import TRAIN, splits_of

__all__ = ["TRAIN", "WINDOW", "Records", "opened", "splits_of"]
