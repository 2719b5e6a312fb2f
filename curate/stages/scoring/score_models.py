"""Models that score texts: sequence classifiers and causal language models of Hugging Face transformers.

A score is what the model says of a text by itself, on the CPU, in float32 and one thread, rounded to 1/100: then it
depends on nothing but the text, the model and the libraries. On a GPU texts of about a length are read together, padded
and masked; such a score counts where it is nearer to no other rounding than a margin, and any other text is read again
by itself on the CPU. No code that a model brings along is run. Everything heavy is imported where it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson

from curate.errors import MissingExtra, RecipeError
from curate.stages.dedup.embeddings import Device as Device
from curate.stages.dedup.embeddings import _one_thread
from curate.stages.pinned import Pinned, named, versions_of

Measure: TypeAlias = Literal["classifier", "perplexity", "ifd"]

_MARKS = ("config.json",)
DECIMALS = 2
_MARGIN = 1e-4  # what a batch on a GPU may differ by, of a value of 1: 10^-5 was seen of float32
_MOST_TOKENS = 2048  # read of a text where a model states no limit
_MOST_STATED = 100_000  # a tokenizer that states no limit states a huge one
_BATCH_TOKENS = 16_384  # padding included, that a GPU reads at once
_MOST_CHARACTERS = 32  # per token: what lies beyond is not even cut into tokens
# Models whose positions start after that of the padding token: two fewer than they state.
_OFFSET = ("camembert", "longformer", "roberta", "xlm-roberta", "xlm-roberta-xl")


@dataclass(frozen=True)
class Asked:
    """What a model is asked."""

    pinned: Pinned
    measure: Measure
    label: str | int | None
    max_tokens: int | None
    batch_size: int


class Told(NamedTuple):
    """What a model says of a text."""

    value: float | None  # None for a text without a token to score
    truncated: bool  # not all of it was read


class Read(NamedTuple):
    """A text as the model reads it."""

    ids: tuple[int, ...]
    scored: int  # of a language model: the tokens ids[scored:] are scored


def find(model: str, revision: str | None, beside: Path) -> Pinned:
    """Find a model: the folder of this name (relative to ``beside``), else the one on the hub.

    Of a hub model only a file of a few hundred bytes is fetched here, and nothing where the cache has it.
    Raises RecipeError where there is no such model, MissingExtra where the libraries are not installed.
    """
    if any(find_spec(name) is None for name in ("torch", "transformers")):
        raise MissingExtra.of("scores by a model", "score")
    wanted = (
        "one with config.json, relative to the recipe's folder, or a hub id such as "
        "HuggingFaceFW/fineweb-edu-classifier"
    )
    return named(model, revision, beside, _MARKS, "transformers", wanted)


def versions() -> str:
    """Return the versions of the libraries on which scores depend."""
    return versions_of(("tokenizers", "torch", "transformers"))


def check(pinned: Pinned, measure: Measure, label: str | int | None) -> None:
    """Raise RecipeError where a model cannot be asked for that, by its config.json."""
    if measure != "classifier":
        if label is not None:
            raise RecipeError(f"model {pinned.place!r}: measure {measure} has no label; take it out")
        return
    from huggingface_hub import hf_hub_download

    folder = Path(pinned.place)
    path = folder / _MARKS[0]
    if pinned.commit is not None:
        path = Path(hf_hub_download(pinned.place, _MARKS[0], revision=pinned.commit))
    stated = orjson.loads(path.read_bytes()).get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    names = [stated[number] for number in sorted(stated, key=int)]
    if label is None and len(names) > 1:
        raise RecipeError(
            f"model {pinned.place!r}: found no label; allowed: one of {', '.join(names)}; name it"
        )
    if label is not None and label not in names and label not in range(len(names)):
        raise RecipeError(
            f"model {pinned.place!r} has no label {label!r}; allowed: one of {', '.join(names)}"
        )


def scorer(asked: Asked, device: Device) -> Scorer:
    """Return the model, loaded once per process. Raises RecipeError where it cannot be."""
    import torch

    here = torch.cuda.is_available()
    if device == "cuda" and not here:
        raise RecipeError(
            "device 'cuda': torch finds none here; write 'auto' or 'cpu', or install torch's build for it"
        )
    return _scorer(asked, "cuda" if here and device != "cpu" else None)


@lru_cache(maxsize=4)
def _scorer(asked: Asked, together: str | None) -> Scorer:
    return Scorer(asked, together)


class Scorer:
    """A loaded model. together: the device on which texts are read in batches; None reads each by itself."""

    def __init__(self, asked: Asked, together: str | None = None) -> None:
        self.asked = asked
        self.model, self.tokenizer = _load(asked)
        self.together = together
        self.fast = None if together is None else _copied(self.model, together)
        self.limit = _limit(self.model, self.tokenizer, asked.max_tokens)
        self.read_again = 0  # texts of which the batch's answer did not count

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> list[Told]:
        """Return what the model says of the texts; of ``ifd``, of each as the answer to its prompt."""
        cap = self.limit * _MOST_CHARACTERS
        reads, cut = [], []
        for prompt, text in zip(prompts, texts, strict=True):
            found, truncated = self._reads(prompt[-cap:], text[:cap])
            reads.append(found)
            cut.append(truncated or len(text) > cap or (self.asked.measure == "ifd" and len(prompt) > cap))
        wanted = sorted({read for some in reads for read in some}, key=lambda read: (len(read.ids), read))
        with _one_thread():
            values = dict(self._in_batches(wanted)) if self.fast is not None else {}
            told = []
            for some, truncated in zip(reads, cut, strict=True):
                value = self._value([values.get(read) for read in some]) if some else None
                if some and (value is None or _is_near(value)):
                    self.read_again += self.fast is not None
                    value = self._value([self._alone(read) for read in some])
                told.append(Told(None if value is None else round(value, DECIMALS), truncated))
        return told

    def _reads(self, prompt: str, text: str) -> tuple[tuple[Read, ...], bool]:
        """Return what the model reads: none of a text without tokens; and whether something is left out."""
        if not text.strip():
            return (), False
        if self.asked.measure == "classifier":
            ids = self.tokenizer(text, truncation=False, verbose=False)["input_ids"]
            kept = self.tokenizer(text, truncation=True, max_length=self.limit, verbose=False)["input_ids"]
            return (Read(tuple(kept), 0),), len(kept) < len(ids)
        start = [
            one for one in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id) if one is not None
        ][:1]
        answer = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        skipped = 0 if start else 1  # nothing stands before the first token that could foretell it
        if self.asked.measure == "perplexity":
            kept = answer[: self.limit - len(start)]
            found = Read((*start, *kept), len(start) + skipped)
            return ((found,) if len(found.ids) > found.scored else ()), len(kept) < len(answer)
        shown = self.tokenizer(f"{prompt}\n\n", add_special_tokens=False, verbose=False)["input_ids"]
        room = max(self.limit - len(start) - len(shown), self.limit // 2)
        kept = answer[:room]
        left = shown[max(0, len(start) + len(shown) + len(kept) - self.limit) :]
        if len(kept) <= skipped or not left:
            return (), len(kept) < len(answer)
        alone = Read((*start, *kept), len(start) + skipped)
        given = Read((*start, *left, *kept), len(start) + len(left) + skipped)
        return (given, alone), len(kept) < len(answer) or len(left) < len(shown)

    def _value(self, said: Sequence[float | None]) -> float | None:
        if any(one is None for one in said):
            return None
        first, *rest = (one for one in said if one is not None)
        # IFD is the ratio of two perplexities, each e to the power of nats per token.
        value = math.exp(min(first - rest[0], 100.0)) if rest else first
        if not math.isfinite(value):
            raise ValueError(f"model {self.asked.pinned.place!r} says {value} of a text, which is no score")
        return value

    def _alone(self, read: Read) -> float:
        return self._forward(self.model, "cpu", [read])[0]

    def _in_batches(self, reads: Sequence[Read]) -> Iterator[tuple[Read, float]]:
        """Yield what batches say; nothing of those that cannot be read so, such as what the memory has no room for."""
        for some in self._batches(reads):
            try:
                values = self._forward(self.fast, str(self.together), some)
            except RuntimeError:  # torch's for a device out of memory, among others
                continue
            yield from zip(some, values, strict=True)

    def _batches(self, reads: Sequence[Read]) -> Iterator[list[Read]]:
        """Cut texts, shortest first, into batches; of a classifier that cannot pad, each of one length."""
        pads = self.asked.measure != "classifier" or self.model.config.pad_token_id is not None
        some: list[Read] = []
        for read in reads:
            full = len(some) >= self.asked.batch_size or (len(some) + 1) * len(read.ids) > _BATCH_TOKENS
            if some and (full or (not pads and len(read.ids) != len(some[0].ids))):
                yield some
                some = []
            some.append(read)
        if some:
            yield some

    def _forward(self, model: Any, device: str, reads: Sequence[Read]) -> list[float]:
        import torch

        longest = max(len(read.ids) for read in reads)
        blank = self.model.config.pad_token_id or 0
        ids = torch.full((len(reads), longest), blank, dtype=torch.long)
        mask = torch.zeros((len(reads), longest), dtype=torch.long)
        for i, read in enumerate(reads):
            ids[i, : len(read.ids)] = torch.tensor(read.ids)
            mask[i, : len(read.ids)] = 1
        with torch.inference_mode():
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits.float()
            if self.asked.measure == "classifier":
                return [self._class(one) for one in logits.double().cpu()]
            return [_nats(logits[i], read) for i, read in enumerate(reads)]

    def _class(self, logits: Any) -> float:
        config = self.model.config
        if len(logits) == 1:
            return float(logits[0])
        label = self.asked.label
        place = label if isinstance(label, int) else {v: int(k) for k, v in config.id2label.items()}[label]
        several = config.problem_type == "multi_label_classification"
        return float((logits.sigmoid() if several else logits.softmax(-1))[place])


def _nats(logits: Any, read: Read) -> float:
    """Return the mean negative log-likelihood of the scored tokens. logits: [tokens, vocabulary]."""
    import torch

    wanted = torch.tensor(read.ids[read.scored :], device=logits.device)
    said = logits[read.scored - 1 : len(read.ids) - 1]
    lost = torch.logsumexp(said, -1) - said.gather(-1, wanted[:, None])[:, 0]
    return float(lost.double().mean())


def _is_near(value: float) -> bool:
    """Tell whether a value lies so near to where rounding changes that a batch's answer does not count."""
    beyond = (value * 10**DECIMALS + 0.5) % 1
    return bool(min(beyond, 1 - beyond) < _MARGIN * 10**DECIMALS * max(1.0, abs(value)))


