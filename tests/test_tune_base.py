from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bases import CHATML, folder, tokenizer

from curate.errors import MissingExtra, RecipeError
from curate.stages import pinned as _pinned
from curate.tuning import base as bases
from curate.tuning import harvest, tiny
from curate.tuning.base import Base, open_base
from curate.tuning.contract import DOCUMENT, Text, Turn
from curate.tuning.encoding import encode
from curate.tuning.templates import FALLBACK
from curate.tuning.tiny import TinyRecipe

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("bases")
    return {
        "llama": folder(home / "llama", "llama", tokenizer(CHATML)),
        "qwen2": folder(home / "qwen2", "qwen2", tokenizer(CHATML, pad=False)),
        "gpt2": folder(home / "gpt2", "gpt2", tokenizer(None, pad=False)),
    }


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Base]:
    home = tmp_path_factory.mktemp("tiny")
    return home, open_base("tiny", folder=home, train=TinyRecipe().quick())


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_a_folder_of_any_family_is_a_base(family: str, folders: dict[str, Path]) -> None:
    found = open_base(str(folders[family]))
    assert (found.kind, found.family, found.hidden, found.length) == ("path", family, 32, 256)
    assert found.path == folders[family]
    assert not found.quantized
    model = found.model("float64", "cpu")
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert model.dtype == torch.float64
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert found.tokenizer.chat_template == (FALLBACK if family == "gpt2" else CHATML)
    assert found.tokenizer.pad_token is not None
    text = Text("k", (Turn("user", "river"), Turn("assistant", "stone")), "s")
    ids, learnt = encode(found, [text], 60).of(0)
    assert found.tokenizer.decode(ids[learnt]) == ("stone<eos>" if family == "gpt2" else "stone<|im_end|>")
    assert torch.isfinite(model(input_ids=torch.from_numpy(ids).long()[None]).logits).all()


def test_a_base_travels_without_its_tokenizer(folders: dict[str, Path]) -> None:
    found = open_base(str(folders["llama"]))
    assert len(found.tokenizer) > 0
    sent = pickle.dumps(found)
    assert len(sent) < 2000
    assert pickle.loads(sent) == found
    assert pickle.loads(sent).tokenizer("river")["input_ids"] == found.tokenizer("river")["input_ids"]


