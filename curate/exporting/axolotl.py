"""axolotl's datasets (axolotl 0.19, ``prompt_strategies``: chat_template, dpo.chat_template, completion).

JSON lines, and the lines that a configuration needs to read them: ``sft.yaml`` for conversations and documents,
``dpo.yaml`` for preference pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from curate.exporting import shapes
from curate.exporting.shapes import Kind, Record, Turns

_TYPES: Mapping[Kind, Sequence[str]] = {
    "conversations": (
        "type: chat_template",
        "field_messages: messages",
        "field_tools: tools",
        "roles_to_train: [assistant]",
        "train_on_eos: turn",
    ),
    "preferences": (
        "type: chat_template.default",
        "field_messages: messages",
        "field_chosen: chosen",
        "field_rejected: rejected",
    ),
    "documents": ("type: completion", "field: text"),
}

_FILES: Mapping[str, Sequence[Kind]] = {
    "sft.yaml": ("conversations", "documents"),
    "dpo.yaml": ("preferences",),
}
_HEAD = "# Paths are relative to this folder; put it before them where axolotl runs elsewhere."


def shape(record: Record, kind: Kind) -> Record:
    """Return a record as axolotl takes it. Raises Skip where it cannot."""
    found = shapes.told(record)
    if kind == "documents":
        return {**found, "text": record["text"]}
    if kind == "preferences":
        prompt, chosen, rejected = shapes.pair(record)
        if shapes.has_calls([*prompt, *chosen, *rejected]):
            raise shapes.Skip(
                "preference pair with calls of tools"
            )  # its reader keeps role and content alone
        if len(rejected) != 1:
            raise shapes.Skip("rejected reply of several turns")
        return {**found, "messages": prompt, "chosen": chosen[0], "rejected": rejected[0]}
    shapes.answered(record["messages"])
    return {**found, "messages": _turns(record["messages"]), "tools": shapes.tools_text(record)}


def _turns(turns: Turns) -> Turns:
    """Return turns with the arguments of calls as JSON text: records whose calls differ then have one schema."""
    found = [shapes.with_objects(turn) for turn in turns]
    for turn in found:
        for call in turn.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict) and isinstance(function.get("arguments"), dict | list):
                function["arguments"] = orjson.dumps(function["arguments"]).decode()
    return found


def notes(files: Mapping[tuple[str, Kind], str]) -> dict[str, str]:
    """Return sft.yaml and dpo.yaml, as there are records for them. files: by split and kind, relative to the export."""
    found = {}
    for name, kinds in _FILES.items():
        lines = [_HEAD, *(["rl: dpo"] if name == "dpo.yaml" else [])]
        for head, wanted in (("datasets:", True), ("test_datasets:", False)):
            held = [(kind, path) for (split, kind), path in files.items() if (split == "train") == wanted]
            entries = [(kind, path) for kind, path in held if kind in kinds]
            lines += [head] if entries else []
            for kind, path in entries:
                lines += [f"  - path: {path}", "    ds_type: json", *(f"    {line}" for line in _TYPES[kind])]
        if lines[-1] not in (_HEAD, "rl: dpo"):
            found[name] = "\n".join(lines) + "\n"
    return found
