"""YAML 1.2 files with the line of every key, and pydantic's complaints as lines a person can act on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from curate.errors import RecipeError
from curate.rules import did_you_mean

M = TypeVar("M", bound=BaseModel)
Loc = tuple[int | str, ...]


@dataclass(frozen=True)
class YamlFile:
    """A parsed YAML file: plain data, and where each part of it stands."""

    name: str  # as messages show it
    data: Any
    lines: dict[Loc, int]  # key path → line, from 1

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> YamlFile:
        """Read a file. Raises RecipeError if it is missing, not UTF-8, not YAML, or has a key twice."""
        from ruamel.yaml import YAML  # heavy to import, and `curate --help` needs no YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        name = name or path.name
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise RecipeError(f"{name}: no such file ({path.parent} has {_siblings(path)})") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{name}: cannot be read as UTF-8 text: {error}") from None
        try:
            node = YAML(typ="rt").load(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f":{mark.line + 1}" if mark else ""
            problem = (error.problem or error.context or "not YAML").split("\n")[0]
            raise RecipeError(f"{name}{line}: {problem}") from None
        except YAMLError as error:
            raise RecipeError(f"{name}: not YAML: {str(error).splitlines()[0]}") from None
        lines: dict[Loc, int] = {(): 1}
        return cls(name, _plain(node, (), lines), lines)

    def at(self, loc: Loc, message: str) -> str:
        """Return ``file:line: key.path: message``, with the line of the nearest key that exists."""
        here = loc
        while here not in self.lines:
            here = here[:-1]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
        return f"{self.name}:{self.lines[here]}: {where + ': ' if where else ''}{message}"

    def validate(self, model: type[M], data: Any, loc: Loc, problems: list[str]) -> M | None:
        """Check data that stands at loc against a model; append what is wrong to problems, all of it."""
        try:
            return model.model_validate(data)
        except ValidationError as error:
            problems += [self.at(loc + _clean(e["loc"]), _message(e, model)) for e in error.errors()]
            return None


def nearest(word: object, words: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` where one of the words is close, and all known words otherwise."""
    words = sorted(words)
    return did_you_mean(str(word), words) or f"; known: {', '.join(words)}"


def _plain(node: Any, loc: Loc, lines: dict[Loc, int]) -> Any:
    layout: Any = getattr(node, "lc", None)  # the loader's own line and column marks
    if isinstance(node, dict):
        for key in node:
            lines[(*loc, key)] = layout.key(key)[0] + 1
        return {key: _plain(value, (*loc, key), lines) for key, value in node.items()}
    if isinstance(node, list):
        for i in range(len(node)):
            lines[(*loc, i)] = layout.item(i)[0] + 1
        return [_plain(value, (*loc, i), lines) for i, value in enumerate(node)]
    for base in (bool, int, float, str):  # the loader's scalars are subclasses that remember their layout
        if isinstance(node, base):
            return base(node)
    return node


def _siblings(path: Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.yaml"))
    return ", ".join(found) if found else "no .yaml file"


def _clean(loc: Sequence[int | str]) -> Loc:
    # pydantic adds its own labels ('function-after[…]', 'literal[…]', 'str') for the arms of a union.
    return tuple(part for part in loc if isinstance(part, int) or not (part.endswith("]") or part in _LABELS))


_LABELS = {"str", "int", "float", "bool", "date"}


def _message(error: Any, model: type[BaseModel]) -> str:
    given = error.get("input")
    match error["type"]:
        case "extra_forbidden":
            return f"unknown key{nearest(error['loc'][-1], _keys(model, error['loc'][:-1]))}"
        case "missing":
            return "is required and missing"
        case "too_short":
            return f"needs at least {error['ctx']['min_length']} entry; found none"
        case "string_pattern_mismatch":
            return f"may hold letters, digits, '.', '_' and '-'; found {_shown(given)}"
        case "value_error":
            return str(error["ctx"]["error"])
        case "literal_error":
            hint = " (YAML 1.2: quote it if it is a word)" if isinstance(given, bool) else ""
            return f"{given!r} is not one of {error['ctx']['expected']}{hint}"
        case _:
            return f"{error['msg'][0].lower()}{error['msg'][1:]}; found {_shown(given)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__} {text[:57]}…"


def _keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    for part in loc:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return [field.alias or name for name, field in model.model_fields.items()]
