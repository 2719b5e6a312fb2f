"""A tune from end to end: what it enters in the release, what becomes of it there, and that it is the same again."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from conftest import contents, sentence, write_jsonl

import curate
from curate.cli import main
from curate.errors import IntegrityError, RecipeError

pytest.importorskip("torch")

from curate.tuning import trial
from curate.tuning.experiment import plan
from curate.tuning.tiny import TinyRecipe, trained

RECIPE = """\
curate: 1
name: talks
version: "1"
sources: [{name: talks, files: [talks.jsonl], license: CC0-1.0}]
stages:
  - exact
  - minhash: {similarity: 0.7, recall: 0.99}
  - pii: {entities: [EMAIL_ADDRESS]}
tune: {seeds: 2, tokens: 3000, heldout: 40}
"""
SMALL: dict[str, Any] = {"workers": 1, "second": False}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that is trained in seconds, as a folder."""
    return trained(TinyRecipe().quick(), tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="module")
def untuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of conversations with copies, near copies and addresses."""
    folder = tmp_path_factory.mktemp("talks")
    dice = random.Random(3)
    rows = []
    for i in range(260):
        answer = sentence(dice, 30)
        if i % 13 == 0:
            answer += f" Write to {sentence(dice, 1)}.{i}@example.org about it."
        rows.append(
            {"id": i, "instruction": f"Tell of the {sentence(dice, 5)}", "output": answer, "author": f"a{i}"}
        )
    for i in range(0, 60, 2):
        rows.append({**rows[1], "id": f"copy{i}"})
        near = [*str(rows[i]["output"]).split()[:-1], "again"]
        rows.append({**rows[i], "id": f"near{i}", "output": " ".join(near)})
    write_jsonl(folder / "talks.jsonl", rows)
    (folder / "curate.yaml").write_text(RECIPE)
    curate.run(folder / "curate.yaml", workers=1)
    return folder


@pytest.fixture(scope="module")
def folder(untuned: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, tuned."""
    copied = tmp_path_factory.mktemp("tuned") / "talks"
    shutil.copytree(untuned, copied)
    curate.tune(copied / "release", base=str(base), **SMALL)
    return copied


def test_a_tune_is_entered_in_the_release_and_verifies(folder: Path) -> None:
    out = folder / "release"
    told = curate.load(out).manifest["tune"]
    assert {"raw", "random_drop", "full", "planted", "canary", "canary_scrubbed"} <= {
        a["name"] for a in told["arms"]
    }
    assert {one["stage"] for one in told["filters"]} | {one["stage"] for one in told["skipped"]} == {
        "exact", "minhash", "pii",
    }  # fmt: skip
    assert curate.verify(out).ok
    assert "Filter effects" in (out / "datasheet.md").read_text()
    assert "pii" in (out / "tune" / "report.html").read_text()
    assert not (out / "work").exists()


def test_every_loss_is_in_the_release_and_adds_up_to_what_is_told(folder: Path) -> None:
    out = folder / "release"
    told = curate.load(out).manifest["tune"]
    losses = pq.read_table(out / "tune" / "losses.parquet").to_pylist()
    items = {row["item"] for row in losses}
    assert len(losses) == len(items) * len(told["arms"]) * 2
    for arm in told["arms"]:
        values = []
        for seed in told["setup"]["seeds"]:
            own = [r for r in losses if r["arm"] == arm["name"] and r["seed"] == seed and "raw" in r["sets"]]
            values.append(sum(row["bits"] for row in own) / sum(row["bytes"] for row in own))
        assert arm["metrics"]["bpb@raw"]["value"] == pytest.approx(sum(values) / len(values), rel=1e-12)


@pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)  # of PEFT's own call
def test_adapters_load_in_peft_and_are_listed(folder: Path, base: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    out = folder / "release"
    manifest = curate.load(out).manifest
    listed = {entry["path"] for entry in manifest["outputs"]}
    assert {one["arm"] for one in manifest["tune"]["adapters"]} == {
        arm["name"] for arm in manifest["tune"]["arms"]
    }
    ids = torch.arange(5, 25)[None]
    logits = {}
    for one in manifest["tune"]["adapters"]:
        assert f"{one['path']}/adapter_model.safetensors" in listed
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(out / one["path"]))
        with torch.no_grad():
            logits[one["arm"]] = model(ids).logits
    assert not torch.equal(logits["raw"], logits["full"])


