"""The model that every run begins from: a causal LM of Hugging Face, or the embedded one.

``tiny`` is trained on first use (:mod:`curate.tuning.tiny`); any other name is a folder that transformers saved, or
an id on the hub. No code that a model brings along is run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from curate.errors import CurateError, MissingExtra, RecipeError
from curate.stages import pinned as _pinned
from curate.tuning.templates import FALLBACK

if TYPE_CHECKING:
    from curate.tuning.tiny import TinyRecipe

TINY = "tiny"
_MARKS = ("config.json",)
_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "peft")
_WEIGHTS = (
    "*.safetensors",
    "*.bin",
)  # the second only where there is none of the first, as transformers reads
_WORDS = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")  # configuration and tokenizer
LONGEST = 1024  # tokens of a row, though a base could take more: instructions are shorter, and attention is quadratic

# Learning rate of LoRA, 10 times that of full fine-tuning: 5e-4 (2000 / hidden)^p, Schulman et al., "LoRA Without
# Regret" (2025), and tinker-cookbook's hyperparam_utils; p by family, other families as Llama.
_RATE, _WIDTH = 5e-4, 2000
_POWERS = {"llama": 0.781, "qwen": 0.0775}
# Half of it: small proxies rank data as large models do at small rates only (arXiv 2512.24503).
_CAUTION = 0.5


@dataclass(frozen=True)
class Base:
    """A base that was found. It travels between processes without its tokenizer, which is read again."""

    name: str
    kind: Literal["tiny", "hub", "path"]
    sha256: str  # over configuration, tokenizer and weights
    parameters: int
    length: int  # most tokens in a row: what the base takes, at most LONGEST
    hidden: int  # width of the residual stream
    family: str  # transformers' model_type
    path: Path  # folder of its files; of a hub model in the hub's cache
    device: str = "cpu"
    quantized: bool = False  # its adapters are trained by PEFT
    commit: str | None = None  # of a hub model
    trained_on: dict[str, Any] | None = None  # of tiny
    vocabulary: int = 0  # tokens that the model has embeddings of; 0 where its configuration does not say

    @cached_property
    def tokenizer(self) -> Any:
        """Return transformers' tokenizer, always with a chat template and a padding token."""
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.path, trust_remote_code=False)
        except Exception as error:  # noqa: BLE001  whatever a model's files make libraries raise
            _refuse(self.name, "its tokenizer cannot be loaded", error)
        if not tokenizer.is_fast:
            raise RecipeError(
                f"base {self.name!r}: its tokenizer tells no characters of its tokens; name a base with a "
                "tokenizer.json"
            )
        if tokenizer.chat_template is None:
            tokenizer.chat_template = FALLBACK
        if tokenizer.pad_token is None:  # never learnt and never attended to: any token will do
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        return tokenizer

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "tokenizer"}

    def model(self, dtype: str = "float32", device: str | None = None) -> Any:
        """Return the model (PreTrainedModel), frozen and in eval mode. Raises RecipeError where it cannot be loaded.

        dtype: float32 | bfloat16 | float64; a quantized base keeps its own.
        """
        import torch
        from transformers import AutoModelForCausalLM

        device = device or self.device
        kinds: dict[str, Any] = {"dtype": getattr(torch, dtype)}
        if self.quantized:
            kinds = {"device_map": device}  # such a model cannot be moved once it is loaded
        try:
            with quiet():
                model = AutoModelForCausalLM.from_pretrained(self.path, trust_remote_code=False, **kinds)
        except Exception as error:  # noqa: BLE001  whatever a model's files make libraries raise
            _refuse(self.name, "it cannot be loaded", error)
        if not self.quantized:
            model = model.to(device)
        return model.eval().requires_grad_(False)

    def rate(self) -> float:
        """Return the learning rate for LoRA: half of 5e-4 (2000 / hidden)^0.781, of Qwen^0.0775."""
        power = next((p for name, p in _POWERS.items() if self.family.startswith(name)), _POWERS["llama"])
        return float(_CAUTION * _RATE * (_WIDTH / self.hidden) ** power)


