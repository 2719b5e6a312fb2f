"""Engine ``presidio``: presidio-analyzer's own results, offline and without a model, found sooner.

The recognizers are those that presidio loads for English, with the country packs that it ships switched off
where they are asked for. Its faults are left as they are, but for those that an argument switches off.
"""

from __future__ import annotations

from curate.stages.finders import light  # noqa: F401  before presidio

# isort: split

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import presidio_analyzer
import pyarrow as pa
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers
from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider
from ruamel.yaml import YAML

from curate.kernels.spans import Span
from curate.stages.finders import Finds
from curate.stages.finders.sweep import Sweep, settled
from curate.stages.finders.words import LANGUAGE, SpacyWords


class Presidio:
    """Finds what ``AnalyzerEngine.analyze`` finds with spaCy's English tokenizer and no model."""

    def __init__(
        self,
        threshold: float = 0.0,
        entities: Sequence[str] | None = None,
        countries: Sequence[str] = (),
        thresholds: Mapping[str, float] | None = None,
        whole_word: bool = False,
        hyperscan: bool | None = None,
    ) -> None:
        """Look for the kinds in ``entities`` (none given: all), from their score threshold on.

        ``countries``: ISO 3166-1 codes in lower case (``uk`` for the United Kingdom, as presidio has it) whose
        recognizers are switched on beside those that are on by default. ``whole_word``: a context word counts
        as a whole word only (presidio's ``context_matching_mode``); by default "public" holds "lic", a context
        word of driver licenses. ``hyperscan``: use it or do not; by default where it is installed.

        Raises ValueError for a kind or a country that no recognizer is for.
        """
        recognizers = [*_by_default(), *_of(countries)]
        self.kinds: tuple[str, ...] = tuple(sorted({r.supported_entities[0] for r in recognizers}))
        if entities is not None:
            if unknown := sorted({*entities} - {*self.kinds}):
                raise ValueError(
                    f"presidio has no recognizer for {', '.join(unknown)}; it has: {', '.join(self.kinds)}"
                )
            recognizers = [r for r in recognizers if r.supported_entities[0] in entities]
            self.kinds = tuple(sorted({*entities}))
        for recognizer in recognizers:
            [entity] = recognizer.supported_entities
            recognizer.score_thresholds = {"default": (thresholds or {}).get(entity, threshold)}
        mode = "whole_word" if whole_word else "substring"
        enhancer = LemmaContextAwareEnhancer(context_matching_mode=mode)
        words = SpacyWords()
        self._sweep = Sweep(recognizers, words, enhancer, hyperscan)
        self.engine = AnalyzerEngine(
            registry=RecognizerRegistry(recognizers, supported_languages=[LANGUAGE]),
            nlp_engine=words,
            supported_languages=[LANGUAGE],
            context_aware_enhancer=enhancer,
        )

    def find(self, texts: pa.Array) -> list[Finds]:
        """Return what is in each of the texts, sorted; or why a text was not scanned."""
        return [
            found if isinstance(found, Exception) else settled(found) for found in self._sweep.over(texts)
        ]

    def plain(self, text: str) -> list[Span]:
        """Return what presidio's own engine finds, sorted: the slow twin. Which recognizer found it is left out."""
        results = self.engine.analyze(text, LANGUAGE)
        return sorted(Span(r.start, r.end, r.entity_type, r.score) for r in results)


def _by_default() -> list[Any]:
    """Return the recognizers that presidio loads for English texts."""
    settings = {"supported_languages": [LANGUAGE]}
    provider = RecognizerRegistryProvider(registry_configuration=settings)
    return list(provider.create_recognizer_registry().recognizers)


def _of(countries: Sequence[str]) -> Iterator[Any]:
    """Yield the recognizers of these countries that presidio ships switched off or for other languages."""
    text = resources.files(presidio_analyzer).joinpath("conf/default_recognizers.yaml").read_text("utf-8")
    entries = YAML(typ="safe", pure=True).load(text)["recognizers"] if countries else []
    known = {entry["country_code"] for entry in entries if "country_code" in entry}
    if unknown := sorted({*countries} - known):
        raise ValueError(
            f"presidio has no recognizers for {', '.join(unknown)}; it has: {', '.join(sorted(known))}"
        )
    for entry in entries:
        on = entry.get("enabled", True) and LANGUAGE in entry.get("supported_languages", [LANGUAGE])
        if entry.get("country_code") in countries and not on:
            yield getattr(predefined_recognizers, entry["name"])(supported_language=LANGUAGE)