def test_the_same_tune_again_is_the_same_release(
    folder: Path, untuned: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped half-way and begun again, it is what it would have been."""
    copied = tmp_path / "talks"
    shutil.copytree(untuned, copied)
    done: list[str] = []

    def stop(name: str) -> None:
        done.append(name)
        if len(done) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        curate.tune(copied / "release", base=str(base), watch=trial.Watch(advance=stop), **SMALL)
    assert "tune" not in curate.load(copied / "release").manifest
    left = len(list((copied / "release" / "work" / "tune").glob("*/runs/*/result.npz")))
    again: list[str] = []
    curate.tune(copied / "release", base=str(base), watch=trial.Watch(advance=again.append), **SMALL)
    assert left >= 4
    assert again.count("") >= left
    mine, theirs = contents(copied / "release"), contents(folder / "release")
    timed = {"tune/report.html", "tune/report.json"}  # tell what the arms cost
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if mine[name] != theirs[name] and name not in timed] == []


def test_a_changed_adapter_is_found(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "release"
    shutil.copytree(folder / "release", out)
    path = out / "tune" / "adapters" / "full" / "adapter_model.safetensors"
    held = bytearray(path.read_bytes())
    held[-1] ^= 1
    path.write_bytes(held)
    report = curate.verify(out)
    assert report.first is not None
    assert report.first.file == "tune/adapters/full/adapter_model.safetensors"


def test_a_run_of_the_same_keeps_what_was_tuned_and_another_does_not(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "talks"
    shutil.copytree(folder, copied)
    tuned = curate.load(copied / "release").manifest
    again = curate.run(copied / "curate.yaml", workers=1, fresh=True).manifest
    assert again["root"] == tuned["root"]
    assert curate.verify(copied / "release").ok
    (copied / "curate.yaml").write_text(RECIPE.replace("0.7,", "0.8,"))
    other = curate.run(copied / "curate.yaml", workers=1).manifest
    assert "tune" not in other
    assert not (copied / "release" / "tune").exists()
    assert curate.verify(copied / "release").ok


def test_a_foreign_file_among_what_was_tuned_stops_a_run(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "talks"
    shutil.copytree(folder, copied)
    (copied / "release" / "tune" / "notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match=r"tune/notes\.txt is no file of a release"):
        curate.run(copied / "curate.yaml", workers=1, fresh=True)


def test_a_take_down_names_the_adapters_and_finds_no_trace_to_erase(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "talks"
    shutil.copytree(folder, copied)
    out = copied / "release"
    done = curate.takedown(out, ids=["talks/26"])
    assert "tune/adapters/full" in orjson.dumps(done, default=vars).decode()
    assert curate.verify(out).ok
    assert curate.load(out).manifest["tune"] == curate.load(folder / "release").manifest["tune"]
    for path in (out / "tune").rglob("*"):
        assert not path.is_file() or b"talks/26" not in path.read_bytes()


def test_equal_passes_are_told_beside_equal_tokens(untuned: Path, base: Path, tmp_path: Path) -> None:
    shutil.copytree(untuned, tmp_path / "talks")
    out = tmp_path / "talks" / "release"
    told = curate.tune(
        out, base=str(base), budget="both", mixture="fixed", arms=("raw", "full"), **SMALL
    ).told
    both = {one["metric"]: one for one in told["contrasts"] if one["question"] == "whole"}
    assert both["bpb@raw"]["primary"]
    passed = both["bpb@raw, equal passes"]
    assert not passed["primary"]
    assert passed["effect"] != both["bpb@raw"]["effect"]
    assert "equal passes" in (out / "tune" / "report.html").read_text()
    assert curate.verify(out).ok


def test_a_plan_tells_the_runs_and_writes_nothing(untuned: Path) -> None:
    before = contents(untuned / "release")
    planned = plan(untuned / "release", arms="each", seeds=4)
    assert planned.runs == 4 * len(planned.arms)
    assert {name for name, _, _ in planned.arms} >= {"raw", "only_minhash", "only_pii", "full"}
    assert contents(untuned / "release") == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--executor", "fast"], "--executor fast: allowed: auto, stacked, pool, peft, ray"),
        (["--arms", "without_exakt"], "without_exakt"),
        (["--eval", "none.jsonl"], "none.jsonl: no such file"),
        (["--base", "./nowhere"], "base './nowhere': no such folder"),
        (["--seeds", "0"], "seeds"),
        (["--calibrate", "--seeds", "1"], "--calibrate: found 1 seed"),
    ],
)
def test_wrong_options_are_one_clear_error(
    untuned: Path,
    options: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["tune", str(untuned / "release"), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_changed_manifest_is_not_tuned(untuned: Path, tmp_path: Path) -> None:
    out = tmp_path / "release"
    shutil.copytree(untuned / "release", out)
    manifest = orjson.loads((out / "manifest.json").read_bytes())
    manifest["counts"]["kept"] += 1
    (out / "manifest.json").write_bytes(orjson.dumps(manifest))
    with pytest.raises(IntegrityError, match="was changed after the run"):
        curate.tune(out)
