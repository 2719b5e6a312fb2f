"""From the text of a YAML 1.2 file to plain data and the line of every key.

A file holds one document of plain mappings with text keys, lists and values. Anchors, aliases and merge keys
(``<<``) work; tags that make other things, and numbers that JSON cannot hold, are refused.
"""

from __future__ import annotations

import math
from typing import Any

from curate.errors import RecipeError

Loc = tuple[int | str, ...]

DEEPEST = 50  # levels of nesting; a recipe needs six
MOST_VALUES = 100_000  # once aliases are written out: a few lines of aliases of aliases could fill the memory
_TAG = "tag:yaml.org,2002:"
_SCALARS = ("null", "bool", "int", "float", "str", "timestamp")
_HINTS = (  # what the parser says of a common slip, and what to do
    ("'\\t'", "indent with spaces, not tabs"),
    ("alias", "quote a text that begins with *, or define the anchor before its alias"),
    ("cannot start any token", "quote a text that begins with this character"),
    ("mapping values", "quote a text that has ': ' in it"),
    ("another document", "a file holds one document; take out the second '---'"),
)


def located(name: str, line: int, loc: Loc, message: str) -> str:
    """Return ``file:line: key.path: message``; loc: the key's path, empty for the file as a whole."""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    return f"{name}:{line}: {where + ': ' if where else ''}{message}"


def shown(value: Any) -> str:
    """Return a value as a message shows it, long ones cut."""
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__} {text[:57]}…"


def read(text: str, name: str) -> tuple[Any, dict[Loc, int]]:
    """Return a file's plain data (null if it has none) and the line, from 1, of every key path.

    name: what messages call the file. Raises RecipeError with all that the file may not hold.
    """
    reader = _Reader(name)
    data = reader.read(text)
    if reader.problems:
        raise RecipeError(list(dict.fromkeys(reader.problems)))
    return data, reader.lines


