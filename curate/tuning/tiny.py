"""The embedded base: a small Llama, trained on first use on natural English that every machine has.

No weights are distributed. It is trained on docstrings (:mod:`curate.tuning.harvest`), some as plain text and some
as an instruction with its answer, so that the tokens of the chat template mean something; and texts of the caller.
The number of steps is fixed and one thread does all, so that the same machine trains the same bits again. The
folder is an ordinary one of transformers, in the user's cache under a hash of all that its weights depend on.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from curate.errors import RecipeError
from curate.tuning import harvest
from curate.tuning.base import quiet
from curate.tuning.contract import DOCUMENT, Text, Turn
from curate.tuning.encoding import encode
from curate.tuning.templates import FALLBACK

TOLD = "trained_on.json"
PAD, BOS, EOS, USER, ASSISTANT = "<pad>", "<bos>", "<eos>", "<|user|>", "<|assistant|>"
_CODE = ("harvest.py", "tiny.py", "specials.py", "templates.py", "encoding.py")
_LONGEST = (
    512  # tokens of a row that is fine-tuned on, about 1,400 bytes; at 256, one answer in six was too long
)
_WHOLE = 2**31 - 1  # tokens: no text is cut for training

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class TinyRecipe:
    """How the embedded base is trained. What was measured for each choice stands in LOG.md."""

    texts: tuple[Text, ...] = ()  # of the caller, beside what is harvested; never of the pool or the hold-out
    harvested: int = 3_200_000  # bytes of docstrings, about
    instructing: float = 0.5  # share of them whose first paragraph answers "Describe <name>."
    vocabulary: int = 1536
    hidden: int = 128
    layers: int = 3
    inner: int = 384
    heads: int = 4
    steps: int = 800
    rows: int = 4  # per step
    length: int = 128  # tokens of a row
    rate: float = 2e-3  # AdamW's, after a warm-up, falling to 0
    warmup: int = 20  # steps
    decay: float = 0.05  # of weights
    seed: int = 0

    def quick(self) -> TinyRecipe:
        """Return a training of a few seconds, for tests: its answers mean nothing."""
        return replace(self, harvested=200_000, vocabulary=512, hidden=64, layers=2, inner=128, steps=60)


class Trained(NamedTuple):
    """A model and its tokenizer, as transformers'."""

    model: Any
    tokenizer: Any
    told: dict[str, Any]  # what it was trained on


class _Holder(NamedTuple):
    tokenizer: Any  # all that encoding asks of a base


