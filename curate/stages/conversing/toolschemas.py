"""Tools as a record declares them, and their JSON Schemas made ready, once per process.

The draft is what ``$schema`` says, else 2020-12. A schema comes with the data, so nothing that it says can reach the
network, its patterns run on RE2, in linear time (one that RE2 does not know constrains nothing), and what it asks for
is bounded: one that goes deeper than :data:`_DEEPEST`, or with which a record takes more than :data:`_MOST_STEPS`,
counts as broken, wherever it is judged.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson
import re2
from jsonschema import validators
from jsonschema.exceptions import SchemaError, UnknownType, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

_MOST_SCHEMAS = 4096  # kept ready at a time
_DEEPEST = 48  # lists and objects within each other in a schema, and schemas that are asked within each other: Python's
# own limit would depend on who calls
_MOST_STEPS = 200_000  # keywords of schemas that are asked about one record: references multiply


class Tools(NamedTuple):
    """What a record declares."""

    known: Mapping[str, Any]  # name → validator; None where the schema is broken
    broken: int  # declarations or schemas that nobody can read


@functools.lru_cache(maxsize=_MOST_SCHEMAS)
def declarations(text: str) -> Tools:
    """Return the tools that a JSON text declares. Never raises: what cannot be read is counted as broken."""
    try:
        listed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return Tools({}, 1)
    known: dict[str, Any] = {}
    broken = 0
    for one in listed if isinstance(listed, list) else [listed]:
        if isinstance(one, str):  # a list of JSON texts
            try:
                one = orjson.loads(one)
            except orjson.JSONDecodeError:
                one = None
        function = one.get("function", one) if isinstance(one, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not name:
            broken += 1
            continue
        known[name] = _ready(function.get("parameters"))
        broken += known[name] is None
    return Tools(known, broken)


def _ready(schema: Any) -> Any:
    """Return a validator for a tool's parameters; None where they are no JSON Schema."""
    if schema is None:
        schema = {}
    if not isinstance(schema, dict | bool) or _deeper(schema, _DEEPEST):
        return None
    return _compiled(orjson.dumps(schema))


def _deeper(value: Any, most: int) -> bool:
    """Tell whether lists and objects stand within each other more than so often."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (most == 0 or any(_deeper(one, most - 1) for one in inner))


@functools.lru_cache(maxsize=_MOST_SCHEMAS)
def _compiled(schema: bytes) -> Any:
    plain = _linear(orjson.loads(schema))
    try:
        named = validators.validator_for(plain, default=validators.Draft202012Validator)
        named.check_schema(plain, format_checker=None)
        return _bounded(named)(plain, registry=Registry())
    except (SchemaError, Unresolvable, RecursionError, TypeError, ValueError, AttributeError):
        return None


@functools.cache
def _bounded(validator: Any) -> Any:
    """Return the draft's validator with patterns that run on RE2, and every keyword counted."""
    own = {**validator.VALIDATORS, "pattern": _pattern}
    own |= {"uniqueItems": _unique} if "uniqueItems" in own else {}
    return validators.extend(validator, {name: _counted(keyword) for name, keyword in own.items()})


class _Spent:
    """What has been asked of schemas about the record at hand."""

    steps = 0
    depth = 0


class _TooMuchError(Exception):
    """A schema asks for more than it is given."""


_spent = _Spent()


def afresh() -> None:
    """Begin to count what is asked about a record."""
    _spent.steps = 0


def _counted(keyword: Callable[..., Iterator[ValidationError] | None]) -> Callable[..., Any]:
    def asked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _spent.steps += 1
        if _spent.steps > _MOST_STEPS or _spent.depth >= _DEEPEST:
            raise _TooMuchError
        _spent.depth += 1
        try:
            yield from keyword(validator, value, instance, schema) or ()
        finally:
            _spent.depth -= 1

    return asked


def _unique(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list):
        told = {orjson.dumps(_number(one), option=orjson.OPT_SORT_KEYS) for one in instance}
        if len(told) < len(instance):
            yield ValidationError("has an item twice", validator="uniqueItems")


def _number(value: Any) -> Any:
    """Return a value in which 1.0 is 1, as JSON Schema compares numbers."""
    if isinstance(value, dict):
        return {key: _number(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_number(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and (compiled := _expression(pattern)) and not compiled.search(instance):
        yield ValidationError("does not match", validator="pattern")


@functools.lru_cache(maxsize=_MOST_SCHEMAS)
def _expression(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


def _linear(schema: Any) -> Any:
    """Return a schema without patterns for names of properties, which would run on Python's own engine."""
    if isinstance(schema, list):
        return [_linear(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    taken = {"patternProperties", "additionalProperties", "unevaluatedProperties"}
    drop = taken if isinstance(schema.get("patternProperties"), dict) else set[str]()
    return {key: _linear(value) for key, value in schema.items() if key not in drop}


def valid(validator: Any, arguments: dict[str, Any]) -> bool | None:
    """Tell whether arguments fit; null where the schema refers to what is not there, or asks for more than it is given.

    Nothing is held against arguments where the schema was broken from the start.
    """
    if validator is None:
        return True
    _spent.depth = 0
    try:
        return bool(validator.is_valid(arguments))
    except (_TooMuchError, Unresolvable, RecursionError, SchemaError, UnknownType):
        return None
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError):
        return None
