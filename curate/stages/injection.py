"""injection: orders smuggled into records, what hides them, and keys and tokens.

Every text of a record is read: turns, tool calls, the rejected reply of a pair. rules/injection.yaml says what is
looked for and what becomes of a record by where it stands: an order in a tool's result is graver than in a user's
turn, and one that is quoted, or stands in a record that speaks of such attacks, is a mention
(:mod:`curate.stages.injecting.payloads`). Disguises are undone first (:mod:`curate.stages.injecting.disguises`); a
disguised payload is graver than any in plain sight. Characters that are shown as nothing and that no script needs
where they stand are taken out (:mod:`curate.stages.injecting.hidden`). Keys and tokens are found by the finders of the
stage pii.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import record, rules
from curate.record import CALLS, MESSAGES, REJECTED, REPLY, REPLY_CALLS, ROLES, Batch, Utterances
from curate.rules import Rule
from curate.stage import REMOVES, SEVERITY, Decision, Verdict
from curate.stages.injecting import disguise_signs, disguises
from curate.stages.injecting import hidden as _hidden
from curate.stages.injecting import payloads as _payloads
from curate.stages.injecting.options import SECRET, Action, InjectionOptions
from curate.stages.injecting.payloads import PACK
from curate.stages.scrubbing.search import SECRETS, Plan, Search, search

_DISGUISED, _MENTION, _HIDDEN_ORDER = "injection/disguised", "injection/mention", "injection/hidden-order"
_UNSCANNED = "injection/unscanned"
_PARTS = ("content", "calls", "rejected", "rejected_calls")
_MOST = 20  # places told in evidence; the count tells how many there are
# Where an order is no mention because it is quoted or attacks are spoken of: both at once only make it one.
_GRAVE = ("tool",)


class _Find(NamedTuple):
    rule: str
    at: int  # the utterance
    start: int
    end: int
    more: Mapping[str, str]  # pattern, disguise, type: whatever tells more of it
    action: Action


class Injection:
    """Finds poisoned instruction data; see the module's docstring.

    One decision per rule and record, ``injection/<rule>``, with the places (turn, part, start and end in characters of
    the text as it came) and their count as evidence, never a word of them.
    """

    name: ClassVar[str] = "injection"
    version: ClassVar[str] = "1"
    rules: ClassVar[tuple[str, ...]] = (PACK, SECRETS)

    Options = InjectionOptions

    def __init__(self, options: InjectionOptions) -> None:
        self.options = options
        self._by_id = {rule.id: rule for rule in rules.load(PACK).rules}

    def judge(self, batch: Batch) -> Verdict:
        """Answer for every record of the batch."""
        said = record.utterances(batch)
        texts = _Texts(said)
        finds = [*self._payloads(texts), *self._characters(texts)]
        unread: list[int] = []
        if self.options.secrets != "keep":
            finds += self._secrets(texts, unread)
        by_row: dict[int, list[_Find]] = {}
        for find in finds:
            by_row.setdefault(int(texts.owner[find.at]), []).append(find)
        decisions = [one for row, mine in sorted(by_row.items()) for one in self._decide(row, mine, texts)]
        faults = {int(texts.owner[at]) for at in unread}
        decisions += [Decision(row, "quarantine", _UNSCANNED) for row in sorted(faults)]
        rows = sorted({one.row for one in decisions if one.action == "edit"})
        edited, beside = self._edited(batch, rows)
        return Verdict.of(batch.num_rows, decisions, edited, beside=beside)

    # --- what is found ----------------------------------------------------------------------------------------

    def _payloads(self, texts: _Texts) -> Iterator[_Find]:
        plain = _payloads.in_texts(texts.text, texts.joined)
        odd = texts.suspicious
        for at in sorted({*plain, *odd}):
            text = texts.read(at)
            for hit in plain.get(at, ()):
                if (rule := self._as_it_stands(texts, at, hit.start, hit.end)) is None:
                    rule = self._by_id[hit.rule]
                more = {"pattern": hit.pattern} if rule.id == hit.rule else {"rule": hit.rule}
                yield from self._find(rule, texts, at, hit.start, hit.end, more)
            if at not in odd:
                continue
            for one in disguises.in_disguise(text, odd[at], plain.get(at, ())):
                rule = self._by_id[_HIDDEN_ORDER if one.rule == _HIDDEN_ORDER else _DISGUISED]
                if texts.speaks_of_attacks(at):
                    rule = self._by_id[_MENTION]
                more = {"rule": one.rule, "disguise": one.disguise}
                yield from self._find(rule, texts, at, one.start, one.end, more)

    def _as_it_stands(self, texts: _Texts, at: int, start: int, end: int) -> Rule | None:
        """Return the rule for mentions where a payload in plain sight is one."""
        quoted = _payloads.quoted(texts.read(at), start, end)
        grave = texts.place[at] in _GRAVE
        if (quoted and not grave) or ((quoted or not grave) and texts.speaks_of_attacks(at)):
            return self._by_id[_MENTION]
        return None

    def _characters(self, texts: _Texts) -> Iterator[_Find]:
        for at in [at for at, checks in sorted(texts.suspicious.items()) if "hidden" in checks]:
            for place in _hidden.places(texts.read(at)):
                yield from self._find(self._by_id[place.kind], texts, at, place.start, place.end, {})

    def _secrets(self, texts: _Texts, unread: list[int]) -> Iterator[_Find]:
        """Yield keys and tokens; note the texts that could not be read to their end."""
        for at, found in enumerate(_finders().find(texts.text, texts.offsets.tolist())):
            if isinstance(found, Exception):
                unread.append(at)
                continue
            for span in found:
                yield from self._find(
                    self._by_id[SECRET], texts, at, span.start, span.end, {"type": span.type}
                )

    def _find(
        self, rule: Rule, texts: _Texts, at: int, start: int, end: int, more: Mapping[str, str]
    ) -> Iterator[_Find]:
        action = self.options.action(rule, texts.place[at])
        if action == "edit" and texts.part[at] in (CALLS, REPLY_CALLS):
            action = "flag"  # what a program receives is not changed unseen
        if action not in (None, "keep"):
            yield _Find(rule.id, at, start, end, more, action)

    # --- what becomes of it -----------------------------------------------------------------------------------

    def _decide(self, row: int, finds: list[_Find], texts: _Texts) -> Iterator[Decision]:
        """Yield one decision per rule; nothing is edited in a record that is removed."""
        removed = any(find.action in REMOVES for find in finds)
        by_rule: dict[str, list[_Find]] = {}
        for find in finds:
            by_rule.setdefault(find.rule, []).append(find)
        for rule in (one for one in self._by_id if one in by_rule):
            mine = sorted(by_rule[rule], key=lambda f: (f.at, f.start, f.end, sorted(f.more.items())))
            action = min((find.action for find in mine), key=SEVERITY.index)
            if action == "edit" and removed:
                action = "flag"
            spans = [texts.told(find) for find in mine[:_MOST]]
            yield Decision(row, action, rule, None, {"count": len(mine), "spans": spans})

    def _edited(self, batch: Batch, rows: list[int]) -> tuple[pa.Array | None, dict[str, pa.Array] | None]:
        """Return the content column, and the rejected replies, without the characters that edits take out."""
        if not rows:
            return None, None
        gone = frozenset(
            kind for kind in _hidden.KINDS if self.options.action(self._by_id[kind], "user") == "edit"
        )
        edited = _replaced(record.content(batch), rows, gone)
        if REJECTED not in batch.schema.names:
            return edited, None
        return edited, {REJECTED: _replaced(batch.column(REJECTED), rows, gone)}


class _Texts:
    """The utterances of a batch, and what is asked of each more than once."""

    def __init__(self, said: Utterances) -> None:
        self.text, self.offsets, self.part, self.turn = said.text, said.offsets, said.part, said.turn
        self.owner = np.repeat(np.arange(len(said.offsets) - 1), np.diff(said.offsets))
        roles = pc.fill_null(pc.index_in(said.role, pa.array(ROLES)), ROLES.index("user"))
        place = np.array(ROLES, object)[roles.to_numpy(zero_copy_only=False).astype(np.int64)]
        if pa.compute.all(pc.is_null(said.role)).as_py():
            place[:] = "document"
        place[said.part == CALLS] = "call"
        place[(said.part == REPLY) | (said.part == REPLY_CALLS)] = "rejected"
        self.place = place
        self.joined = _payloads.Joined(said.text)
        self.suspicious = disguise_signs.suspicious(said.text, self.joined)
        self._speaks: dict[int, bool] = {}

    def read(self, at: int) -> str:
        text: str = self.text[at].as_py()
        return text

    def speaks_of_attacks(self, at: int) -> bool:
        """Tell whether the record of an utterance speaks of such attacks anywhere."""
        row = int(self.owner[at])
        if row not in self._speaks:
            whole = self.text[int(self.offsets[row]) : int(self.offsets[row + 1])].to_pylist()
            self._speaks[row] = _payloads.speak_of_attacks(whole)
        return self._speaks[row]

    def told(self, find: _Find) -> dict[str, Any]:
        """Return a find as evidence."""
        where = {"turn": int(self.turn[find.at]), "part": _PARTS[self.part[find.at]]}
        return {**where, "start": find.start, "end": find.end, **find.more}


@lru_cache(maxsize=1)
def _finders() -> Search:
    """Return the stage pii's search for keys and tokens."""
    on = [rule for rule in rules.load(SECRETS).rules if rule.data.get("default", True)]
    thresholds = tuple((rule.id, float(rule.data["threshold"])) for rule in on)
    return search(Plan(thresholds, False, (), False, False))


