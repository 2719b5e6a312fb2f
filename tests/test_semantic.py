"""What `semantic` drops, what it keeps, and why; with models of a few thousand numbers made here."""

from __future__ import annotations

import importlib.util
import pickle
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pytest
from conftest import contents, write_jsonl
from pydantic import ValidationError
from reference import sketches
from reference.sketches import chat

import curate
from curate.errors import MissingExtra, RecipeError
from curate.kernels import survivor
from curate.record import Batch
from curate.stages import pinned as _pinned
from curate.stages.dedup import embeddings, neighbours
from curate.stages.dedup.resolved import Resolved
from curate.stages.semantic import Semantic

installed = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sentence_transformers", "faiss")),
    reason="the extra 'semantic' is not installed: pip install 'curate[semantic]'",
)

# Words of one line mean nearly the same.
MEANINGS = """
car automobile vehicle
quick fast rapid
begin start commence
house home dwelling
doctor physician medic
big large huge
child kid youngster
river
stone
copper
garden
violin
winter
market
engine
pepper
""".strip().splitlines()
SYNONYMS = [line.split() for line in MEANINGS]
WORDS = [word for line in SYNONYMS for word in line]
DIMENSION = 48


def word_vectors() -> npt.NDArray[np.float32]:
    """Return a vector per word: [PAD], [UNK], [CLS], [SEP], then WORDS; synonyms at a cosine of about 0.98."""
    rng = np.random.default_rng(7)
    rows = [np.zeros(DIMENSION)] * 4
    for line in SYNONYMS:
        meaning = rng.standard_normal(DIMENSION)
        rows += [meaning + 0.15 * rng.standard_normal(DIMENSION) * (word != line[0]) for word in line]
    return np.array(rows, np.float32)


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment,unused-ignore]
    return words


@pytest.fixture(scope="session")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that adds up the vectors of a text's words, of no length limit."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    folder = tmp_path_factory.mktemp("models") / "bag"
    SentenceTransformer(
        modules=[StaticEmbedding(tokenizer(), embedding_weights=word_vectors())], device="cpu"
    ).save(str(folder))
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer with random weights that reads 24 tokens; its vectors vary with a batch's make-up."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    inner, folder = tmp_path_factory.mktemp("inner"), tmp_path_factory.mktemp("models") / "bert"
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer(), **special).save_pretrained(inner)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        BertModel(
            BertConfig(
                vocab_size=len(WORDS) + 4,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=64,
                max_position_embeddings=64,
                initializer_range=0.4,
            )
        ).save_pretrained(inner)
    modules = [Transformer(str(inner), max_seq_length=24), Pooling(32)]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    return folder


def stage(model: Path, **options: Any) -> Semantic:
    return Semantic(Semantic.Options(model=str(model), device="cpu", **options))


def resolved(barrier: Semantic, batches: Sequence[Batch], scratch: Path) -> Resolved:
    found = sketches.resolve(barrier, [[batch] for batch in batches], scratch)
    assert isinstance(found, Resolved)
    return found


def said(barrier: Semantic, batches: Sequence[Batch]) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as scratch:
        return sketches.judge(resolved(barrier, batches, Path(scratch)), batches)


def dropped(barrier: Semantic, records: Sequence[dict[str, Any]]) -> set[int]:
    """Return the positions, from 0, of the records that the barrier drops."""
    found = said(barrier, [sketches.batch(records)])
    return {index for index, line in enumerate(found.values()) if line["action"] == "drop"}


def texts(*given: str) -> list[dict[str, Any]]:
    return [{"text": text} for text in given]


STORY = "the doctor has a big house and a quick car"
RETOLD = "the physician has a large home and a fast automobile"
OTHER = "the doctor has a violin garden and copper market"


@installed
def test_a_text_in_other_words_is_dropped_and_one_that_says_something_else_is_not(bag: Path) -> None:
    assert dropped(stage(bag), texts(STORY, OTHER, RETOLD)) == {0}  # the longer one stays
    assert dropped(stage(bag, similarity=0.999), texts(STORY, OTHER, RETOLD)) == set()


