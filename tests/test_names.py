"""Names without a model and with one; the models are made here, of a few thousand numbers."""

from __future__ import annotations

import importlib.util
import logging
import pickle
import random
import string
import subprocess
import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate import rules
from curate.errors import MissingExtra, RecipeError
from curate.kernels.spans import Span
from curate.stages.dedup.embeddings import _one_thread
from curate.stages.finders import models, readers
from curate.stages.finders.models import Model
from curate.stages.finders.names import Gazetteer

with_torch = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")),
    reason="the extra 'ner' is not installed: pip install 'curate[ner]'",
)


def spans(finder: Any, *texts: str) -> list[list[Span]]:
    found = finder.find(pa.array(texts, pa.string()))
    assert not [answer for answer in found if isinstance(answer, Exception)]
    return list(found)


def values(finder: Any, text: str) -> list[str]:
    return [text[span.start : span.end] for span in spans(finder, text)[0]]


# The gazetteer


def test_the_pack_s_own_examples_hold() -> None:
    assert rules.check(rules.load("names")) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("I met Dr. Okonkwo. Okonkwo was late.", ["Okonkwo", "Okonkwo"]),
        ("Jennifer Lindqvist and Lindqvist's son", ["Jennifer Lindqvist", "Lindqvist"]),
        ("Maria de la Cruz Jr. came", ["Maria de la Cruz Jr."]),
        ("Jose\u0301 Garci\u0301a is Mr. Garci\u0301a", ["Garci\u0301a", "Garci\u0301a"]),
        ("😀 Prof. Dr. Anna Müller 😀", ["Anna Müller"]),
        ("Mary Jones\nSmith Jones", ["Mary Jones", "Jones"]),  # not over a line break
        ("Jennifer Young. Young people", ["Jennifer Young"]),  # a common word is carried in mid-sentence only
        ("Sarah Ford works for Ford Motors", ["Sarah Ford"]),
        ("Sarah Ford works for the Ford", ["Sarah Ford"]),
        ("Sarah Ford (NASA)", ["Sarah Ford"]),
        ("Sarah Ford(3) = Sarah_Ford", []),
        ("Mr.\u00a0Zander", []),
    ],
)
def test_what_a_name_is_made_of(text: str, names: list[str]) -> None:
    assert values(Gazetteer(), text) == names


def test_evidence_and_score_come_with_the_find() -> None:
    [[full, carried]] = spans(Gazetteer(), "Jennifer Smith slept. Then Smith woke.")
    assert full == Span(0, 14, "PERSON", 0.95, "gazetteer/full")
    assert carried[2:] == ("PERSON", 0.75, "gazetteer/carried")


def test_a_given_name_by_itself_is_found_from_its_own_score_down() -> None:
    text = "Jennifer sold clips to 48 of her friends."
    assert values(Gazetteer(), text) == []
    assert values(Gazetteer(threshold=0.4), text) == ["Jennifer"]


def test_names_are_carried_over_within_a_record() -> None:
    texts = pa.array(["I am with Ms. Okonkwo.", None, "Okonkwo agrees.", "Okonkwo is a stranger here."])
    apart = Gazetteer().find(texts)
    assert [len(found) for found in apart if isinstance(found, list)] == [1, 0, 0, 0]
    together = Gazetteer().find(texts, records=[0, 3, 4])
    assert [len(found) for found in together if isinstance(found, list)] == [1, 0, 1, 0]


def test_places_are_found_where_they_are_asked_for() -> None:
    text = "Jennifer Smith flew from Oslo to New York City; Paris Hilton stayed."
    assert values(Gazetteer(("LOCATION",)), text) == ["Oslo", "New York City"]
    assert {span.type for span in spans(Gazetteer(("PERSON", "LOCATION")), text)[0]} == {"PERSON", "LOCATION"}
    with pytest.raises(ValueError, match=r"no kind 'CITY'; known: LOCATION, PERSON"):
        Gazetteer(("CITY",))


def test_the_gazetteer_says_what_it_is() -> None:
    finder = Gazetteer()
    assert finder.kinds == ("PERSON",)
    assert rules.load("names").sha256[:16] in finder.describe()
    assert pickle.loads(pickle.dumps(finder)).describe() == finder.describe()
    for rule in rules.load("names").rules:
        assert set(rule.data["measured"]) == {"precision", "recall", "n", "on"}


