"""Small models with random weights in folders of transformers' own, one for each thing that bases differ in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conftest import WORDS

CHATML = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n{{ turn['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Refuses a system's turn and anything but user, assistant, user …; strips; as Gemma's and Mistral's do.
STRICT = (
    "{{ bos_token }}{% for turn in messages %}"
    "{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) or turn['role'] not in ['user', 'assistant'] %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<|im_start|>{{ turn['role'] }}\n{{ turn['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Writes nothing but users and answers, what an answer thought only in the last one, and its prompt thinks aloud.
FORGETFUL = (
    "{% for turn in messages %}{% if turn['role'] == 'user' %}<|im_start|>user\n{{ turn['content'] }}<|im_end|>\n"
    "{% elif turn['role'] == 'assistant' %}<|im_start|>assistant\n{% if loop.last %}<think></think>{% endif %}"
    "{{ turn['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
)


def tokenizer(template: str | None, *, bos: bool = False, pad: bool = True, length: int = 600) -> Any:
    """Train a byte-level BPE tokenizer on the tests' words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    listed = ["<pad>", "<bos>", "<eos>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>"]
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    rng = random.Random(3)
    said = [" ".join(rng.choices([*WORDS, "user\n", "assistant\n", "\n"], k=30)) for _ in range(100)]
    trainer = trainers.BpeTrainer(
        vocab_size=length,
        special_tokens=listed,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    found.train_from_iterator(said, trainer)
    if bos:
        found.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=found,
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=listed[3:],
        **({"pad_token": "<pad>"} if pad else {}),
    )
    made.chat_template = template
    return made


def foreign(kind: str, template: str) -> Any:
    """Train a tokenizer as SentencePiece makes them: metaspace and prepended (BPE that spells bytes), or unigram."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(3)
    said = [" ".join(rng.choices(WORDS, k=30)) for _ in range(100)]
    listed = ["<unk>", "<bos>", "<eos>", "<|im_start|>", "<|im_end|>"]
    how: dict[str, Any] = {"special_tokens": listed, "show_progress": False}
    if kind == "unigram":
        found = Tokenizer(models.Unigram())
        found.pre_tokenizer = pre_tokenizers.Metaspace()
        found.train_from_iterator(said, trainers.UnigramTrainer(vocab_size=300, unk_token="<unk>", **how))
    else:
        found = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        if kind == "metaspace":
            found.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        else:
            found.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        how["special_tokens"] = [*listed, *(f"<0x{byte:02X}>" for byte in range(256))]
        found.train_from_iterator(said, trainers.BpeTrainer(vocab_size=500, **how))
    found.decoder = decoders.Metaspace()
    made = PreTrainedTokenizerFast(
        tokenizer_object=found,
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=["<|im_start|>", AddedToken("<|im_end|>", special=True, rstrip=True)],
    )
    made.chat_template = template
    return made


def folder(path: Path, family: str, made: Any) -> Path:
    """Save a model with random weights and its tokenizer."""
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    small = {"vocab_size": len(made), "max_position_embeddings": 256, "bos_token_id": 1, "eos_token_id": 2}
    deep = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    wide = {"hidden_size": 32, "intermediate_size": 48, **deep, **small}
    configs = {
        "llama": lambda: transformers.LlamaConfig(**wide),
        "qwen2": lambda: transformers.Qwen2Config(**wide, tie_word_embeddings=True),
        "gpt2": lambda: transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=256, **small),
    }
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(configs[family]())
    model.save_pretrained(path)
    made.save_pretrained(path)
    return path


class Stand:
    """What encoding asks of a base."""

    def __init__(self, made: Any) -> None:
        self.tokenizer = made


def said(rng: random.Random, odd: Sequence[str], most: int = 12) -> str:
    """Return words with odd things between them."""
    return "".join(
        rng.choice([*WORDS, *odd]) + rng.choice(["", " ", " ", "\n"]) for _ in range(rng.randrange(most))
    )
