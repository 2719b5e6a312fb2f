"""How a model for names reads texts: presidio's recognizers, with what they leave open settled.

A reader takes texts and returns for each presidio's results, or the error that kept it from being read.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from curate.errors import RecipeError

Results: TypeAlias = list[Any] | Exception
Read: TypeAlias = Callable[[Sequence[str]], list[Results]]
Device: TypeAlias = Literal["cpu", "cuda"]
Window: TypeAlias = Mapping[str, Any]  # a window as the tokenizer gives it

LANGUAGE = (
    "en"  # presidio's name for the one model in use; the text may be in any language that the model reads
)
_WINDOW, _OVERLAP = 100_000, 1_000  # characters that spaCy reads at once; it refuses more than a million
_OVERLAP_TOKENS = 32  # presidio's default
_SPARE = 8  # tokens that a window may have more of by itself than within the text
_MOST_TOKENS = 512  # of a window where a model states no limit
_MOST_STATED = 100_000  # a tokenizer that states no limit states a huge one
# What a GPU's probabilities may differ from a CPU's by, in float32, with a wide margin: 10^-5 was seen.
_MARGIN = 5e-4
_ROUNDED = 100  # scores are rounded to 1/100


def _with_frameworks() -> None:
    from curate.stages.finders import light

    light.whole()


def spacy(
    place: str, types: Mapping[str, str], kinds: Sequence[str], device: Device, batch_size: int
) -> Read:
    """Return what reads texts with a spaCy pipeline: on a CPU each by itself, on a GPU in batches."""
    _with_frameworks()
    from presidio_analyzer.chunkers import CharacterBasedTextChunker
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    class Engine(SpacyNlpEngine):  # type: ignore[misc]  # presidio has no type information
        def _enable_gpu(self) -> None:
            if device == "cuda":
                super()._enable_gpu()

    names = NerModelConfiguration(model_to_presidio_entity_mapping=dict(types))
    engine = Engine([{"lang_code": LANGUAGE, "model_name": place}], names)
    engine.load()
    stated = {label for labels in engine.get_nlp(LANGUAGE).pipe_labels.values() for label in labels}
    names.labels_to_ignore = sorted(stated - set(types))  # presidio would log each that it does not know
    recognizer = SpacyRecognizer(LANGUAGE, list(kinds))
    chunker = CharacterBasedTextChunker(_WINDOW, _OVERLAP)
    size = batch_size if device == "cuda" else 1

    def read(texts: Sequence[str]) -> list[Results]:
        windows = sorted({chunk.text for text in texts for chunk in chunker.chunk(text)})
        batches = [windows[start : start + size] for start in range(0, len(windows), size)]
        artifacts = {w: a for batch in batches for w, a in zip(batch, _artifacts(engine, batch), strict=True)}

        def predict(window: str) -> list[Any]:
            return list(recognizer.analyze(window, list(kinds), _or_raise(artifacts[window])))

        return [attempt(chunker.predict_with_chunking, text, predict) for text in texts]

    return read


def _artifacts(engine: Any, texts: Sequence[str]) -> Iterator[Any]:
    """Yield what presidio's engine makes of each text, or why it makes nothing."""
    if len(texts) > 1:
        batch = attempt(lambda: [made for _, made in engine.process_batch(texts, LANGUAGE, len(texts))])
        if not isinstance(batch, Exception):
            yield from batch
            return
    for text in texts:  # one of them may have spoilt it for all
        yield attempt(engine.process_text, text, LANGUAGE)


def gliner(place: str, types: Mapping[str, str], threshold: float, device: Device) -> Read:
    """Return what reads texts with a GLiNER model, each by itself, in presidio's windows of 250 characters."""
    _with_frameworks()
    from presidio_analyzer.predefined_recognizers import GLiNERRecognizer

    recognizer = GLiNERRecognizer(
        model_name=place, entity_mapping=dict(types), threshold=threshold, map_location=device
    )
    kinds = sorted(set(types.values()))
    return lambda texts: [attempt(recognizer.analyze, text, kinds) for text in texts]


