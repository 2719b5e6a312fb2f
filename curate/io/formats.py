"""Which format a source has, and which of its columns plays which role."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple, TypeAlias

from curate.io.columns import Column
from curate.source import Source
from curate.yamlfile import nearest

Format: TypeAlias = Literal["text", "alpaca", "openai", "sharegpt", "preference"]

# Roles that a format cannot do without, then those that it takes where they are; each with the column names
# that are tried in this order. Formats stand in the order in which 'auto' prefers them: a file that has both
# turns and a rendering of them as text is one of conversations, and one that has two replies is one of pairs.
REQUIRED: dict[Format, dict[str, tuple[str, ...]]] = {
    "preference": {"chosen": ("chosen",), "rejected": ("rejected",)},
    "openai": {"messages": ("messages",)},
    "sharegpt": {"conversations": ("conversations",)},
    "alpaca": {"instruction": ("instruction", "prompt"), "output": ("output", "response", "completion")},
    "text": {"text": ("text", "content")},
}
OPTIONAL: dict[Format, dict[str, tuple[str, ...]]] = {
    "preference": {
        "prompt": ("prompt", "instruction", "question", "conversations", "input"),
        "input": ("input",),
        "system": ("system",),
    },
    "openai": {},
    "sharegpt": {"system": ("system",)},
    "alpaca": {"input": ("input",), "system": ("system",)},
    "text": {},
}
DESCRIPTION = ("id", "license", "url", "author", "created")  # roles of every format
_CONTENT = {role for part in (REQUIRED, OPTIONAL) for roles in part.values() for role in roles}
TURN_KEYS: dict[Format, frozenset[str]] = {  # the keys of a turn that become its role and content
    "openai": frozenset({"role", "content"}),
    "sharegpt": frozenset({"from", "value"}),
    "alpaca": frozenset(),
    "text": frozenset(),
    "preference": frozenset(),  # either of the above, turn by turn: PAIR_KEYS
}
PAIR_KEYS = TURN_KEYS["openai"] | TURN_KEYS["sharegpt"]
_NEEDS = (
    "openai needs messages, sharegpt conversations, alpaca instruction and output, text text or content, "
    "preference chosen and rejected"
)
# What chosen and rejected may be for 'auto' to take them for replies: marks and ratings may have these names, too.
_REPLY_ATOMS = frozenset({"null", "str", "object", "list", "list.object", "list.null"})


class Shape(NamedTuple):
    """What a source's records look like."""

    format: Format
    fields: dict[str, str]  # role → column


def turn_columns(source: Source) -> tuple[str, ...]:
    """Return the columns in which turns may be found, so that the scan looks into them."""
    fields = source.fields
    named = [fields.messages, fields.conversations, "messages", "conversations"]
    named += [fields.prompt, fields.chosen, fields.rejected, "prompt", "chosen", "rejected"]
    return tuple(sorted({name for name in named if name}))


def settle(source: Source, files: Mapping[str, Mapping[str, Column]]) -> tuple[Shape | None, list[str]]:
    """Return a source's shape, or what keeps it from having one. files: path → the file's columns by name."""
    columns: dict[str, Column] = {}
    for found in files.values():
        for name, column in found.items():
            held = columns.get(name)
            keys = column.turn_keys | (held.turn_keys if held else frozenset())
            columns[name] = Column(column.atoms, keys)
    given = {role: name for role, name in source.fields.model_dump().items() if name is not None}
    problems = _unknown(source, given, columns)
    if problems:
        return None, problems
    chosen: Format | None
    if source.format == "auto":
        chosen, problem = _guess(source, given, columns, files)
        if chosen is None:
            return None, [problem]
    else:
        chosen = source.format
    unused = sorted(role for role in given if role in _CONTENT - {*REQUIRED[chosen], *OPTIONAL[chosen]})
    if unused:
        names = ", ".join(f"fields.{role}" for role in unused)
        return None, [f"source {source.name!r}: {names}: format {chosen} has no such role; take it out"]
    fields = _fields(chosen, given, columns)
    if missing := _missing(source, chosen, fields, columns):
        return None, [missing]
    return Shape(chosen, fields), []