def _replaced(column: pa.Array, rows: Iterable[int], gone: frozenset[str]) -> pa.Array:
    """Return the column with the texts of some records edited; nulls stay null."""
    rows = list(rows)
    old = column.take(pa.array(rows)).to_pylist()
    new = [value if value is None else _without(value, gone) for value in old]
    places = np.arange(len(column))
    places[rows] = len(column) + np.arange(len(rows))
    return pa.concat_arrays([column, pa.array(new, column.type)]).take(pa.array(places))


def _without(value: Any, gone: frozenset[str]) -> Any:
    if isinstance(value, str):
        return _hidden.without(value, gone)
    return [{**turn, "content": turn["content"] and _hidden.without(turn["content"], gone)} for turn in value]


def matches(rule: Rule, example: Any) -> bool:
    """Tell whether the rule finds something: in [role, content] pairs, or in a text at its first place.

    A text in pieces is one text, as rules/secrets.yaml has it.
    """
    if isinstance(example, list) and all(isinstance(piece, str) for piece in example):
        example = "".join(example)
    if isinstance(example, str):
        places = rule.data.get("places", {"user": None})
        example = [["user" if "user" in places else next(iter(places)), example]]
    turns = [{"role": role, "content": content} for role, content in example]
    verdict = Injection(InjectionOptions()).judge(pa.record_batch({"messages": pa.array([turns], MESSAGES)}))
    return rule.id in {*verdict.reason.to_pylist(), *(one.reason for one in verdict.also)}
