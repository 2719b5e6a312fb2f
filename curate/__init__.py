"""curate: the text that language models are trained on, curated and accounted for.

Every command of the command line is a function here, with the same name and arguments.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from curate.custody import audit, datasheet, sign, takedown, verify
    from curate.demo.starter import init
    from curate.exporting.export import export
    from curate.release import Release, diff, explain, load, plan, run
    from curate.schemas import schema
    from curate.tuning.experiment import tune
    from curate.unseal import reveal

__all__ = [
    "Release",
    "audit",
    "datasheet",
    "diff",
    "explain",
    "export",
    "init",
    "load",
    "plan",
    "reveal",
    "run",
    "schema",
    "sign",
    "takedown",
    "tune",
    "verify",
]

_WHERE = {
    "Release": "curate.release",
    "audit": "curate.custody",
    "datasheet": "curate.custody",
    "diff": "curate.release",
    "explain": "curate.release",
    "export": "curate.exporting.export",
    "init": "curate.demo.starter",
    "load": "curate.release",
    "plan": "curate.release",
    "reveal": "curate.unseal",
    "run": "curate.release",
    "schema": "curate.schemas",
    "sign": "curate.custody",
    "takedown": "curate.custody",
    "tune": "curate.tuning.experiment",
    "verify": "curate.custody",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: `curate --help` must not wait for Arrow and polars.
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'curate' has no attribute {name!r}")