@installed
def test_evidence_names_the_twin_the_similarities_and_the_cluster_and_no_text(bag: Path) -> None:
    from sentence_transformers import SentenceTransformer

    records = [chat(f"begin {STORY}", f"{RETOLD} {RETOLD}"), chat(f"start {RETOLD}", f"{STORY} {RETOLD}")]
    first, second = said(stage(bag), [sketches.batch(records)]).values()
    kept, gone = (first, second) if first["action"] == "keep" else (second, first)
    vectors = SentenceTransformer(str(bag), device="cpu").encode(
        [m["content"] for r in records for m in r["messages"]]
    )
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    true = [float(vectors[0] @ vectors[2]), float(vectors[1] @ vectors[3])]
    evidence = orjson.loads(gone["evidence"])
    assert gone["reason"] == "semantic/near-duplicate"
    assert set(evidence) == {"similarity", "prompt_similarity", "response_similarity", "kept", "cluster"}
    assert [evidence["prompt_similarity"], evidence["response_similarity"]] == pytest.approx(true, abs=2e-6)
    assert (
        evidence["similarity"]
        == gone["score"]
        == min(evidence["prompt_similarity"], evidence["response_similarity"])
    )
    assert evidence["kept"].replace("#", "/") == gone["kept_id"].removeprefix("s/")
    assert evidence["cluster"] == kept["fact:semantic_cluster"] == gone["fact:semantic_cluster"]


@installed
def test_prompt_and_response_must_both_agree_unless_one_of_them_is_asked_for(bag: Path) -> None:
    same_prompt = [chat(STORY, "river stone"), chat(RETOLD, "winter pepper")]
    same_response = [chat("river stone", STORY), chat("winter pepper", RETOLD)]
    swapped = [chat(STORY, "river stone"), chat("river stone", STORY)]
    assert [len(dropped(stage(bag, on="both"), r)) for r in (same_prompt, same_response, swapped)] == [
        0,
        0,
        0,
    ]
    assert [len(dropped(stage(bag, on="prompt"), r)) for r in (same_prompt, same_response)] == [1, 0]
    assert [len(dropped(stage(bag, on="response"), r)) for r in (same_prompt, same_response)] == [0, 1]
    assert len(dropped(stage(bag, on="whole"), swapped)) == 1  # a bag of words sees no order
    unanswered = [chat(STORY, " "), chat(OTHER, ""), chat(RETOLD, "")]
    assert len(dropped(stage(bag, on="response"), unanswered)) == 1  # judged by the prompts
    assert dropped(stage(bag), [chat(STORY, ""), chat("", STORY)]) == set()


@installed
def test_records_that_differ_in_a_number_stay_unless_numbers_do_not_count(bag: Path) -> None:
    sums = texts(f"{STORY} 17 4", f"{STORY} 17 5", f"{STORY} 4 17 ", f"{STORY} 174")
    assert dropped(stage(bag), sums) == {0}
    assert len(dropped(stage(bag, same_numbers=False), sums)) == 3


@installed
def test_empty_records_equal_each_other_and_words_unknown_to_the_model_equal_nothing(bag: Path) -> None:
    gone = dropped(stage(bag), texts("", "  \n", STORY, "zzz", "zzz yyy"))
    assert gone in ({0}, {1})
    assert len(dropped(stage(bag), [chat("", ""), chat("", ""), chat("", STORY), chat(STORY, "")])) == 1
    assert len(dropped(stage(bag), texts("", " "))) == 1


def random_text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def reworded(rng: random.Random, text: str, share: float) -> str:
    """Return the text with some of its words replaced by any."""
    return " ".join(rng.choice(WORDS) if rng.random() < share else word for word in text.split())