def _limit(model: Any, tokenizer: Any, asked: int | None) -> int:
    """Return how many tokens are read of a text, special ones with them."""
    places = getattr(model.config, "max_position_embeddings", None)
    if places and model.config.model_type in _OFFSET:
        places -= 2
    stated = [limit for limit in (places, tokenizer.model_max_length) if limit and limit < _MOST_STATED]
    most = int(min(stated, default=_MOST_TOKENS))
    return most if asked is None else min(most, asked)


def _copied(model: Any, device: str) -> Any:
    import copy

    return copy.deepcopy(model).to(device)


def _load(asked: Asked) -> tuple[Any, Any]:
    import torch
    import transformers
    from transformers.utils import logging

    kind: Any = transformers.AutoModelForCausalLM
    if asked.measure == "classifier":
        kind = transformers.AutoModelForSequenceClassification
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    try:
        place = asked.pinned.found()
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        # In half precision scores would differ from machine to machine by much more.
        model = kind.from_pretrained(place, trust_remote_code=False, dtype=torch.float32).eval()
    except Exception as error:  # whatever a model's files make libraries raise, it is the model's fault
        said = " ".join(str(error).split())[:300]
        raise RecipeError(
            f"model {asked.pinned.place!r} cannot be loaded ({type(error).__name__}: {said}); expected one that "
            f"transformers loads as {kind.__name__} without code of its own; name another"
        ) from error
    finally:
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    if model.config.pad_token_id is None and tokenizer.pad_token_id is not None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer
