"""Imports presidio-analyzer without the frameworks for models that it looks for.

Presidio and spaCy import torch, transformers, gliner and others where they are installed, only to know that they
are: seconds, in every process, for recognizers that use none of them. Import this module before presidio. What
is imported already is left alone.
"""

from __future__ import annotations

import sys
from importlib import import_module

_FRAMEWORKS = (
    *("torch", "transformers", "gliner", "stanza", "spacy_stanza", "spacy_huggingface_pipelines"),
    *("tensorflow", "mxnet", "cupy", "langextract"),
)


def _import() -> None:
    absent = [name for name in _FRAMEWORKS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: import fails, the documented way
    try:
        import_module("presidio_analyzer.predefined_recognizers")
    finally:
        for name in absent:
            del sys.modules[name]


_import()