def trained(recipe: TinyRecipe, folder: Path | None = None, tick: Tick | None = None) -> Path:
    """Return the folder of the model that this recipe gives here; it is trained unless the cache has it.

    folder: of all trained bases; by default $CURATE_CACHE, else $XDG_CACHE_HOME or ~/.cache with /curate, and in
    it bases/. Two processes that want the same base wait for one another. Raises RecipeError where there is
    nothing to train on, or the folder cannot be written.
    """
    home = folder or cache()
    name = fingerprint(recipe)[:32]
    place = home / name
    try:
        home.mkdir(parents=True, exist_ok=True)
        if (place / TOLD).is_file():
            return place
        with (home / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (place / TOLD).is_file():
                _keep(train((*_natural(recipe), *recipe.texts), recipe, tick), place)
    except OSError as error:
        raise RecipeError(
            f"the tiny base cannot be kept in {home} ({(error.strerror or type(error).__name__).lower()}); set "
            "CURATE_CACHE to a folder that can be written"
        ) from error
    return place


def told(place: Path) -> dict[str, Any]:
    """Return what a base in the cache was trained on."""
    found: dict[str, Any] = json.loads((place / TOLD).read_text())
    return found


def cache() -> Path:
    """Return the folder of trained bases."""
    if set_to := os.environ.get("CURATE_CACHE"):
        return Path(set_to).expanduser() / "bases"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "curate" / "bases"


def fingerprint(recipe: TinyRecipe) -> str:
    """Return a SHA-256 over what the weights depend on: recipe, texts, code, versions of all that is read or runs."""
    whole = hashlib.sha256()
    for text in recipe.texts:
        whole.update(repr((text.key, text.turns)).encode("utf-8", "surrogatepass"))
    whole.update(repr(replace(recipe, texts=())).encode())
    for name in _CODE:
        whole.update(Path(__file__).with_name(name).read_bytes())
    whole.update(json.dumps(_versions(), sort_keys=True).encode())
    return whole.hexdigest()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": sysconfig.get_platform()}
    for name in ("torch", "transformers", "tokenizers", *harvest.PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def _natural(recipe: TinyRecipe) -> list[Text]:
    """Return harvested texts: an instruction with its answer, the rest of the docstring as plain text."""
    generator = np.random.default_rng(recipe.seed)
    texts: list[Text] = []
    found = harvest.harvest(recipe.harvested) if recipe.harvested else []
    for place, (name, paragraphs) in enumerate(found):
        asked = bool(name) and generator.random() < recipe.instructing
        if asked:
            turns = (Turn("user", f"Describe {name}."), Turn("assistant", paragraphs[0]))
            texts.append(Text(f"docstring {place}", turns, "docstrings"))
        if rest := "\n\n".join(paragraphs[asked:]):
            texts.append(Text(f"docstring {place}", (Turn(DOCUMENT, rest),), "docstrings"))
    return texts


def train(texts: Sequence[Text], recipe: TinyRecipe, tick: Tick | None = None) -> Trained:
    """Return a model trained on these texts alone, all of their tokens learnt: the same bits on the same machine.

    ``tick`` is told steps done and of all. Raises RecipeError where the texts do not fill one step's rows.
    """
    order = np.random.default_rng(recipe.seed).permutation(len(texts))
    texts = [texts[place] for place in order]
    with _one_thread():
        tokenizer = _tokenizer(texts, recipe)
        tokens = encode(_Holder(tokenizer), texts, _WHOLE)  # type: ignore[arg-type]
        count = len(tokens.ids) // recipe.length
        if count < recipe.rows:
            raise RecipeError(
                f"the tiny base has {len(tokens.ids)} tokens to train on; it needs {recipe.rows * recipe.length}, one "
                "step's; give it more text"
            )
        rows = tokens.ids[: count * recipe.length].reshape(count, recipe.length).astype(np.int64)
        model = _fitted(_model(recipe, len(tokenizer)), rows, recipe, tick)
    about = {
        "texts": len(texts),
        "given": len(recipe.texts),
        "bytes": sum(len(turn.content.encode("utf-8", "replace")) for text in texts for turn in text.turns),
        "tokens": len(tokens.ids),
        "steps": recipe.steps,
        "trained_tokens": recipe.steps * recipe.rows * recipe.length,
        "vocabulary": len(tokenizer),
        "versions": _versions(),
    }
    return Trained(model, tokenizer, about)


def _tokenizer(texts: Sequence[Text], recipe: TinyRecipe) -> Any:
    """Return a byte-level BPE tokenizer (single digits) trained on the texts, every one of them opened by <bos>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    listed = [PAD, BOS, EOS, USER, ASSISTANT]
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    found.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=listed,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    said = (turn.content.encode("utf-8", "replace").decode() for text in texts for turn in text.turns)
    found.train_from_iterator(said, trainer)
    found.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, listed.index(BOS))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=found,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[USER, ASSISTANT],
        model_max_length=_LONGEST,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = FALLBACK
    return tokenizer


def _model(recipe: TinyRecipe, vocabulary: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.inner,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=_LONGEST,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return LlamaForCausalLM(config)


def _fitted(model: Any, rows: Any, recipe: TinyRecipe, tick: Tick | None) -> Any:
    """Train in place: rows [n, length] in a new order each pass. Betas, clipping as nanoGPT's."""
    import torch

    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=recipe.decay, fused=True
    )
    batches = _batches(len(rows), recipe)
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * min(1, (step + 1) / recipe.warmup) * (1 - step / recipe.steps)
        ids = torch.from_numpy(rows[next(batches)])
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden.flatten(0, 1))
        torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if tick is not None:
            tick(step + 1, recipe.steps)
    return model.eval()


def _batches(count: int, recipe: TinyRecipe) -> Iterator[Any]:
    generator = np.random.default_rng(recipe.seed)
    while True:
        order = generator.permutation(count)
        for start in range(0, count - recipe.rows + 1, recipe.rows):
            yield order[start : start + recipe.rows]


def _keep(made: Trained, place: Path) -> None:
    """Write a trained base, whole or not at all."""
    scratch = place.with_name(f"{place.name}.{os.getpid()}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    with quiet():
        made.model.save_pretrained(scratch)
        made.tokenizer.save_pretrained(scratch)
    (scratch / TOLD).write_text(json.dumps(made.told, indent=1, sort_keys=True))
    shutil.rmtree(place, ignore_errors=True)  # of a process that died
    scratch.rename(place)


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    restore = partial(torch.set_num_threads, torch.get_num_threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        restore()
