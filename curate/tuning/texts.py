"""All texts of a corpus: each version that some arm has, once, in the order of the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from curate.tuning import controls
from curate.tuning.contract import Ints, Text
from curate.tuning.filters import Filter
from curate.tuning.heldout import CATEGORIES, WORDS, category, response, shown, turns, words
from curate.tuning.judging import Judge, States, trainable
from curate.tuning.records import Records, Register

MOST_DUPLICATED = 64  # responses that are looked for word by word in what models say


class Slot(NamedTuple):
    """A text's place in the order of all."""

    record: int  # number in the register; canaries follow
    made: int  # 0: a version of a record; 1: corrupted; 2: a canary
    version: int


class Texts:
    """Every text that some arm has, once, in canonical order."""

    def __init__(self, register: Register, chosen: Records, judge: Judge) -> None:
        self._keys, self._judge, self._records = register.keys, judge, chosen
        self._sources = register.frame["source"]
        self._made: dict[int, Text] = {}
        self._slots: dict[Slot, Text] = {}
        self._order: dict[Slot, int] = {}
        self.canaries = controls.NONE
        self._columns = {
            source: {name: batch.column(name) for name in batch.schema.names if name in CATEGORIES}
            for source, batch in chosen.batches.items()
        }
        self._rows = {at: row for numbers in chosen.places.values() for row, at in enumerate(numbers)}

    def of(self, version: int) -> Text:
        """Return a version as a text."""
        if version not in self._made:
            at = self._judge.versions.owner[version]
            source = self._sources[at]
            told = {name: column[self._rows[at]].as_py() for name, column in self._columns[source].items()}
            self._made[version] = Text(
                self._keys[at],
                turns(self._judge.versions.contents[version]),
                source,
                category(told),
                self._records.histories[at].language,
            )
        return self._made[version]

    def add(self, states: States) -> list[Slot]:
        """Take in an arm's texts; return their slots."""
        slots = [Slot(at, 0, state.version) for at, state in states.items()]
        self._slots |= {slot: self.of(slot.version) for slot in slots}
        return slots

    def plant(self, states: States) -> list[Slot]:
        """Take in an arm's texts with some of them corrupted; return their slots."""
        slots = self.add(states)
        whole = [self._slots[slot] for slot in slots]
        for place in controls.chosen(whole, controls.RATE):
            slots[place] = Slot(slots[place].record, 1, 0)
            self._slots[slots[place]] = controls.corrupted(whole[place], whole)
        return slots

    def sing(self, scrubber: Filter, *, scrubbed: bool) -> list[Slot]:
        """Take in the canaries, as they are or scrubbed; return their slots."""
        if not self.canaries.plain:
            self.canaries = controls.canaries(scrubber)
        slots = []
        for n, (plain, left) in enumerate(zip(self.canaries.plain, self.canaries.scrubbed, strict=True)):
            text = left if scrubbed else plain
            if text is not None and trainable(shown(text)):
                slots.append(Slot(len(self._keys) + n, 2, int(scrubbed and left != plain)))
                self._slots[slots[-1]] = text
        return slots

    def settle(self) -> None:
        """Put all texts in order, once every arm is in."""
        self._order = {slot: place for place, slot in enumerate(sorted(self._slots))}

    def places(self, slots: Sequence[Slot]) -> Ints:
        """Return the places of slots, ascending."""
        return np.array(sorted(self._order[slot] for slot in slots), np.int64)

    @property
    def ordered(self) -> tuple[Text, ...]:
        """Return all texts, in order."""
        return tuple(self._slots[slot] for slot in self._order)

    @property
    def real(self) -> list[Text]:
        """Return the texts that are records of the release or edits of them."""
        return [text for slot, text in self._slots.items() if slot.made == 0]


def duplicated(texts: Iterable[Text]) -> tuple[str, ...]:
    """Return the responses that stand in several texts, commonest first: those of WORDS words and more."""
    counts = Counter(response(text) for text in texts)
    several = [(said, n) for said, n in counts.items() if n > 1 and words(said) >= WORDS]
    return tuple(said for said, _ in sorted(several, key=lambda pair: -pair[1])[:MOST_DUPLICATED])