def test_the_hash_is_over_what_the_model_consists_of(folders: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(folders["llama"], tmp_path / "copy")
    before = open_base(str(folders["llama"])).sha256
    (copy / "README.md").write_text("about")
    assert open_base(str(copy)).sha256 == before
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        other = shutil.copytree(copy, tmp_path / name)
        content = (other / name).read_bytes()
        changed = content.replace(b"{", b"{ ", 1) if name.endswith("json") else content[:-1] + b"\x01"
        (other / name).write_bytes(changed)
        assert open_base(str(other)).sha256 != before, name


def test_the_learning_rate_follows_the_width(folders: dict[str, Path]) -> None:
    found = open_base(str(folders["llama"]))
    wide = replace(found, hidden=2000)
    assert wide.rate() == pytest.approx(2.5e-4)
    assert replace(wide, family="qwen2").rate() == pytest.approx(2.5e-4)
    assert replace(wide, hidden=128).rate() == pytest.approx(2.14e-3, rel=0.01)
    assert replace(wide, hidden=128, family="qwen3").rate() == pytest.approx(3.09e-4, rel=0.01)
    assert replace(wide, hidden=128, family="gpt2").rate() == replace(wide, hidden=128).rate()


def test_a_quantized_base_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(folders["llama"], tmp_path / "copy")
    stated = json.loads((copy / "config.json").read_text())
    stated["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (copy / "config.json").write_text(json.dumps(stated))
    assert open_base(str(copy)).quantized
    assert open_base(str(copy)).parameters == open_base(str(folders["llama"])).parameters


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of someone/small's commit in a hub's cache; there is no network."""
    from huggingface_hub import constants

    place = tmp_path / "models--someone--small"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    (place / "snapshots").mkdir()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    _pinned.commit.cache_clear()
    yield place / "snapshots" / COMMIT
    _pinned.commit.cache_clear()


def test_a_base_of_the_hub_is_pinned_by_its_commit(folders: dict[str, Path], offline: Path) -> None:
    shutil.copytree(folders["llama"], offline)
    found = open_base("someone/small")
    assert (found.kind, found.commit, found.path) == ("hub", COMMIT, offline)
    assert found.sha256 != open_base(str(folders["llama"])).sha256
    assert found.model().config.hidden_size == 32


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("someone/absent", "someone/absent.*nor in the hub's cache.*hf download"),
        ("./absent", "no such folder; allowed are 'tiny', a folder .* or a hub id"),
        ("gpt2", "no such folder; allowed are 'tiny', a folder .* or a hub id"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_a_base_that_is_not_there_is_one_clear_line(name: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as error:
        open_base(name)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_base_is_one_clear_line(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"the folder has nothing; expected config.json"):
        open_base(str(tmp_path / "empty"))
    bare = shutil.copytree(folders["llama"], tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    with pytest.raises(RecipeError, match="has no weights"):
        open_base(str(bare))
    (bare / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(RecipeError, match="no causal language model that transformers knows") as error:
        open_base(str(bare))
    assert "\n" not in str(error.value)
    lost = shutil.copytree(folders["llama"], tmp_path / "lost")
    (lost / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(RecipeError, match="it cannot be loaded"):
        open_base(str(lost)).model()


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"pip install 'curate\[tune\]'"):
        open_base("tiny")


def test_tiny_is_an_ordinary_model_that_has_learnt(quick: tuple[Path, Base]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, found = quick
    assert (found.kind, found.family, found.commit) == ("tiny", "llama", None)
    assert found.trained_on is not None
    assert found.trained_on["trained_tokens"] == found.trained_on["steps"] * 4 * 128
    own = AutoTokenizer.from_pretrained(found.path)
    model = AutoModelForCausalLM.from_pretrained(found.path)
    assert own("river 42")["input_ids"][0] == own.bos_token_id
    assert len(own.tokenize("4242")) == 4
    assert own.decode(own("漢字 🙂 é")["input_ids"], skip_special_tokens=True) == "漢字 🙂 é"
    ids = torch.tensor([own("Return the name of the file, or None if there is no such file.")["input_ids"]])
    loss = model(input_ids=ids, labels=ids).loss.item()
    assert loss < 0.9 * np.log(
        len(own)
    )  # after 60 steps; what knows nothing has the logarithm of the vocabulary


def test_tiny_is_trained_once_and_the_same_again_elsewhere(quick: tuple[Path, Base], tmp_path: Path) -> None:
    home, found = quick
    told: list[tuple[int, int]] = []
    again = open_base("tiny", folder=home, train=TinyRecipe().quick(), tick=lambda *step: told.append(step))
    assert again == found
    assert told == []
    script = (
        "import sys; from pathlib import Path; from curate.tuning import tiny;"
        "tiny.trained(tiny.TinyRecipe().quick(), Path(sys.argv[1]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert run.stdout == ""
    [other] = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert other.name == found.path.name
    for path in found.path.iterdir():
        assert (other / path.name).read_bytes() == path.read_bytes(), path.name


def test_tiny_learns_the_texts_it_is_given(tmp_path: Path) -> None:
    given = tuple(
        Text(f"k {i}", (Turn("user", f"Say {i}."), Turn("assistant", "the copper violin " * 6)), "s")
        for i in range(200)
    )
    recipe = replace(TinyRecipe().quick(), texts=given, harvested=0, vocabulary=300, length=64, rate=5e-3)
    told: list[tuple[int, int]] = []
    place = tiny.trained(recipe, tmp_path, lambda *step: told.append(step))
    assert told == [(step + 1, 60) for step in range(60)]
    assert tiny.told(place)["given"] == tiny.told(place)["texts"] == 200
    assert tiny.fingerprint(recipe) != tiny.fingerprint(replace(recipe, texts=given[:-1]))
    made = tiny.train(given, recipe)
    ids = torch.tensor([made.tokenizer("the copper violin the copper violin")["input_ids"]])
    assert made.model(input_ids=ids, labels=ids).loss.item() < 1.5
    with pytest.raises(RecipeError, match="it needs 256, one step's; give it more text"):
        tiny.train(given[:1], recipe)


def test_a_training_that_died_is_done_again(tmp_path: Path) -> None:
    texts = tuple(Text(f"k {i}", (Turn(DOCUMENT, "river stone window " * 9),), "s") for i in range(40))
    recipe = replace(TinyRecipe().quick(), texts=texts, harvested=0, vocabulary=300, steps=2)
    place = tmp_path / tiny.fingerprint(recipe)[:32]
    place.mkdir()
    (place / "config.json").write_text("{")
    assert open_base("tiny", folder=tmp_path, train=recipe).hidden == 64


def test_a_cache_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "file"))
    with pytest.raises(RecipeError, match="set CURATE_CACHE to a folder that can be written"):
        open_base("tiny", train=TinyRecipe().quick())
    monkeypatch.delenv("CURATE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert tiny.cache() == tmp_path / "cache" / "curate" / "bases"


SOURCE = '''
"""What the module is about, in a sentence that is long enough."""
raise RuntimeError("sources are never imported")

def mean(a, axis):
    """Return the mean of the values along an axis of the array.

    >>> mean([1, 2], 0)  # an example is no prose, however long it is

    Parameters
    ----------
    a: the values of which the mean is wanted, as many as there are

    Values that are missing are left out, as :func:`nanmean` does.
    """

class Short:
    """Too short."""
'''


def test_docstrings_are_read_as_prose_and_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in (
        ("b.py", SOURCE),
        ("a.py", "def broken("),
        ("test/c.py", SOURCE.replace("mean", "sum")),
    ):
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).write_text(content)
    paths = {"stdlib": str(tmp_path / "lib"), "purelib": str(tmp_path / "none")}
    monkeypatch.setattr("sysconfig.get_paths", lambda: paths)
    assert harvest.harvest(10**6) == [
        harvest.Found("", ("What the module is about, in a sentence that is long enough.",)),
        harvest.Found(
            "mean(a, axis)",
            (
                "Return the mean of the values along an axis of the array.",
                "Values that are missing are left out, as nanmean does.",
            ),
        ),
    ]
