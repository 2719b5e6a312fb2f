"""What ``curate verify`` reports: checks in their order, each with its numbers and what it found wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from curate.govern.verify.inclusion import Proof

State: TypeAlias = Literal["ok", "failed", "not checked"]


@dataclass(frozen=True)
class Place:
    """A record in a shard."""

    id: str | None  # None where no table tells it any more
    row: int  # in the shard, from 1
    leaf: int | None = None  # its place in the Merkle tree, from 0

    def __str__(self) -> str:
        return f"row {self.row:,}" if self.id is None else f"record {self.id} (row {self.row:,})"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as the manifest says."""

    file: str | None  # path in the release; None: no one file
    said: str
    record: Place | None = None

    def __str__(self) -> str:
        where = ", ".join(str(part) for part in (self.file, self.record) if part is not None)
        return f"{where}: {self.said}" if where else self.said


@dataclass(frozen=True)
class Check:
    """One check: ``said`` in a few words, and in ``counted`` the numbers that it went over."""

    name: str
    state: State
    said: str
    counted: dict[str, int]
    seconds: float
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Report:
    """What verification found. ``ok``: no check failed; one that was not done is no failure, and says so."""

    out: str
    name: str | None
    version: str | None
    root: str | None
    ok: bool
    first: Finding | None
    checks: tuple[Check, ...]
    proofs: tuple[Proof, ...] = ()

    def check(self, name: str) -> Check:
        """Return a check by name."""
        return next(check for check in self.checks if check.name == name)


@dataclass
class Outcome:
    """What a check fills in while it works."""

    said: str = ""
    counted: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    spent: float = 0.0  # seconds of work for it that was done before
    skipped: bool = False  # it could not be done, through no fault of the release's: ``said`` tells why

    def wrong(self, file: str | None, said: str, record: Place | None = None) -> None:
        """Note a finding."""
        self.findings.append(Finding(file, said, record))

    def skip(self, said: str) -> None:
        """Note that the check was not done, and why."""
        self.said, self.skipped = said, True


@dataclass
class Checks:
    """The checks so far."""

    done: list[Check] = field(default_factory=list)

    def run(self, name: str, work: Callable[[Outcome], None], blame: str | None = None) -> Check:
        """Do one check. Whatever a reader raises on damaged files is a finding, against ``blame``."""
        outcome, started = Outcome(), time.perf_counter()
        try:
            work(outcome)
        except Exception as error:  # noqa: BLE001  a verifier must come through any damage, and say so
            # Its message is left out: it may hold text of a record.
            outcome.wrong(
                blame,
                f"the check {name} broke off with {type(error).__name__}: something it reads is damaged",
            )
        failed = bool(outcome.findings)
        state: State = "failed" if failed else "not checked" if outcome.skipped else "ok"
        took = round(time.perf_counter() - started + outcome.spent, 4)
        self.done.append(Check(name, state, outcome.said, outcome.counted, took, tuple(outcome.findings)))
        return self.done[-1]

    def amend(self, name: str, places: Iterable[tuple[str, Place]]) -> None:
        """Add to a check's findings about shards the first record of each that differs."""
        known = dict(places)
        for at, check in enumerate(self.done):
            if check.name == name:
                found = tuple(
                    replace(f, record=known.get(f.file)) if f.file and f.record is None else f
                    for f in check.findings
                )
                self.done[at] = replace(check, findings=found)

    @property
    def first(self) -> Finding | None:
        """Return the first finding of all."""
        return next((finding for check in self.done for finding in check.findings), None)
