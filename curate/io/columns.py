"""The types of a source's columns, found out by looking at every value.

Of a JSON column the scan remembers which *atoms* occur: ``null bool int wide big float str object list``
and, for what lists hold, ``list.int`` and so on. Sets of atoms unite over files and resolve to one Arrow
type, so the answer does not depend on the order of files or records. What no single type can hold without
loss travels as JSON text, marked by the field metadata ``curate.json``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

JSON_TEXT = {b"curate.json": b"1"}
FROM = b"curate.column"  # metadata of a field whose column was renamed: the name in the input

FUNCTION_CALL = "function_call"
"""Speaker of a sharegpt turn that calls tools, as LLaMA-Factory has it: JSON {name, arguments}, or a list."""

MOST_COLUMNS = 2000  # more keys than this are data, not columns
_MOST_TURN_KEYS = 64
_MOST_SHAPES = 10_000

EXACT = 2**53  # IEEE 754 binary64 holds every integer up to this one
_ATOMS = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    dict: "object",
    list: "list",
}
_LOOK = (int, float, list)  # values of these types tell more than their type


@dataclass(frozen=True)
class Column:
    """What one file holds under one name."""

    atoms: frozenset[str]
    turn_keys: frozenset[str] = frozenset()  # if a list of objects: their keys that are not null somewhere
    arrow: pa.DataType | None = None  # the file's own type, where the file has types

    def to_json(self) -> dict[str, Any]:
        """Return the column as JSON-able data."""
        arrow = None
        if self.arrow is not None:
            arrow = base64.b64encode(pa.schema([("", self.arrow)]).serialize()).decode()
        return {"atoms": sorted(self.atoms), "turn_keys": sorted(self.turn_keys), "arrow": arrow}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Column:
        """Return the column that to_json described."""
        arrow = data["arrow"]
        if arrow is not None:
            arrow = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(arrow))).field(0).type
        return cls(frozenset(data["atoms"]), frozenset(data["turn_keys"]), arrow)


@dataclass
class Observer:
    """Collects the atoms of every column of the records that it is shown.

    turns: names of columns whose strings may be JSON text that holds turns.
    """

    turns: Collection[str] = ()
    atoms: dict[str, set[str]] = field(default_factory=dict)
    keys: dict[str, set[str]] = field(default_factory=dict)
    _shapes: dict[tuple[Any, ...], tuple[str, ...]] = field(default_factory=dict)

    def see(self, record: dict[str, Any], exact: Callable[[], dict[str, Any]]) -> None:
        """Look at a record; exact() parses it again with integers of any size."""
        shape = (*record, *map(type, record.values()))
        names = self._shapes.get(shape)
        if names is None:
            names = self._new(shape, record)
        for name in names:
            self._look(name, record[name], exact)

    def _new(self, shape: tuple[Any, ...], record: dict[str, Any]) -> tuple[str, ...]:
        for name, value in record.items():
            if not isinstance(value, int | float) or isinstance(value, bool):
                self.atoms.setdefault(name, set()).add(_ATOMS[type(value)])
        names = tuple(
            k for k, v in record.items() if type(v) in _LOOK or (k in self.turns and type(v) in (str, dict))
        )
        if len(self._shapes) < _MOST_SHAPES:
            self._shapes[shape] = names
        return names

    def _look(self, name: str, value: Any, exact: Callable[[], dict[str, Any]]) -> None:
        atoms = self.atoms.setdefault(name, set())
        if type(value) is list:
            if any(_overflowed(item) for item in value):
                value = exact()[name]
            atoms.update(f"list.{_atom(item)}" for item in value)
            self.look_at_turns(name, value)
        elif type(value) is str:
            self.look_at_text(name, value)
        elif type(value) is dict:  # one turn, as the replies of a pair may be
            self.look_at_turns(name, [value])
        else:
            atoms.add(_atom(exact()[name] if _overflowed(value) else value))

    def look_at_text(self, name: str, text: str | bytes) -> None:
        """Look for turns in JSON text; what is no JSON becomes a fault when it is read."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return
        if type(value) is list:
            self.look_at_turns(name, value)

    def look_at_turns(self, name: str, value: list[Any]) -> None:
        """Remember which keys a list's objects have."""
        known = self.keys.setdefault(name, set())
        for item in value:
            if type(item) is dict and len(known) < _MOST_TURN_KEYS:
                if not item.keys() <= known:
                    known.update(key for key, inner in item.items() if inner is not None)
                if item.get("from") == FUNCTION_CALL:
                    known.add("tool_calls")  # which reading makes of it

    def columns(self) -> dict[str, Column]:
        """Return what was seen."""
        return {
            name: Column(frozenset(atoms), frozenset(self.keys.get(name, ())))
            for name, atoms in self.atoms.items()
        }


def _overflowed(value: Any) -> bool:
    # orjson turns integers beyond 64 bits into floats; whether this was one, only the text knows.
    return type(value) is float and not -(2.0**63) < value < 2.0**63


def _atom(value: Any) -> str:
    if type(value) is int and not -EXACT <= value <= EXACT:
        return "wide" if -(2**63) <= value < 2**63 else "big"
    return _ATOMS[type(value)]