def test_any_text_is_read_within_bounds_and_the_same_however_it_comes() -> None:
    rng = random.Random(11)
    pieces = [
        "Mr.",
        "Dr. ",
        "Jennifer",
        "Smith",
        "de la",
        "O'Neil",
        "’s",
        "\n",
        " ",
        " ",
        "-",
        "(",
        "Oslo",
        "I.",
    ]
    pieces += [
        "Feng",
        "Haoran",
        "name is ",
        "\u0301",
        "😀",
        "JOHN",
        "Hospital",
        "will",
        "Will",
        "_",
        ".",
        "<PERSON>",
    ]
    texts = ["".join(rng.choices(pieces, k=rng.randint(0, 40))) for _ in range(3000)]
    finder = Gazetteer(("PERSON", "LOCATION"), threshold=0)
    together = spans(finder, *texts)
    for text, found in zip(texts, together, strict=True):
        assert found == spans(finder, text)[0]
        assert found == sorted(set(found))
        for span in found:
            assert 0 <= span.start < span.end <= len(text)
            assert not {"\n", "<", "_", "("} & set(text[span.start : span.end])


@pytest.mark.parametrize("piece", ["Smith ", "Mr. ", "Jennifer Smith ", "O’", "A-", "Jennifer Smith( "])
def test_the_time_is_linear_in_the_length(piece: str) -> None:
    finder = Gazetteer(("PERSON", "LOCATION"))

    def cost(times: int) -> float:
        text = "Jennifer Okonkwo. " + piece * times
        start = time.process_time()
        spans(finder, text)
        return time.process_time() - start

    cost(100)
    assert cost(40_000) < 30 * max(cost(4_000), 0.002)


def test_many_names_in_one_text_do_not_make_it_slow() -> None:
    rng = random.Random(2)
    names = ["".join(rng.choices(string.ascii_lowercase, k=8)).capitalize() for _ in range(3000)]
    text = ". ".join(f"Then Mr. {name} met {name}" for name in names)
    start = time.process_time()
    assert len(spans(Gazetteer(), text)[0]) >= 5900
    assert time.process_time() - start < 5


# Models


@pytest.fixture(scope="session")
def ruler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spaCy pipeline that knows three words, one of them of a type that presidio has none for."""
    import spacy

    pipeline = spacy.blank("en")
    patterns = [
        {"label": "PERSON", "pattern": [{"TEXT": "Zelda"}, {"TEXT": "Quux", "OP": "?"}]},
        {"label": "GPE", "pattern": "Foovilla"},
        {"label": "PRODUCT", "pattern": "Widget"},
        {"label": "DATE", "pattern": "Tuesday"},
    ]
    pipeline.add_pipe("entity_ruler").add_patterns(patterns)
    folder = tmp_path_factory.mktemp("models") / "ruler"
    pipeline.to_disk(folder)
    return folder


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spaCy pipeline with a network that was trained on a few sentences."""
    import spacy
    from spacy.training import Example
    from spacy.util import fix_random_seed

    fix_random_seed(5)
    pipeline = spacy.blank("en")
    recognizer = pipeline.add_pipe("ner", config={"model": {"tok2vec": {"width": 32, "depth": 1}}})
    recognizer.add_label("PERSON")
    lines = ["then {} slept", "we saw {} there", "{} is here", "the river is here", "we slept there"]
    examples = []
    for line in lines:
        for name in ("Zelda", "Quux", "Brandobar"):
            text, start = line.format(name), line.find("{")
            entities = [(start, start + len(name), "PERSON")] if start >= 0 else []
            examples.append(Example.from_dict(pipeline.make_doc(text), {"entities": entities}))
    optimizer = pipeline.initialize(lambda: examples)
    for _ in range(30):
        pipeline.update(examples, sgd=optimizer, drop=0.1)
    folder = tmp_path_factory.mktemp("models") / "learnt"
    pipeline.to_disk(folder)
    return folder


