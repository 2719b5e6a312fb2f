"""Names by a model that a recipe names: a spaCy pipeline, a transformers token classifier, or GLiNER.

presidio-analyzer reads with them, by its own configuration: SpacyNlpEngine and SpacyRecognizer,
HuggingFaceNerRecognizer, GLiNERRecognizer. What is done beside it:

* Long texts are read in windows that overlap, as presidio does, but of the tokens that a transformers model
  reads: nothing is cut off silently.
* An error in a window is the text's answer. presidio logs it and goes on, and the text would pass for clean.
* A find ends with a word, not within it.
* An answer does not depend on what else is read: see :mod:`curate.stages.finders.readers`. spaCy and GLiNER
  read each text by itself; only where a recipe asks for a GPU does spaCy read batches, and last bits may tell.

No code that a model brings along is run. Everything heavy is imported by the function that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from curate.errors import RecipeError
from curate.io.store import Store
from curate.kernels.spans import Span
from curate.stages.dedup.embeddings import _one_thread
from curate.stages.finders import Finds, pinned, readers
from curate.stages.finders.pinned import Kind
from curate.stages.finders.readers import Read, Results
from curate.stages.pinned import Pinned

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
WANTED = ("LOCATION", "NRP", "ORGANIZATION", "PERSON")
# What GLiNER is asked for; it takes any words.
GLINER = {"person": "PERSON", "location": "LOCATION", "organization": "ORGANIZATION", "nationality": "NRP"}

_PREFIXES = ("B-", "I-", "L-", "U-", "E-", "S-")
_LAST_LETTER = "\u052f"  # of the Latin, Greek and Cyrillic blocks, whose words have spaces between them
DIGITS = 2  # of a score


class Model:
    """Finds the kinds of names that a model knows."""

    def __init__(
        self,
        kind: Kind,
        name: str,
        *,
        entities: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        threshold: float = 0.5,
        device: Device = "auto",
        batch_size: int = 32,
        revision: str | None = None,
        beside: Path | None = None,
    ) -> None:
        """Find the model, which is loaded when it is first needed.

        ``entities`` are presidio's types that are wanted (none given: of WANTED those that the model knows),
        ``labels`` gives types for labels of the model beyond presidio's own mapping. A folder's name is
        relative to ``beside``. Raises RecipeError where there is no such model or it knows none of the types,
        MissingExtra where the libraries are not installed.
        """
        self.kind: Kind = kind
        self.name = name
        self.threshold = threshold
        self.batch_size = batch_size
        self.device: Device = device
        self._pinned = pinned.find(kind, name, revision, beside or Path())
        types = _types(kind, self._pinned, labels or {})
        self.kinds = _chosen(name, types, entities)
        # GLiNER is asked for the kinds that are wanted; the others answer with all that they know.
        self._types = {k: v for k, v in types.items() if kind != "gliner" or v in self.kinds}

    def fingerprint(self) -> str:
        """Return the SHA-256 of the model's files or its commit on the hub, and the libraries' versions."""
        return f"{self._pinned.fingerprint}; {pinned.versions(self.kind)}"

    def describe(self) -> str:
        """Return what was used, for the datasheet."""
        short = self._pinned.fingerprint[:16]
        return f"{self.kind} model {self.name} ({short}; {pinned.versions(self.kind)}), threshold {self.threshold}"

    def carried(self, store: Store) -> Model:
        """Return the model as workers on other machines find it."""
        found = copy(self)
        found._pinned = self._pinned.carried(store)
        return found

    def find(self, texts: pa.Array) -> list[Finds]:
        """Return the names in each of the texts: string [n], null as empty → [n].

        Raises RecipeError where the model cannot be loaded.
        """
        listed = [text or "" for text in texts.to_pylist()]
        read = _reader(
            self.kind,
            self._pinned,
            tuple(sorted(self._types.items())),
            self.kinds,
            self.threshold,
            _device(self.device, self.kind),
            self.batch_size,
        )
        wanted = [at for at, text in enumerate(listed) if text.strip()]
        with _one_thread():  # a sum's last bit must not depend on how many threads share it
            answers = dict(zip(wanted, read([listed[at] for at in wanted]), strict=True))
        return [self._spans(text, answers.get(at, [])) for at, text in enumerate(listed)]

    def _spans(self, text: str, results: Results) -> Finds:
        if isinstance(results, Exception):
            return results
        scores: dict[tuple[int, int, str], float] = {}
        for found in results:
            if found.entity_type in self.kinds and found.score >= self.threshold:
                start, end = whole_words(text, found.start, found.end)
                key = (start, end, found.entity_type)
                scores[key] = max(scores.get(key, 0.0), round(float(found.score), DIGITS))
        return sorted(Span(*key, score, self.kind) for key, score in scores.items() if key[0] < key[1])


def whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the find without white space at its ends and with the rest of the words that it cuts through.

    Only in scripts that put spaces between words: elsewhere the rest of the sentence would come along.
    """
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    while 0 < start < end and _within(text[start - 1]) and _within(text[start]):
        start -= 1
    while start < end < len(text) and _within(text[end - 1]) and _within(text[end]):
        end += 1
    return start, end