def resolve(atoms: Iterable[str]) -> tuple[pa.DataType, bool]:
    """Return the type that holds all atoms, and whether it is JSON text for want of a better one."""
    seen = set(atoms) - {"null"}
    inner = {atom.removeprefix("list.") for atom in seen if atom.startswith("list.")}
    if seen and all(atom.startswith("list") for atom in seen):
        element = _scalar(inner - {"null"})
        return (pa.string(), True) if element is None else (pa.list_(element), False)
    single = _scalar(seen)
    return (pa.string(), True) if single is None else (single, False)


def _scalar(atoms: set[str]) -> pa.DataType | None:
    if atoms <= {"str"}:
        return pa.string()  # a column of nothing but null is one of strings, too
    if atoms == {"bool"}:
        return pa.bool_()
    if atoms <= {"int", "wide"}:
        return pa.int64()
    return pa.float64() if atoms <= {"int", "float"} else None


def unite(columns: Iterable[Column]) -> tuple[pa.DataType, bool]:
    """Return the type of a column over all files, and whether it is JSON text."""
    found = [column for column in columns if column.atoms - {"null"}]  # nothing but null fits every type
    types = {column.arrow for column in found}
    if len(types) == 1 and (own := types.pop()) is not None:
        return (own, False) if portable(own) else (pa.string(), True)
    return resolve(frozenset().union(*(column.atoms for column in found)))


def of_arrow(arrow: pa.DataType, largest: int | None, keys: Iterable[str]) -> Column:
    """Describe an Arrow column: its plain type, and its atoms for the case that another file differs.

    largest: the greatest magnitude of its integers, if known.
    """
    plain = plain_type(arrow)
    if pa.types.is_list(plain):
        raw = getattr(arrow, "value_type", plain.value_type)
        atoms = {"list", f"list.{_arrow_atom(raw if pa.types.is_null(raw) else plain.value_type, None)}"}
    else:
        atoms = {"null" if pa.types.is_null(arrow) else _arrow_atom(plain, largest)}
    return Column(frozenset(atoms), frozenset(keys), None if atoms & {"null", "list.null"} else plain)


def _arrow_atom(arrow: pa.DataType, largest: int | None) -> str:
    is_ = pa.types
    if is_.is_integer(arrow):
        fits = arrow.bit_width < 64 or (largest is not None and largest <= EXACT)
        return "int" if fits else "big" if is_.is_uint64(arrow) else "wide"
    for test, atom in ((is_.is_null, "null"), (is_.is_boolean, "bool"), (is_.is_floating, "float")):
        if test(arrow):
            return atom
    return "str" if is_.is_string(arrow) else "object"  # anything else resolves to JSON text


def plain_type(arrow: pa.DataType) -> pa.DataType:
    """Return the type without encodings: dictionaries, views, large offsets, run lengths, extensions."""
    is_ = pa.types
    if isinstance(arrow, pa.BaseExtensionType):
        return plain_type(arrow.storage_type)
    if is_.is_dictionary(arrow) or is_.is_run_end_encoded(arrow):
        return plain_type(arrow.value_type)
    if is_.is_null(arrow) or is_.is_large_string(arrow) or is_.is_string_view(arrow):
        return pa.string()
    if is_.is_large_binary(arrow) or is_.is_binary_view(arrow):
        return pa.binary()
    return _rebuilt(arrow, plain_type)


def plain_array(column: pa.Array) -> pa.Array:
    """Return the column with its plain type. Raises ArrowInvalid where a string is not UTF-8."""
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)  # which is no cast to Arrow
    type_ = plain_type(column.type)
    return column if column.type == type_ else column.cast(type_)


def microseconds(arrow: pa.DataType) -> pa.DataType:
    """Return the type with nanoseconds made microseconds, the finest that Python's own types hold."""
    is_ = pa.types
    if is_.is_timestamp(arrow) and arrow.unit == "ns":
        return pa.timestamp("us", arrow.tz)
    if is_.is_time64(arrow):
        return pa.time64("us")
    if is_.is_duration(arrow) and arrow.unit == "ns":
        return pa.duration("us")
    return _rebuilt(arrow, microseconds)


def _rebuilt(arrow: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    is_ = pa.types
    if is_.is_struct(arrow):
        return pa.struct(
            [(arrow.field(i).name, change(arrow.field(i).type)) for i in range(arrow.num_fields)]
        )
    if is_.is_fixed_size_list(arrow):
        return pa.list_(change(arrow.value_type), arrow.list_size)
    if is_.is_map(arrow):
        return pa.map_(change(arrow.key_type), change(arrow.item_type))
    lists = (is_.is_list, is_.is_large_list, is_.is_list_view, is_.is_large_list_view)
    return pa.list_(change(arrow.value_type)) if any(test(arrow) for test in lists) else arrow


def portable(arrow: pa.DataType) -> bool:
    """Tell whether parquet can hold the type: no unions, no intervals, no objects without keys."""
    is_ = pa.types
    if is_.is_union(arrow) or is_.is_interval(arrow):
        return False
    if is_.is_struct(arrow):
        return arrow.num_fields > 0 and all(portable(arrow.field(i).type) for i in range(arrow.num_fields))
    if is_.is_map(arrow):
        return portable(arrow.key_type) and portable(arrow.item_type)
    return portable(arrow.value_type) if hasattr(arrow, "value_type") else True