class _Reader:
    """Reads one file: nodes to plain data, the line of each, and what may not be in it."""

    def __init__(self, name: str) -> None:
        from ruamel.yaml import YAML  # heavy to import, and `curate --help` needs no YAML

        self.name = name
        self.lines: dict[Loc, int] = {(): 1}
        self.problems: list[str] = []
        self.values = 0
        self.inside: list[int] = []  # the nodes around the present one, by identity
        self.yaml = YAML(typ="safe", pure=True)
        self.yaml.composer.warn_double_anchors = False  # an anchor may be used again, says YAML

    def read(self, text: str) -> Any:
        """Return the file's plain data. Raises RecipeError for what makes all else meaningless."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError
        from ruamel.yaml.reader import ReaderError

        try:
            for token in YAML(typ="safe", pure=True).scan(text):
                self._refuse_another_version(token)
            root = self.yaml.compose(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(mark.line + 1 if mark else 1, _syntax(error)) from None
        except ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            found = f"found the control character U+{error.character:04X}"
            raise self._error(line, f"{found}; allowed: printable text; take it out") from None
        except RecursionError:
            raise self._too_deep(1) from None
        except (ValueError, OverflowError, AssertionError) as error:  # from escapes that name no character
            raise self._error(1, f"not YAML ({type(error).__name__}: {error}); mend it") from None
        return None if root is None else self._plain(root, ())

    def _plain(self, node: Any, loc: Loc) -> Any:
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        line, tag = node.start_mark.line + 1, str(node.tag)
        self._count(1, line)
        if len(self.inside) > DEEPEST:
            raise self._too_deep(line)
        if id(node) in self.inside:
            raise self._error(line, "an alias inside of what it stands for; write it out")
        self.inside.append(id(node))
        data: Any
        if isinstance(node, MappingNode) and tag == f"{_TAG}map":
            data = {}
            for key, (key_line, value) in self._pairs(node, loc).items():
                self.lines[(*loc, key)] = key_line
                data[key] = self._plain(value, (*loc, key))
        elif isinstance(node, SequenceNode) and tag == f"{_TAG}seq":
            self.lines |= {(*loc, i): entry.start_mark.line + 1 for i, entry in enumerate(node.value)}
            data = [self._plain(entry, (*loc, i)) for i, entry in enumerate(node.value)]
        elif isinstance(node, MappingNode | SequenceNode):
            data = self._problem(line, loc, _no_such(tag))
        else:
            data = self._scalar(node, tag, line, loc)
        self.inside.pop()
        return data

    def _pairs(self, node: Any, loc: Loc) -> dict[str, tuple[int, Any]]:
        """Return key → line and value of a mapping: its own keys first, then those that it merges."""
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        self._count(len(node.value), node.start_mark.line + 1)
        pairs: dict[str, tuple[int, Any]] = {}
        merged: list[tuple[int, Any]] = []
        for key_node, value in node.value:
            line, tag, key = key_node.start_mark.line + 1, str(key_node.tag), key_node.value
            if tag == f"{_TAG}merge":
                merged += [(line, v) for v in (value.value if isinstance(value, SequenceNode) else [value])]
            elif tag not in (f"{_TAG}str", f"{_TAG}value"):
                found = f"the key {key}" if isinstance(key, str) else "a key of several values"
                self._problem(line, loc, f"found {found}, which is no text; allowed: text; quote it")
            elif not key.isprintable():
                self._problem(line, loc, f"found the key {key!r}; allowed: printable text; correct it")
            elif key in pairs:
                found = f"the key {key!r} appears twice (first on line {pairs[key][0]})"
                self._problem(line, loc, f"{found}; each may appear once; take one out")
            else:
                pairs[key] = (line, value)
        for line, other in merged:
            if not isinstance(other, MappingNode):
                advice = "allowed: an alias of a mapping, or a list of these; name one: <<: *anchor"
                self._problem(line, (*loc, "<<"), f"found no mapping to merge; {advice}")
            elif id(other) in self.inside:
                raise self._error(line, "a mapping that merges itself; write it out")
            else:
                self.inside.append(id(other))
                for key, pair in self._pairs(other, loc).items():
                    pairs.setdefault(key, pair)  # of two that are merged, the first named wins
                self.inside.pop()
        return pairs

    def _scalar(self, node: Any, tag: str, line: int, loc: Loc) -> Any:
        kind = tag.removeprefix(_TAG)
        if kind in ("value", "merge"):
            return str(node.value)  # a bare = or << is text here
        if kind not in _SCALARS:
            return self._problem(line, loc, _no_such(tag))
        try:
            value = self.yaml.constructor.construct_object(node)
        except Exception as error:  # noqa: BLE001 - each kind of scalar fails in its own way
            found = f"found {shown(node.value)}, which is no {kind} ({type(error).__name__})"
            return self._problem(line, loc, f"{found}; correct it, or quote it if it is text")
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            return self._problem(
                line, loc, "found half of a surrogate pair; allowed: text; write the character"
            )
        if isinstance(value, float) and not math.isfinite(value):
            return self._problem(
                line, loc, f"found {node.value}; allowed: finite numbers; write one, or leave it out"
            )
        if type(value) is int and abs(value) >= 2**63:
            return self._problem(line, loc, "found a whole number of more than 64 bits; write a smaller one")
        return value

    def _refuse_another_version(self, token: Any) -> None:
        if getattr(token, "name", None) == "YAML" and token.value != (1, 2):
            found = ".".join(map(str, token.value))
            advice = "allowed: YAML 1.2, where a bare no is text; take the line out"
            raise self._error(token.start_mark.line + 1, f"found %YAML {found}; {advice}")

    def _count(self, values: int, line: int) -> None:
        self.values += values
        if self.values > MOST_VALUES:
            raise self._error(line, f"more than {MOST_VALUES:,} values, aliases written out; make it smaller")

    def _problem(self, line: int, loc: Loc, message: str) -> Any:
        """Note a problem; return null, which stands for the value while the rest is read."""
        self.problems.append(located(self.name, line, loc, message))
        return None

    def _error(self, line: int, message: str) -> RecipeError:
        return RecipeError(f"{self.name}:{line}: {message}")

    def _too_deep(self, line: int) -> RecipeError:
        return self._error(line, f"nested too deeply; allowed: {DEEPEST} levels; make it flatter")


def _no_such(tag: str) -> str:
    named = f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag
    return f"found the tag {named}; allowed: plain mappings, lists and values; take the tag out"


def _syntax(error: Any) -> str:
    """Return what a parser's error says, and what to do about it."""
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    advice = next(
        (advice for words, advice in _HINTS if words in said), "mend this line or the one before it"
    )
    problem = (error.problem or error.context or "it cannot be parsed").split("\n")[0]
    return f"not YAML: {problem.removeprefix('but ')}; {advice}"