def _unknown(source: Source, given: Mapping[str, str], columns: Collection[str]) -> list[str]:
    if not columns:  # no file has a record, so there is nothing to contradict the recipe
        return []
    return [
        f"source {source.name!r}: fields.{role} names the column {name!r}, which no file has"
        f"{nearest(name, columns)}"
        for role, name in given.items()
        if name not in columns
    ]


def _guess(
    source: Source,
    given: Mapping[str, str],
    columns: Mapping[str, Column],
    files: Mapping[str, Mapping[str, Column]],
) -> tuple[Format | None, str]:
    told = {path: _told(given, found, columns) for path, found in files.items() if found}
    formats = set(told.values())
    where = f"source {source.name!r}: the format cannot be told"
    if len(formats) == 1 and (only := formats.pop()) is not None:
        return only, ""
    if not told:
        return None, f"{where}: no file has a record that could be read; set format, or correct files"
    unclear = sorted(path for path, format_ in told.items() if format_ is None)
    if unclear:
        names = ", ".join(sorted(files[unclear[0]])[:20])
        return None, (
            f"{where} from {unclear[0]}, which has the columns {names}; {_NEEDS}; set format and name the "
            "columns under fields"
        )
    examples = {format_: path for path, format_ in sorted(told.items(), reverse=True)}
    found = ", ".join(sorted(f"{path} is {format_}" for format_, path in examples.items()))
    return None, f"{where}: its files disagree ({found}); make them sources of their own, or set format"


def _told(
    given: Mapping[str, str], found: Mapping[str, Column], columns: Mapping[str, Column]
) -> Format | None:
    """Return the format that a file's columns tell; a content role that the recipe names decides it."""
    named = {role for role in given if role in _CONTENT}
    for format_, roles in REQUIRED.items():
        if not named <= {*roles, *OPTIONAL[format_]}:
            continue
        named_so = {role: _column(role, names, given, found) for role, names in roles.items()}
        if format_ == "preference" and not named:
            replies = [found[name] for name in named_so.values() if name is not None]
            if not all(column.atoms <= _REPLY_ATOMS for column in replies):
                continue
        if all(named_so.values()):
            return format_ if named else _by_turns(format_, _fields(format_, given, found), columns)
    return None


def _by_turns(format_: Format, fields: Mapping[str, str], columns: Mapping[str, Column]) -> Format:
    """Correct a guess made from a name: many files keep {role, content} under 'conversations'."""
    if TURN_KEYS[format_]:
        keys = columns[fields[next(iter(REQUIRED[format_]))]].turn_keys
        for other, needed in TURN_KEYS.items():
            if needed and needed <= keys and not TURN_KEYS[format_] <= keys:
                return other
    return format_


def _fields(format_: Format, given: Mapping[str, str], columns: Mapping[str, Column]) -> dict[str, str]:
    """Return role → column: as the recipe says, else the usual names where they exist."""
    usual = {**REQUIRED[format_], **OPTIONAL[format_], **{role: (role,) for role in DESCRIPTION}}
    fields = {role: _column(role, names, given, columns) for role, names in usual.items()}
    # Only alpaca's instruction has an input to itself; elsewhere a column of that name may be anything.
    if format_ == "preference" and "input" not in given and fields["prompt"] != "instruction":
        fields["input"] = None
    if TURN_KEYS[format_] and not any(fields[role] for role in REQUIRED[format_]):
        others = {"openai": "conversations", "sharegpt": "messages"}
        fields[next(iter(REQUIRED[format_]))] = _column("", (others[format_],), {}, columns)
    if not columns:  # nothing was found, so every role keeps the name that it would have
        fields |= {role: given.get(role, names[0]) for role, names in REQUIRED[format_].items()}
    return {role: name for role, name in fields.items() if name is not None}


def _column(
    role: str, names: Collection[str], given: Mapping[str, str], columns: Collection[str]
) -> str | None:
    wanted = (given[role],) if role in given else names
    return next((name for name in wanted if name in columns), None)


def _missing(
    source: Source, format_: Format, fields: Mapping[str, str], columns: Collection[str]
) -> str | None:
    missing = [role for role in REQUIRED[format_] if role not in fields]
    if not missing:
        return None
    names = ", ".join(sorted(columns)[:20])
    return (
        f"source {source.name!r}: format {format_} needs a column for {' and '.join(missing)}; found the "
        f"columns {names}; name yours under fields"
    )
