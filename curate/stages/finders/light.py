"""Imports presidio-analyzer without the frameworks for models that it looks for, until a model is wanted.

Presidio and spaCy import torch, transformers, gliner and others where they are installed, only to know that they
are: seconds, in every process, for recognizers that use none of them. Import this module before presidio. What
is imported already is left alone. What reads texts with a model calls :func:`whole` first.
"""

from __future__ import annotations

import sys
from importlib import import_module, reload

_FRAMEWORKS = (
    *("torch", "transformers", "gliner", "stanza", "spacy_stanza", "spacy_huggingface_pipelines"),
    *("tensorflow", "mxnet", "cupy", "langextract"),
)


def _import() -> None:
    if "presidio_analyzer.predefined_recognizers" in sys.modules:
        return
    absent = [name for name in _FRAMEWORKS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: import fails, the documented way
    try:
        import_module("presidio_analyzer.predefined_recognizers")
    finally:
        for name in absent:
            del sys.modules[name]
    _hidden.extend(absent)


def whole() -> None:
    """Let presidio's recognizers by model, and spaCy's machine-learning library thinc, see the frameworks after all."""
    if not _hidden:
        return
    _hidden.clear()
    for name in _BY_MODEL:
        reload(import_module(f"presidio_analyzer.predefined_recognizers.ner.{name}"))
    package = import_module("presidio_analyzer.predefined_recognizers")
    for name, recognizer in _BY_MODEL.items():
        setattr(package, recognizer, getattr(sys.modules[f"{package.__name__}.ner.{name}"], recognizer))
    compat = reload(import_module("thinc.compat"))
    seen = {
        name: value for name, value in vars(compat).items() if name == "torch" or name.startswith("has_torch")
    }
    for module in [module for name, module in sys.modules.items() if name.startswith("thinc.")]:
        for name in seen.keys() & vars(module).keys():  # each has imported them by name
            setattr(module, name, seen[name])


_BY_MODEL = {
    "huggingface_ner_recognizer": "HuggingFaceNerRecognizer",
    "gliner_recognizer": "GLiNERRecognizer",
}
_hidden: list[str] = []

_import()
