"""README.md makes load_dataset work on the release as it lies there, and says what the manifest says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from described import make
from ruamel.yaml import YAML

import curate
from curate.errors import RecipeError
from curate.govern import documents
from curate.govern.columns import spelled
from curate.govern.descriptions import card
from curate.govern.descriptions.fields import feature

SCHEMA = orjson.loads((Path(__file__).parent / "card.schema.json").read_bytes())


@pytest.fixture(scope="module", params=["parquet", "jsonl.zst"])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    return make(tmp_path_factory.mktemp("card"), request.param)


def front(text: str) -> dict[str, Any]:
    told: dict[str, Any] = YAML(typ="safe").load(text.split("---\n")[1])
    return told


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_load_dataset_reads_the_training_records_and_nothing_else(
    release: curate.Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    folder = shutil.copytree(release.path, tmp_path / "release")
    found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["train"]
    train = found["train"]
    schema = [column["name"] for column in release.manifest["schema"]["data"]]
    assert sorted(train.column_names) == sorted(schema)
    assert len(train) == release.manifest["counts"]["kept"]
    assert sorted(train["id"])[0] == "docs/d0"
    pair = next(row for row in train if row["source"] == "pairs")
    assert [turn["role"] for turn in pair["messages"]] == ["user", "assistant"]
    info = front((folder / "README.md").read_text())["dataset_info"]
    if "features" in info:
        assert datasets.Features._from_yaml_list(info["features"]) == train.features


def test_the_front_matter_is_valid_and_reads_the_same_in_yaml_1_1(release: curate.Release) -> None:
    import jsonschema
    import yaml

    text = (release.path / "README.md").read_text()
    told = front(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(told)
    assert yaml.safe_load(text.split("---\n")[1]) == told  # the Hub reads YAML 1.1, where no is false
    shards = [entry for entry in release.manifest["outputs"] if entry["path"].startswith("data/")]
    split = told["dataset_info"]["splits"][0]
    assert split["num_examples"] == sum(shard["records"] for shard in shards)
    assert split["num_bytes"] == sum((release.path / shard["path"]).stat().st_size for shard in shards)


def test_huggingface_hub_reads_the_card(release: curate.Release) -> None:
    from huggingface_hub import DatasetCard

    told = DatasetCard.load(release.path / "README.md").data.to_dict()
    assert told["license"] == "other"
    assert told["license_name"] == "apache-2.0-and-cc-by-4.0-and-mit"
    assert told["size_categories"] == ["n<1K"]


def test_every_number_of_the_card_stands_in_the_manifest(release: curate.Release) -> None:
    held = set(re.findall(r"\d+", orjson.dumps(release.manifest).decode()))
    shards = [entry for entry in release.manifest["outputs"] if entry["path"].startswith("data/")]
    held |= {str(sum(shard["bytes"] for shard in shards)), "1", "2026"}
    text = (release.path / "README.md").read_text().replace("n<1K", "")
    assert release.manifest["root"] in text
    for line in re.sub(r"[\d.]+%", "", text).replace(release.manifest["root"], "").splitlines():
        for number in re.findall(r"(?<![\w.-])\d[\d,]*", line):
            assert number.replace(",", "") in held, line


def test_the_card_has_no_placeholder_and_no_empty_part(release: curate.Release) -> None:
    text = (release.path / "README.md").read_text()
    assert not re.search(r"More Information|TODO|None\b|\bnan\b|\[\]\(", text)
    parts = re.split(r"^#+ .*$", text, flags=re.MULTILINE)[1:]
    assert len(parts) > 5
    assert all(part.strip() for part in parts)
    for link in re.findall(r"\]\(([^):#]+)\)", text):
        assert (release.path / link).is_file()


def test_languages_are_quoted_where_yaml_1_1_reads_a_word() -> None:
    import yaml

    told = {"language": ["en", "no", "y"], "title": "2026-05-01", "version": "1.10", "time": "12:30:00"}
    assert yaml.safe_load(card._yaml(told)) == told


def test_features_are_those_that_datasets_tells_of_arrow_types() -> None:
    import datasets
    import pyarrow as pa

    turns = pa.list_(pa.struct([("role", pa.string()), ("n", pa.list_(pa.int32()))]))
    schema = pa.schema(
        {
            "a": pa.string(),
            "b": pa.int8(),
            "c": pa.float32(),
            "d": pa.bool_(),
            "e": pa.list_(pa.float64()),
            "f": turns,
            "g": pa.struct([("x", pa.date32()), ("y", pa.timestamp("us", "UTC"))]),
        }
    )
    made = [feature(one.name, spelled(one.type)) for one in schema]
    assert datasets.Features._from_yaml_list(made) == datasets.Features.from_arrow_schema(schema)
    assert feature("salt", spelled(pa.binary(16))) is None


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        ("MIT", "mit"),
        ("CC-BY-SA-4.0", "cc-by-sa-4.0"),
        ("ODC-By-1.0", "odc-by"),
        ("GPL-3.0-only", "gpl-3.0"),
        ("GPL-3.0-or-later", None),  # the Hub's gpl-3.0 says nothing of later versions
        ("LGPLLR", "lgpl-lr"),
        ("NLOD-2.0", None),
        ("LicenseRef-curate-CC-BY", None),
        ("MIT OR Apache-2.0", None),
    ],
)
def test_licenses_have_the_hub_s_id_or_none(one: str, wanted: str | None) -> None:
    assert card.hub_license(one) == wanted


@pytest.mark.parametrize(
    ("records", "wanted"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**12, "n>1T")],
)
def test_sizes_are_in_the_hub_s_categories(records: int, wanted: str) -> None:
    assert card.size_category(records) == wanted


def test_a_readme_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    release = make(tmp_path)
    mine = release.path / "README.md"
    mine.write_text("# My own notes\n")
    for write in (
        lambda: curate.run(tmp_path / "curate.yaml", workers=1, fresh=True),
        lambda: documents.write(release.path, release.manifest),
    ):
        with pytest.raises(RecipeError, match=r"README.md: was not made by curate"):
            write()
    assert mine.read_text() == "# My own notes\n"
    mine.unlink()
    documents.write(release.path, release.manifest)
    assert card.is_ours(mine.read_bytes())
