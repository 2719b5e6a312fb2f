"""What a recipe may ask of the stage injection, checked; what the stage says of its own search."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field, field_validator

from curate import rules
from curate.rules import Rule, did_you_mean
from curate.stage import StageOptions
from curate.stages.injecting.payloads import PACK
from curate.stages.scrubbing.search import SECRETS

Action: TypeAlias = Literal["drop", "edit", "quarantine", "flag", "keep"]
SECRET = "injection/secret"  # its action is the option secrets
_NOT_SEARCHED = (
    ("paraphrases", "an order in words of its own has no form that an expression could know"),
    ("languages other than English", "of other languages only rule override, in nine of them"),
    ("orders in the plain words of a task", "whether an answer obeyed one is not looked at"),
    ("several turns that lead up to something", "each text is read by itself"),
    (
        "triggers of backdoors",
        "tokens that studies made known are found; others show only in the whole data set",
    ),
    (
        "other codes and ciphers",
        "Morse, shifts other than 13, compressed or encrypted data, text inside pictures",
    ),
    ("definitions of tools", "they are a column of their own, which is not read"),
)


class InjectionOptions(StageOptions):
    """What becomes of the records that a rule finds."""

    actions: dict[str, Action] = Field(
        default_factory=dict,
        description="another action than the pack's for a rule, wherever it counts, by the rule's name: "
        "{override: drop}; keep switches the rule off; edit is for invisible characters",
    )
    secrets: Literal["flag", "drop", "quarantine", "keep"] = Field(
        "flag",
        description="what becomes of records that hold keys or tokens; keep: not looked for, where the stage pii "
        "takes them out",
    )

    @field_validator("actions")
    @classmethod
    def _known(cls, value: dict[str, Action]) -> dict[str, Action]:
        known = {short(rule): rule for rule in rules.load(PACK).rules if rule.id != SECRET}
        for name, action in value.items():
            if name == short_of(SECRET):
                raise ValueError(f"{name!r} has an option of its own; set secrets: {action}")
            if name not in known:
                hint = did_you_mean(name, known) or f"; rules: {', '.join(known)}"
                raise ValueError(f"no rule {name!r}{hint}")
            if action == "edit" and not editable(known[name]):
                able = ", ".join(one for one, rule in known.items() if editable(rule))
                raise ValueError(
                    f"rule {name!r} cannot edit; allowed: drop, quarantine, flag, keep (edit: {able})"
                )
        return value

    def action(self, rule: Rule, place: str) -> Action | None:
        """Return what a rule does to a record at a place; null where it does not count there."""
        if rule.id == SECRET:
            return self.secrets
        own: Action | None = rule.data["places"].get(place) if "places" in rule.data else rule.data["action"]
        return own if own is None else self.actions.get(short(rule), own)

    def notes(self) -> list[str]:
        """Return what the expressions cannot do, and what is not repaired."""
        secrets = (
            "Keys and tokens are not looked for by this stage."
            if self.secrets == "keep"
            else "Keys and tokens are told, not taken out: that is the business of the stage pii."
        )
        return [
            "Payloads are found by known forms of words, in plain sight and under the disguises that the rule pack "
            "names; a paraphrase is not found. A record that speaks of prompt injection is flagged, not removed, so "
            "an attacker who says so in a turn passes.",
            "Invisible characters are taken out of turns, documents and rejected replies; in the arguments of tool "
            "calls, which a program receives as they stand, they are only flagged.",
            secrets,
        ]

    def coverage(self) -> dict[str, Any]:
        """Return what is searched for, by what and how well that was measured to work, and what is not."""
        pack, secrets = rules.load(PACK), rules.load(SECRETS)
        off = {name for name, action in self.actions.items() if action == "keep"}
        on = [rule for rule in pack.rules if short(rule) not in off and rule.id != SECRET]
        searched = [
            {"kind": short(rule), "by": f"{pack.path} {pack.version}", "measured": rule.data.get("measured")}
            for rule in on
        ]
        if self.secrets != "keep":
            by = f"{secrets.path} {secrets.version}"
            searched.append({"kind": "keys and tokens", "by": by, "measured": None})
        asked = [(name, "actions: keep") for name in sorted(off)]
        asked += [("keys and tokens", "secrets: keep")] if self.secrets == "keep" else []
        return {
            "searched": searched,
            "not_searched": [{"kind": kind, "why": why} for kind, why in (*asked, *_NOT_SEARCHED)],
        }


def editable(rule: Rule) -> bool:
    """Tell whether what a rule finds can be taken out without a loss: characters that are shown as nothing."""
    return "action" in rule.data and rule.id != SECRET


def short(rule: Rule) -> str:
    """Return a rule's name without the stage's."""
    return short_of(rule.id)


def short_of(reason: str) -> str:
    """Return what stands behind the stage's name in a reason."""
    return reason.partition("/")[2]