def lookalikes(records: int) -> list[dict[str, Any]]:
    rng = random.Random(5)
    seeds = [random_text(rng, rng.choice([6, 12, 18])) for _ in range(records // 4)]
    return [
        chat(reworded(rng, seed, 0.1), reworded(rng, seed, rng.choice([0, 0.1, 0.4])))
        for seed in seeds
        for _ in range(4)
    ]


@installed
@pytest.mark.parametrize("threshold", [0.7, 0.9])
def test_a_record_is_dropped_only_against_the_most_similar_kept_one_before_it(
    bag: Path, threshold: float
) -> None:
    """Chains of lookalikes do not collapse: the slow twin goes through all pairs in policy order."""
    from sentence_transformers import SentenceTransformer

    records = lookalikes(160)
    batch = sketches.batch(records)
    model = SentenceTransformer(str(bag), device="cpu")
    turns = np.array([[m["content"] for m in r["messages"]] for r in records])
    sides = [np.asarray(model.encode(list(side)), np.float64) for side in turns.T]
    sides = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides]
    cosines = np.minimum(*(side @ side.T for side in sides)).round(6)
    ranks, _, lengths, hashes = (column.to_pylist() for column in survivor.describe(batch))
    order = sorted(range(len(records)), key=lambda i: (ranks[i], -lengths[i], hashes[i], i))
    expected: dict[int, int | None] = {}
    for record in order:
        near = [k for k, by in expected.items() if by is None and cosines[record, k] >= threshold]
        expected[record] = max(near, key=lambda k: cosines[record, k]) if near else None
    found = list(said(stage(bag, similarity=threshold), [batch]).values())
    got = {
        i: int(line["kept_id"].rsplit("/", 1)[1]) - 1 if line["kept_id"] else None
        for i, line in enumerate(found)
    }
    assert got == expected
    assert 20 < sum(by is not None for by in got.values()) < 140


@installed
def test_text_beyond_the_model_s_limit_is_kept_uncompared_or_compared_by_its_beginning(
    bert: Path, tmp_path: Path
) -> None:
    rng = random.Random(1)
    start = random_text(rng, 30)
    records = texts(
        f"{start} river", f"{start} stone", "quick car", "quick car ", f"{'pepper ' * 22}", "pepper" * 400
    )
    batch = sketches.batch(records)
    kept = resolved(stage(bert, similarity=0.99), [batch], tmp_path)
    names = [f"s/f.jsonl/{row}" for row in (1, 2, 6)]
    (finding,) = kept.findings
    assert (finding["reason"], finding["count"], finding["examples"]) == ("semantic/too-long", 3, names)
    assert "not compared, and kept" in finding["message"]
    assert (kept.summary["too_long"], kept.summary["left_out"], kept.summary["dropped"]) == (3, 3, 1)
    cut = resolved(stage(bert, similarity=0.99, too_long="truncate"), [batch], tmp_path)
    assert "only their beginnings" in cut.findings[0]["message"]
    assert (cut.summary["too_long"], cut.summary["left_out"], cut.summary["dropped"]) == (3, 0, 2)


def mixed(records: int = 60) -> list[Batch]:
    """Return batches of three files, of documents and conversations, with many lookalikes."""
    rng = random.Random(11)
    plain = [random_text(rng, rng.choice([1, 4, 15])) for _ in range(records)]
    plain += [reworded(rng, text, 0.15) for text in plain] + [*plain[::5], "", " "]
    rng.shuffle(plain)
    third = len(plain) // 3
    return [
        sketches.batch(texts(*plain[:third]), "a", "x.jsonl"),
        sketches.batch(texts(*plain[third : 2 * third]), "a", "y.jsonl"),
        sketches.batch([chat(random_text(rng, 2), text) for text in plain[2 * third :]] * 2, "b", "x.jsonl"),
    ]


@installed
def test_the_answer_is_the_same_for_any_order_of_files_and_size_of_batches(
    bert: Path, tmp_path: Path
) -> None:
    barrier = stage(bert, similarity=0.97, too_long="truncate")
    assert pickle.loads(pickle.dumps(barrier)).options == barrier.options
    batches = mixed()
    cut = [[b.slice(start, 7) for start in range(0, b.num_rows, 7)] for b in batches]
    layouts = [
        [[b] for b in batches],
        [[b] for b in reversed(batches)],
        cut,
        [[piece] for pieces in reversed(cut) for piece in reversed(pieces)],
    ]
    files, summaries = [], []
    for number, units in enumerate(layouts):
        (tmp_path / str(number)).mkdir()
        found = sketches.resolve(barrier, units, tmp_path / str(number))
        assert isinstance(found, Resolved)
        files.append(Path(found.file).read_bytes())
        summaries.append(found.summary)
        assert [path.name for path in (tmp_path / str(number)).iterdir()] == ["semantic.decisions.arrow"]
    assert summaries[0]["dropped"] > 20
    assert all(file == files[0] for file in files)
    assert all(summary == summaries[0] for summary in summaries)


@installed
def test_an_index_finds_what_the_exhaustive_search_finds_and_says_how_much(bag: Path, tmp_path: Path) -> None:
    batch = sketches.batch(lookalikes(800))
    whole = resolved(stage(bag, similarity=0.85), [batch], tmp_path)
    expected = {key for key, line in sketches.judge(whole, [batch]).items() if line["action"] == "drop"}
    indexed = resolved(stage(bag, similarity=0.85, exhaustive=10), [batch], tmp_path)
    found = {key for key, line in sketches.judge(indexed, [batch]).items() if line["action"] == "drop"}
    assert len(expected) > 100
    assert whole.summary["search"] == "exhaustive"
    assert indexed.summary["search"] == "inverted file"
    assert indexed.summary["predicted_recall"] >= 0.99
    assert indexed.summary["measured_recall"] >= 0.95
    assert indexed.summary["measured_on"] > 100
    assert len(found & expected) >= 0.95 * len(expected)


def planted(count: int, cosine: float) -> npt.NDArray[np.float32]:
    """Return unit vectors, those at odd places each at this cosine to the one before it."""
    rng = np.random.default_rng(2)
    topics = rng.standard_normal((40, 64))
    some = topics[rng.integers(0, 40, count // 2)] + rng.standard_normal((count // 2, 64))
    some /= np.linalg.norm(some, axis=1, keepdims=True)
    aside = np.roll(some, 1, axis=0)
    aside -= (aside * some).sum(axis=1, keepdims=True) * some
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    twins = cosine * some + (1 - cosine**2) ** 0.5 * aside
    return np.stack([some, twins], axis=1).reshape(count, 64).astype(np.float32)


@installed
@pytest.mark.parametrize("shard", [10_000, 700])
def test_recall_is_solved_for_and_measured_on_thousands_of_vectors(shard: int) -> None:
    vectors = planted(4000, 0.9)
    radius = 0.899
    read = vectors.__getitem__
    true = neighbours.candidates(neighbours.exhaustive(64, 1), read, 4000, radius, shard)
    near = vectors @ vectors.T - 2 * np.eye(4000, dtype=np.float32)
    assert true.tolist() == np.flatnonzero(near.max(axis=1) >= radius).tolist()
    probes, recalls = [], []
    for recall in (0.5, 0.9, 0.99):
        search = neighbours.inverted(read, 4000, 64, 0.9, recall)
        neighbours.measure(search, read, 4000, 64, radius, shard)
        found = neighbours.candidates(search, read, 4000, radius, shard)
        assert search.predicted >= recall
        assert search.measured is not None
        assert search.measured >= recall - 0.03
        assert set(found.tolist()) <= set(true.tolist())
        assert len(found) >= (recall - 0.03) * len(true)
        probes.append(search.probes)
        recalls.append(search.measured)
    assert probes == sorted(set(probes))
    assert recalls == sorted(recalls)


@installed
def test_an_index_that_misses_too_much_is_reported(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(search: neighbours.Search, *_: object) -> None:
        search.measured, search.measured_on = 0.9, 50

    monkeypatch.setattr(neighbours, "measure", measure)
    (finding,) = resolved(stage(bag, exhaustive=10), [sketches.batch(lookalikes(100))], tmp_path).findings
    assert (finding["reason"], finding["count"]) == ("semantic/low-recall", 5)
    assert "90.0%" in finding["message"]


@installed
def test_many_copies_of_one_record_cost_one_comparison_each() -> None:
    vectors = np.zeros((30_000, 1, 8), np.float32)
    vectors[:, 0, 0] = 1
    ones = np.ones((30_000, 1))
    verified = neighbours.Verified(vectors, ones.astype(bool), ones.astype(np.uint64))
    found = neighbours.represent(
        neighbours.exhaustive(8, 1), lambda at: vectors[at, 0], verified, threshold=0.9, radius=0.89
    )
    assert found.kept_by.tolist() == [-1] + [0] * 29_999
    assert found.accepted == 29_999


@installed
def test_a_corpus_without_lookalikes_or_records_resolves_to_a_stage_that_keeps_all(
    bag: Path, tmp_path: Path
) -> None:
    batch = sketches.batch(texts("river", "stone"))
    for units in ([[batch]], [[batch.slice(0, 0)]], []):
        verdict = sketches.resolve(stage(bag), units, tmp_path).judge(batch)
        assert verdict.action.to_pylist() == ["keep", "keep"]
        assert verdict.facts is not None
        assert verdict.facts.column(0).null_count == 2


RECIPE = """\
curate: 1
name: small
version: "1"
sources:
  - {name: b, files: [b.jsonl], license: CC0-1.0}
  - {name: a, files: [a.jsonl, c.jsonl], license: CC0-1.0}
stages:
  - exact
  - curate.stages.semantic:Semantic: {model: MODEL, similarity: 0.95, too_long: truncate, device: cpu}
"""


@installed
def test_a_release_is_the_same_for_any_number_of_workers_and_order_of_sources(
    bert: Path, tmp_path: Path
) -> None:
    rng = random.Random(4)
    first = [random_text(rng, 12) for _ in range(40)]
    second = [reworded(rng, text, 0.1) for text in first]
    for name, lines in (("a", first), ("b", second), ("c", [*first[:5], *second[5:9]])):
        write_jsonl(
            tmp_path / f"{name}.jsonl", [{"id": f"{name}{i}", "text": t} for i, t in enumerate(lines)]
        )
    recipe = RECIPE.replace("MODEL", str(bert))
    (tmp_path / "curate.yaml").write_text(recipe)
    lines = recipe.splitlines(keepends=True)
    (tmp_path / "shuffled.yaml").write_text("".join([*lines[:4], lines[5], lines[4], *lines[6:]]))
    one = curate.run(tmp_path / "curate.yaml", out=tmp_path / "one", workers=1)
    curate.run(tmp_path / "shuffled.yaml", out=tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    counts = one.ledger().filter("stage = 'semantic'").fetchall()
    assert len(counts) > 10
    datasheet = (tmp_path / "one" / "datasheet.md").read_text()
    assert "a judgement learnt from data" in datasheet
    assert "### semantic" in datasheet.split("## Duplicates")[1]
    specs = orjson.loads((tmp_path / "one" / "manifest.json").read_bytes())["recipe"]["stages"]
    assert specs[1]["fingerprint"] == Semantic.Options(model=str(bert)).fingerprint()
    assert "torch 2." in specs[1]["fingerprint"]


@installed
def test_a_model_that_cannot_be_loaded_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[1")
    with pytest.raises(RecipeError, match=r"model '.*' cannot be loaded \(JSONDecodeError"):
        stage(tmp_path).sketch(sketches.batch(texts("a")))


@installed
def test_a_gpu_that_is_not_there_is_an_error(bag: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    barrier = Semantic(Semantic.Options(model=str(bag), device="cuda"))
    with pytest.raises(RecipeError, match="torch finds none here"):
        barrier.sketch(sketches.batch(texts("a")))


@installed
def test_embedding_and_searching_leave_torch_s_threads_as_they_were(bag: Path) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        dropped(stage(bag, exhaustive=0), texts(STORY, RETOLD))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_without_its_libraries_the_stage_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embeddings, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'curate\[semantic\]'"):
        stage(tmp_path)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models be found, though nothing that loads one need be installed."""
    monkeypatch.setattr(embeddings, "find_spec", lambda name: name)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "./nowhere"}, r"'./nowhere': no such folder; expected one that .* or a hub id such as"),
        ({"model": "nowhere"}, "no such folder"),
        ({"model": "/no/such/folder"}, "no such folder"),
        ({"model": "full"}, "the folder has notes.txt; expected modules.json or config.json"),
        ({"model": "empty"}, "the folder has nothing"),
        ({"model": "good", "revision": "v1"}, "is a folder, which has no revisions; take out revision"),
    ],
)
def test_a_model_that_is_not_there_is_an_error_that_says_what_is(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    for name in ("full", "empty", "good"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    (tmp_path / "good" / "config.json").touch()
    given = Semantic.Options.model_validate(options, context={"folder": tmp_path})
    with pytest.raises(RecipeError, match=message):
        Semantic(given)
    with pytest.raises(RecipeError, match=message):
        given.fingerprint()


@pytest.mark.usefixtures("library")
def test_a_folder_is_known_by_its_files_and_not_by_its_place(tmp_path: Path) -> None:
    prints = []
    for name, content in (("one", "a"), ("two", "a"), ("other", "b")):
        (tmp_path / name / "part").mkdir(parents=True)
        (tmp_path / name / "config.json").touch()
        (tmp_path / name / "part" / "weights").write_text(content)
        (tmp_path / name / ".cache").mkdir()
        (tmp_path / name / ".cache" / "stamp").write_text(name)
        options = Semantic.Options.model_validate({"model": name}, context={"folder": tmp_path})
        prints.append(options.fingerprint())
        assert pickle.loads(pickle.dumps(options)).fingerprint() == prints[-1]
        assert options.model_dump()["model"] == name
    assert prints[0] == prints[1] != prints[2]


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the hub's cache keeps the commit of someone/small, its branch main and tag v1; no network."""
    from huggingface_hub import constants

    folder = tmp_path / "models--someone--small"
    (folder / "refs").mkdir(parents=True)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    for name in ("main", "v1"):
        (folder / "refs" / name).write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    _pinned.commit.cache_clear()
    yield folder / "snapshots" / COMMIT
    _pinned.commit.cache_clear()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("mark", ["modules.json", "config.json"])
def test_a_hub_model_is_pinned_by_the_commit_that_its_revision_stands_for(hub_cache: Path, mark: str) -> None:
    (hub_cache / mark).touch()
    for revision in (None, "v1", COMMIT):
        options = Semantic.Options(model="someone/small", revision=revision)
        assert str(options.fingerprint()).startswith(f"{COMMIT}; ")
        assert options.found() == _pinned.Pinned("someone/small", COMMIT, COMMIT)
    for model, revision in (("someone/large", None), ("someone/small", "v2")):
        with pytest.raises(
            RecipeError, match=f"{model}.*neither a folder .* nor in the hub's cache.*hf download"
        ):
            Semantic(Semantic.Options(model=model, revision=revision))


@installed
def test_a_hub_model_is_loaded_from_the_cache_at_its_commit(bag: Path, hub_cache: Path) -> None:
    shutil.copytree(bag, hub_cache, dirs_exist_ok=True)
    barrier = Semantic(Semantic.Options(model="someone/small", device="cpu"))
    assert dropped(barrier, texts(STORY, OTHER, RETOLD)) == {0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Field required"),
        ({"model": ""}, "at least 1 character"),
        ({"model": "a/b", "similarity": 1.1}, "less than or equal to 1"),
        ({"model": "a/b", "too_long": "drop"}, "'keep' or 'truncate'"),
        ({"model": "a/b", "device": "tpu"}, "'auto', 'cpu' or 'cuda'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Semantic.Options(**options)
