"""An embedding model, named by path or hub id: what pins it, and the vectors that it gives.

sentence-transformers (Apache-2.0) loads and runs it. No code that a model brings along is ever run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from curate.errors import MissingExtra, RecipeError
from curate.stages.pinned import Pinned, named, versions_of

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
Vectors: TypeAlias = npt.NDArray[np.float32]

_LIBRARIES = ("sentence_transformers", "faiss")
_MARKS = ("modules.json", "config.json")  # a model saved by sentence-transformers, or by transformers
_MOST_TOKENS = 2**17  # taken as the limit of a model that states none, so that no text can fill the memory
_MOST_CHARACTERS = 64  # per token: a text of more than this times the limit is too long whatever it says


def find(model: str, revision: str | None, beside: Path) -> Pinned:
    """Find a model: the folder of this name (relative to ``beside``), else the one on the hub.

    Of a hub model only a file of a few hundred bytes is fetched here, and nothing where the cache has it.
    Raises RecipeError where there is no such model, MissingExtra where the libraries are not installed.
    """
    if any(find_spec(name) is None for name in _LIBRARIES):
        raise MissingExtra.of("semantic near-duplicates", "semantic")
    wanted = (
        "one that sentence-transformers saved, relative to the recipe's folder, or a hub id such as "
        "sentence-transformers/all-MiniLM-L6-v2"
    )
    return named(model, revision, beside, _MARKS, "sentence-transformers", wanted)


def versions() -> str:
    """Return the versions of the libraries on which vectors depend, without what tells their builds apart."""
    return versions_of(("faiss-cpu", "sentence-transformers", "tokenizers", "torch", "transformers"))


class Embedder:
    """A loaded model. Its vectors are of length 1, in float32, or 0 where the model says nothing of a text."""

    def __init__(self, pinned: Pinned, device: str) -> None:
        self._model = _load(pinned, device)
        self._prompt = (self._model.prompts or {}).get(self._model.default_prompt_name) or ""
        stated = self._model.max_seq_length
        self._counts = stated is not None and stated <= _MOST_TOKENS
        self.limit = int(stated) if self._counts else _MOST_TOKENS  # tokens that the model reads of a text
        self.dimension = self.embed(["a"], 1).shape[1]

    def too_long(self, texts: Sequence[str]) -> list[bool]:
        """Tell which texts the model cannot read to their end."""
        cap = self.limit * _MOST_CHARACTERS
        long = [len(text) > cap for text in texts]
        doubtful = [i for i, text in enumerate(texts) if not long[i] and self._counts and text]
        tokens = self._tokens([self._prompt + texts[i] for i in doubtful])
        for i, count in zip(doubtful, tokens, strict=True):
            long[i] = count > self.limit
        return long

    def _tokens(self, texts: list[str]) -> list[int]:
        tokenizer = self._model.tokenizer
        if not texts:
            return []
        if callable(
            tokenizer
        ):  # transformers'; others are sentence-transformers' own, or a plain tokenizers'
            return [len(ids) for ids in tokenizer(texts, truncation=False, verbose=False)["input_ids"]]
        if hasattr(tokenizer, "encode_batch"):
            return [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]
        return [len(tokenizer.tokenize(text)) for text in texts]

    def embed(self, texts: Sequence[str], batch_size: int) -> Vectors:
        """Return the texts' vectors [n, dimension]. Beyond the model's limit nothing of a text is read.

        One torch thread: a run's workers share the cores, and a sum's last bit does not depend on how many
        there are. Still a vector may differ by about 10^-7 with the company in which its text was embedded.
        """
        cap = self.limit * _MOST_CHARACTERS
        with _one_thread():
            found = self._model.encode(
                [text[:cap] for text in texts], batch_size=batch_size, show_progress_bar=False
            )
        vectors: npt.NDArray[np.float64] = np.nan_to_num(np.asarray(found, np.float64), posinf=0, neginf=0)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def embedder(pinned: Pinned, device: Device) -> Embedder:
    """Return the model, loaded once per process and device. Raises RecipeError where it cannot be."""
    import torch

    here = torch.cuda.is_available()
    if device == "cuda" and not here:
        raise RecipeError(
            "device 'cuda': torch finds none here; write 'auto' or 'cpu', or install torch's build for it"
        )
    return _embedder(pinned, "cuda" if here and device != "cpu" else "cpu")


@lru_cache(maxsize=2)
def _embedder(pinned: Pinned, device: Literal["cpu", "cuda"]) -> Embedder:
    return Embedder(pinned, device)


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _load(pinned: Pinned, device: str) -> Any:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    try:
        model = SentenceTransformer(pinned.found(), device=device, trust_remote_code=False)
    except Exception as error:  # whatever a model's files make libraries raise, it is the model's fault
        said = " ".join(str(error).split())[:300]
        raise RecipeError(
            f"model {pinned.place!r} cannot be loaded ({type(error).__name__}: {said}); expected one that "
            "sentence-transformers loads offline or from the hub without code of its own; name another"
        ) from error
    finally:
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    # Saved in half precision, a model would give vectors that differ from machine to machine by much more.
    return model.float().eval()