def _within(char: str) -> bool:
    return char.isalnum() and char <= _LAST_LETTER


def _types(kind: Kind, model: Pinned, more: Mapping[str, str]) -> dict[str, str]:
    """Return presidio's type of each of the model's labels that has one, ``more`` before presidio's mapping.

    Raises RecipeError where there is none.
    """
    from presidio_analyzer.nlp_engine import NerModelConfiguration
    from presidio_analyzer.predefined_recognizers import HuggingFaceNerRecognizer

    if kind == "gliner":
        return dict(more or GLINER)
    known = {
        **HuggingFaceNerRecognizer.DEFAULT_LABEL_MAPPING,
        **NerModelConfiguration().model_to_presidio_entity_mapping,
        **more,
    }
    stated = _labels(kind, pinned.outline(kind, model))
    types = {label: known[label] for label in stated if label in known}
    if not types:
        raise RecipeError(
            f"model {model.place!r} has the labels {', '.join(stated) or '(none)'}, none of which is known for a "
            "type of personal data; say which is which, such as labels: {LABEL_1: PERSON}, or name another model"
        )
    return types


def _labels(kind: Kind, outline: Mapping[str, Any]) -> list[str]:
    """Return the labels that the model states, sorted, without B-, I- and the like."""
    if kind == "spacy":
        return sorted({label for labels in outline.get("labels", {}).values() for label in labels})
    labels = set(outline.get("id2label", {}).values()) - {"O"}
    return sorted({label[2:] if label.startswith(_PREFIXES) else label for label in labels})


def _chosen(name: str, types: Mapping[str, str], entities: Sequence[str] | None) -> tuple[str, ...]:
    given = sorted(set(types.values()))
    wanted = WANTED if entities is None else tuple(sorted(set(entities)))
    missing = [entity for entity in wanted if entity not in given]
    if (entities is not None and missing) or len(missing) == len(wanted):
        raise RecipeError(
            f"model {name!r} does not find {', '.join(missing)}; it finds {', '.join(given)}; correct entities"
        )
    return tuple(entity for entity in wanted if entity in given)


def _device(device: Device, kind: Kind) -> Literal["cpu", "cuda"]:
    """Return where to read: auto takes a GPU only where its answers are held to the CPU's."""
    if device == "cpu" or (device == "auto" and kind != "transformers"):
        return "cpu"
    try:
        import torch

        here = bool(torch.cuda.is_available())
    except ImportError:
        here = False
    if device == "cuda" and not here:
        raise RecipeError("device 'cuda': none is found here; write 'auto' or 'cpu'")
    return "cuda" if here else "cpu"


@lru_cache(maxsize=4)
def _reader(
    kind: Kind,
    model: Pinned,
    types: tuple[tuple[str, str], ...],
    kinds: tuple[str, ...],
    threshold: float,
    device: Literal["cpu", "cuda"],
    batch_size: int,
) -> Read:
    """Load the model, once per process. Raises RecipeError where it cannot be."""
    place, labels = pinned.place(model), dict(types)
    makers: dict[Kind, Callable[[], Read]] = {
        "spacy": lambda: readers.spacy(place, labels, kinds, device, batch_size),
        "transformers": lambda: readers.transformers(place, labels, threshold, device, batch_size),
        "gliner": lambda: readers.gliner(place, labels, threshold, device),
    }
    try:
        return makers[kind]()
    except RecipeError:
        raise
    except Exception as error:  # whatever a model's files make libraries raise, it is the model's fault
        said = " ".join(str(error).split())[:300]
        raise RecipeError(
            f"{kind} model {model.place!r} cannot be loaded ({type(error).__name__}: {said}); name another"
        ) from error
