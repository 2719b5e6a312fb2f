"""A stack of LoRA runs is those runs done one by one with PEFT, and what it saves PEFT loads."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from peft import PeftModel  # noqa: E402
from reference import lora as twin  # noqa: E402
from transformers import AutoModelForCausalLM as Auto  # noqa: E402
from transformers import (  # noqa: E402
    BloomConfig,
    Gemma2Config,
    GPT2Config,
    Lfm2Config,
    LlamaConfig,
    Mamba2Config,
    MistralConfig,
    MixtralConfig,
    OPTConfig,
    Qwen3Config,
    set_seed,
)

from curate.errors import RecipeError, StageError  # noqa: E402
from curate.tuning import adapters, lora, routes, training  # noqa: E402
from curate.tuning.contract import Setup, Stream  # noqa: E402

# PEFT's own use of what transformers is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
torch.set_num_threads(1)
VOCABULARY = 97
SETUP = Setup(base="test", length=48, rows=2, tokens=0, rate=5e-3, rank=8, alpha=16)
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA = LlamaConfig(**SMALL, tie_word_embeddings=True)


def model(config: Any = LLAMA, dtype: Any = torch.float32) -> Any:
    set_seed(0)
    made = Auto.from_config(config).to(dtype).eval()
    for (
        parameter
    ) in made.parameters():  # larger than transformers' start, so that there is something to learn
        parameter.data.mul_(3.0)
    return made.requires_grad_(False)


def stream(seed: int, steps: int, setup: Setup = SETUP) -> Stream:
    """Texts of random lengths, packed; the second half of each is learnt."""
    rng = np.random.default_rng(seed)
    shape = (steps, setup.rows, setup.length)
    ids = rng.integers(3, VOCABULARY, shape, dtype=np.int32)
    labels, positions = np.full(shape, -100, np.int32), np.zeros(shape, np.int32)
    for row in np.ndindex(shape[:2]):
        begin = 0
        while begin < setup.length:
            size = min(int(rng.integers(4, 30)), setup.length - begin)
            positions[row][begin : begin + size] = np.arange(size)
            half = slice(begin + max(1, size // 2), begin + size)
            labels[row][half] = ids[row][half]
            begin += size
    return Stream(ids, labels, positions, ids.size, 1.0)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-9), (torch.float32, 5e-4)])
def test_eight_stacked_runs_are_eight_runs_of_peft(dtype: Any, near: float) -> None:
    streams = [stream(arm, 40) for arm in range(8)]
    seeds = [0, 0, 0, 1, 1, 1, 2, 2]
    with lora.attach(model(dtype=dtype), 8, SETUP, seeds) as stack:
        curve = training.train(stack, streams, SETUP)
        found = {
            f"{name}.{part}": getattr(layer, part).detach().clone()
            for name, layer in stack.layers.items()
            for part in "AB"
        }
    assert not any("lm_head" in name for name in found)
    for arm in range(8):
        expected, losses = twin.train(model(dtype=dtype), streams[arm], SETUP, seeds[arm])
        assert np.allclose(curve[arm], losses, rtol=near, atol=0)
        assert expected.keys() == found.keys()
        for name, matrix in expected.items():
            assert float((found[name][arm] - matrix).abs().max()) <= near * float(matrix.abs().max())


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SMALL, attention_bias=True, tie_word_embeddings=False),
        Qwen3Config(**SMALL, head_dim=8),
        MistralConfig(**SMALL, sliding_window=8, head_dim=8),  # makes its own masks
        Gemma2Config(**SMALL, head_dim=8, sliding_window=8, query_pre_attn_scalar=8),  # bends its logits
    ],
    ids=lambda config: config.model_type,
)
def test_other_families_train_as_with_peft(config: Any) -> None:
    streams = [stream(arm, 6) for arm in range(2)]
    with lora.attach(model(config, torch.float64), 2, SETUP, [3, 3]) as stack:
        curve = training.train(stack, streams, SETUP)
    for arm in range(2):
        _, losses = twin.train(model(config, torch.float64), streams[arm], SETUP, 3)
        assert np.allclose(curve[arm], losses, rtol=1e-9, atol=0)


def test_arms_with_fewer_steps_stop_while_others_go_on() -> None:
    streams = [stream(0, 9), stream(1, 4)]
    with lora.attach(model(dtype=torch.float64), 2, SETUP, [0, 0]) as stack:
        curve = training.train(stack, streams, SETUP)
        found = stack.layers["model.layers.0.mlp.up_proj"].B[1].detach().clone()
    assert np.isnan(curve[1, 4:]).all()
    assert not np.isnan(curve[0]).any()
    expected, losses = twin.train(model(dtype=torch.float64), streams[1], SETUP, 0)
    assert np.allclose(curve[1, :4], losses, rtol=1e-9)
    assert torch.allclose(found, expected["model.layers.0.mlp.up_proj.B"], rtol=0, atol=1e-9)


def test_arms_of_a_seed_begin_alike_and_of_others_do_not() -> None:
    with lora.attach(model(), 3, SETUP, [5, 5, 6]) as stack:
        for layer in stack.layers.values():
            assert torch.equal(layer.A[0], layer.A[1])
            assert not torch.equal(layer.A[0], layer.A[2])
            assert not layer.B.any()
            bound = layer.base.in_features**-0.5
            assert 0.9 * bound < float(layer.A.detach().abs().max()) <= bound


def test_the_head_in_chunks_is_the_head_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    curves = []
    for numbers in (1, 7 * VOCABULARY, 1 << 30):
        monkeypatch.setattr(training, "_HEAD_NUMBERS", numbers)
        with lora.attach(model(dtype=torch.float64), 2, SETUP, [0, 1]) as stack:
            curves.append(training.train(stack, [stream(0, 5), stream(1, 5)], SETUP))
    assert np.allclose(curves[0], curves[2], rtol=1e-12)
    assert np.allclose(curves[1], curves[2], rtol=1e-12)


def test_a_text_sees_nothing_of_its_neighbours() -> None:
    one = stream(0, 1)
    other = Stream(one.ids.copy(), one.labels, one.positions, one.tokens, 1.0)
    begin = int(np.flatnonzero(one.positions[0, 0] == 0)[1])
    other.ids[0, 0, :begin] = 3  # another first text
    held = model()
    path = routes.route(held)
    nats = [training.losses(path, next(training.batches([s], "cpu")))[1] for s in (one, other)]
    learnt = int((one.labels[0, 0, :begin] >= 0).sum())
    assert torch.equal(nats[0][learnt:], nats[1][learnt:])
    assert not torch.equal(nats[0][:learnt], nats[1][:learnt])


WIDE = {name: SMALL[name] for name in ("hidden_size", "vocab_size", "pad_token_id", "bos_token_id")}


@pytest.mark.parametrize(
    ("config", "apart"),
    [
        (LLAMA, False),
        (OPTConfig(**WIDE, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=32), False),
        (BloomConfig(**WIDE, n_layer=2, n_head=4), True),  # ALiBi: reads no positions
        (Lfm2Config(**SMALL, layer_types=["conv", "full_attention"]), True),  # carries a state along
    ],
    ids=lambda given: getattr(given, "model_type", None),
)  # fmt: skip
def test_packed_texts_have_the_losses_that_transformers_gives_them_alone(config: Any, apart: bool) -> None:
    held = model(config, torch.float64)
    streams = [stream(arm, 1) for arm in range(3)]
    expected = []
    for each in streams:
        for row in zip(each.ids[0], each.labels[0], each.positions[0], strict=True):
            cuts = np.flatnonzero(row[2] == 0)[1:]
            for ids, labels in zip(
                *(np.split(torch.from_numpy(part).long(), cuts) for part in row[:2]), strict=True
            ):
                if (count := int((labels[1:] >= 0).sum())) > 0:
                    expected.append(count * held(input_ids=ids[None], labels=labels[None]).loss.item())
    with lora.attach(held, 3, SETUP, [0, 1, 2]) as stack:
        path = routes.route(stack.model)
        assert path.apart == apart
        _, nats = training.losses(path, next(training.batches(streams, "cpu", path.apart)))
    assert np.isclose(float(nats.sum()), sum(expected), rtol=1e-6)  # transformers sums in float32


def test_a_base_that_keeps_no_keys_and_values_is_one_clear_error() -> None:
    held = model(Mamba2Config(**WIDE, num_hidden_layers=2, state_size=4, head_dim=8, num_heads=8, n_groups=1))
    with pytest.raises(RecipeError, match="mamba2 keeps no keys and values"):
        routes.route(held)


def test_bfloat16_keeps_adapters_in_float32() -> None:
    with lora.attach(model(dtype=torch.bfloat16), 2, SETUP, [0, 1]) as stack:
        assert stack.weights.dtype == torch.float32
        curve = training.train(stack, [stream(0, 12), stream(1, 12)], SETUP)
    with lora.attach(model(), 2, SETUP, [0, 1]) as stack:
        exact = training.train(stack, [stream(0, 12), stream(1, 12)], SETUP)
    assert np.allclose(curve, exact, rtol=0.05)


def test_a_merged_run_answers_alike_and_leaves_no_trace() -> None:
    held, fresh, ids = model(), model(), torch.from_numpy(stream(9, 1).ids[0].astype(np.int64))
    with lora.attach(held, 1, SETUP, [0]) as stack, torch.no_grad():
        stack.weights.add_(0.05)
        plain, base = held(ids).logits, fresh(ids).logits
        with stack.merged():
            merged = held(ids).logits
        assert torch.equal(held(ids).logits, plain)
    assert torch.allclose(merged, plain, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(merged, base, rtol=1e-2, atol=1e-2)
    assert all(torch.equal(a, b) for a, b in zip(held.parameters(), fresh.parameters(), strict=True))


def test_detaching_gives_the_model_back() -> None:
    held, fresh = model(), model()
    with lora.attach(held, 2, SETUP, [0, 1]) as stack:
        training.train(stack, [stream(0, 3), stream(1, 3)], SETUP)
    assert [name for name, _ in held.named_modules()] == [name for name, _ in fresh.named_modules()]
    assert all(torch.equal(a, b) for a, b in zip(held.parameters(), fresh.parameters(), strict=True))


def test_a_run_that_diverges_is_an_error() -> None:
    wild = Setup(base="test", length=48, rows=2, tokens=0, rate=1e30, rank=8, alpha=16)
    with (
        lora.attach(model(), 1, wild, [0]) as stack,
        pytest.raises(StageError, match=r"no number at step \d"),
    ):
        training.train(stack, [stream(0, 8)], wild)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=VOCABULARY), "Conv1D"),
        (MixtralConfig(**SMALL, num_local_experts=2), "mixture of experts"),
    ],
    ids=["gpt2", "mixtral"],
)
def test_bases_that_cannot_be_stacked_are_sent_to_peft(config: Any, why: str) -> None:
    with pytest.raises(RecipeError, match=rf"{why}.*--executor peft"):
        lora.attach(Auto.from_config(config), 2, SETUP, [0, 0])


def test_saved_adapters_are_loaded_by_peft(tmp_path: Path) -> None:
    base = SimpleNamespace(name="org/model", kind="hub", commit=None)
    held, ids = model(), torch.from_numpy(stream(9, 1).ids[0].astype(np.int64))
    with lora.attach(held, 3, SETUP, [0, 1, 2]) as stack:
        training.train(stack, [stream(arm, 6) for arm in range(3)], SETUP)
        with torch.no_grad():
            logits = held(ids.repeat(3, 1)).logits.view(3, *ids.shape, VOCABULARY)
        for arm in range(3):
            adapters.save(stack, arm, tmp_path / f"{arm}", SETUP, base)
            adapters.save(stack, arm, tmp_path / f"{arm}-again", SETUP, base)
    for arm in range(3):
        loaded = PeftModel.from_pretrained(model(), tmp_path / f"{arm}")
        with torch.no_grad():
            assert float((loaded(ids).logits - logits[arm]).abs().max()) <= 1e-5
            assert float((model()(ids).logits - logits[arm]).abs().max()) > 1e-2
        for name in (adapters.WEIGHTS, adapters.TOLD):
            assert (tmp_path / f"{arm}" / name).read_bytes() == (
                tmp_path / f"{arm}-again" / name
            ).read_bytes()
    told = json.loads((tmp_path / "0" / adapters.TOLD).read_text())
    assert told["target_modules"] == sorted(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
