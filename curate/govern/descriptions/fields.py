"""Columns of a table as fields of Croissant and as features of Hugging Face datasets, from their Arrow types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from curate.govern.columns import JSON

# What RFC 3986 leaves out of a URI; letters of all scripts stay (RFC 3987).
_NO_URI = re.compile(r"[\x00-\x20\x7f<>\"{}|\\^`\[\]]|%(?![0-9A-Fa-f]{2})")
_LIST = re.compile(r"list<(.*)>")
_STRUCT = re.compile(r"struct<(.*)>")
# Arrow's scalar types → Croissant's data types; a null column is described as text.
_DATA_TYPES = {
    **dict.fromkeys(("string", "large_string", "null", JSON), "sc:Text"),
    **dict.fromkeys((f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "sc:Integer"),
    **dict.fromkeys(("halffloat", "float", "double"), "sc:Float"),
    "bool": "sc:Boolean",
    "date32[day]": "sc:Date",
}
_FEATURES = {
    **dict.fromkeys(("large_string", "null", JSON), "string"),
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
}


def link(text: str) -> str:
    """Return an address as people write it with what no URI may hold percent-encoded."""
    return _NO_URI.sub(lambda found: quote(found[0], safe=""), text)


def field(part: str, name: str, kind: str, source: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a column as a field of the record set ``part``; None if Croissant has no form for its type.

    source: the file object or file set that the column is read from.
    """
    # Croissant's ids are IRIs, which a column's name need not be.
    made: dict[str, Any] = {"@type": "cr:Field", "@id": f"{part}/{quote(name, safe='')}", "name": name}
    where = {**source, "extract": {"column": name}}
    if found := data_type(kind):
        return {**made, "dataType": found, "source": where}
    many = _LIST.fullmatch(kind)
    item = many[1] if many else kind
    repeated = {"isArray": True, "arrayShape": "-1"} if many else {}
    if many and (found := data_type(item)):
        return {**made, "dataType": found, **repeated, "source": where}
    members = struct(item)
    if not members or not all(data_type(member) for member in members.values()):
        return None
    inner = [
        {
            "@type": "cr:Field",
            "@id": f"{made['@id']}/{quote(key, safe='')}",
            "name": key,
            "dataType": data_type(member),
            "source": {**where, "transform": {"jsonPath": key}},
        }
        for key, member in members.items()
    ]
    return {**made, **repeated, "subField": inner}


def data_type(kind: str) -> str | None:
    """Return Croissant's data type of a scalar; None for what is none, and for bytes."""
    return "sc:DateTime" if kind.startswith("timestamp[") else _DATA_TYPES.get(kind)


def struct(kind: str) -> dict[str, str]:
    """Return the types of a struct's members by name; empty for any other type."""
    found = _STRUCT.fullmatch(kind)
    if not found:
        return {}
    members, depth, start = [], 0, 0
    for place, letter in enumerate(found[1]):
        depth += (letter in "<[") - (letter in ">]")
        if letter == "," and not depth:
            members.append(found[1][start:place])
            start = place + 2
    members.append(found[1][start:])
    return dict(member.rsplit(": ", 1) if "<" not in member else member.split(": ", 1) for member in members)


def feature(name: str, kind: str) -> dict[str, Any] | None:
    """Return a column as a feature in the YAML of a Hugging Face card; None for a type it cannot name."""
    if item := _LIST.fullmatch(kind):
        if members := struct(item[1]):
            inner = [feature(key, member) for key, member in members.items()]
            return None if None in inner else {"name": name, "list": inner}
        made = feature(name, item[1])
        return {"name": name, "list": made["dtype"]} if made and "dtype" in made else None
    if members := struct(kind):
        inner = [feature(key, member) for key, member in members.items()]
        return None if None in inner else {"name": name, "struct": inner}
    if "<" in kind or ("[" in kind and not kind.startswith(("timestamp[", "date32"))):
        return None
    return {"name": name, "dtype": _FEATURES.get(kind, kind.removesuffix("[day]"))}