WORDS = ["we", "saw", "slept", "in", "the", "river", "zelda", "qu", "##ux", "oslo", "acme", "maybe", ".", ","]
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "B-ORG", "B-MISC"]
LIMIT = 24


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer with random weights but for the last ones: each word has a label, whatever stands around it.

    ``maybe`` is as much a person as nothing, but for what its neighbours make of it.
    """
    import torch
    from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "bert"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder.parent / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(folder.parent / "vocab.txt"), model_max_length=LIMIT).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
            id2label=dict(enumerate(LABELS)),
            label2id={label: at for at, label in enumerate(LABELS)},
        )
        model = BertForTokenClassification(config)
        for parameter in model.bert.encoder.parameters():
            parameter.data *= 0.3
        embeddings, classifier = model.bert.embeddings.word_embeddings.weight.data, model.classifier
        embeddings.normal_(0, 1)
        classifier.weight.data.zero_()
        classifier.bias.data.zero_()
        for word, label in {"zelda": 1, "qu": 1, "##ux": 0, "oslo": 3, "acme": 4, "river": 5}.items():
            classifier.weight.data[label] += embeddings[vocabulary.index(word)] * 0.5
        classifier.weight.data[0] += 0.5 * sum(
            embeddings[vocabulary.index(word)]
            for word in ("we", "saw", "slept", "in", "the", ".", ",", "##ux")
        )
        maybe = embeddings[vocabulary.index("maybe")] * 0.5
        classifier.weight.data[0] += maybe
        classifier.weight.data[1] += maybe
    model.save_pretrained(folder)
    return folder


def test_a_spacy_pipeline_finds_what_its_labels_mean(ruler: Path) -> None:
    finder = Model("spacy", str(ruler))
    text = "On Tuesday Zelda Quux sold a Widget in Foovilla."
    assert finder.kinds == ("LOCATION", "PERSON")
    assert spans(finder, text) == [
        [Span(11, 21, "PERSON", 0.85, "spacy"), Span(39, 47, "LOCATION", 0.85, "spacy")]
    ]
    more = Model("spacy", str(ruler), entities=["THING"], labels={"PRODUCT": "THING"})
    assert values(more, text) == ["Widget"]


def test_a_long_text_is_read_to_its_end(ruler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_WINDOW", 60)
    monkeypatch.setattr(readers, "_OVERLAP", 20)
    text = "a road. " * 9 + "Zelda Quux " + "a road. " * 30 + "Foovilla"
    models._reader.cache_clear()
    assert values(Model("spacy", str(ruler)), text) == ["Zelda Quux", "Foovilla"]
    models._reader.cache_clear()


def test_a_learnt_pipeline_answers_alike_in_any_company(learnt: Path) -> None:
    finder = Model("spacy", str(learnt))
    texts = ["then Zelda slept", "we saw Brandobar there", "the river is here", "", "Quux is here"]
    alone = [spans(finder, text)[0] for text in texts]
    assert [len(found) for found in alone] == [1, 1, 0, 0, 1]
    assert spans(finder, *reversed(texts)) == alone[::-1]


def test_a_text_that_a_pipeline_cannot_read_does_not_pass_for_clean(
    ruler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    read = SpacyNlpEngine.process_text

    def spoilt(self: Any, text: str, language: str) -> Any:
        if "spoilt" in text:
            raise MemoryError
        return read(self, text, language)

    monkeypatch.setattr(SpacyNlpEngine, "process_text", spoilt)
    good, bad = Model("spacy", str(ruler)).find(pa.array(["Zelda", "spoilt Zelda"]))
    assert isinstance(good, list)
    assert isinstance(bad, MemoryError)


def test_a_batch_that_one_text_spoils_is_read_again_one_by_one(ruler: Path) -> None:
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine([{"lang_code": "en", "model_name": str(ruler)}])
    engine.load()
    texts = ["Zelda slept", "x" * (engine.nlp["en"].max_length + 1), "a road"]
    first, failed, last = readers._artifacts(engine, texts)
    assert [str(entity) for entity in first.entities] == ["Zelda"]
    assert isinstance(failed, ValueError)
    assert last.entities == []
    assert [len(made.entities) for made in readers._artifacts(engine, texts[::2])] == [1, 0]


def has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


@with_torch
def test_a_token_classifier_finds_what_its_labels_mean(bert: Path) -> None:
    finder = Model("transformers", str(bert))
    text = "we saw Zelda in Oslo, the river."
    assert finder.kinds == ("LOCATION", "ORGANIZATION", "PERSON")
    assert values(finder, text) == ["Zelda", "Oslo"]
    assert [span.type for span in spans(finder, text)[0]] == ["PERSON", "LOCATION"]
    assert values(Model("transformers", str(bert), entities=["LOCATION"]), text) == ["Oslo"]


@with_torch
def test_the_rest_of_a_word_comes_along(bert: Path) -> None:
    assert values(Model("transformers", str(bert)), "we saw Quux.") == ["Quux"]  # the model tags Qu


@with_torch
def test_a_classifier_answers_as_presidio_s_own_recognizer(bert: Path) -> None:
    from presidio_analyzer.predefined_recognizers import HuggingFaceNerRecognizer

    plain = HuggingFaceNerRecognizer(model_name=str(bert), threshold=0.5, device="cpu")
    finder = Model("transformers", str(bert))
    for text in sentences(60, most=15):
        with _one_thread():
            results = plain.analyze(text, list(finder.kinds))
        expected = sorted(
            (found.start, found.end, found.entity_type, round(found.score, 2))
            for found in results
            if found.entity_type in finder.kinds
        )
        assert [span[:4] for span in spans(finder, text)[0]] == expected


def sentences(count: int, most: int) -> list[str]:
    rng = random.Random(7)
    words = [word for word in WORDS if word not in ("qu", "##ux")]
    return [" ".join(rng.choices(words, k=rng.randint(1, most))) for _ in range(count)]


@with_torch
def test_a_text_beyond_the_model_s_limit_is_read_in_windows(bert: Path) -> None:
    text = "we slept . " * 30 + "zelda " + "the river , " * 30 + "oslo"
    assert values(Model("transformers", str(bert)), text) == ["zelda", "oslo"]


@with_torch
def test_answers_do_not_depend_on_the_company_or_the_batch_size(bert: Path) -> None:
    texts = sentences(80, most=40)
    finder = Model("transformers", str(bert))
    alone = [spans(finder, text)[0] for text in texts]
    assert sum(map(len, alone)) > 100
    for size in (1, 7, 64):
        assert spans(Model("transformers", str(bert), batch_size=size), *texts) == alone
    assert spans(finder, *reversed(texts)) == alone[::-1]


class Noisy:
    """A model on a device whose sums come out a little different each time."""

    def __init__(self, model: Any) -> None:
        import torch

        self.model = model
        self.generator = torch.Generator().manual_seed(1)

    def __call__(self, **inputs: Any) -> Any:
        import torch

        logits = self.model(**inputs).logits
        noise = torch.rand(logits.shape, generator=self.generator) - 0.5
        return types.SimpleNamespace(logits=logits + noise * 2e-4)


@with_torch
def test_batches_of_a_device_that_rounds_otherwise_give_the_same_finds(bert: Path) -> None:
    windows = sorted(set(sentences(120, most=15)))
    with _one_thread():
        compare(readers._pipeline(str(bert)), windows)


def compare(pipe: Any, windows: Sequence[str]) -> None:
    alone = readers.Classifier(pipe, LIMIT, 0.5, "cpu", 1).classify(windows)
    together = readers.Classifier(pipe, LIMIT, 0.5, "cpu", 16)
    together.model = Noisy(pipe.model)
    read = {window: together._tokens(window) for window in windows}
    stood = dict(together._together(read))
    assert len(windows) / 4 < len(stood) < len(windows)  # some are certain, some are not
    for window, answer in together.classify(windows).items():
        assert isinstance(answer, list)
        assert told(answer) == told(alone[window])


def told(answer: Any) -> list[tuple[Any, ...]]:
    return [(a["entity_group"], a["start"], a["end"], round(float(a["score"]), 2)) for a in answer]


@with_torch
def test_a_window_that_fails_does_not_pass_for_clean(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models._reader.cache_clear()
    finder = Model("transformers", str(bert))
    tokens = readers.Classifier._tokens

    def spoilt(self: Any, window: str) -> Any:
        if "acme" in window:
            raise MemoryError
        return tokens(self, window)

    monkeypatch.setattr(readers.Classifier, "_tokens", spoilt)
    good, bad = finder.find(pa.array(["we saw zelda", "we slept . " * 30 + "acme " + "oslo , " * 30]))
    assert isinstance(good, list)
    assert isinstance(bad, MemoryError)


@pytest.mark.parametrize(
    ("text", "start", "end", "whole"),
    [
        ("we saw Quux.", 7, 9, "Quux"),
        ("  Zelda ", 0, 8, "Zelda"),
        ("김태웅이고", 0, 3, "김태웅"),
        ("Ольга", 2, 3, "Ольга"),
        ("😀Zoë", 1, 2, "Zoë"),
        ("   ", 0, 3, ""),
    ],
)
def test_finds_end_with_a_word(text: str, start: int, end: int, whole: str) -> None:
    first, last = models.whole_words(text, start, end)
    assert text[first:last] == whole


@with_torch
def test_the_fingerprint_is_that_of_the_files(bert: Path, ruler: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(bert, tmp_path / "copy")
    first = Model("transformers", str(bert)).fingerprint()
    assert Model("transformers", "copy", beside=tmp_path).fingerprint() == first
    assert first.split(";")[0][:16] in Model("transformers", str(bert)).describe()
    (tmp_path / "copy" / "notes.txt").write_text("changed")
    assert Model("transformers", "copy", beside=tmp_path).fingerprint() != first
    assert "transformers 5" in first
    assert "spacy 3" in Model("spacy", str(ruler)).fingerprint()


def test_a_model_travels_to_a_worker(ruler: Path) -> None:
    finder = Model("spacy", str(ruler))
    spans(finder, "Zelda")
    assert values(pickle.loads(pickle.dumps(finder)), "Zelda") == ["Zelda"]


@pytest.mark.parametrize(
    ("kind", "name", "options", "message"),
    [
        ("spacy", "en_none_xx", {}, r"install it with 'python -m spacy download en_none_xx'"),
        ("spacy", "zstandard", {}, r"is no spaCy pipeline"),
        ("spacy", "empty", {}, r"the folder has notes.txt; expected meta.json"),
        ("spacy", "ruler", {"revision": "main"}, r"take out revision"),
        (
            "spacy",
            "ruler",
            {"entities": ["PERSON", "ORGANIZATION"]},
            r"does not find ORGANIZATION; it finds DATE",
        ),
        (
            "spacy",
            "ruler",
            {"labels": {"PERSON": "A", "GPE": "B"}},
            r"does not find LOCATION, NRP.*it finds A, B",
        ),
        ("spacy", "mute", {}, r"has the labels \(none\).*labels: \{LABEL_1: PERSON\}"),
        ("spacy", "broken", {}, r"spacy model .*broken.* cannot be loaded \(ValueError"),
        ("spacy", "ruler", {"device": "cuda"}, r"device 'cuda': none is found here"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    kind: Any, name: str, options: dict[str, Any], message: str, ruler: Path, tmp_path: Path
) -> None:
    if "cuda" in options.values() and has_gpu():
        pytest.skip("a GPU is there")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    (tmp_path / "mute").mkdir()
    (tmp_path / "mute" / "meta.json").write_text('{"labels": {"ner": []}}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "meta.json").write_text('{"labels": {"ner": ["PERSON"]}}')
    (tmp_path / "ruler").symlink_to(ruler)
    with pytest.raises(RecipeError, match=message) as caught:
        spans(Model(kind, name, beside=tmp_path, **options), "Zelda")
    assert "\n" not in str(caught.value)


@with_torch
def test_a_hub_model_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    for error, message in (
        (LocalEntryNotFoundError("no network"), "fetch it with 'hf download nobody/nothing'"),
        (RepositoryNotFoundError.__new__(RepositoryNotFoundError), "or not public; correct the name"),
        (OSError("no answer"), r"to be had from the hub \(OSError\); correct the name or revision"),
    ):

        def fails(*_: Any, error: Exception = error, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
        with pytest.raises(RecipeError, match=message):
            Model("transformers", "nobody/nothing")
    with pytest.raises(RecipeError, match="no such folder"):
        Model("transformers", "./nothing", beside=tmp_path)


@with_torch
def test_a_hub_model_is_pinned_by_its_commit(
    bert: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import shutil

    import huggingface_hub

    snapshot = tmp_path / "snapshots" / "c0ffee"
    shutil.copytree(bert, snapshot)
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda model, name, revision=None, **_: str(snapshot / name)
    )
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(snapshot))
    finder = Model("transformers", "somebody/bert", revision="main")
    assert finder.fingerprint().startswith("c0ffee;")
    assert values(finder, "we saw Zelda") == ["Zelda"]


@pytest.mark.skipif(importlib.util.find_spec("gliner") is not None, reason="the extra 'gliner' is installed")
def test_gliner_is_refused_where_it_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'curate\[gliner\]'"):
        Model("gliner", str(tmp_path))


def test_gliner_is_asked_for_what_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a stand-in for the library, which finds capitalised words."""
    from presidio_analyzer.predefined_recognizers.ner import gliner_recognizer

    from curate.stages.finders import pinned

    asked: list[Sequence[str]] = []

    class Stand:
        @classmethod
        def from_pretrained(cls, place: str, **_: Any) -> Stand:
            assert Path(place) == tmp_path
            return cls()

        def predict_entities(self, text: str, labels: Sequence[str], **_: Any) -> list[dict[str, Any]]:
            asked.append(labels)
            if "spoilt" in text:
                raise MemoryError
            starts = [at for at, char in enumerate(text) if char.isupper()]
            return [{"start": at, "end": at + 2, "label": "person", "score": 0.875} for at in starts]

    (tmp_path / "gliner_config.json").write_text("{}")
    monkeypatch.setattr(gliner_recognizer, "GLiNER", Stand)
    monkeypatch.setitem(pinned._EXTRAS, "gliner", ("gliner", ()))
    finder = Model("gliner", str(tmp_path), entities=["PERSON"])
    assert finder.kinds == ("PERSON",)
    text = "a road . " * 40 + "Zelda slept"
    found, failed = finder.find(pa.array([text, "spoilt"]))
    assert found == [Span(360, 365, "PERSON", 0.88, "gliner")]
    assert isinstance(failed, MemoryError)
    assert {tuple(labels) for labels in asked} == {("person",)}


