"""What the stage pii says of its own search: the kinds it looks for, by what and how well, and those it does not."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from curate import rules
from curate.stages.scrubbing.search import NAMED, NAMES, PACK, SECRETS, kinds

if TYPE_CHECKING:
    from curate.stages.scrubbing.options import PiiOptions

_NEVER = (
    ("postal addresses", "nothing here finds them"),
    ("medical and other facts about a person", "no form tells them"),
)


def coverage(options: PiiOptions) -> dict[str, Any]:
    """Return it as :meth:`curate.stage.StageOptions.coverage` has it."""
    on = options.kinds()
    off = [
        *_off(PACK, on),
        *_off(SECRETS, on),
        *((kind, _why(kind, options)) for kind in NAMED if kind not in on),
    ]
    return {
        "searched": [
            {"kind": kind, "by": _by(kind, options), "measured": _measured(kind, options)} for kind in on
        ],
        "not_searched": [{"kind": kind, "why": why} for kind, why in (*off, *_NEVER)],
    }


def _off(pack: str, on: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the kinds of a pack that are not looked for, each with what the pack says against it."""
    told = []
    for rule in rules.load(pack).rules:
        if rule.id not in on:
            country = rule.data.get("country")
            asked = rule.data.get("default", True)
            why = (
                f"only where countries or entities ask for it ({country})"
                if country and asked
                else rule.data["why"]
            )
            told.append((rule.id, "not asked for" if pack == SECRETS else " ".join(why.split())))
    return told


def _why(kind: str, options: PiiOptions) -> str:
    """Return why a kind of names is not looked for."""
    if options.names == "off":
        return "names: off"
    return (
        "not asked for" if kind in kinds(NAMES) or options.names != "gazetteer" else "only a model finds it"
    )


def _by(kind: str, options: PiiOptions) -> str:
    """Return what looks for a kind."""
    threshold = f"from score {dict(options.plan().thresholds)[kind]:g}"
    if kind in NAMED:
        model = options.model()
        return f"gazetteer {_pack(NAMES)}, {threshold}" if model is None else model.describe()
    if kind in kinds(SECRETS):
        return f"{_pack(SECRETS)}, {threshold}"
    if options.engine == "presidio":
        return f"presidio-analyzer {version('presidio_analyzer')}, {threshold}"
    return f"{_pack(PACK)}, {threshold}"


def _pack(name: str) -> str:
    pack = rules.load(name)
    return f"{pack.path} {pack.version}"


def _measured(kind: str, options: PiiOptions) -> Mapping[str, Any] | None:
    """Return the precision and recall that a rule states, where it is used as it stands."""
    if kind in options.thresholds or (kind in NAMED and options.model() is not None):
        return None
    pack = NAMES if kind in NAMED else SECRETS if kind in kinds(SECRETS) else PACK
    if pack == PACK and options.engine == "presidio":
        return None
    measured: Mapping[str, Any] | None = rules.load(pack).rule(kind).data.get("measured")
    return measured