def open_base(
    name: str,
    *,
    device: str = "cpu",
    folder: Path | None = None,
    train: TinyRecipe | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Base:
    """Return a base by its name: tiny, a folder, or an id on the hub.

    Args:
        name: As a recipe states it.
        device: Where its models are put unless told otherwise: cpu | cuda.
        folder: Of trained tiny bases; by default the user's cache.
        train: How tiny is trained; by default on natural English.
        tick: Is told steps done and of all while tiny is trained.

    Raises:
        MissingExtra: The libraries are not installed.
        RecipeError: There is no such base, or it is no causal LM that transformers can load.
    """
    if any(find_spec(library) is None for library in _LIBRARIES):
        raise MissingExtra.of("fine-tunes", "tune")
    if name == TINY:
        from curate.tuning import tiny

        path = tiny.trained(train or tiny.TinyRecipe(), folder, tick)
        return _read(name, "tiny", path, None, device, tiny.told(path))
    local = Path(name).expanduser().absolute()
    if local.is_dir():
        return _read(
            name, "path", Path(_pinned.local(name, local, _MARKS, "transformers").place), None, device
        )
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise RecipeError(
            f"base {name!r}: no such folder; allowed are {TINY!r}, a folder that transformers saved, or a hub id such "
            "as HuggingFaceTB/SmolLM2-135M-Instruct; correct it"
        )
    commit = _pinned.commit(name, None, _MARKS)
    try:
        path = Path(_pinned.fetched(name, commit))
    except CurateError:
        raise
    except Exception as error:  # noqa: BLE001  whatever the hub or its client say, its kind is enough
        raise RecipeError(
            f"base {name!r}: its files are not all in the hub's cache and cannot be fetched "
            f"({type(error).__name__}); fetch them with 'hf download {name}' where there is a network"
        ) from None
    return _read(name, "hub", path, commit, device)


def _read(
    name: str,
    kind: Literal["tiny", "hub", "path"],
    path: Path,
    commit: str | None,
    device: str,
    trained_on: dict[str, Any] | None = None,
) -> Base:
    """Return what a model's files say of it."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        parameters = _parameters(config)
    except Exception as error:  # noqa: BLE001  whatever a model's files make libraries raise
        _refuse(name, "it is no causal language model that transformers knows", error)
    text = config.get_text_config()
    return Base(
        name=name,
        kind=kind,
        sha256=_sha256(name, path, commit),
        parameters=parameters,
        length=min(int(getattr(text, "max_position_embeddings", None) or LONGEST), LONGEST),
        hidden=int(text.hidden_size),
        family=str(config.model_type),
        path=path,
        device=device,
        quantized=getattr(config, "quantization_config", None) is not None,
        commit=commit,
        trained_on=trained_on,
        vocabulary=int(getattr(text, "vocab_size", None) or 0),
    )


def _parameters(config: Any) -> int:
    """Return the number of parameters of a model of this configuration, without making any."""
    import copy

    import torch
    from transformers import AutoModelForCausalLM

    plain = copy.deepcopy(config)
    if hasattr(plain, "quantization_config"):  # quantized, weights are packed: counted as they were
        del plain.quantization_config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(plain, trust_remote_code=False)
    return sum(parameter.numel() for parameter in model.parameters())


def _sha256(name: str, path: Path, commit: str | None) -> str:
    """Return one SHA-256 over the files that a base consists of, and its commit on the hub."""
    weights = next((found for pattern in _WEIGHTS if (found := sorted(path.glob(pattern)))), [])
    if not weights:
        has = ", ".join(sorted(file.name for file in path.iterdir())[:8])
        raise RecipeError(f"base {name!r}: it has no weights ({has}); expected model.safetensors")
    words = sorted(file for pattern in _WORDS for file in path.glob(pattern))
    whole = hashlib.sha256((commit or "").encode())
    for file in [*words, *weights]:
        with file.open("rb") as opened:
            whole.update(f"\n{file.name}\0{hashlib.file_digest(opened, 'sha256').hexdigest()}".encode())
    return whole.hexdigest()


def _refuse(name: str, what: str, error: Exception) -> NoReturn:
    said = " ".join(str(error).split())[:300]
    raise RecipeError(
        f"base {name!r}: {what} ({type(error).__name__}: {said}); name one that transformers loads without code of "
        "its own"
    ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal, which has its own."""
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
