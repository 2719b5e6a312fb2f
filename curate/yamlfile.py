"""YAML 1.2 files with the line of every key, and pydantic's complaints as lines a person can act on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from curate import yamlread
from curate.errors import RecipeError
from curate.rules import did_you_mean
from curate.yamlread import Loc, shown

M = TypeVar("M", bound=BaseModel)

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of a source or a release: it becomes part of ids and paths


@dataclass(frozen=True)
class YamlFile:
    """A parsed YAML file: plain data, and where each part of it stands."""

    name: str  # as messages show it
    data: Any
    lines: dict[Loc, int]  # key path → line, from 1

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> YamlFile:
        """Read a file. Raises RecipeError with all that keeps it from being plain YAML 1.2 in UTF-8."""
        name = printable(name or path.name)
        return cls(name, *yamlread.read(_text(path, name), name))

    def mapping(self, expected: str) -> dict[str, Any]:
        """Return the file's keys. Raises RecipeError, which says what is expected, if it has none."""
        if isinstance(self.data, dict):
            return self.data
        kind = "a list" if isinstance(self.data, list) else f"the single value {shown(self.data)}"
        found = "nothing" if self.data is None else kind
        raise RecipeError(f"{self.name}:1: found {found}; {expected}; write it as 'key: value' lines")

    def line(self, loc: Loc) -> int:
        """Return the line, from 1, of the nearest key that exists."""
        while loc not in self.lines:
            loc = loc[:-1]
        return self.lines[loc]

    def at(self, loc: Loc, message: str) -> str:
        """Return ``file:line: key.path: message``, with the line of the nearest key that exists."""
        return yamlread.located(self.name, self.line(loc), loc, message)

    def validate(
        self, model: type[M], data: Any, loc: Loc, problems: list[str], folder: Path | None = None
    ) -> M | None:
        """Check data that stands at loc against a model; append what is wrong to problems, all of it.

        ``folder`` is what relative paths in the data are relative to; validators find it in their context.
        """
        try:
            return model.model_validate(data, context=None if folder is None else {"folder": folder})
        except ValidationError as error:
            problems += [self.at(loc + _clean(e["loc"]), _message(e, model)) for e in error.errors()]
            return None


def nearest(word: object, words: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` where one of the words is close, and all known words otherwise."""
    words = sorted(words)
    return did_you_mean(str(word), words) or f"; known: {', '.join(words)}"


def allowed(word: object, words: Iterable[str]) -> str:
    """Return ``; did you mean 'x'? allowed: a, b; write one of these``, without a question if none is near."""
    words = list(words)
    near = did_you_mean(str(word), words)
    return f"{near}{' ' if near else '; '}allowed: {', '.join(words)}; write one of these"


def printable(name: str | Path) -> str:
    """Return a file's name as a message can show it: bytes that are not UTF-8 as ``\\xNN``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _text(path: Path, name: str) -> str:
    raw = b""
    try:
        raw = path.read_bytes()
        return raw.decode()
    except FileNotFoundError:
        has = f"{printable(path.parent)} has {_siblings(path)}"
        raise RecipeError(f"{name}: no such file ({has}); correct the name") from None
    except IsADirectoryError:
        raise RecipeError(f"{name}: is a folder; expected a YAML file; name one in it") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        advice = "expected a readable YAML file; check its permissions"
        raise RecipeError(f"{name}: cannot be read ({reason}); {advice}") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{name}:{line}: is not UTF-8 text; expected UTF-8; save it as that") from None


def _siblings(path: Path) -> str:
    found = sorted(printable(p.name) for p in path.parent.glob("*.yaml"))
    return ", ".join(found) if found else "no .yaml file"


def _clean(loc: Sequence[int | str]) -> Loc:
    # pydantic adds its own labels ('function-after[…]', 'literal[…]', 'str') for the arms of a union.
    return tuple(part for part in loc if isinstance(part, int) or not (part.endswith("]") or part in _LABELS))


_LABELS = {"str", "int", "float", "bool", "date"}
_NAMES = "letters, digits, '.', '_' and '-', the first a letter or digit"
_ALLOWED = {  # pydantic's type of error → what is allowed, in our words; filled in from the error's context
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "date_from_datetime_inexact": "a date like 2026-05-01",
    "date_from_datetime_parsing": "a date like 2026-05-01",
    "date_type": "a date like 2026-05-01",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "list_type": "a list, like [a, b]",
    "literal_error": "{expected}",
    "string_too_short": "text of {min_length} or more characters",
    "string_type": "text, in quotes",
    "too_long": "{max_length} or fewer entries",
    "tuple_type": "a list, like [a, b]",
}


def _message(error: Any, model: type[BaseModel]) -> str:
    """Return found; allowed; what to do, for one of pydantic's errors."""
    kind, given, about, loc = error["type"], error.get("input"), error.get("ctx", {}), error["loc"]
    found = f"found {shown(given)}"
    match kind:
        case "extra_forbidden":
            return f"unknown key{allowed(loc[-1], _keys(model, loc[:-1]))}"
        case "missing":
            described = _model_at(model, loc[:-1]).model_fields.get(str(loc[-1]))
            what = f" ({described.description})" if described and described.description else ""
            return f"is required and missing; add '{loc[-1]}: …'{what}"
        case "value_error":
            return str(about["error"])
        case "string_pattern_mismatch":
            pattern = about["pattern"]
            return f"{found}; allowed: {_NAMES if pattern == NAME else f'text like {pattern}'}; rename it"
        case "too_short":
            return f"found {about['actual_length']}; allowed: {about['min_length']} or more entries; add one"
        case "literal_error" if isinstance(given, bool):
            return f"{found}; allowed: {about['expected']}; quote it if it is a word"
        case "literal_error":
            near = did_you_mean(str(given), re.findall(r"'([^']*)'", about["expected"]))
            return f"{found}{near}{' ' if near else '; '}allowed: {about['expected']}; correct it"
        case "model_type" | "model_attributes_type" | "dict_type":
            keys = ", ".join(_keys(model, loc))
            return f"{found}; allowed: keys with values ({keys}); write it like {{key: value}}"
        case _ if kind in _ALLOWED:
            return f"{found}; allowed: {_ALLOWED[kind].format(**about)}; correct it"
        case _:
            return f"{found}; {error['msg'][0].lower()}{error['msg'][1:]}; correct it"


def _model_at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel]:
    for part in loc:
        field = model.model_fields.get(str(part))
        model = (_inner_model(field.annotation) if field else None) or model
    return model


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model in an annotation: ``Inner``, ``Inner | None``, ``tuple[Inner, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_inner_model, get_args(annotation))), None)


def _keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    return [field.alias or name for name, field in _model_at(model, loc).model_fields.items()]
