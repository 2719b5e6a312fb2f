"""What tests of a tune's measures share: a small base of random weights, a stack of adapters, a corpus."""

from __future__ import annotations

import random
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from conftest import WORDS, sentence
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from curate.tuning import encoding
from curate.tuning.bench import Bench
from curate.tuning.contract import Arm, Corpus, Item, Secret, Setup, Text, Turn
from curate.tuning.measure.probes import build

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<pad>", "<bos>", "<eos>", "<|user|>", "<|assistant|>", "<|system|>"]
SETUP = Setup("random", length=96, rows=2, tokens=1000, rate=1e-3, samples=6, sample_tokens=12)


@lru_cache(maxsize=1)
def tokenizer() -> Any:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(WORDS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        chat_template=TEMPLATE,
        additional_special_tokens=SPECIAL[3:],
    )


def llama(dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(7)
    shape = LlamaConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(tokenizer()),
        max_position_embeddings=256,
        initializer_range=0.15,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(shape).to(dtype).eval()


def base(**more: Any) -> Any:
    told = {"name": "random", "parameters": 1_000_000, "tokenizer": tokenizer(), "length": 256}
    return SimpleNamespace(**{**told, "model": lambda dtype, device: llama(), **more})


class Stacked(torch.nn.Module):  # type: ignore[misc]
    """A linear with several adapters of random weights: row block k goes through adapter k."""

    def __init__(self, inner: Any, numbers: list[int], name: str) -> None:
        super().__init__()
        self.inner = inner
        made = [np.random.default_rng([number, *name.encode()]) for number in numbers]
        out, into = inner.weight.shape
        self.a, self.b = (
            torch.nn.Parameter(
                torch.from_numpy(np.stack([rng.normal(0, 0.2, shape) for rng in made])).to(inner.weight)
            )
            for shape in ((into, 4), (4, out))
        )

    def forward(self, x: Any) -> Any:
        blocks = x.reshape(len(self.a), -1, x.shape[-1])
        return self.inner(x) + (blocks @ self.a @ self.b).reshape(*x.shape[:-1], -1)


def stack(*numbers: int, dtype: torch.dtype = torch.float64) -> Any:
    """Return a model with one adapter per number; the same number is the same adapter."""
    model = llama(dtype)
    for name, inner in list(model.named_modules()):
        if isinstance(inner, torch.nn.Linear) and name != "lm_head":
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, Stacked(inner, list(numbers), name))
    return model


def talk(key: str, asked: str, said: str, **more: Any) -> Text:
    return Text(key, (Turn("user", asked), Turn("assistant", said)), more.pop("source", "a"), **more)


def corpus(**more: Any) -> Corpus:
    rng = random.Random(3)
    texts = tuple(talk(f"t{i}", sentence(rng, 5), sentence(rng, rng.randint(1, 9))) for i in range(20))
    items = tuple(
        Item(talk(f"h{i}", sentence(rng, 4), sentence(rng, rng.randint(1, 12))), frozenset({"raw"}))
        for i in range(15)
    )
    everything = np.arange(20)
    arms = (
        Arm("raw", "raw", None, (), {0: everything, 1: everything}),
        Arm("full", "full", None, ("exact",), {0: everything[2:], 1: everything[2:]}),
    )
    told = {"texts": texts, "arms": arms, "items": items, "heldout_sha256": "0", "noops": {}}
    return Corpus(**{**told, **more})


def secret(number: int, planted: bool, alternatives: int = 31) -> Secret:
    rng = random.Random(number)
    values = [f"{rng.randrange(10**6):06d}" for _ in range(alternatives + 1)]
    turns = (Turn("user", f"What is the code of {sentence(rng, 2)}?"),)
    return Secret(turns, "The code is ", values[0], tuple(values[1:]), "CODE", planted)


def bench(given: Corpus, setup: Setup = SETUP, of: Any = None, **more: Any) -> Bench:
    of = of or base()
    train = encoding.encode(of, given.texts, setup.length)
    held = encoding.encode(of, [item.text for item in given.items], setup.length)
    return Bench(setup, given.arms, (0, 1), train, held, build(given, of, setup, **more))