def transformers(
    place: str, types: Mapping[str, str], threshold: float, device: Device, batch_size: int
) -> Read:
    """Return what reads texts with a token classifier, in windows of as many tokens as it reads."""
    _with_frameworks()
    from presidio_analyzer.chunkers import TokenizerBasedTextChunker
    from presidio_analyzer.predefined_recognizers import HuggingFaceNerRecognizer

    pipe = _pipeline(place)
    limit = _limit(pipe)
    room = limit - pipe.tokenizer.num_special_tokens_to_add(pair=False)
    most = max(1, room - min(_SPARE, room // 4))
    chunker = TokenizerBasedTextChunker(pipe.tokenizer, most, min(_OVERLAP_TOKENS, most // 4))
    classifier = Classifier(pipe, limit, threshold, device, batch_size)
    answers: dict[str, Results] = {}

    class Recognizer(HuggingFaceNerRecognizer):  # type: ignore[misc]  # presidio has no type information
        def load(self) -> None:
            self.ner_pipeline = answers.__getitem__

    recognizer = Recognizer(
        model_name=place,
        label_mapping=dict(types),
        threshold=threshold,
        device="cpu",  # presidio runs nothing: it is given the answers
        text_chunker=chunker,
        label_prefixes=["B-", "I-", "L-", "U-", "E-", "S-"],
    )
    kinds = sorted(set(types.values()))

    def read(texts: Sequence[str]) -> list[Results]:
        cut = [attempt(chunker.chunk, text) for text in texts]
        windows = [{chunk.text for chunk in chunks} if isinstance(chunks, list) else set() for chunks in cut]
        answers.clear()
        answers.update(classifier.classify(sorted(set().union(*windows))))
        found: list[Results] = []
        for text, chunks, own in zip(texts, cut, windows, strict=True):
            failed = [answers[window] for window in sorted(own) if isinstance(answers[window], Exception)]
            if isinstance(chunks, Exception) or failed:
                found.append(chunks if isinstance(chunks, Exception) else failed[0])
            else:
                found.append(attempt(recognizer.analyze, text, kinds))
        return found

    return read


class Classifier:
    """Answers for windows of text as a token classifier does for each by itself on the CPU.

    On a GPU windows of the same number of tokens are read together, without padding. Such an answer counts where
    nothing in it is nearer than a margin to another one: no token's label to the next best, no score to the
    threshold or to where it would be rounded otherwise. Any other window is read again, by itself, on the CPU.
    """

    def __init__(self, pipe: Any, limit: int, threshold: float, device: Device, batch_size: int) -> None:
        self.pipe = pipe
        self.limit = limit
        self.threshold = threshold
        self.batch_size = batch_size
        self.device = device
        self.model = copy.deepcopy(pipe.model).to(device) if device == "cuda" else None

    def classify(self, windows: Sequence[str]) -> dict[str, Results]:
        """Return what the pipeline says of each of the windows, or why it says nothing."""
        read = {window: attempt(self._tokens, window) for window in windows}
        answers: dict[str, Results] = {w: t for w, t in read.items() if isinstance(t, Exception)}
        if self.model is not None:
            answers.update(self._together({w: t for w, t in read.items() if w not in answers}))
        for window in windows:
            if window not in answers:
                answers[window] = attempt(self.pipe, window)
        return answers

    def _tokens(self, window: str) -> Window:
        """Return the window's tokens. Raises ValueError where the model would not read them all."""
        count = len(self.pipe.tokenizer(window, truncation=False, verbose=False)["input_ids"])
        if count > self.limit:
            raise ValueError(f"a window of {count} tokens, where the model reads {self.limit}")
        [tokens] = self.pipe.preprocess(window, **self.pipe._preprocess_params)
        return dict(tokens)

    def _together(self, windows: Mapping[str, Window]) -> Iterator[tuple[str, Results]]:
        """Yield the answers that stand, of windows read in batches of equal length."""
        by_length: dict[int, list[str]] = defaultdict(list)
        for window, tokens in windows.items():
            by_length[tokens["input_ids"].shape[1]].append(window)
        for _, alike in sorted(by_length.items()):
            for start in range(0, len(alike), self.batch_size):
                some = alike[start : start + self.batch_size]
                outputs = attempt(self._logits, [windows[window] for window in some])
                if isinstance(outputs, Exception):  # too large for the GPU, perhaps
                    continue
                for window, logits in zip(some, outputs, strict=True):
                    answer = self._answer(windows[window], logits)
                    if answer is not None:
                        yield window, answer

    def _logits(self, windows: Sequence[Window]) -> Any:
        """Return the logits [windows, tokens, labels], on the CPU."""
        import torch

        names = [name for name in self.pipe.tokenizer.model_input_names if name in windows[0]]
        joined = {name: torch.cat([window[name] for window in windows]).to(self.device) for name in names}
        with torch.inference_mode():
            return self.model(**joined).logits.float().cpu()  # type: ignore[misc]

    def _answer(self, tokens: Window, logits: Any) -> list[Any] | None:
        """Return what the pipeline makes of the logits [tokens, labels]; None where it might be otherwise."""
        best = logits.softmax(-1).topk(min(2, logits.shape[-1])).values
        read = ~tokens["special_tokens_mask"][0].bool()
        if logits.shape[-1] > 1 and bool((best[read, 0] - best[read, 1] < 2 * _MARGIN).any()):
            return None
        outputs = [{**tokens, "logits": logits[None]}]
        answer: list[Any] = self.pipe.postprocess(outputs, **self.pipe._postprocess_params)
        for found in answer:
            score = float(found["score"])
            beyond = (score * _ROUNDED + 0.5) % 1  # distance to where rounding changes, from either side
            near = min(beyond, 1 - beyond) < _MARGIN * _ROUNDED
            if near or abs(score - self.threshold) < _MARGIN:
                return None
        return answer


def _pipeline(place: str) -> Any:
    """Load a token classifier as transformers runs it, on the CPU, in float32."""
    import torch
    from transformers import pipeline
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    try:
        pipe = pipeline(
            "token-classification",
            model=place,
            tokenizer=place,
            aggregation_strategy="simple",  # HuggingFaceNerRecognizer's default
            device=-1,
            dtype=torch.float32,  # in half precision answers would differ from machine to machine by much more
            trust_remote_code=False,
        )
    finally:
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    if not pipe.tokenizer.is_fast:
        raise RecipeError(
            f"model {place!r} has a slow tokenizer, which tells no places; name one with a fast one"
        )
    return pipe


def _limit(pipe: Any) -> int:
    """Return how many tokens the model reads at once, special ones with them."""
    stated = getattr(pipe.tokenizer, "model_max_length", None)
    places = getattr(pipe.model.config, "max_position_embeddings", None)
    if places and getattr(pipe.model.config, "model_type", "") in _OFFSET:
        places -= 2
    limits = [int(limit) for limit in (stated, places) if limit and 0 < limit < _MOST_STATED]
    return min(limits, default=_MOST_TOKENS)


# Models whose positions start after that of the padding token: two fewer than they state.
_OFFSET = ("camembert", "longformer", "roberta", "xlm-roberta", "xlm-roberta-xl")


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what the function returns, or the exception that it raises."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001  whatever it was, the text has not been read
        return error


def _or_raise(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value