@with_torch
def test_no_text_reaches_a_log(bert: Path, ruler: Path, caplog: pytest.LogCaptureFixture) -> None:
    models._reader.cache_clear()
    with caplog.at_level(logging.DEBUG):
        for finder in (Model("transformers", str(bert)), Model("spacy", str(ruler)), Gazetteer()):
            spans(finder, "we saw Zelda with a Widget in Oslo on Tuesday. " * 20)
    assert "Zelda" not in caplog.text


def test_neither_the_gazetteer_nor_a_model_s_name_loads_what_is_heavy() -> None:
    import subprocess

    code = (
        "import sys, curate.stages.finders.names, curate.stages.finders.models\n"
        "print({'torch', 'spacy', 'presidio_analyzer'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_models_are_read_in_a_process_that_has_imported_presidio_without_their_frameworks() -> None:
    script = (
        "from curate.stages.finders import light; import sys; assert 'torch' not in sys.modules; light.whole(); "
        "from presidio_analyzer.predefined_recognizers import HuggingFaceNerRecognizer as recognizer; "
        "module = sys.modules[recognizer.__module__]; import thinc.util, torch; "
        "print(module.hf_pipeline is not None, module.torch is torch, thinc.util.has_torch)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True", "True"], done.stderr


def test_a_record_that_cannot_be_read_is_told_and_the_others_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = Gazetteer.read

    def fails(self: Gazetteer, texts: Sequence[str]) -> list[list[Span]]:
        if "bad" in texts:
            raise RuntimeError("as if")
        return read(self, texts)

    monkeypatch.setattr(Gazetteer, "read", fails)
    first, second, third = Gazetteer().find(pa.array(["good", "bad", "Jennifer Smith slept."]), [0, 2, 3])
    assert isinstance(first, RuntimeError)
    assert isinstance(second, RuntimeError)
    assert not isinstance(third, Exception)
    assert [span[:3] for span in third] == [(0, 14, "PERSON")]
