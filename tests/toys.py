"""Small stages for tests, named in recipes as toys:Class."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from curate import record
from curate.record import Batch
from curate.stage import Decision, StageOptions, Verdict

BOOM = "boom"


class _Toy:
    version: ClassVar[str] = "1"
    rules: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type[StageOptions]] = StageOptions

    def __init__(self, options: StageOptions) -> None:
        self.options = options


class Shout(_Toy):
    """Edits documents: the word 'secret' becomes 'XXXXXX'; states the length as a fact."""

    name: ClassVar[str] = "shout"

    def judge(self, batch: Batch) -> Verdict:
        texts = record.texts(batch)
        facts = pa.record_batch({"length": pa.array([len(t) for t in texts], pa.int64())})
        edits = []
        for i, text in enumerate(texts):
            if "river" in text:  # two decisions on one record: the second is noted beside the first
                edits += [Decision(i, "flag", "shout/wet"), Decision(i, "flag", "shout/deep")]
        if record.kind(batch) == "messages":
            return Verdict.of(batch.num_rows, edits, facts=facts)
        for i, text in enumerate(texts):
            if "secret" in text:
                edits.append(
                    Decision(i, "edit", "shout/secret", evidence={"spans": [1] * text.count("secret")})
                )
        edited = pa.array([t.replace("secret", "XXXXXX") for t in texts], pa.string())
        return Verdict.of(batch.num_rows, edits, edited, facts)


class Fragile(_Toy):
    """Raises on a record that says 'boom', with the text in the message."""

    name: ClassVar[str] = "fragile"

    def judge(self, batch: Batch) -> Verdict:
        texts = record.texts(batch)
        for text in texts:
            if BOOM in text:
                raise ValueError(text)
        facts = pa.record_batch({"calm": pa.array([True] * len(texts))})
        return Verdict.of(
            batch.num_rows, [Decision(0, "flag", "fragile/first")] if texts[0] == "flag" else [], facts=facts
        )


class Leaves(_Toy):
    """Calls sys.exit on a record that says 'boom', as a library's command line would."""

    name: ClassVar[str] = "leaves"

    def judge(self, batch: Batch) -> Verdict:
        if any(BOOM in text for text in record.texts(batch)):
            sys.exit(0)
        return Verdict.of(batch.num_rows)


class Mute(_Toy):
    """Breaks the contract: drops without a reason."""

    name: ClassVar[str] = "mute"

    def judge(self, batch: Batch) -> Verdict:
        verdict = Verdict.of(batch.num_rows)
        return Verdict(
            pa.array(["drop"] * batch.num_rows),
            verdict.reason,
            verdict.score,
            verdict.evidence,
            verdict.kept_id,
        )


class Dies(_Toy):
    """Kills its own process where the file says so, once."""

    class Options(StageOptions):
        file: str

    name: ClassVar[str] = "dies"

    def judge(self, batch: Batch) -> Verdict:
        file = Path(self.options.file)  # type: ignore[attr-defined]
        if file.exists() and any("last words" in text for text in record.texts(batch)):
            file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return Verdict.of(batch.num_rows)


class Moody(_Toy):
    """Breaks the contract: states a fact of some batches only."""

    name: ClassVar[str] = "moody"

    def judge(self, batch: Batch) -> Verdict:
        facts = (
            pa.record_batch({"mood": ["bad"] * batch.num_rows}) if "moody" in record.texts(batch)[0] else None
        )
        return Verdict.of(batch.num_rows, facts=facts)


class Slow(_Toy):
    """Writes its process id into the recipe's folder, then takes its time."""

    name: ClassVar[str] = "slow"

    def judge(self, batch: Batch) -> Verdict:
        for folder in Path(sys.argv[2]).parents[:1] if len(sys.argv) > 2 else ():
            (folder / "slow").write_text(str(os.getpid()))
        time.sleep(60)
        return Verdict.of(batch.num_rows)
