"""The effect of each filter on a model: the report and what the datasheet says, from the manifest's key ``tune``."""

from __future__ import annotations
